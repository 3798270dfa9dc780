"""Trains a recorded trial again, and holds every epoch against the recorded curve."""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fmnist_lab import config, engines, results
from fmnist_lab.config import TrackingConfig
from fmnist_lab.data import Dataset
from fmnist_lab.engines import Metrics
from fmnist_lab.errors import RequestError
from fmnist_lab.trial import StopReason, Trial

WHOLE = (StopReason.COMPLETED, StopReason.EARLY_STOPPED)
# Sums of floats depend on how many threads share them; TensorFlow reads these when it is imported.
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
VARIES = "time/epoch_seconds"  # the one metric that no two trainings have in common


class DepartedError(RuntimeError):
    """The training did not give the recorded numbers again; nothing was registered."""


@dataclass(frozen=True)
class Recorded:
    """What a trial has left in its folder."""

    folder: Path
    result: dict[str, Any]
    trial: Trial
    tracking: TrackingConfig
    curve: list[Metrics]
    threads: int | None  # that computed it; None: as many as there are cores

    @classmethod
    def read(cls, folder: Path) -> "Recorded":
        """Raises RequestError for a trial of which there is no model to be had."""
        result = json.loads((folder / "result.json").read_bytes())
        if result["stop_reason"] not in WHOLE:
            reason = result["stop_reason"]
            raise RequestError(f"`--run` must be a trial that trained to its end, got {reason}.")
        if not result["mlflow_run_id"]:
            raise RequestError(
                f"The trial in {folder} must be recorded in MLflow, where its model would go, "
                "got tracking=none."
            )
        cfg = config.load(folder / ".hydra" / "config.yaml")
        epochs = results.curves([folder])[list(results.METRICS)].to_dict("records")
        curve = [{str(name): float(value) for name, value in row.items()} for row in epochs]
        trial, tracking = config.to_trial(cfg), config.to_tracking(cfg)
        return cls(folder, result, trial, tracking, [*curve], _threads(folder))

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


def _threads(folder: Path) -> int | None:
    """As the trial says; older ones leave it to the launcher that has started their process."""
    said = json.loads((folder / "environment.json").read_bytes()).get("threads")
    job = folder / ".hydra" / "hydra.yaml"
    if said is None and job.exists():
        said = OmegaConf.select(OmegaConf.load(job), "hydra.launcher.threads_per_worker")
    return None if said is None else int(said)


def train_again(recorded: Recorded, dataset: Dataset, anyway: bool) -> Any:
    """The weights that the trial delivered.

    Args:
        recorded: The trial.
        dataset: Its data.
        anyway: Go on where the curve departs from the recorded one.

    Raises:
        DepartedError: It departed.
    """
    if recorded.threads:
        os.environ.update(dict.fromkeys(THREADS, str(recorded.threads)))
    departure: list[str] = []

    def hold_against(epoch: int, metrics: Metrics) -> bool:
        known = recorded.curve[epoch] if epoch < len(recorded.curve) else {}
        others = [
            f"{name} {metrics[name]:.9g} instead of {known.get(name, math.nan):.9g}"
            for name in metrics
            if name != VARIES and not _same(metrics[name], known.get(name, math.nan))
        ]
        if others and not departure:
            departure.append(f"from epoch {epoch} on, {others[0]}")
        total = len(recorded.curve)
        state = departure[0] if departure else "as recorded"
        print(f"epoch {epoch + 1:{len(str(total))}}/{total}  {state}", flush=True)
        return anyway or not departure

    outcome = engines.get(recorded.trial.training.engine)(recorded.trial, dataset, hold_against)
    if departure and not anyway:
        raise DepartedError(
            f"Trained again, the trial departs from its record: {departure[0]}. Nothing was "
            "registered. Other versions, another machine or another number of threads can be the "
            "reason; --anyway registers what was trained now."
        )
    return outcome.weights


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))
