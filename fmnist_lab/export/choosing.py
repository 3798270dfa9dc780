"""Which trial is the best, why, and which others may be as good."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fmnist_lab import report, results, statistics
from fmnist_lab.data import OWN
from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.foundation import wording
from fmnist_lab.metrics import is_maximised
from fmnist_lab.report import cautions, sentences
from fmnist_lab.report.evidence import (
    Evidence,
    Measure,
    by_replicates,
    mean_and_interval,
    ran_to_the_end,
    require_one_objective,
)
from fmnist_lab.statistics import MIN_PAIRS, Verdict

BY = ("val/accuracy", "val/loss", "test/accuracy", "test/loss")
NAMED = 6  # runners-up that are listed by name
_DIGITS = 6  # of a mean: a single image of 10,000 is the fourth
_LOSS_MARGIN = 0.01  # differences below do not matter


@dataclass(frozen=True)
class Choice:
    """The chosen run, the reasons for the choice and its warnings."""

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
    """Chooses the best trial of a sweep, by validation images.

    Where winners were trained again with fresh seeds, their mean objective decides between
    strategies: the test accuracy of what was chosen is then not the largest of several. A
    strategy of which a replicate diverged comes last. The configuration is the tuning trial that
    the replicates repeat; the model is the replicate with the first seed, for the best seed would
    be chosen by chance. Without replicates the objective of the trials that ended by themselves
    decides.

    Args:
        sweep: A sweep or multirun, its name or its folder; None: the latest.
        strategy: Choose among this one's trials.
        by: Choose a configuration by this metric instead, one of `BY`: of validation images among
            tuning trials, of test images among replicates.
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
    again = set(replicates["strategy"][ran_to_the_end(replicates)])
    # Replicates decide where two strategies have some, or the one that is asked for.
    is_again = strategy in again if strategy else len(again) > (0 if model else 1)
    if by is not None and by not in BY:
        raise RequestError("--by", f"be one of {', '.join(BY)}", by)
    warnings = cautions.grave(evidence)
    if evidence.is_running or len(replicates) < evidence.setup.planned_replicates:
        warnings.append(f"The sweep has not ended: {sentences.progress(evidence)}")
    if (is_again and by is None) or str(by).startswith("test/"):
        trial, why, noise = _confirmed(evidence, whole, by, strategy, model=model)
    else:
        trial, why, noise = _tuned(evidence, whole, by or evidence.metric, strategy)
    return Choice(place, trial, why, noise, warnings, _summary(evidence, str(trial["strategy"])))


def _confirmed(
    evidence: Evidence, whole: pd.DataFrame, by: str | None, strategy: str | None, *, model: bool
) -> tuple[pd.Series, str, str]:
    """The winner of the strategy whose replicates are best, or the model of its first seed."""
    replicates, metric = evidence.replicates, by or evidence.metric
    value = by.replace("/", "_") if by else "objective"
    require_one_objective(replicates)
    means = by_replicates(replicates, value, maximised=is_maximised(metric))
    if means.empty or (strategy and strategy not in means.index):
        rule = "be val/accuracy or val/loss where no replicates have seen the test set"
        raise RequestError("--by", rule, metric)
    chosen = strategy or str(means.index[0])
    own = replicates[replicates["strategy"] == chosen]
    ended = ran_to_the_end(own) & own[value].notna()
    units, mean = wording.count(int(ended.sum()), "replicate"), wording.number(means[chosen])
    units += "" if ended.all() else " that ended"
    why = f"{chosen} has the best mean {metric} of its {units}, {mean}"
    if strategy:
        why = f"You asked for {chosen}: the mean {metric} of its {units} is {mean}"
    if model:
        first = own[ran_to_the_end(own)].sort_values("seed").iloc[0]
        return first, f"{why}; its model is the one with the first seed.", ""
    trial = _repeated(evidence, whole, chosen)
    why += f". Trial {trial['trial']} is the configuration that they repeat."
    why += "" if strategy or by else sentences.differing(evidence)
    verdicts, ahead = pd.DataFrame(), chosen
    if replicates["strategy"].nunique() > 1:
        margin = evidence.setup.margin if is_maximised(metric) else _LOSS_MARGIN
        verdicts = statistics.compare_to_best(
            evidence.judged, value, evidence.pair, margin, evidence.setup.alpha, **evidence.at_looks
        )
        ahead = str(verdicts["opponent"].iloc[0])
    return trial, why, _rivals(verdicts, ahead, chosen, metric, evidence.pair)


def _repeated(evidence: Evidence, whole: pd.DataFrame, strategy: str) -> pd.Series:
    """Returns the tuning trial that a strategy's replicates train again."""
    own = whole[whole["strategy"] == strategy]
    if own.empty:
        raise RequestError("--strategy", "have a trial that was trained to its end", strategy)
    winners = evidence.setup.manifest.get("winners", {})
    same = own[own["trial"] == winners.get(strategy, {}).get("trial")]
    # Each of several searches has a winner, and numbers of its own.
    is_one = len(same) == 1 and own["search"].nunique() == 1
    return same.iloc[0] if is_one else _best(own)


