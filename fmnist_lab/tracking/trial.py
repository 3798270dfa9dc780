"""A trial as an MLflow run, its curve in batches.

One call per metric would cost up to 68 times what batches cost, so points are collected and
sent every few seconds.
"""

import json
import math
import shlex
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from fmnist_lab.config import TrackingConfig
from fmnist_lab.data import Dataset
from fmnist_lab.engines import Metrics
from fmnist_lab.environment import git_commit
from fmnist_lab.tracking.store import NOTE, PARENT, SOURCE, open_experiment
from fmnist_lab.trial import Labels, StopReason, Trial, TrialResult

SEND_SECONDS = 10.0
WIDEST = 80  # characters of a line in a description
STATUS = {  # what the run is called in MLflow's own vocabulary
    StopReason.COMPLETED: "FINISHED",
    StopReason.EARLY_STOPPED: "FINISHED",
    StopReason.DIVERGED: "FINISHED",
    StopReason.PRUNED: "KILLED",
    StopReason.INTERRUPTED: "KILLED",
    StopReason.FAILED: "FAILED",
}


class Tracker(Protocol):
    """Where a trial is recorded besides its own folder."""

    def start(
        self, trial: Trial, labels: Labels, dataset: Dataset, parameters: int, folder: Path
    ) -> str | None:
        """Opens a run and returns its id, if there is one."""

    def log(self, epoch: int, metrics: Metrics) -> None:
        """Takes an epoch's metrics."""

    def finish(self, result: TrialResult, folder: Path) -> None:
        """Closes the run with its result and the files in the trial's folder."""


class NoTracker:
    """Records nothing; the trial's folder has everything."""

    def start(
        self, trial: Trial, labels: Labels, dataset: Dataset, parameters: int, folder: Path
    ) -> str | None:
        """Opens nothing."""
        return None

    def log(self, epoch: int, metrics: Metrics) -> None:
        """Takes nothing."""

    def finish(self, result: TrialResult, folder: Path) -> None:
        """Closes nothing."""


