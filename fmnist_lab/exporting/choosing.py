"""Which trial is the best, why, and which others may be as good."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fmnist_lab import comparison, report, results
from fmnist_lab.comparison import MIN_PAIRS, Verdict
from fmnist_lab.errors import RequestError
from fmnist_lab.live import words
from fmnist_lab.report import cautions, sentences
from fmnist_lab.report.evidence import Evidence, ran_to_the_end

BY = ("val/accuracy", "val/loss", "test/accuracy", "test/loss")
_MARGINS = {"test_accuracy": 0.002, "test_loss": 0.01}  # differences below do not matter
_NAMED = 6  # runners-up that are listed by name


@dataclass(frozen=True)
class Choice:
    """A tuning trial, and what is said about it in public."""

    place: Path  # of the sweep or multirun
    trial: pd.Series  # its row of `results.trials`
    why: str  # a sentence
    noise: str  # how sure that is, and who may be as good
    warnings: Sequence[str] = ()
    replicates: dict[str, Any] | None = field(default=None)  # of its strategy: means, intervals


def choose(
    name: str | None,
    strategy: str | None = None,
    by: str | None = None,
    stopping: str | None = None,
) -> Choice:
    """The trial to take home.

    Where winners were trained again with fresh seeds these decide between strategies, as in the
    report; else the objective of the trials that ended by themselves does.

    Args:
        name: A sweep or multirun; None: the latest.
        strategy: Choose among this one's trials.
        by: Choose by this metric, one of `BY`.
        stopping: Choose among trials with this early stopping, where it differs.

    Raises:
        RequestError: There is nothing to choose from, or no such strategy or metric.
    """
    place = results.find(name)
    found, warnings = _real(results.trials(results.ended(place)))
    evidence = report.gather(place, found, stopping)
    whole = evidence.trials[ran_to_the_end(evidence.trials) & evidence.trials["objective"].notna()]
    if whole.empty:
        raise RequestError(
            f"`{place}` must hold a trial that was trained to its end, got "
            f"{words.count(len(evidence.trials), 'trial')}, none of them such."
        )
    if strategy is not None and strategy not in (known := list(whole["strategy"].unique())):
        raise RequestError(f"`--strategy` must be one of {', '.join(known)}, got {strategy!r}.")
    metric = by or ("test/accuracy" if _tested(evidence, strategy) else evidence.metric)
    if metric not in BY:
        raise RequestError(f"`--by` must be one of {', '.join(BY)}, got {metric!r}.")
    pick = _by_replicates if metric.startswith("test/") else _by_trials
    trial, why, noise = pick(evidence, whole, metric, strategy)
    warnings += cautions.openings(evidence.setup.manifests)
    return Choice(place, trial, why, noise, [*warnings, *_mixed(whole), *_running(evidence)],
                  _replicated(evidence, str(trial["strategy"])))  # fmt: skip


def _real(trials: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The trials on real images; those on drawn ones only where there are no others."""
    drawn = trials["dataset"] == "synthetic"
    if drawn.any() and drawn.all():
        return trials, ["SYNTHETIC images: this says nothing about Fashion-MNIST."]
    if not drawn.any():
        return trials, []
    left_out = words.count(int(drawn.sum()), "trial")
    return trials[~drawn], [
        f"{left_out} on synthetic images left out: not comparable with real ones."
    ]


def _mixed(trials: pd.DataFrame) -> list[str]:
    """Objectives measured on different images cannot be ranked without saying so."""
    asked = [key for key in map(str, trials) if key.startswith("data.") and key != "data.dir"]
    varied = [key for key in asked if trials[key].nunique(dropna=False) > 1]
    if not varied:
        return []
    return [f"The trials differ in {', '.join(varied)}: their objectives are of different images."]


def _running(evidence: Evidence) -> list[str]:
    replicates = (evidence.setup.planned_replicates or 0) - len(evidence.replicates)
    if not evidence.is_running and replicates <= 0:
        return []
    return [f"The sweep has not ended: {sentences.progress(evidence)}"]


def _tested(evidence: Evidence, strategy: str | None) -> bool:
    """Whether replicates can decide: two strategies have some, or the one that is asked for."""
    tested = evidence.replicates.dropna(subset="test_accuracy")["strategy"]
    return strategy in set(tested) if strategy else tested.nunique() > 1


def _by_trials(
    evidence: Evidence, whole: pd.DataFrame, metric: str, strategy: str | None
) -> tuple[pd.Series, str, str]:
    """The trial whose delivered weights have the best value of a validation metric."""
    scored = whole.assign(objective=_delivered(evidence, whole, metric), objective_metric=metric)
    own = scored if strategy is None else scored[scored["strategy"] == strategy]
    winners = comparison.winners(own)
    best = _first(winners, metric)
    among = f"{words.count(len(own), 'trial')} trained to the end"
    of = f" of strategy {strategy}" if strategy else ""
    why = (
        f"Trial {best['trial']} ({best['strategy']}) has the best {metric}, "
        f"{words.number(best['objective'])}, of {among}{of}."
    )
    trial = whole[whole["folder"] == best["folder"]].iloc[0]
    return trial, why, _luck(evidence, scored, best, metric)


