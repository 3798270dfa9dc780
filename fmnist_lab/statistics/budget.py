"""What a budget buys: the best of n trials, a target within n epochs, epochs not trained."""

from typing import Any

import numpy as np
import pandas as pd
import scipy

from fmnist_lab import metrics
from fmnist_lab.errors import RequestError
from fmnist_lab.statistics import ranking
from fmnist_lab.statistics.joint import Floats
from fmnist_lab.statistics.ranking import finite, require_columns, require_unique
from fmnist_lab.trial import LOST, WHOLE, StopReason

# A run that ended like this will never reach what it has not reached.
_FOR_GOOD = (*LOST, StopReason.EARLY_STOPPED)


def expected_best(trials: pd.DataFrame, worst: float | None = None) -> pd.DataFrame:
    """Estimates the best objective of n trials, for every n up to as many as there are.

    The unbiased estimator, the mean over all subsets of n of the N trials:
    E_n = sum over i of v_(i) C(i-1, n-1) / C(N, n), v_(1) the worst (Tang et al. 2020,
    arXiv 2004.13705). Only for trials that do not learn from each other, random or quasi-random:
    a TPE trace gets better by itself. Several searches of a strategy are one pool.

    A trial without an objective (diverged or failed, say) cost its budget and counts as
    `worst`. Interrupted trials say nothing about a strategy; they are left out, and counted.
    Trials that were pruned count with the objective they have.

    Args:
        trials: strategy, objective, objective_metric, stop_reason.
        worst: What a trial without an objective is worth. By default the worst there is: 0 for
            an accuracy, infinity for a loss, which makes E_n infinite as long as n trials can
            all have failed. A guess over ten classes: 0.1, ln 10.

    Returns:
        A row per strategy and n: strategy, n, expected, trials (N), without_objective (how many
        of those), interrupted (how many more; a strategy with no others has one row, NaN).

    Example:
        >>> trials = pd.DataFrame({"strategy": "cosine", "objective": [0.88, 0.90]})
        >>> trials = trials.assign(objective_metric="val/accuracy", stop_reason="completed")
        >>> expected_best(trials)["expected"].round(3).to_list()
        [0.89, 0.9]
    """
    require_columns("trials", trials, "strategy", "objective", "objective_metric", "stop_reason")
    maximised = ranking.is_maximised(trials)
    if worst is None:
        worst = 0.0 if maximised else np.inf
    sign = 1 if maximised else -1
    parts = []
    for strategy, group in trials.groupby("strategy", sort=False):
        counted = group[group["stop_reason"] != StopReason.INTERRUPTED]
        scores = finite(counted["objective"])
        expected = sign * _expected_maxima(sign * scores.fillna(worst).to_numpy())
        budgets = np.arange(1, max(len(counted), 1) + 1)
        part = {
            "strategy": strategy,
            "n": budgets,
            "expected": expected if len(counted) else np.nan,
            "trials": len(counted),
            "without_objective": int(scores.isna().sum()),
            "interrupted": len(group) - len(counted),
        }
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


def _expected_maxima(scores: Floats) -> Floats:
    """Mean maximum over all subsets of 1, 2, ... N scores; `(N,)`."""
    total = len(scores)
    rank, n = np.arange(1, total + 1), np.arange(1, total + 1)[:, None]
    weights = np.exp(_log_choose(rank - 1, n - 1) - _log_choose(total, n))  # (n, rank)
    terms = np.where(weights > 0, np.sort(scores), 0) * weights  # not 0 * inf
    return np.asarray(terms.sum(axis=1))


def _log_choose(n: Any, k: Any) -> Any:
    # infinite for whole numbers below 0, so that C(n, k > n) is 0
    log_factorial = [scipy.special.gammaln(value + 1) for value in (n, k, n - k)]
    return log_factorial[0] - log_factorial[1] - log_factorial[2]


