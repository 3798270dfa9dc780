"""Strategies in several cells, such as lengths of training: in how many a verdict holds."""

from typing import Any

import numpy as np
import pandas as pd

from fmnist_lab.statistics.ranking import finite, require_columns
from fmnist_lab.statistics.verdicts import compare

_RESAMPLES = 2000


def compare_in_cells(replicates: pd.DataFrame, baseline: str, **rules: Any) -> pd.DataFrame:
    """Compares every strategy with the baseline in each cell by itself.

    Args:
        replicates: cell (str) and what `compare` needs.
        baseline: The strategy to compare with, in each cell.
        **rules: Arguments of `compare`; its alpha is the error in each cell.

    Returns:
        The rows of `compare`, with a column cell in front; a cell without baseline has none.

    Raises:
        RequestError: A column is missing.

    Example:
        >>> runs = pd.DataFrame({"cell": ["5", "5", "9"], "strategy": ["a", "b", "b"], "seed": 1})
        >>> runs = runs.assign(search=0, stop_reason="completed", test_accuracy=[0.8, 0.9, 0.9])
        >>> compare_in_cells(runs, "a")[["cell", "strategy", "verdict"]].to_numpy().tolist()
        [['5', 'b', 'undecided']]
    """
    require_columns("replicates", replicates, "cell", "strategy")
    frames = [
        compare(own, baseline, **rules).assign(cell=cell)
        for cell, own in replicates.groupby("cell", sort=False)
        if own["strategy"].nunique() > 1 and (own["strategy"] == baseline).any()
    ]
    if not frames:
        return pd.DataFrame(columns=["cell", "strategy"])
    found = pd.concat(frames, ignore_index=True)
    return found[["cell", *found.columns.drop("cell")]]


def improvement(
    replicates: pd.DataFrame, baseline: str, value: str = "test_accuracy", alpha: float = 0.05
) -> pd.DataFrame:
    """Estimates how often a replicate of a strategy beats one of the baseline, over the cells.

    The mean over cells of P(x > y) + P(x = y) / 2, x of the strategy and y of the baseline: the
    probability of improvement of Agarwal et al. (2021). Its interval is their stratified
    bootstrap, 2,000 draws of the seeds in each cell; it says nothing of other cells. A lost
    replicate ranks last.

    Args:
        replicates: cell, strategy, and the value; more is better.
        baseline: The strategy to compare with.
        value: The column.
        alpha: The error of each interval.

    Returns:
        Columns strategy, cells (that have both), probability, low, high.

    Example:
        >>> runs = pd.DataFrame({"cell": "5", "strategy": ["a", "a", "b", "b"]})
        >>> improvement(runs.assign(test_accuracy=[0.8, 0.9, 0.9, 0.95]), "a")["probability"][0]
        np.float64(0.875)
    """
    require_columns("replicates", replicates, "cell", "strategy", value)
    ranked = replicates.assign(value=finite(replicates[value]).fillna(-np.inf))
    values = {key: own["value"].to_numpy() for key, own in ranked.groupby(["strategy", "cell"])}
    rng, rows = np.random.default_rng(0), []
    for strategy in dict.fromkeys(replicates["strategy"]):
        cells = [cell for name, cell in values if name == strategy and (baseline, cell) in values]
        if strategy == baseline or not cells:
            continue
        means, drawn = [], []
        for cell in cells:
            mine, theirs = values[strategy, cell], values[baseline, cell]
            wins = (mine[:, None] > theirs) + (mine[:, None] == theirs) / 2
            counts = [
                rng.multinomial(size, np.full(size, 1 / size), _RESAMPLES) / size
                for size in wins.shape
            ]
            means.append(wins.mean())
            drawn.append(np.einsum("bi,ij,bj->b", counts[0], wins, counts[1]))
        low, high = np.quantile(np.mean(drawn, axis=0), [alpha / 2, 1 - alpha / 2])
        rows.append([strategy, len(cells), np.mean(means), low, high])
    return pd.DataFrame(rows, columns=["strategy", "cells", "probability", "low", "high"])


def profiles(replicates: pd.DataFrame, value: str = "test_accuracy") -> pd.DataFrame:
    """Returns performance profiles: in which share of cells a strategy is near the best one.

    With the mean error e of a strategy in a cell, `r = e / min e` over the strategies, and the
    profile at tau is the share of cells with `r <= tau`. Source: Dolan and Moré (2002). A cell in
    which a strategy has lost a replicate, or has none, is one that it does not solve: r is
    infinite.

    Args:
        replicates: cell, strategy, and the value, an accuracy.
        value: The column.

    Returns:
        Columns strategy, ratio (ascending, from 1) and share.

    Example:
        >>> runs = pd.DataFrame({"cell": ["5", "5", "9", "9"], "strategy": ["a", "b"] * 2})
        >>> found = profiles(runs.assign(test_accuracy=[0.8, 0.9, 0.9, 0.9]))
        >>> found[found["strategy"] == "a"][["ratio", "share"]].to_numpy().round(2).tolist()
        [[1.0, 0.5], [2.0, 1.0]]
    """
    require_columns("replicates", replicates, "cell", "strategy", value)
    known = replicates.assign(error=1 - finite(replicates[value]))
    errors = known.groupby(["cell", "strategy"])["error"].mean(skipna=False)
    unstacked = errors.unstack()
    least = unstacked.min(axis=1)
    ratios = unstacked.div(least, axis=0).mask(unstacked.eq(least, axis=0), 1.0)  # 0 / 0, too
    ratios = ratios.fillna(np.inf)
    rows = []
    for strategy in dict.fromkeys(replicates["strategy"]):
        own = ratios[strategy].to_numpy()
        at = np.unique([1.0, *own[np.isfinite(own)]])
        rows += [(strategy, ratio, (own <= ratio * (1 + 1e-12)).mean()) for ratio in at]
    return pd.DataFrame(rows, columns=["strategy", "ratio", "share"])
