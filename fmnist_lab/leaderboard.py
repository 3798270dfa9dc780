"""A table of trials in the terminal, the best objective first."""

import pandas as pd
from rich.console import Console
from rich.table import Table

COLUMNS = (
    "trial", "strategy", "seed", "objective", "best_val_accuracy", "best_val_loss",
    "best_epoch", "epochs_trained", "stop_reason", "seconds",
)  # fmt: skip
DIGITS = {"objective": 4, "best_val_accuracy": 4, "best_val_loss": 4, "seconds": 1}


def show(trials: pd.DataFrame, console: Console | None = None) -> None:
    """Prints the trials, best first, those without an objective last; counts what is missing."""
    higher_is_better = (trials["objective_metric"] == "val/accuracy").all()
    ranked = trials.sort_values(
        "objective", ascending=not higher_is_better, na_position="last", kind="stable"
    )
    table = Table(box=None, header_style="bold")
    for column in COLUMNS:
        text = column in ("strategy", "stop_reason")
        table.add_column(column.replace("_", " "), justify="left" if text else "right")
    for row in ranked[list(COLUMNS)].itertuples(index=False):
        cells = zip(COLUMNS, row, strict=True)
        table.add_row(*(_cell(value, DIGITS.get(column)) for column, value in cells))
    console = console or Console()
    console.print(table)
    missing = int(trials["objective"].isna().sum())
    if missing:
        console.print(f"{missing} of {len(trials)} trials have no objective (diverged or failed).")


def _cell(value: str | float | None, digits: int | None) -> str:
    if pd.isna(value):
        return "-"
    return f"{value:.{digits}f}" if digits is not None else str(value)
