"""Trains a recorded trial again, and holds every epoch against the recorded curve."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmnist_lab import config
from fmnist_lab.config import TrackingConfig
from fmnist_lab.data import Dataset
from fmnist_lab.errors import NotReproducedError, RequestError
from fmnist_lab.foundation.threads import with_threads
from fmnist_lab.results import curve_diff, schema
from fmnist_lab.results.curve_diff import Curve, told
from fmnist_lab.training import engines, environment
from fmnist_lab.training.engines import Metrics
from fmnist_lab.trial import WHOLE, Trial


@dataclass(frozen=True)
class Recorded:
    """What a trial has left in its folder."""

    folder: Path
    result: dict[str, Any]
    trial: Trial
    tracking: TrackingConfig
    curve: Curve
    threads: int | None  # that computed it; None: as many as there are cores

    @classmethod
    def read(cls, folder: Path) -> "Recorded":
        """Raises RequestError for a trial of which there is no model to be had."""
        result = schema.result(folder)
        if result["stop_reason"] not in WHOLE:
            reason = result["stop_reason"]
            raise RequestError(f"`--run` must be a trial that trained to its end, got {reason}.")
        if not result["mlflow_run_id"]:
            raise RequestError(
                f"The trial in {folder} must be recorded in MLflow, where its model would go, "
                "got no run."
            )
        cfg = config.load(folder / ".hydra" / "config.yaml")
        trial, tracking = config.to_trial(cfg), config.to_tracking(cfg)
        threads = environment.recorded(folder)["threads"]
        return cls(folder, result, trial, tracking, curve_diff.read(folder), threads)

    @property
    def run_id(self) -> str:
        """MLflow's name for the trial."""
        return str(self.result["mlflow_run_id"])

    @property
    def title(self) -> str:
        """For people: `replicate 3 of cosine in schedules, seed 45`."""
        kind, number, strategy = (self.result[key] for key in ("kind", "trial", "strategy"))
        sweep = f" in {self.result['sweep']}" if self.result["sweep"] else ""
        return f"{kind} {number} of {strategy}{sweep}, seed {self.result['seed']}"


def train_again(recorded: Recorded, dataset: Dataset, anyway: bool) -> Any:
    """The weights that the trial delivered.

    Args:
        recorded: The trial.
        dataset: Its data.
        anyway: Go on where the curve departs from the recorded one.

    Raises:
        NotReproducedError: It departed.
    """
    if recorded.threads:  # TensorFlow, which reads these, is not imported yet
        os.environ.update(with_threads(recorded.threads))
    departure: list[str] = []
    total = recorded.result["epochs_trained"]

    def hold_against(epoch: int, metrics: Metrics) -> bool:
        if not departure:
            departure.extend(_departures(recorded, epoch, metrics))
        state = departure[0] if departure else "as recorded"
        print(f"epoch {epoch + 1:{len(str(total))}}/{total}  {state}", flush=True)
        return anyway or not departure

    outcome = engines.get(recorded.trial.training.engine)(recorded.trial, dataset, hold_against)
    if departure and not anyway:
        raise NotReproducedError(
            f"Trained again, the trial departs from its record: {departure[0]}. Nothing was "
            "registered. Other versions, another machine or another number of threads can be the "
            "reason; --anyway registers what was trained now."
        )
    return outcome.weights


def _departures(recorded: Recorded, epoch: int, metrics: Metrics) -> Iterator[str]:
    """A phrase for each metric that is not, bit for bit, what it was in this epoch."""
    before, now = curve_diff.epoch_of(recorded.curve, epoch), curve_diff.from_metrics(metrics)
    for found in curve_diff.departures(before, now, exact=True):
        values = f"{found.metric} {told(found.now)} instead of {told(found.recorded)}"
        yield f"from epoch {epoch} on, {values}"
