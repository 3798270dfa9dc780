"""Replicates side by side: which values make a pair, and which pairs lack one."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from fmnist_lab.errors import RequestError
from fmnist_lab.statistics import columns
from fmnist_lab.statistics.paired import Floats
from fmnist_lab.trial import StopReason


@dataclass(frozen=True)
class Pairs:
    """A row per pair, a column per strategy."""

    values: pd.DataFrame  # float64; NaN: no value
    diverged: pd.Series  # by strategy: in how many pairs a value is missing by divergence
    maximised: bool  # whether more is better

    @property
    def strategies(self) -> list[str]:
        """Their names, in the order of appearance."""
        return self.values.columns.to_list()

    def differences(self, strategy: str, opponent: str) -> Floats:
        """Strategy minus opponent, over the pairs in which both have a value; `(pairs,)`."""
        differences = self.values[strategy] - self.values[opponent]
        return differences.dropna().to_numpy(dtype=np.float64)

    def missing(self, strategy: str) -> int:
        """In how many pairs the strategy has no value."""
        return int(self.values[strategy].isna().sum())


def pair_up(replicates: pd.DataFrame, value: str, pair: str) -> Pairs:
    """The mean of each strategy in each pair, by the rules that `compare` states.

    Raises:
        RequestError: A column is missing or unknown, a replicate is there twice or none at all.
    """
    columns.require_known("pair", [pair], ["seed", "search"])
    metric = ["objective_metric"] * (value == "objective")
    columns.require_columns(
        "replicates", replicates, "strategy", "search", "seed", "stop_reason", value, *metric
    )
    columns.require_unique("replicates", replicates, "strategy", "search", "seed")
    if replicates.empty:
        raise RequestError("`replicates` must hold a replicate, got none.")
    if metric:
        maximised = columns.objective_is_maximised(replicates)
    else:
        maximised = columns.is_maximised("value", value)
    values = columns.values_of(replicates[value])
    lost = values.isna() & (replicates["stop_reason"] == StopReason.DIVERGED)
    cells = replicates.assign(value=values, lost=lost).groupby([pair, "strategy"])
    rows = cells.size().unstack(fill_value=0)
    complete = cells["value"].count().unstack(fill_value=0).eq(rows.max(axis=1), axis=0)
    means = cells["value"].mean().unstack().where(complete)
    return Pairs(
        values=means[replicates["strategy"].unique()],
        diverged=cells["lost"].any().unstack(fill_value=False).sum(),
        maximised=maximised,
    )
