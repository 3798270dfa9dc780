"""Tables in the terminal: the strategies, the trials, what is asked of them."""

import re
import sys
from collections.abc import Iterator, Sequence

import pandas as pd
from rich.console import Console
from rich.table import Table

from fmnist_lab import metrics, statistics
from fmnist_lab.errors import RequestError
from fmnist_lab.trial import StopReason

MOST_ROWS = 40  # what is read is on top
COLUMNS = {  # of the frame: heading, and digits after the point
    "trial": ("trial", 0),
    "strategy": ("strategy", None),
    "seed": ("seed", 0),
    "search": ("search", 0),
    "architecture": ("architecture", None),
    "optimizer": ("optimizer", None),
    "scheduler": ("scheduler", None),
    "clipping": ("clipping", None),
    "stopping": ("stopping", None),
    "engine": ("engine", None),
    "objective": ("objective", 4),
    "best_val_loss": ("best loss", 4),
    "best_epoch": ("in epoch", 0),
    "epochs_trained": ("of", 0),
    "stop_reason": ("stopped", None),
    "seconds": ("seconds", 1),
}
STANDINGS = {
    "strategy": ("strategy", None),
    "best": ("best", 4),
    "trial": ("in trial", 0),
    "search": ("of search", 0),
    "trials": ("trials", 0),
    "pruned": ("pruned", 0),
    "diverged": ("diverged", 0),
    "failed": ("failed", 0),
    "replicates": ("seeds", 0),
    "replicates_lost": ("lost", 0),
    "test_accuracy": ("test", 4),
    "difference": ("difference", 4),
    "verdict": ("verdict", None),
}
_ALWAYS = ("trial", "strategy", "objective")
_SCORES = ("best_val_accuracy", "best_val_loss", "test_accuracy", "test_loss")
_QUALITY = ("objective", "best_epoch", *_SCORES)
_OPTIONAL = ("search", "pruned", "diverged", "failed", "replicates", "replicates_lost",
             "test_accuracy")  # fmt: skip


def select(trials: pd.DataFrame, where: str | None = None, sort: str | None = None) -> pd.DataFrame:
    """The trials that count, of these the wanted ones, in the wanted order.

    Args:
        trials: `results.trials`.
        where: A condition on the columns, as in `DataFrame.query`; dotted names need no backticks.
        sort: A column, the best or the smallest first; a minus in front turns the order around.
            None: by objective.

    Raises:
        RequestError: The condition cannot be read, or there is no such column.
    """
    counted = trials[~trials["superseded"]]
    if where is not None:
        counted = counted[_condition(counted, where)]
    column = (sort or "objective").removeprefix("-")
    if column not in counted:
        allowed = ", ".join(counted.columns)
        raise RequestError(f"`--sort` must be one of {allowed}, got {column!r}.")
    if column == "objective":
        maximised = all(map(metrics.is_maximised, counted["objective_metric"].unique()))
    else:
        maximised = column in _SCORES and metrics.is_maximised(column)
    is_reversed = sort is not None and sort.startswith("-")
    ranked = statistics.rank(counted, column, maximised=maximised != is_reversed)
    # What an earlier epoch of a diverged trial looked like puts it above no other.
    lost = ranked["stop_reason"].isin((StopReason.DIVERGED, StopReason.FAILED))
    return pd.concat([ranked[~lost], ranked[lost]]) if column in _QUALITY else ranked


def show(trials: pd.DataFrame, console: Console | None = None, only_changed: bool = True) -> None:
    """Prints trials in the order given, and what they have in common; counts what is missing."""
    console = console or _console()
    if trials.empty:
        console.print("There are no such trials.")
        return
    columns = [name for name in COLUMNS if name in trials]
    parameters = [str(key) for key in trials if "." in str(key) and trials[key].notna().any()]
    same: list[str] = []
    if only_changed and len(trials) > 1:
        same = [name for name in columns if name not in _ALWAYS and _is_constant(trials[name])]
        # A strategy is mostly named after what it is about.
        twins = [name for name in columns[2:] if (trials[name] == trials["strategy"]).all()]
        columns = [name for name in columns if name not in (*same, *twins)]
        parameters = [key for key in parameters if not _is_constant(trials[key])]
    console.print(_trials_table(trials.head(MOST_ROWS), columns, parameters))
    for line in _remarks(trials, same):
        console.print(line, soft_wrap=True)


