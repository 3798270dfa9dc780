"""Tables in the terminal: the strategies, the trials, what is asked of them."""

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from fmnist_lab import metrics, statistics
from fmnist_lab.errors import RequestError
from fmnist_lab.results.frames import TYPES
from fmnist_lab.trial import LOST

MOST_ROWS = 40  # what is read is on top
COLUMNS = {  # of trials, with their headings
    name: name
    for name in ("trial", "strategy", "seed", "search", "architecture", "optimizer", "scheduler",
                 "clipping", "averaging", "stopping", "engine", "objective")
} | {"best_val_loss": "best loss", "best_epoch": "in epoch", "epochs_trained": "of",
     "stop_reason": "stopped", "seconds": "seconds"}  # fmt: skip
_TITLES = {"best_epoch": "best epoch", "epochs_trained": "epochs trained"}  # outside of the table
_STANDINGS = {
    "strategy": "strategy", "best": "best", "trial": "in trial", "search": "of search",
    "trials": "trials", "pruned": "pruned", "diverged": "diverged", "failed": "failed",
    "replicates": "seeds", "replicates_lost": "lost", "test_accuracy": "test", "objective": "mean",
    "difference": "difference", "verdict": "verdict",
}  # fmt: skip
_DIGITS = {"objective": 4, "best_val_loss": 4, "best": 4, "test_accuracy": 4, "difference": 4,
           "seconds": 1}  # fmt: skip
_WORDS = {"strategy", "architecture", "optimizer", "scheduler", "clipping", "averaging",
          "stopping", "engine", "stop_reason", "verdict", "parameters"}  # fmt: skip
_ALWAYS = ("trial", "strategy", "objective")
_SCORES = ("best_val_accuracy", "best_val_loss", "test_accuracy", "test_loss")
_QUALITY = ("objective", "best_epoch", *_SCORES)
# What a narrow terminal leaves out, in this order: a strategy is mostly named after its choices.
_LEFT_OUT = ("engine", "stopping", "clipping", "architecture", "optimizer", "scheduler",
             "averaging", "stop_reason", "epochs_trained", "seconds", "best_epoch", "best_val_loss",
             "replicates", "trials", "trial", "seed", "pruned", "diverged", "failed",
             "replicates_lost", "difference", "search", "best")  # fmt: skip
_KEPT = {"strategy", "objective", "test_accuracy", "verdict"}  # in any terminal
_LEAST = {"strategy": 16, "parameters": 24}  # characters: a name is cut, parameters are folded
_OPTIONAL = ("search", "pruned", "diverged", "failed", "replicates", "replicates_lost",
             "test_accuracy")  # fmt: skip