def _rivals(verdicts: pd.DataFrame, ahead: str, chosen: str, metric: str, pair: str) -> str:
    """Returns which strategies are not shown to be worse."""
    if chosen != ahead:
        row = verdicts[verdicts["strategy"] == chosen].iloc[0]
        return f"Ahead of it is {ahead}: {_difference(row, metric, pair)}."
    if verdicts.empty:
        return "No other strategy has replicates."
    pairs = int(verdicts["pairs"].max())
    rivals = verdicts[verdicts["verdict"] != Verdict.WORSE]
    if pairs < MIN_PAIRS:
        enough, here = sentences.units(MIN_PAIRS, pair), sentences.units(pairs, pair)
        return f"A verdict takes {enough}, here {here}: any of the others may be as good."
    if rivals.empty:
        return f"All others are worse, with {sentences.units(pairs, pair)} each."
    rows = sentences.records(rivals)
    close = [f"{row['strategy']} ({_difference(row, metric, pair)})" for row in rows]
    return f"Not shown to be worse: {_listed(close)}."


def _difference(row: Any, metric: str, pair: str) -> str:
    """`-0.12 points, interval -0.40 to +0.16, equivalent`; the interval is joint."""
    if pd.isna(row["difference"]):
        return sentences.no_interval(int(row["pairs"]), pair)
    measure = Measure() if is_maximised(metric) else Measure(unit="", scale=1)
    interval = sentences.interval(measure, pair, row)
    return f"{measure.difference(row['difference'])}{measure.unit}, {interval}, {row['verdict']}"


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
        mean, _, low, high = mean_and_interval(own, name)
        if not math.isnan(mean):
            summary[name] = {
                key: round(float(number), _DIGITS) if math.isfinite(number) else None
                for key, number in {"mean": mean, "low": low, "high": high}.items()
            }
    return summary


def _tuned(
    evidence: Evidence, whole: pd.DataFrame, metric: str, strategy: str | None
) -> tuple[pd.Series, str, str]:
    """Returns the trial whose delivered weights have the best value of a validation metric."""
    scored = whole.assign(objective=_delivered(evidence, whole, metric), objective_metric=metric)
    own = scored if strategy is None else scored[scored["strategy"] == strategy]
    best, of = _best(own), f" of strategy {strategy}" if strategy else ""
    why = (
        f"Trial {best['trial']} ({best['strategy']}) has the best {metric}, "
        f"{wording.number(best['objective'])}, of {wording.count(len(own), 'trial')} trained to "
        f"the end{of}."
    )
    trial = whole[whole["folder"] == best["folder"]].iloc[0]
    return trial, why, _spread(evidence, scored, best, metric)


def _delivered(evidence: Evidence, trials: pd.DataFrame, metric: str) -> pd.Series:
    """Returns the metric of the weights that each trial delivers; NaN where it was not measured."""
    if metric == evidence.metric:
        return trials["objective"]
    at = evidence.curves.set_index(["folder", "epoch"])[metric]
    keys = zip(trials["folder"], trials["delivered_epoch"], strict=True)
    return pd.Series([at.get(key, math.nan) for key in keys], trials.index, dtype="float64")


def _spread(evidence: Evidence, scored: pd.DataFrame, best: pd.Series, metric: str) -> str:
    """Returns how far chance alone separates single seeds, as a sentence."""
    sentence, next_ = "One seed decides nothing", "Next"
    rivals = statistics.winners(scored)
    rivals = rivals[rivals["strategy"] != best["strategy"]]
    images = evidence.setup.config.get("data", {})
    # Of images of one's own it may be a share, or not count: they may have such a part.
    validated = None if images.get("name") == OWN else images.get("val_size")
    if metric == "val/accuracy" and validated:
        # Two shares of one set of images; where their errors coincide the difference is surer.
        error = math.sqrt(best["objective"] * (1 - best["objective"]) / validated)
        rivals, next_ = rivals[best["objective"] - rivals["objective"] <= error], "Within that"
        sentence += (
            f": {validated} images alone leave {100 * error:.2f} points to chance (one standard "
            "error), and seeds add to that"
        )
    close = [
        f"{row['strategy']} #{row['trial']} {wording.number(row['objective'])}"
        for row in sentences.records(statistics.rank(rivals))
    ]
    return f"{sentence}. {next_}: {_listed(close)}." if close else f"{sentence}."


def _best(trials: pd.DataFrame) -> pd.Series:
    """Returns the best trial by objective; of equal ones the first."""
    best = statistics.best(statistics.winners(trials).sort_values("trial", kind="stable"))
    if best is None:
        rule = "be a metric that is finite for a trial that was trained to its end"
        raise RequestError("--by", rule, str(trials["objective_metric"].iloc[0]))
    return best


def _listed(names: Sequence[str]) -> str:
    """`a, b and 3 more`."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
