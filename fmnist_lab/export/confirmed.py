"""The winner of the strategy whose replicates are best, and which others may be as good."""

import math
from typing import Any

import numpy as np
import pandas as pd

from fmnist_lab import statistics
from fmnist_lab.errors import RequestError
from fmnist_lab.export.tuned import first, listed
from fmnist_lab.foundation import wording
from fmnist_lab.report import sentences
from fmnist_lab.report.evidence import Evidence
from fmnist_lab.statistics import MIN_PAIRS, Verdict

_DIGITS = 6  # of a mean: a single image of 10,000 is the fourth
_MARGINS = {"test_accuracy": 0.002, "test_loss": 0.01}  # differences below do not matter


def choose(
    evidence: Evidence, whole: pd.DataFrame, metric: str, strategy: str | None
) -> tuple[pd.Series, str, str]:
    """The winner of the strategy whose replicates are best on the test set."""
    value = metric.replace("/", "_")
    replicates = evidence.replicates
    tested = list(replicates.dropna(subset=value)["strategy"].unique())
    if not tested or (strategy and strategy not in tested):
        raise RequestError(
            f"`--by` must be val/accuracy or val/loss where no replicates have seen the test set, "
            f"got {metric!r}."
        )
    verdicts = pd.DataFrame()
    if replicates["strategy"].nunique() > 1:
        verdicts = statistics.compare_to_best(
            replicates, value, evidence.pair, margin=_MARGINS[value]
        )
    first = str(verdicts["opponent"].iloc[0]) if len(verdicts) else tested[0]
    chosen = strategy or first
    trial = _repeated(evidence, whole, chosen)
    mean = replicates[replicates["strategy"] == chosen][value].mean()
    units = sentences.units(int((replicates["strategy"] == chosen).sum()), "seed")
    why = (
        f"{chosen} has the best mean {metric} of its replicates, "
        f"{wording.number(mean)} over {units}."
    )
    if strategy:
        why = (
            f"You asked for {chosen}: its replicates have a mean {metric} of "
            f"{wording.number(mean)}."
        )
    why += f" Trial {trial['trial']} is the configuration that they repeat."
    return trial, why, _rivals(verdicts, first, chosen, value, evidence.pair)


def _repeated(evidence: Evidence, whole: pd.DataFrame, strategy: str) -> pd.Series:
    """The tuning trial that a strategy's replicates train again."""
    own = whole[whole["strategy"] == strategy]
    if own.empty:
        raise RequestError(
            f"`--strategy` must have a trial that was trained to its end, got {strategy!r}."
        )
    winners = evidence.setup.manifest.get("winners", {})
    number = winners.get(strategy, {}).get("trial")
    same = own[own["trial"] == number]
    # Each of several searches has a winner, and numbers of its own.
    is_one = len(same) == 1 and own["search"].nunique() == 1
    return same.iloc[0] if is_one else first(statistics.winners(own), evidence.metric)


def _rivals(verdicts: pd.DataFrame, first: str, chosen: str, value: str, pair: str) -> str:
    """Which strategies are not shown to be worse."""
    if chosen != first:
        row = verdicts[verdicts["strategy"] == chosen].iloc[0]
        return f"Ahead of it is {first}: {_told(row, value, pair)}."
    if verdicts.empty:
        return "No other strategy has replicates."
    pairs = int(verdicts["pairs"].max())
    rivals = verdicts[verdicts["verdict"] != Verdict.WORSE]
    if pairs < MIN_PAIRS:
        enough, here = sentences.units(MIN_PAIRS, pair), sentences.units(pairs, pair)
        return f"A verdict takes {enough}, here {here}: any of the others may be as good."
    if rivals.empty:
        return f"All others are worse, with {sentences.units(pairs, pair)} each."
    close = [f"{row['strategy']} ({_told(row, value, pair)})" for row in sentences.records(rivals)]
    return f"Not shown to be worse: {listed(close)}."


def _told(row: Any, value: str, pair: str) -> str:
    """`-0.12 points, interval -0.40 to +0.16, equivalent`; the interval is joint."""
    interval = sentences.no_interval(int(row["pairs"]), pair)
    if pd.isna(row["difference"]):
        return interval
    scale, unit = (100, " points") if value == "test_accuracy" else (1, "")
    if not pd.isna(row["low"]):
        low, high = (f"{scale * row[end]:+.2f}" for end in ("low", "high"))
        interval = f"interval {low} to {high}"
    return f"{scale * row['difference']:+.2f}{unit}, {interval}, {row['verdict']}"


def summary(evidence: Evidence, strategy: str) -> dict[str, Any] | None:
    """Means and 95 % t-intervals over the replicates of a strategy."""
    own = evidence.replicates[evidence.replicates["strategy"] == strategy]
    if own.empty:
        return None
    summary: dict[str, Any] = {
        "seeds": [int(seed) for seed in own["seed"]],
        "without_value": int(own["test_accuracy"].isna().sum()),
    }
    for name in ("objective", "test_accuracy", "test_loss"):
        values = own[name].dropna()
        if own["search"].nunique() > 1:  # each counts as one value, its mean
            values = values.groupby(own["search"]).mean()
        if len(values):
            low, high = statistics.t_interval(values.to_numpy(dtype=np.float64))
            numbers = {"mean": values.mean(), "low": low, "high": high}
            summary[name] = {key: _number(number) for key, number in numbers.items()}
    return summary


def _number(value: float) -> float | None:
    return round(float(value), _DIGITS) if math.isfinite(value) else None
