"""A table of trials in the terminal, the best objective first."""

import sys

import pandas as pd
from rich.console import Console
from rich.table import Table

COLUMNS = {  # of the frame: heading, and digits after the point
    "trial": ("trial", 0),
    "strategy": ("strategy", None),
    "seed": ("seed", 0),
    "objective": ("objective", 4),
    "best_val_loss": ("best loss", 4),
    "best_epoch": ("in epoch", 0),
    "epochs_trained": ("of", 0),
    "stop_reason": ("stopped", None),
    "seconds": ("seconds", 1),
}


def show(trials: pd.DataFrame, console: Console | None = None) -> None:
    """Prints the trials, best first, those without an objective last; counts what is missing."""
    higher_is_better = (trials["objective_metric"] == "val/accuracy").all()
    ranked = trials.sort_values(
        "objective", ascending=not higher_is_better, na_position="last", kind="stable"
    )
    table = Table(box=None, header_style="bold", padding=(0, 1))
    for heading, digits in COLUMNS.values():
        table.add_column(heading, justify="left" if digits is None else "right", no_wrap=True)
    for row in ranked[list(COLUMNS)].itertuples(index=False):
        digits_of = (digits for _, digits in COLUMNS.values())
        table.add_row(*(_cell(*pair) for pair in zip(row, digits_of, strict=True)))
    # Into a pipe or a file the table is as wide as it needs to be.
    console = console or Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    missing = int(trials["objective"].isna().sum())
    if missing:
        console.print(f"{missing} of {len(trials)} trials have no objective: diverged or failed.")


def _cell(value: str | float | None, digits: int | None) -> str:
    if pd.isna(value):
        return "-"
    return str(value) if digits is None else f"{value:.{digits}f}"
