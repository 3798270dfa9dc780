"""Orders rows of a frame, the best first.

Which direction is better comes from `fmnist_lab.metrics`. The checks of frames that all
statistics share are here, too.
"""

from collections.abc import Collection

import numpy as np
import pandas as pd

from fmnist_lab import metrics
from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.trial import WHOLE, StopReason

TIE = 1e-6  # metrics come in single precision; an accuracy of 0.9 may read 0.89999998
SYNTHETIC = "synthetic"


def is_maximised(frame: pd.DataFrame, column: str = "objective") -> bool:
    """Tells whether more of a column is better: by its name, or `objective_metric`.

    Raises:
        RequestError: The name does not tell, or the objectives are of several metrics.
    """
    if column != "objective":
        return metrics.is_maximised(column, "value")
    found = frame["objective_metric"].dropna().unique()
    if len(found) != 1:
        got = Phrase(", ".join(map(str, found)) or "none")
        raise RequestError("objective_metric", "be one for all rows", got)
    return metrics.is_maximised(str(found[0]), "objective_metric")


def rank(
    frame: pd.DataFrame, column: str = "objective", maximised: bool | None = None
) -> pd.DataFrame:
    """Sorts the rows, the best first; equal values keep their order, NaN comes last.

    Args:
        frame: The column, and for an objective objective_metric.
        column: What to sort by.
        maximised: Which direction is better; None: that of the objective's metric.

    Example:
        >>> frame = pd.DataFrame({"objective": [0.5, 0.3], "objective_metric": "val/loss"})
        >>> rank(frame)["objective"].to_list()
        [0.3, 0.5]
    """
    if maximised is None:
        maximised = len(frame) > 0 and is_maximised(frame, column)
    return frame.sort_values(column, ascending=not maximised, kind="stable", na_position="last")


def best(frame: pd.DataFrame, column: str = "objective") -> pd.Series | None:
    """Returns the best row, the first of equal ones; None where there is none.

    Example:
        >>> best(pd.DataFrame({"objective": [0.88, 0.9], "objective_metric": "val/accuracy"})).name
        1
    """
    ranked = rank(frame, column).dropna(subset=column)
    return None if ranked.empty else ranked.iloc[0]


def winners(trials: pd.DataFrame) -> pd.DataFrame:
    """Returns the best trial of each strategy and search, with all its columns.

    The best objective of the trials that ended by themselves (completed or early_stopped);
    the lowest number where objectives tie. A search without such a trial has no row.

    Args:
        trials: strategy, search, trial, objective, objective_metric, stop_reason.

    Raises:
        RequestError: A column is missing, or trials have different metrics.

    Example:
        >>> row = {"strategy": "cosine", "search": 0, "objective_metric": "val/loss",
        ...        "stop_reason": "completed"}
        >>> frame = pd.DataFrame([row | {"trial": 0, "objective": 0.4},
        ...                       row | {"trial": 1, "objective": 0.3}])
        >>> winners(frame)["trial"].tolist()
        [1]
    """
    require_columns("trials", trials, "strategy", "search", "trial", "objective",
                    "objective_metric", "stop_reason")  # fmt: skip
    maximised = is_maximised(trials)
    scored = trials.assign(objective=finite(trials["objective"]))
    whole = scored[trials["stop_reason"].isin(WHOLE)].dropna(subset="objective")
    ranked = rank(whole.sort_values("trial", kind="stable"), maximised=maximised)
    return ranked.drop_duplicates(["strategy", "search"]).sort_index().reset_index(drop=True)


def on_real_images(runs: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Returns the runs that may be ranked together, and how many others there are.

    Synthetic images are easy to tell apart: a score on them says nothing about Fashion-MNIST.

    Args:
        runs: dataset (str) and whatever else.

    Returns:
        The runs on real images; where there are none all, which are on synthetic ones.

    Example:
        >>> runs, others = on_real_images(pd.DataFrame({"dataset": ["fashion_mnist", "synthetic"]}))
        >>> len(runs), others
        (1, 1)
    """
    drawn = runs["dataset"] == SYNTHETIC
    if drawn.all():
        return runs, 0
    return runs[~drawn], int(drawn.sum())


def finite(column: pd.Series) -> pd.Series:
    """Converts a column to float64; whatever is not a finite number is NaN."""
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    return numbers.where(np.isfinite(numbers))


def require_columns(name: str, frame: pd.DataFrame, *columns: str) -> None:
    """Requires these columns, and no unknown stop reason in them, or raises RequestError."""
    if absent := [column for column in columns if column not in frame.columns]:
        got = Phrase(", ".join(map(str, frame.columns)))
        raise RequestError(name, f"have the columns {', '.join(absent)}", got)
    if "stop_reason" in columns:
        require_known(f"{name}.stop_reason", set(frame["stop_reason"]), list(StopReason))


def require_known(key: str, values: Collection[object], allowed: Collection[str]) -> None:
    """Requires every value to be an allowed one, or raises RequestError."""
    if unknown := sorted(str(value) for value in values if value not in allowed):
        rule = f"be one of {', '.join(allowed) or 'nothing'}"
        raise RequestError(key, rule, Phrase(", ".join(unknown)))


def require_unique(name: str, frame: pd.DataFrame, *columns: str) -> None:
    """Requires that no two rows agree in all these columns, or raises RequestError."""
    twice = frame.loc[frame.duplicated(list(columns)), list(columns)]
    if len(twice):
        row = ", ".join(f"{column} {value}" for column, value in twice.iloc[0].items())
        raise RequestError(name, "hold each of its rows once", Phrase(f"another of {row}"))
