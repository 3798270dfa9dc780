"""Which trial is the best, why, and which others may be as good."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fmnist_lab import report, results, statistics
from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.foundation import wording
from fmnist_lab.metrics import is_maximised
from fmnist_lab.report import cautions, sentences
from fmnist_lab.report.evidence import Evidence, ran_to_the_end, require_one_objective
from fmnist_lab.statistics import MIN_PAIRS, Verdict

BY = ("val/accuracy", "val/loss", "test/accuracy", "test/loss")
NAMED = 6  # runners-up that are listed by name
_DIGITS = 6  # of a mean: a single image of 10,000 is the fourth
_MARGINS = {"test_accuracy": 0.002, "test_loss": 0.01}  # differences below do not matter


@dataclass(frozen=True)
class Choice:
    """A run, and what is said about it in public."""

    place: Path  # of the sweep or multirun
    trial: pd.Series  # its row of `results.trials` or `results.replicates`
    why: str  # a sentence
    noise: str  # how sure that is, and which others may be as good
    warnings: Sequence[str]
    replicates: dict[str, Any] | None  # of its strategy: means, intervals


def choose(
    sweep: str | Path | None,
    strategy: str | None = None,
    by: str | None = None,
    stopping: str | None = None,
    *,
    model: bool = False,
) -> Choice:
    """Chooses the best trial of a sweep.

    For its configuration, a tuning trial: where winners were trained again with fresh seeds these
    decide between strategies, as in the report; else the objective of the trials that ended by
    themselves does. For its model, a replicate where there are some: the first seed of the
    strategy with the best mean objective. The test set does not choose a model, so that the
    model's test accuracy is not the largest of several.

    Args:
        sweep: A sweep or multirun, its name or its folder; None: the latest.
        strategy: Choose among this one's trials.
        by: Choose a configuration by this metric, one of `BY`.
        stopping: Choose among trials with this early stopping, where it differs.
        model: Choose a model, not a configuration.

    Raises:
        RequestError: There is nothing to choose from, or no such strategy or metric.
    """
    place = sweep if isinstance(sweep, Path) else results.find(sweep)
    evidence = report.gather(place, results.trials(results.ended(place)), stopping)
    trials, replicates = evidence.trials, evidence.replicates
    whole = trials[ran_to_the_end(trials) & trials["objective"].notna()]
    models = replicates[ran_to_the_end(replicates)] if model else replicates.iloc[:0]
    if whole.empty and models.empty:
        got = Phrase(f"{wording.count(len(trials), 'trial')}, none of them such")
        raise RequestError(str(place), "hold a trial that was trained to its end", got)
    known = list(dict.fromkeys([*whole["strategy"], *models["strategy"]]))
    if strategy is not None and strategy not in known:
        raise RequestError("--strategy", f"be one of {', '.join(known)}", strategy)
    tested = replicates.dropna(subset="test_accuracy")["strategy"]
    # Replicates decide where two strategies have some, or the one that is asked for.
    is_tested = strategy in set(tested) if strategy else tested.nunique() > 1
    metric = by or ("test/accuracy" if is_tested else evidence.metric)
    if metric not in BY:
        raise RequestError("--by", f"be one of {', '.join(BY)}", metric)
    warnings = cautions.grave(evidence)
    if evidence.is_running or len(replicates) < (evidence.setup.planned_replicates or 0):
        warnings.append(f"The sweep has not ended: {sentences.progress(evidence)}")
    if (models["strategy"] == strategy if strategy else models["strategy"].notna()).any():
        trial, why, noise = _first_replicate(replicates, strategy)
    elif metric.startswith("test/") and not model:
        trial, why, noise = _confirmed(evidence, whole, metric, strategy)
    else:
        trial, why, noise = _tuned(evidence, whole, evidence.metric if model else metric, strategy)
    again = _summary(evidence, str(trial["strategy"]))
    return Choice(place, trial, why, noise, warnings, again)


def _first_replicate(replicates: pd.DataFrame, strategy: str | None) -> tuple[pd.Series, str, str]:
    """Returns the first seed of the strategy with the best mean objective.

    A strategy of which a replicate diverged comes last. The best seed would be chosen by chance.
    """
    require_one_objective(replicates)
    metric = str(replicates["objective_metric"].iloc[0])
    own = replicates if strategy is None else replicates[replicates["strategy"] == strategy]
    means = own.groupby("strategy")["objective"].agg(lambda values: values.mean(skipna=False))
    # A strategy with nothing that ended by itself has no model.
    means = means[means.index.isin(own["strategy"][ran_to_the_end(own)])]
    name = str(means.sort_values(ascending=not is_maximised(metric), kind="stable").index[0])
    own = own[own["strategy"] == name]
    why = (
        f"{name} has the best {metric} in the mean over its "
        f"{wording.count(len(own), 'replicate')}, "
        f"{wording.number(means[name])}; its model is the one with the first seed."
    )
    return own[ran_to_the_end(own)].sort_values("seed").iloc[0], why, ""


def _confirmed(
    evidence: Evidence, whole: pd.DataFrame, metric: str, strategy: str | None
) -> tuple[pd.Series, str, str]:
    """The winner of the strategy whose replicates are best on the test set."""
    value = metric.replace("/", "_")
    replicates = evidence.replicates
    tested = list(replicates.dropna(subset=value)["strategy"].unique())
    if not tested or (strategy and strategy not in tested):
        rule = "be val/accuracy or val/loss where no replicates have seen the test set"
        raise RequestError("--by", rule, metric)
    verdicts = pd.DataFrame()
    if replicates["strategy"].nunique() > 1:
        verdicts = statistics.compare_to_best(
            replicates, value, evidence.pair, margin=_MARGINS[value]
        )
    ahead = str(verdicts["opponent"].iloc[0]) if len(verdicts) else tested[0]
    chosen = strategy or ahead
    trial = _repeated(evidence, whole, chosen)
    mean = wording.number(replicates[replicates["strategy"] == chosen][value].mean())
    units = sentences.units(int((replicates["strategy"] == chosen).sum()), "seed")
    why = f"{chosen} has the best mean {metric} of its replicates, {mean} over {units}."
    if strategy:
        why = f"You asked for {chosen}: its replicates have a mean {metric} of {mean}."
    why += f" Trial {trial['trial']} is the configuration that they repeat."
    return trial, why, _rivals(verdicts, ahead, chosen, value, evidence.pair)


def _repeated(evidence: Evidence, whole: pd.DataFrame, strategy: str) -> pd.Series:
    """The tuning trial that a strategy's replicates train again."""
    own = whole[whole["strategy"] == strategy]
    if own.empty:
        raise RequestError("--strategy", "have a trial that was trained to its end", strategy)
    winners = evidence.setup.manifest.get("winners", {})
    number = winners.get(strategy, {}).get("trial")
    same = own[own["trial"] == number]
    # Each of several searches has a winner, and numbers of its own.
    is_one = len(same) == 1 and own["search"].nunique() == 1
    return same.iloc[0] if is_one else _best(own)


