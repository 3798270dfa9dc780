"""What a frame must hold before it is compared, and which way is better."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from fmnist_lab.errors import RequestError
from fmnist_lab.trial import StopReason

TIE = 1e-6  # metrics come in single precision; an accuracy of 0.9 may read 0.89999998


def require_columns(name: str, frame: pd.DataFrame, *columns: str) -> None:
    """The frame has these columns and no unknown stop reason, or RequestError."""
    if absent := [column for column in columns if column not in frame.columns]:
        got = ", ".join(map(str, frame.columns))
        raise RequestError(f"`{name}` must have the columns {', '.join(absent)}, got {got}.")
    if "stop_reason" in columns:
        require_known(f"{name}.stop_reason", set(frame["stop_reason"]), list(StopReason))


def require_known(key: str, values: Collection[object], allowed: Collection[str]) -> None:
    """Every value is an allowed one, or RequestError."""
    if unknown := sorted(str(value) for value in values if value not in allowed):
        wanted = ", ".join(allowed) or "nothing"
        raise RequestError(f"`{key}` must be one of {wanted}, got {', '.join(unknown)}.")


def require_unique(name: str, frame: pd.DataFrame, *columns: str) -> None:
    """No two rows agree in all these columns, or RequestError."""
    twice = frame.loc[frame.duplicated(list(columns)), list(columns)]
    if len(twice):
        row = ", ".join(f"{column} {value}" for column, value in twice.iloc[0].items())
        raise RequestError(f"`{name}` must hold each of its rows once, got another of {row}.")


def values_of(column: pd.Series) -> pd.Series:
    """The column as float64; whatever is not a finite number is NaN."""
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    return numbers.where(np.isfinite(numbers))


def is_maximised(key: str, metric: str) -> bool:
    """Whether more is better: of an accuracy it is, of a loss it is not.

    Raises:
        RequestError: The name ends in neither; `key` says who gave it.
    """
    if not metric.endswith(("accuracy", "loss")):
        raise RequestError(f"`{key}` must be an accuracy or a loss, got {metric!r}.")
    return metric.endswith("accuracy")


def objective_is_maximised(frame: pd.DataFrame) -> bool:
    """Whether more is better of the column `objective`.

    Raises:
        RequestError: The rows do not share one metric.
    """
    metrics = frame["objective_metric"].dropna().unique()
    if len(metrics) != 1:
        got = ", ".join(map(str, metrics)) or "none"
        raise RequestError(f"`objective_metric` must be one for all rows, got {got}.")
    return is_maximised("objective_metric", str(metrics[0]))