def _trials_table(trials: pd.DataFrame, columns: list[str], parameters: list[str]) -> Table:
    """A column for each parameter that all trials have, one for all others."""
    everywhere = [key for key in parameters if trials[key].notna().all()]
    rest = [key for key in parameters if key not in everywhere]
    table = _table([COLUMNS[name] for name in columns], [_short(key) for key in everywhere])
    if rest:
        table.add_column("parameters", overflow="fold")
    for row in trials.to_dict("records"):
        cells = [_cell(row[name], COLUMNS[name][1]) for name in columns]
        cells += [_parameter(row[key]) for key in everywhere]
        own = [f"{_short(key)} {_parameter(row[key])}" for key in rest if pd.notna(row[key])]
        table.add_row(*cells, *([", ".join(own)] if rest else []))
    return table


def show_strategies(standings: pd.DataFrame, metric: str, console: Console | None = None) -> None:
    """Prints a line per strategy: its best trial, and the verdict where there is one.

    Args:
        standings: The rows of `comparison.csv`.
        metric: The objective's name.
        console: Where to.
    """
    console = console or _console()
    columns = [
        name
        for name in STANDINGS
        if name in standings and (name not in _OPTIONAL or standings[name].fillna(0).any())
    ]
    headings = STANDINGS | {"best": (f"best {metric}", 4)}
    table = _table([headings[name] for name in columns], [])
    for row in standings[columns].to_dict("records"):
        table.add_row(*(_cell(row[name], STANDINGS[name][1]) for name in columns))
    console.print(table)


def _condition(trials: pd.DataFrame, where: str) -> "pd.Series[bool]":
    """The rows that a condition picks."""
    dotted = [name for name in map(str, trials.columns) if not name.isidentifier()]
    names = "|".join(map(re.escape, sorted(dotted, key=len, reverse=True))) or "(?!)"
    quoted = re.sub(rf"`[^`]*`|(?<![\w./])({names})(?![\w./])", _in_backticks, where)
    try:
        picked = trials.eval(quoted.replace("\n", " "))
        if not isinstance(picked, pd.Series) or picked.dtype != "bool":
            raise TypeError("it is no condition")
    except Exception as error:  # whatever Python makes of somebody's typing
        reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise RequestError(
            "`--where` must be a condition on columns, objective > 0.9 and strategy == 'cosine' "
            f"say, got {where!r}: {reason}."
        ) from None
    return picked


def _in_backticks(match: re.Match[str]) -> str:
    return f"`{match[1]}`" if match[1] else match[0]


def _table(columns: Sequence[tuple[str, int | None]], parameters: Sequence[str]) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 1))
    for heading, digits in columns:
        table.add_column(heading, justify="left" if digits is None else "right", no_wrap=True)
    for heading in parameters:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _remarks(trials: pd.DataFrame, same: list[str]) -> Iterator[str]:
    if len(trials) > MOST_ROWS:
        left = len(trials) - MOST_ROWS
        yield f"... and {left} more: pick with --where, or take all with --csv FILE."
    if common := [_said(trials, name) for name in same if trials[name].iloc[0] != 0]:
        yield f"The same for all: {', '.join(common)}."
    missing = int(trials["objective"].isna().sum())
    if missing:
        yield f"{missing} of {len(trials)} trials have no objective: diverged or failed."


def _said(trials: pd.DataFrame, name: str) -> str:
    heading, digits = COLUMNS[name]
    words = {"of": "epochs trained", "in epoch": "best epoch"}
    return f"{words.get(heading, heading)} {_cell(trials[name].iloc[0], digits)}"


def _is_constant(column: pd.Series) -> bool:
    return column.nunique(dropna=False) < 2


def _short(key: str) -> str:
    return key.rpartition(".")[2]


def _parameter(value: str | float | None) -> str:
    if pd.isna(value):
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cell(value: str | float | None, digits: int | None) -> str:
    if pd.isna(value):
        return "-"
    return str(value) if digits is None else f"{value:.{digits}f}"


def _console() -> Console:
    # Into a pipe or a file a table is as wide as it needs to be.
    width = None if sys.stdout.isatty() else 160
    return Console(width=width, highlight=False, markup=False, emoji=False)
