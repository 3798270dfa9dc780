"""How far a tuned result can be trusted: width, divergence, optimism, edges of the space."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import scipy

from fmnist_lab.errors import RequestError
from fmnist_lab.statistics import ranking
from fmnist_lab.statistics.paired import t_interval
from fmnist_lab.statistics.ranking import finite, require_columns, require_known, winners
from fmnist_lab.trial import StopReason

EDGE = 0.05  # of a range, at either end
_FEW = 3  # of two values that were tried each is an end
Spaces = Mapping[str, Mapping[str, tuple[float, float, bool]]]


def good_range(
    trials: pd.DataFrame, parameter: str = "optimizer.learning_rate", within: float = 0.005
) -> pd.DataFrame:
    """Finds the range of a parameter in which a strategy comes close to its best.

    A trial is good if its objective is at most `within` worse than the strategy's best, over all
    its searches. The range goes from the lowest to the highest good value. Trials in it that
    are not good, because another parameter spoils them or the range has a hole, are counted:
    where `between` is much larger than `good`, the width is not worth its name.

    Args:
        trials: As for `winners`, and the parameter: positive, NaN where a strategy has none.
        parameter: The column.
        within: In the unit of the objective.

    Returns:
        A row per strategy: strategy, best, trials, without_objective, good (trials), between
        (trials with a value in the range, the good ones included), low, high, decades (log10 of
        high / low; 0 for a single good trial, NaN without one).

    Example:
        >>> trials = pd.DataFrame({"trial": [0, 1, 2], "objective": [0.898, 0.900, 0.880]})
        >>> trials = trials.assign(strategy="cosine", search=0, stop_reason="completed")
        >>> trials = trials.assign(objective_metric="val/accuracy", rate=[0.001, 0.01, 0.1])
        >>> good_range(trials, "rate")[["low", "high", "decades"]].iloc[0].to_list()
        [0.001, 0.01, 1.0]
    """
    require_columns("trials", trials, parameter)
    best = winners(trials).set_index("strategy")["objective"]
    sign = 1 if ranking.is_maximised(trials) else -1
    rates = finite(trials[parameter])
    if (rates <= 0).any():
        raise RequestError(f"`{parameter}` must be positive, got {rates.min()}.")
    known = trials.assign(objective=finite(trials["objective"]), rate=rates)
    rows = []
    for strategy, group in known.groupby("strategy", sort=False):
        top = sign * (sign * best[best.index == strategy]).max()
        good = sign * (top - group["objective"]) <= within + ranking.TIE
        rows.append({"strategy": strategy, "best": top} | _width(group, good))
    return pd.DataFrame(rows)


def _width(trials: pd.DataFrame, good: pd.Series) -> dict[str, float]:
    rates = trials["rate"][good].dropna()
    low, high = rates.min(), rates.max()
    return {
        "trials": len(trials),
        "without_objective": int(trials["objective"].isna().sum()),
        "good": len(rates),
        "between": int(trials["rate"].between(low, high).sum()),
        "low": low,
        "high": high,
        "decades": float(np.log10(high / low)),
    }


def divergence(trials: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Counts how the trials of each strategy ended, and which share of them diverged.

    Args:
        trials: strategy, stop_reason, objective.
        confidence: Of Wilson's interval for the share.

    Returns:
        A row per strategy: strategy, trials, a column of counts per `StopReason`,
        without_objective (trials, for whatever reason), share (diverged / trials), low, high.

    Example:
        >>> trials = pd.DataFrame({"stop_reason": ["completed"] * 3 + ["diverged"]})
        >>> divergence(trials.assign(strategy="cosine", objective=0.9))["share"].to_list()
        [0.25]
    """
    require_columns("trials", trials, "strategy", "stop_reason", "objective")
    rows = []
    for strategy, group in trials.groupby("strategy", sort=False):
        counts = {str(reason): int((group["stop_reason"] == reason).sum()) for reason in StopReason}
        diverged = scipy.stats.binomtest(counts[StopReason.DIVERGED], len(group))
        interval = diverged.proportion_ci(confidence, method="wilson")
        rows.append(
            {"strategy": strategy, "trials": len(group)}
            | counts
            | {
                "without_objective": int(finite(group["objective"]).isna().sum()),
                "share": float(diverged.statistic),
                "low": float(interval.low),
                "high": float(interval.high),
            }
        )
    return pd.DataFrame(rows)