class MlflowTracker:
    """Records a trial as an MLflow run; see DESIGN's contract for metric names and tags."""

    def __init__(self, config: TrackingConfig, command: str) -> None:
        """Opens the store and the experiment; the first time it creates them, in about 3 s.

        Args:
            config: Which store and experiment, and the run to be nested under, if any.
            command: The command line that repeats this trial, for the run's description.
        """
        self._client, self._experiment_id = open_experiment(config)
        self._parent = config.parent
        self._command = command
        self._run_id = ""
        self._points: list[Any] = []
        self._sent_at = time.monotonic()

    def start(
        self, trial: Trial, labels: Labels, dataset: Dataset, parameters: int, folder: Path
    ) -> str:
        """Opens a run with tags, parameters and data set, and returns its id."""
        name = _run_name(trial, labels)
        tags = self._tags(labels)
        run = self._client.create_run(self._experiment_id, tags=tags, run_name=name)
        self._run_id = run.info.run_id
        try:
            self._describe(trial, dataset, parameters)
        except BaseException as error:  # the run is not the caller's yet, who would end it
            interrupted = isinstance(error, KeyboardInterrupt)
            reason = StopReason.INTERRUPTED if interrupted else StopReason.FAILED
            self._client.set_terminated(self._run_id, STATUS[reason])
            raise
        return self._run_id

    def log(self, epoch: int, metrics: Metrics) -> None:
        """Collects an epoch's metrics, and sends what was collected every few seconds."""
        self._collect(epoch, metrics)
        if time.monotonic() - self._sent_at > SEND_SECONDS:
            self._send()

    def finish(self, result: TrialResult, folder: Path) -> None:
        """Sends the rest of the curve, the result and the files, and closes the run."""
        # One value in step 0 is a bar in the UI's charts; in the last step it would be a dot.
        self._collect(0, _summary_metrics(result))
        self._send()
        self._client.set_tag(self._run_id, "stop_reason", result.stop_reason)
        note = f"{_outcome(result)}\n\n{_repeat(self._command)}"
        self._client.set_tag(self._run_id, NOTE, note)
        self._client.log_artifacts(self._run_id, str(folder))
        self._client.set_terminated(self._run_id, STATUS[result.stop_reason])

    def _tags(self, labels: Labels) -> dict[str, str]:
        tags = {key: str(value) for key, value in asdict(labels).items() if value is not None}
        tags |= SOURCE | {NOTE: _repeat(self._command)}
        if self._parent:
            tags[PARENT] = self._parent
        if commit := git_commit():
            tags["mlflow.source.git.commit"] = commit
        return tags

    def _describe(self, trial: Trial, dataset: Dataset, parameters: int) -> None:
        from mlflow.entities import Param

        settings = flatten(trial.as_dict()) | {"parameters": parameters}
        params = [Param(key, str(value)) for key, value in settings.items()]
        self._client.log_batch(self._run_id, params=params)
        self._client.log_inputs(self._run_id, [_dataset_input(dataset)])

    def _collect(self, epoch: int, metrics: Metrics) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        for key, value in metrics.items():
            # MLflow would turn infinity into 1.8e308, which ruins every chart's scale.
            number = value if math.isfinite(value) else math.nan
            self._points.append(Metric(key, number, now, epoch))

    def _send(self) -> None:
        self._client.log_batch(self._run_id, metrics=self._points)
        self._points = []
        self._sent_at = time.monotonic()


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots: `{'a': {'b': 1}}` becomes `{'a.b': 1}`."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _dataset_input(dataset: Dataset) -> Any:
    from mlflow.entities import Dataset as RunDataset
    from mlflow.entities import DatasetInput, InputTag

    sizes = {"train": len(dataset.train_labels), "val": len(dataset.val_labels)}
    described = RunDataset(
        name=dataset.name,
        digest=dataset.checksum[:8],
        source_type="local",
        source=json.dumps({"found": dataset.source, "sha256": dataset.checksum}),
        profile=json.dumps(sizes),
    )
    return DatasetInput(described, [InputTag("mlflow.data.context", "training")])


def _run_name(trial: Trial, labels: Labels) -> str:
    """A name that tells runs apart in a narrow column, such as `cosine-lr0.00316-adam-s42`."""
    seed, rate = f"s{trial.seed}", f"lr{trial.optimizer['learning_rate']:.3g}"
    parts = [labels.strategy, rate, labels.optimizer]
    if labels.clipping != "none":
        parts.append(f"{labels.clipping}{trial.clipping.threshold:.3g}")
    # Replicates of a strategy have everything but the seed in common.
    return "-".join([parts[0], seed, *parts[1:]] if labels.kind == "replicate" else [*parts, seed])


def _summary_metrics(result: TrialResult) -> dict[str, float]:
    summary = {"objective": result.objective, "stop/epoch": float(result.epochs_trained)}
    if result.best_epoch is not None:
        summary["best/epoch"] = float(result.best_epoch)
        summary["best/val_loss"] = result.best_val_loss
        summary["best/val_accuracy"] = result.best_val_accuracy
    if math.isfinite(result.test_accuracy):
        summary |= {"test/loss": result.test_loss, "test/accuracy": result.test_accuracy}
    return summary


def _outcome(result: TrialResult) -> str:
    best = (
        ""
        if result.best_epoch is None
        else (
            f", best in epoch {result.best_epoch} with validation loss {result.best_val_loss:.4f} "
            f"and accuracy {result.best_val_accuracy:.4f}"
        )
    )
    return f"**{result.stop_reason}** after {result.epochs_trained} epochs{best}."


def _repeat(command: str) -> str:
    """The command as a block; a long one a word a line, because the UI's page would grow wide."""
    if len(command) > WIDEST:
        program, subcommand, *words = map(shlex.quote, shlex.split(command))
        command = " \\\n    ".join([f"{program} {subcommand}", *words])
    return f"Repeat with\n\n```\n{command}\n```"
