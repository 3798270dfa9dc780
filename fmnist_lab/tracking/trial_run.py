"""A trial as an MLflow run, its curve in batches.

Everything goes into a record in the trial's folder, which is sent in the background: see
`fmnist_lab.tracking.sender`. One call per metric would cost up to 68 times what batches cost, so
points wait for others for a few seconds.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from fmnist_lab.config import TrackingConfig
from fmnist_lab.data import Dataset
from fmnist_lab.tracking.delivery import Delivery
from fmnist_lab.tracking.open_stores import header_for
from fmnist_lab.tracking.outbox import Record, now
from fmnist_lab.tracking.run_end import ending, finite, repeat
from fmnist_lab.tracking.sender import SEND_SECONDS, sender
from fmnist_lab.tracking.store import NOTE, SOURCE, give_up_soon, quiet_mlflow
from fmnist_lab.training.engines import Metrics
from fmnist_lab.training.environment import git_commit
from fmnist_lab.trial import Labels, Trial, TrialResult


class Tracker(Protocol):
    """Where a trial is recorded besides its own folder."""

    @property
    def run_id(self) -> str | None:
        """The id of the trial's run, if there is one and it is known by now."""

    def start(
        self, trial: Trial, labels: Labels, dataset: Dataset, parameters: int, folder: Path
    ) -> None:
        """Opens a run."""

    def log(self, epoch: int, metrics: Metrics) -> None:
        """Takes an epoch's metrics."""

    def finish(self, result: TrialResult, folder: Path) -> None:
        """Closes the run with its result and the files in the trial's folder."""


class NoTracker:
    """Records nothing; the trial's folder has everything."""

    run_id: str | None = None

    def start(
        self, trial: Trial, labels: Labels, dataset: Dataset, parameters: int, folder: Path
    ) -> None:
        """Opens nothing."""

    def log(self, epoch: int, metrics: Metrics) -> None:
        """Takes nothing."""

    def finish(self, result: TrialResult, folder: Path) -> None:
        """Closes nothing."""


class MlflowTracker:
    """Records a trial as an MLflow run; see DESIGN's contract for metric names and tags.

    No method waits for the store, except that `finish` does for a moment.
    """

    def __init__(self, config: TrackingConfig, command: str) -> None:
        """Imports MLflow, which takes about 2 s, but does not open the store yet.

        Args:
            config: Which store and experiment, and the run to be nested under, if any.
            command: The command line that repeats this trial, for the run's description.
        """
        give_up_soon()
        quiet_mlflow()
        self._config = config
        self._command = command
        self._sender = sender(config)
        self._delivery: Delivery | None = None

    @property
    def run_id(self) -> str | None:
        """The id of the trial's run, once the store has it."""
        return self._delivery.run_id if self._delivery else None

    def start(
        self, trial: Trial, labels: Labels, dataset: Dataset, parameters: int, folder: Path
    ) -> None:
        """Records a run with tags, parameters and data set."""
        settings = flatten(trial.as_dict()) | {"parameters": parameters}
        header = header_for(
            self._config,
            kind=labels.kind,
            name=_run_name(trial, labels),
            tags=self._tags(labels),
            params={key: str(value) for key, value in settings.items()},
            dataset=_describe(dataset),
            parent=self._config.parent,
        )
        self._delivery = self._sender.add(Record.create(folder, header))
        if self._config.parent:
            self._sender.hush()  # the sweep says so, once for all its workers
        else:
            self._sender.adopt_all()

    def log(self, epoch: int, metrics: Metrics) -> None:
        """Records an epoch's metrics, which are sent every few seconds."""
        assert self._delivery is not None
        self._delivery.record.append(time=now(), step=epoch, metrics=finite(metrics))
        self._sender.nudge(self._delivery, SEND_SECONDS)

    def finish(self, result: TrialResult, folder: Path) -> None:
        """Records the result, and waits a moment until it and the files have been sent."""
        assert self._delivery is not None
        end = now()
        for line in ending(result, repeat(self._command)):
            self._delivery.record.append(time=end, **line)
        self._sender.nudge(self._delivery)
        self._sender.wait(self._delivery)

    def _tags(self, labels: Labels) -> dict[str, str]:
        tags = {key: str(value) for key, value in asdict(labels).items() if value is not None}
        tags |= SOURCE | {NOTE: repeat(self._command)}
        if commit := git_commit():
            tags["mlflow.source.git.commit"] = commit
        return tags


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots: `{'a': {'b': 1}}` becomes `{'a.b': 1}`."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _describe(dataset: Dataset) -> dict[str, str]:
    """A data set in MLflow's words."""
    sizes = {"train": len(dataset.train_labels), "val": len(dataset.val_labels)}
    return {
        "name": dataset.name,
        "digest": dataset.checksum[:8],
        "source_type": "local",
        "source": json.dumps({"found": dataset.source, "sha256": dataset.checksum}),
        "profile": json.dumps(sizes),
    }


def _run_name(trial: Trial, labels: Labels) -> str:
    """A name that tells runs apart in a narrow column, such as `cosine-lr0.00316-adam-s42`."""
    seed, rate = f"s{trial.seed}", f"lr{trial.optimizer['learning_rate']:.3g}"
    parts = [labels.strategy, rate, labels.optimizer]
    if labels.clipping != "none":
        parts.append(f"{labels.clipping}{trial.clipping.threshold:.3g}")
    # Replicates of a strategy have everything but the seed in common.
    return "-".join([parts[0], seed, *parts[1:]] if labels.kind == "replicate" else [*parts, seed])