def select(trials: pd.DataFrame, where: str | None = None, sort: str | None = None) -> pd.DataFrame:
    """Returns the trials that count, of these the wanted ones, in the wanted order.

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
    maximised = column in _SCORES and metrics.is_maximised(column)
    if column == "objective":
        maximised = all(map(metrics.is_maximised, counted["objective_metric"].unique()))
    is_reversed = sort is not None and sort.startswith("-")
    ranked = statistics.rank(counted, column, maximised=maximised != is_reversed)
    # What an earlier epoch of a diverged trial looked like puts it above no other.
    lost = ranked["stop_reason"].isin(LOST)
    return pd.concat([ranked[~lost], ranked[lost]]) if column in _QUALITY else ranked


def show(trials: pd.DataFrame, console: Console | None = None, only_changed: bool = True) -> None:
    """Prints trials in the order given, and what they have in common; counts what is missing."""
    console = console or _console()
    if trials.empty:
        console.print("There are no such trials.")
        return
    columns = [name for name in COLUMNS if name in trials]
    parameters = [str(key) for key in trials if key not in TYPES and trials[key].notna().any()]
    same: list[str] = []
    if only_changed and len(trials) > 1:
        constant = {name for name in trials if trials[name].nunique(dropna=False) < 2}
        same = [name for name in columns if name in constant and name not in _ALWAYS]
        # A strategy is mostly named after what it is about.
        twins = [name for name in columns[2:] if (trials[name] == trials["strategy"]).all()]
        columns = [name for name in columns if name not in (*same, *twins)]
        parameters = [key for key in parameters if key not in constant]
    # A column for each parameter that all trials have, one for all others.
    names = {key: key.rpartition(".")[2] for key in parameters}
    words = trials.head(MOST_ROWS).copy()
    words[parameters] = words[parameters].map(
        lambda value: f"{value:.4g}" if isinstance(value, float) else str(value), na_action="ignore"
    )
    shown = {name: COLUMNS[name] for name in columns}
    shown |= {key: names[key] for key in parameters if trials[key].notna().all()}
    if rest := [key for key in parameters if key not in shown]:
        words["parameters"] = [
            ", ".join(f"{names[key]} {row[key]}" for key in rest if pd.notna(row[key]))
            for row in words[rest].to_dict("records")
        ]
        shown["parameters"] = "parameters"
    _print(console, words, shown)
    first = trials.iloc[0]
    common = [
        f"{_TITLES.get(name, COLUMNS[name])} {_cell(name, first[name])}"
        for name in same
        if first[name] != 0
    ]
    left, missing = len(trials) - MOST_ROWS, int(trials["objective"].isna().sum())
    remarks = {
        f"... and {left} more: pick with --where, or take all with --csv FILE.": left > 0,
        f"The same for all: {', '.join(common)}.": common,
        f"{missing} of {len(trials)} trials have no objective.": missing,
    }
    for remark in filter(remarks.get, remarks):
        console.print(remark, soft_wrap=True)


def standings(summary: pd.DataFrame, metric: str) -> dict[str, str]:
    """Returns the columns of a sweep's strategies that say something, with their headings.

    Args:
        summary: The rows of `comparison.csv`.
        metric: The objective's name.
    """
    return {
        name: heading
        for name, heading in (_STANDINGS | {"best": f"best {metric}"}).items()
        if name in summary and (name not in _OPTIONAL or summary[name].fillna(0).any())
    }


def show_strategies(summary: pd.DataFrame, metric: str, console: Console | None = None) -> None:
    """Prints a line per strategy: its best trial, and the verdict where there is one."""
    _print(console or _console(), summary, standings(summary, metric))


def _condition(trials: pd.DataFrame, where: str) -> "pd.Series[bool]":
    """Returns the rows that a condition picks."""
    dotted = [name for name in map(str, trials.columns) if not name.isidentifier()]
    names = "|".join(map(re.escape, sorted(dotted, key=len, reverse=True))) or "(?!)"
    pattern = rf"`[^`]*`|(?<![\w./])({names})(?![\w./])"
    quoted = re.sub(pattern, lambda match: f"`{match[1]}`" if match[1] else match[0], where)
    try:
        picked = trials.eval(quoted.replace("\n", " "))
        if not isinstance(picked, pd.Series) or picked.dtype != "bool":
            raise TypeError("it is no condition")
    except Exception as error:  # whatever Python makes of what was typed
        reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise RequestError(
            "`--where` must be a condition on columns, objective > 0.9 and strategy == 'cosine' "
            f"say, got {where!r}: {reason}."
        ) from None
    return picked


def _print(console: Console, frame: pd.DataFrame, columns: Mapping[str, str]) -> None:
    """Prints a table with the columns for which there is room, and names those without."""
    cells = {name: [_cell(name, value) for value in frame[name]] for name in columns}
    whole = {name: max(map(len, [columns[name], *cells[name]])) for name in columns}
    least = _LEAST | {"strategy": max(_LEAST["strategy"], _distinct(cells.get("strategy", [])))}
    widths = {name: min(width, least.get(name, width)) for name, width in whole.items()}
    keys = [name for name in columns if name not in {*_LEFT_OUT, *_KEPT}][::-1]
    left_out = []
    for name in (*_LEFT_OUT, *keys):
        if sum(widths.values()) + 2 * len(widths) <= console.width:
            break
        if widths.pop(name, 0):
            left_out.append(_TITLES.get(name, columns[name]))
    room = max(0, console.width - sum(widths.values()) - 2 * len(widths))
    table = Table(box=None, header_style="bold", padding=(0, 1))
    for name, width in widths.items():
        more = min(room, whole[name] - width)
        room -= more
        is_folded = name == "parameters"
        table.add_column(columns[name], justify="left" if name in _WORDS else "right",
                         no_wrap=not is_folded, width=width + more,
                         overflow="fold" if is_folded else "ellipsis")  # fmt: skip
    for row in zip(*(cells[name] for name in widths), strict=True):
        table.add_row(*row)
    console.print(table)
    if left_out:
        console.print(f"No room for: {', '.join(left_out)}.", soft_wrap=True)


def _distinct(names: Sequence[str]) -> int:
    """Returns to how many characters names may be cut so that no two become alike."""
    lengths = range(max(map(len, names), default=0))
    return next((n + 1 for n in lengths if len({name[:n] for name in names}) == len({*names})), 999)


def _cell(name: str, value: Any) -> str:
    if pd.isna(value):
        return "-"
    digits = _DIGITS.get(name, 0)
    is_far = digits > 1 and value and not 5e-5 <= abs(value) < 1e5  # of another application
    return value if isinstance(value, str) else f"{value:{'.4g' if is_far else f'.{digits}f'}}"


def _console() -> Console:
    # Into a pipe or a file a table is as wide as it needs to be.
    width = None if sys.stdout.isatty() else 1000
    return Console(width=width, highlight=False, markup=False, emoji=False)