def optimism(
    trials: pd.DataFrame, replicates: pd.DataFrame, confidence: float = 0.95
) -> pd.DataFrame:
    """Measures by how much the winning trial looked better: tuned score less replicated mean.

    The winner was chosen for its score, chance included; the replicates train it again without a
    choice. Positive is flattering, for losses too.

    Args:
        trials: As for `winners`.
        replicates: strategy, search, objective, objective_metric.
        confidence: Of the t-interval, which knows the spread of the replicates only.

    Returns:
        A row per strategy and search of `trials`: strategy, search, trial (Int64, the winner),
        tuned (its objective), replicates (with an objective), missing (without one; the mean of
        the others flatters), replicated (mean), optimism, low, high (NaN for fewer than two).

    Raises:
        RequestError: A column is missing, or the objectives are of different metrics.

    Example:
        >>> tuned = pd.DataFrame({"trial": [0, 1], "objective": [0.89, 0.90], "search": 0})
        >>> tuned = tuned.assign(strategy="cosine", stop_reason="completed")
        >>> tuned = tuned.assign(objective_metric="val/accuracy")
        >>> optimism(tuned, tuned.assign(objective=0.895))["optimism"].round(4).to_list()
        [0.005]
    """
    columns = ["strategy", "search", "objective", "objective_metric"]
    require_columns("replicates", replicates, *columns)
    scores = pd.concat([trials[columns], replicates[columns]])
    sign = 1 if ranking.is_maximised(scores) else -1
    rows = []
    for winner in _winner_of_each(trials):
        strategy, search = winner["strategy"], winner["search"]
        own = (replicates["strategy"] == strategy) & (replicates["search"] == search)
        again = finite(replicates["objective"][own])
        gaps = sign * (winner["objective"] - again.dropna().to_numpy(dtype=np.float64))
        low, high = t_interval(gaps, confidence)
        rows.append(
            {
                "strategy": strategy,
                "search": search,
                "trial": winner["trial"],
                "tuned": winner["objective"],
                "replicates": len(gaps),
                "missing": int(again.isna().sum()),
                "replicated": again.mean(),
                "optimism": gaps.mean() if len(gaps) else np.nan,
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(rows).astype({"trial": "Int64"})


def at_edge(trials: pd.DataFrame, spaces: Spaces) -> pd.DataFrame:
    """Finds winners at the edge of their search space, or of what was tried of it.

    A better value may lie beyond. Trials without an objective count as tried: what diverged shows
    where the edge is.

    `position = (value - low) / (high - low)`, of logarithms on a logarithmic scale.

    Args:
        trials: As for `winners`, and the parameters that `spaces` names.
        spaces: Strategy -> key -> (low, high, whether on a logarithmic scale); every strategy
            of `trials`, numeric parameters only. What is not searched has an empty mapping.

    Returns:
        A row per strategy, search and parameter: strategy, search, trial (Int64, the winner),
        parameter, value, low, high, log, position (0 at low, 1 at high, on the scale of the
        search), tried_low and tried_high (the ends of what the search has tried), near_end
        (boolean: within 5 % of an end of the space, or outside; <NA> without a winner, without a
        value, or where low equals high), outermost (boolean: none of at least three values that
        were tried is smaller, or none larger; <NA> as above), at_edge (boolean: one of the two).

    Raises:
        RequestError: A column or a strategy is missing.

    Example:
        >>> trials = pd.DataFrame({"strategy": ["cosine"], "search": 0, "trial": 0})
        >>> trials = trials.assign(objective=0.9, stop_reason="completed", rate=0.0099)
        >>> trials = trials.assign(objective_metric="val/accuracy")
        >>> spaces = {"cosine": {"rate": (0.0001, 0.01, True)}}
        >>> at_edge(trials, spaces)["at_edge"].to_list()
        [True]
    """
    strategies = trials["strategy"].unique().tolist()
    require_known("strategy", strategies, list(spaces))
    searched = {key for strategy in strategies for key in spaces[strategy]}
    require_columns("trials", trials, *sorted(searched))
    rows = [
        (winner["strategy"], winner["search"], winner["trial"], key, winner[key], *space)
        for winner in _winner_of_each(trials)
        for key, space in spaces[str(winner["strategy"])].items()
    ]
    columns = ["strategy", "search", "trial", "parameter", "value", "low", "high", "log"]
    frame = pd.DataFrame(rows, columns=columns).astype({"trial": "Int64"})
    frame["value"] = finite(frame["value"])
    tried = [
        finite(own[key]).dropna()
        for strategy, search, key in zip(
            frame["strategy"], frame["search"], frame["parameter"], strict=True
        )
        for own in [trials[(trials["strategy"] == strategy) & (trials["search"] == search)]]
    ]
    for name, end in (("tried_low", "min"), ("tried_high", "max")):
        frame[name] = pd.Series([getattr(values, end)() for values in tried], dtype="float64")
    scales = zip(*(frame[name] for name in columns[4:8]), strict=True)
    position = pd.Series([_position(*scale) for scale in scales], dtype="float64")
    near = (position < EDGE) | (position > 1 - EDGE)
    few = pd.Series([values.nunique() < _FEW for values in tried], dtype="bool")
    ends = frame["value"].eq(frame["tried_low"]) | frame["value"].eq(frame["tried_high"])
    near, outermost = (
        found.astype("boolean").mask(position.isna()) for found in (near, ends & ~few)
    )
    return frame.assign(
        position=position, near_end=near, outermost=outermost, at_edge=near | outermost
    )


def _position(value: float, low: float, high: float, log: bool) -> float:
    """Returns where in a range a value lies, from 0 to 1; NaN without a value or a width."""
    if log:
        value, low, high = np.log([value, low, high])
    return (value - low) / (high - low) if high > low else np.nan


def _winner_of_each(trials: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """Returns a row per strategy and search in the order of appearance, NaN where nothing won."""
    searches = trials[["strategy", "search"]].drop_duplicates()
    best = searches.merge(winners(trials), on=["strategy", "search"], how="left")
    return best.to_dict("records")