def _delivered(evidence: Evidence, trials: pd.DataFrame, metric: str) -> pd.Series:
    """The metric of the weights that each trial delivers; NaN where it was not measured."""
    if metric == evidence.metric:
        return trials["objective"]
    at = evidence.curves.set_index(["folder", "epoch"])[metric]
    keys = zip(trials["folder"], trials["delivered_epoch"], strict=True)
    return pd.Series([at.get(key, math.nan) for key in keys], trials.index, dtype="float64")


def _luck(evidence: Evidence, scored: pd.DataFrame, best: pd.Series, metric: str) -> str:
    """What one seed is worth."""
    sentence = "One seed decides nothing"
    rivals = comparison.winners(scored)
    rivals = rivals[rivals["strategy"] != best["strategy"]]
    validated = evidence.setup.config.get("data", {}).get("val_size")
    if metric == "val/accuracy" and validated:
        # Two shares of one set of images; where their errors coincide the difference is surer.
        error = math.sqrt(best["objective"] * (1 - best["objective"]) / validated)
        rivals = rivals[best["objective"] - rivals["objective"] <= error]
        sentence += (
            f": {validated} images alone leave {100 * error:.2f} points to chance (one standard "
            "error), and seeds add to that"
        )
    ranked = rivals.sort_values("objective", ascending=metric == "val/loss", kind="stable")
    close = [
        f"{row['strategy']} #{row['trial']} {words.number(row['objective'])}"
        for row in ranked.to_dict("records")
    ]
    if close:
        kind = "Within that" if "chance" in sentence else "Next"
        return f"{sentence}. {kind}: {_listed(close)}."
    return f"{sentence}."


def _by_replicates(
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
        verdicts = comparison.compare_to_best(
            replicates, value, evidence.pair, margin=_MARGINS[value]
        )
    first = str(verdicts["opponent"].iloc[0]) if len(verdicts) else tested[0]
    chosen = strategy or first
    trial = _repeated(evidence, whole, chosen)
    mean = replicates[replicates["strategy"] == chosen][value].mean()
    units = sentences.units(int((replicates["strategy"] == chosen).sum()), "seed")
    why = (
        f"{chosen} has the best mean {metric} of its replicates, {words.number(mean)} over {units}."
    )
    if strategy:
        why = (
            f"You asked for {chosen}: its replicates have a mean {metric} of {words.number(mean)}."
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
    return same.iloc[0] if is_one else _first(comparison.winners(own), evidence.metric)


def _rivals(verdicts: pd.DataFrame, first: str, chosen: str, value: str, pair: str) -> str:
    """Which strategies are not shown to be worse."""
    if chosen != first:
        row = verdicts[verdicts["strategy"] == chosen].iloc[0]
        return f"Ahead of it is {first}: {_told(row, value)}."
    if verdicts.empty:
        return "No other strategy has replicates."
    pairs = int(verdicts["pairs"].max())
    rivals = verdicts[verdicts["verdict"] != Verdict.WORSE]
    if pairs < MIN_PAIRS:
        few = f"{sentences.units(pairs, pair)} are too few for a verdict, it takes {MIN_PAIRS}"
        return f"{few}: any of the others may be as good."
    if rivals.empty:
        return f"All others are worse, with {sentences.units(pairs, pair)} each."
    close = [f"{row['strategy']} ({_told(row, value)})" for row in sentences.records(rivals)]
    return f"Not shown to be worse: {_listed(close)}."


def _told(row: Any, value: str) -> str:
    """`-0.12 points, 95 % interval -0.40 to +0.16, equivalent`; the interval is joint."""
    scale, unit = (100, " points") if value == "test_accuracy" else (1, "")
    low, high = (f"{scale * row[end]:+.2f}" for end in ("low", "high"))
    return f"{scale * row['difference']:+.2f}{unit}, interval {low} to {high}, {row['verdict']}"


def _replicated(evidence: Evidence, strategy: str) -> dict[str, Any] | None:
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
            low, high = comparison.t_interval(values.to_numpy(dtype=np.float64))
            numbers = {"mean": values.mean(), "low": low, "high": high}
            summary[name] = {key: _number(number) for key, number in numbers.items()}
    return summary


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _first(winners: pd.DataFrame, metric: str) -> pd.Series:
    rising = metric.endswith("loss")
    return winners.sort_values(["objective", "trial"], ascending=[rising, True]).iloc[0]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
