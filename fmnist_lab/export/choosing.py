"""Which trial is the best, why, and which others may be as good."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from fmnist_lab import report, results
from fmnist_lab.errors import RequestError
from fmnist_lab.export import confirmed, tuned
from fmnist_lab.foundation import wording
from fmnist_lab.report import cautions, sentences
from fmnist_lab.report.evidence import Evidence, ran_to_the_end

BY = ("val/accuracy", "val/loss", "test/accuracy", "test/loss")


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
            f"{wording.count(len(evidence.trials), 'trial')}, none of them such."
        )
    if strategy is not None and strategy not in (known := list(whole["strategy"].unique())):
        raise RequestError(f"`--strategy` must be one of {', '.join(known)}, got {strategy!r}.")
    metric = by or ("test/accuracy" if _tested(evidence, strategy) else evidence.metric)
    if metric not in BY:
        raise RequestError(f"`--by` must be one of {', '.join(BY)}, got {metric!r}.")
    pick = confirmed.choose if metric.startswith("test/") else tuned.choose
    trial, why, noise = pick(evidence, whole, metric, strategy)
    warnings += [*cautions.openings(evidence.setup.manifests), *evidence.setup.damaged]
    warnings += cautions.mixed_images(cautions.runs_by_kind(evidence), evidence.setup)
    warnings += _running(evidence)
    return Choice(place, trial, why, noise, warnings,
                  confirmed.summary(evidence, str(trial["strategy"])))  # fmt: skip


def _real(trials: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The trials on real images; those on drawn ones only where there are no others."""
    drawn = trials["dataset"] == "synthetic"
    if drawn.any() and drawn.all():
        return trials, ["SYNTHETIC images: this says nothing about Fashion-MNIST."]
    if not drawn.any():
        return trials, []
    left_out = wording.count(int(drawn.sum()), "trial")
    return trials[~drawn], [
        f"{left_out} on synthetic images left out: not comparable with real ones."
    ]


def _running(evidence: Evidence) -> list[str]:
    replicates = (evidence.setup.planned_replicates or 0) - len(evidence.replicates)
    if not evidence.is_running and replicates <= 0:
        return []
    return [f"The sweep has not ended: {sentences.progress(evidence)}"]


def _tested(evidence: Evidence, strategy: str | None) -> bool:
    """Whether replicates can decide: two strategies have some, or the one that is asked for."""
    tested = evidence.replicates.dropna(subset="test_accuracy")["strategy"]
    return strategy in set(tested) if strategy else tested.nunique() > 1