def _rivals(verdicts: pd.DataFrame, ahead: str, chosen: str, value: str, pair: str) -> str:
    """Which strategies are not shown to be worse."""
    if chosen != ahead:
        row = verdicts[verdicts["strategy"] == chosen].iloc[0]
        return f"Ahead of it is {ahead}: {_difference(row, value, pair)}."
    if verdicts.empty:
        return "No other strategy has replicates."
    pairs = int(verdicts["pairs"].max())
    rivals = verdicts[verdicts["verdict"] != Verdict.WORSE]
    if pairs < MIN_PAIRS:
        enough, here = sentences.units(MIN_PAIRS, pair), sentences.units(pairs, pair)
        return f"A verdict takes {enough}, here {here}: any of the others may be as good."
    if rivals.empty:
        return f"All others are worse, with {sentences.units(pairs, pair)} each."
    close = [
        f"{row['strategy']} ({_difference(row, value, pair)})" for row in sentences.records(rivals)
    ]
    return f"Not shown to be worse: {_listed(close)}."


def _difference(row: Any, value: str, pair: str) -> str:
    """`-0.12 points, interval -0.40 to +0.16, equivalent`; the interval is joint."""
    interval = sentences.no_interval(int(row["pairs"]), pair)
    if pd.isna(row["difference"]):
        return interval
    scale, unit = (100, " points") if value == "test_accuracy" else (1, "")
    if not pd.isna(row["low"]):
        low, high = (f"{scale * row[end]:+.2f}" for end in ("low", "high"))
        interval = f"interval {low} to {high}"
    return f"{scale * row['difference']:+.2f}{unit}, {interval}, {row['verdict']}"


def _summary(evidence: Evidence, strategy: str) -> dict[str, Any] | None:
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
            summary[name] = {
                key: round(float(number), _DIGITS) if math.isfinite(number) else None
                for key, number in numbers.items()
            }
    return summary


def _tuned(
    evidence: Evidence, whole: pd.DataFrame, metric: str, strategy: str | None
) -> tuple[pd.Series, str, str]:
    """The trial whose delivered weights have the best value of a validation metric."""
    scored = whole.assign(objective=_delivered(evidence, whole, metric), objective_metric=metric)
    own = scored if strategy is None else scored[scored["strategy"] == strategy]
    best = _best(own)
    among = f"{wording.count(len(own), 'trial')} trained to the end"
    of = f" of strategy {strategy}" if strategy else ""
    why = (
        f"Trial {best['trial']} ({best['strategy']}) has the best {metric}, "
        f"{wording.number(best['objective'])}, of {among}{of}."
    )
    trial = whole[whole["folder"] == best["folder"]].iloc[0]
    return trial, why, _spread(evidence, scored, best, metric)


def _delivered(evidence: Evidence, trials: pd.DataFrame, metric: str) -> pd.Series:
    """The metric of the weights that each trial delivers; NaN where it was not measured."""
    if metric == evidence.metric:
        return trials["objective"]
    at = evidence.curves.set_index(["folder", "epoch"])[metric]
    keys = zip(trials["folder"], trials["delivered_epoch"], strict=True)
    return pd.Series([at.get(key, math.nan) for key in keys], trials.index, dtype="float64")


def _spread(evidence: Evidence, scored: pd.DataFrame, best: pd.Series, metric: str) -> str:
    """What one seed is worth."""
    sentence, error = "One seed decides nothing", None
    rivals = statistics.winners(scored)
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
    close = [
        f"{row['strategy']} #{row['trial']} {wording.number(row['objective'])}"
        for row in sentences.records(statistics.rank(rivals))
    ]
    more = f" {'Within that' if error else 'Next'}: {_listed(close)}." if close else ""
    return f"{sentence}.{more}"


def _best(trials: pd.DataFrame) -> pd.Series:
    """The best trial by objective; of equal ones the first."""
    best = statistics.best(statistics.winners(trials).sort_values("trial", kind="stable"))
    assert best is not None  # they were trained to the end
    return best


def _listed(names: Sequence[str]) -> str:
    """`a, b and 3 more`."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