def epochs_to_target(
    curves: pd.DataFrame, trials: pd.DataFrame, target: float, metric: str = "val/accuracy"
) -> pd.DataFrame:
    """Counts the epochs until a metric first reaches a target; runs that never do are censored.

    A run reaches the target in the first epoch whose metric is at least (a loss: at most)
    `target`; epochs are counted from 1. The median is Kaplan and Meier's. Runs that were still
    training when they ended (completed, pruned, interrupted) are censored at their last epoch:
    the estimate takes them for runs like the rest. Runs that ended for good (diverged, failed,
    early_stopped) never reach it, and are censored at the longest run's last epoch: taking them
    for runs like the rest would credit a strategy for ending early. So are diverged and failed
    runs that left no curve; others without one say nothing, and are only counted.

    Args:
        curves: epoch (from 0), `metric`, and of strategy, search, trial, seed the columns that
            both frames have; these tell runs apart.
        trials: The runs (trials or replicates), a row each, with stop_reason.
        target: In the unit of the metric.
        metric: The column; an accuracy is maximised, a loss minimised.

    Returns:
        A row per strategy of `trials`: strategy, trials, reached, censored (not reached),
        without_curve (how many of the trials), median_epochs (float64; NaN where fewer than
        half reach the target, or the curve of survivors ends before).

    Example:
        >>> curves = pd.DataFrame({"trial": [0, 0, 1, 1], "epoch": [0, 1, 0, 1]})
        >>> curves = curves.assign(strategy="cosine", **{"val/accuracy": [0.85, 0.90, 0.88, 0.89]})
        >>> trials = pd.DataFrame({"trial": [0, 1]})
        >>> trials = trials.assign(strategy="cosine", stop_reason="completed")
        >>> epochs_to_target(curves, trials, target=0.88)["median_epochs"].to_list()
        [1.0]
    """
    maximised = metrics.is_maximised(metric, "metric")
    require_columns("curves", curves, "strategy", "epoch", metric)
    require_columns("trials", trials, "strategy", "stop_reason")
    shared = curves.columns.intersection(trials.columns)
    keys = [key for key in ("strategy", "search", "trial", "seed") if key in shared]
    require_unique("trials", trials, *keys)
    if strangers := set(curves.groupby(keys).groups) - set(trials.groupby(keys).groups):
        got = f"none for {min(map(str, strangers))}"
        raise RequestError(f"`trials` must have a row for every curve, got {got}.")
    sign = 1 if maximised else -1
    hit = sign * curves[metric] >= sign * target - ranking.TIE
    counted = curves.assign(epoch=curves["epoch"] + 1)
    runs = trials[[*keys, "stop_reason"]].set_index(keys)
    runs = runs.assign(
        last=counted.groupby(keys)["epoch"].max(), reached=counted[hit].groupby(keys)["epoch"].min()
    )
    horizon = runs["last"].max()
    rows = [
        {"strategy": strategy} | _time_to_event(group, horizon)
        for strategy, group in runs.groupby("strategy", sort=False)
    ]
    return pd.DataFrame(rows)


def _time_to_event(runs: pd.DataFrame, horizon: float) -> dict[str, float]:
    """Counts and median of one strategy's runs."""
    reached = runs["reached"].dropna()
    rest = runs[runs["reached"].isna()]
    over = rest["stop_reason"].isin(_FOR_GOOD)
    censored = rest["last"].mask(over, horizon)
    times = scipy.stats.CensoredData(uncensored=reached, right=censored.dropna())
    median = np.nan
    if len(reached):
        survival = scipy.stats.ecdf(times).sf
        below = survival.quantiles[survival.probabilities <= 0.5 + 1e-9]  # a product, rounded
        median = below[0] if len(below) else np.nan
    return {
        "trials": len(runs),
        "reached": len(reached),
        "censored": len(rest),
        "without_curve": int(runs["last"].isna().sum()),
        "median_epochs": float(median),
    }


def saved_epochs(runs: pd.DataFrame) -> pd.DataFrame:
    """Compares epochs trained with the horizon, per strategy: `saved = 1 - trained / horizon`.

    Only runs that ended by themselves count, completed or early_stopped: what was lost or pruned
    saved nothing.

    Args:
        runs: Trials or replicates, or both: strategy, stop_reason, epochs_trained, and horizon,
            the epochs that the run would have trained without early stopping.

    Returns:
        A row per strategy, in the order of appearance: strategy, runs (that count), others (how
        many do not), early_stopped (of the runs), epochs (trained, of all runs together), horizon
        (what they would have trained), saved (share of the horizon, float64; NaN without runs),
        median_epochs (float64, trained per run).

    Raises:
        RequestError: A column is missing.

    Example:
        >>> runs = pd.DataFrame({"strategy": ["cosine"], "stop_reason": ["early_stopped"]})
        >>> saved_epochs(runs.assign(epochs_trained=15, horizon=20))["saved"].to_list()
        [0.25]
    """
    require_columns("runs", runs, "strategy", "stop_reason", "epochs_trained", "horizon")
    ended = runs["stop_reason"].isin(WHOLE)
    counted = runs[["strategy"]].assign(
        runs=ended,
        others=~ended,
        early_stopped=runs["stop_reason"] == StopReason.EARLY_STOPPED,
        epochs=runs["epochs_trained"].where(ended, 0),
        horizon=runs["horizon"].where(ended, 0),
    )
    sums = counted.groupby("strategy", sort=False).sum().astype("int64")
    epochs = runs["epochs_trained"].where(ended).groupby(runs["strategy"]).median()
    saved = 1 - sums["epochs"] / sums["horizon"].where(sums["horizon"] > 0)
    return sums.assign(saved=saved, median_epochs=epochs).reset_index()
