"""Runs one trial: trains it, and leaves its curve and its result in its folder.

The folder is the truth; what MLflow shows is a copy. `curves.jsonl` grows by a line per
epoch while the trial trains, `result.json` appears whole when it ends, however it ends.
"""

import logging
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fmnist_lab import data
from fmnist_lab.data import Dataset
from fmnist_lab.foundation.files import append_line, write_json
from fmnist_lab.foundation.interruption import interrupted
from fmnist_lab.foundation.threads import threads
from fmnist_lab.training import engines, environment, plots, weights
from fmnist_lab.training.checkpoint import ONLY, Attempts, Checkpoint, basis
from fmnist_lab.training.early_stopping import best_epoch
from fmnist_lab.training.engines import Metrics, OnEpoch
from fmnist_lab.trial import LOST, REPEATED, WHOLE, Labels, StopReason, Trial, TrialResult

log = logging.getLogger(__name__)

_LEFT = ("curves.jsonl", "curves.png", *weights.FILES, "result.json")


class Tracker:
    """Records a trial besides its own folder; the methods of this base class record nothing."""

    @property
    def run_id(self) -> str | None:
        """The id of the trial's run, if there is one and it is known by now."""
        return None

    def start(
        self, trial: Trial, labels: Labels, dataset: Dataset, parameters: int, folder: Path
    ) -> None:
        """Opens a run."""

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Adds an epoch's metrics."""

    def finish(self, result: TrialResult, folder: Path) -> None:
        """Closes the run with its result and the files in the trial's folder."""


def run(  # noqa: PLR0913 - all but the first four have a default
    trial: Trial,
    labels: Labels,
    folder: Path,
    tracker: Tracker,
    keep_training: OnEpoch = lambda epoch, metrics: True,
    overrides: Sequence[str] = (),
    *,
    attempts: Attempts = ONLY,
) -> TrialResult:
    """Trains a validated trial and records it.

    Args:
        trial: The trial.
        labels: Its names.
        folder: The folder for its files; exists. Files of an earlier attempt are removed, but for
            a checkpoint of this very trial, from which training continues.
        tracker: Where else it is recorded.
        keep_training: Called after every epoch; False prunes the trial.
        overrides: Its overrides, in Hydra's syntax; these become columns of the frames.
        attempts: Earlier attempts, and how often a checkpoint is written.

    Returns:
        The result, as in `result.json`.

    Raises:
        RequestError: The data or the model cannot be made as requested; nothing was recorded.
        KeyboardInterrupt: The trial was interrupted; what was trained is recorded.
    """
    dataset = data.load(trial.data)
    log.info("Data: %s", dataset.source)
    # TensorFlow, 5 s. The engine first: what TensorFlow computes before cannot be kept.
    train = engines.get(trial.training.engine)
    from fmnist_lab.training.engines import building

    parameters = building.count_parameters(trial, dataset)
    here = environment.describe() | {
        "threads": threads(),
        "data_checksum": dataset.checksum,
    }
    checkpoint = Checkpoint(folder, basis(trial, here), attempts)
    curve = checkpoint.curve  # of earlier attempts; grows
    for name in _LEFT:  # by a worker that died here
        (folder / name).unlink(missing_ok=True)
    write_json(folder / "environment.json", here)
    tracker.start(trial, labels, dataset, parameters, folder)
    start = time.perf_counter() - sum(metrics["time/epoch_seconds"] for metrics in curve)

    def record(epoch: int, metrics: Metrics) -> None:
        append_line(folder / "curves.jsonl", {"epoch": epoch, **metrics})
        tracker.log(epoch, metrics)

    def on_epoch(epoch: int, metrics: Metrics) -> bool:
        curve.append(metrics)
        record(epoch, metrics)
        log.info(_progress_line(epoch, trial.training.epochs, metrics, curve))
        return keep_training(epoch, metrics)

    reason, delivered, test = StopReason.FAILED, None, (math.nan, math.nan)
    try:
        for epoch, metrics in enumerate(curve):
            record(epoch, metrics)
            attempts.tell(epoch, metrics)
        outcome = train(trial, dataset, on_epoch, checkpoint)
        if labels.kind == "replicate" and outcome.stop_reason in WHOLE:  # else the test set is shut
            loss, guesses = building.evaluate(trial, dataset, outcome.weights)
            truth, names = dataset.test_labels, dataset.class_names
            weights.keep(folder, outcome.weights, guesses, truth, names)  # without, it failed
            test = loss, float((guesses == truth).mean())
        reason, delivered = outcome.stop_reason, outcome.delivered_epoch
    except (KeyboardInterrupt, Exception) as error:
        if isinstance(error, Exception) and not interrupted.is_set():
            raise
        reason = StopReason.INTERRUPTED
        for epoch in range(_recorded(folder), len(curve)):  # it came before this was done
            record(epoch, curve[epoch])
        raise KeyboardInterrupt from error
    finally:
        result = _summarise(
            trial,
            curve,
            reason,
            delivered,
            parameters=parameters,
            seconds=time.perf_counter() - start,
            test_loss=test[0],
            test_accuracy=test[1],
            mlflow_run_id=tracker.run_id,
        )
        try:
            content = asdict(result) | asdict(labels) | {"stopping": trial.stopping.name}
            write_json(folder / "result.json", content | {"overrides": list(overrides)})
            if reason not in REPEATED:
                checkpoint.remove()
            if curve and labels.sweep is None:  # a sweep's report draws them all
                _draw(curve, labels, folder)
        finally:  # the disk may be full
            tracker.finish(result, folder)
    return result


def _recorded(folder: Path) -> int:
    """Returns how many epochs the curve on disk has."""
    path = folder / "curves.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _draw(curve: list[Metrics], labels: Labels, folder: Path) -> None:
    try:
        plots.save_trial(curve, labels, folder / "curves.png")
    except OSError:  # the disk is full, say
        raise
    except Exception:  # a trial that went well is worth more than its picture
        log.warning("The trial's picture could not be drawn.", exc_info=True)


def _summarise(
    trial: Trial,
    curve: list[Metrics],
    reason: StopReason,
    delivered: int | None,
    **measured: Any,
) -> TrialResult:
    """Returns the result that follows from the curve."""
    if delivered is None and curve:  # failed or interrupted: the last whole epoch
        delivered = len(curve) - 1
    # From the curve: an interruption may come between an engine's decision and the record.
    best = best_epoch(trial.stopping, curve)
    metric = trial.objective.metric
    broken = reason in LOST
    return TrialResult(
        # A diverged trial has no objective, whatever its earlier epochs reached.
        objective=math.nan if broken else _at(curve, delivered, metric),
        objective_metric=metric,
        stop_reason=reason,
        epochs_trained=len(curve),
        best_epoch=best,
        best_val_loss=_at(curve, best, "val/loss"),
        best_val_accuracy=_at(curve, best, "val/accuracy"),
        delivered_epoch=delivered,
        **measured,
    )


def _at(curve: list[Metrics], epoch: int | None, metric: str) -> float:
    return math.nan if epoch is None else curve[epoch][metric]


def _progress_line(epoch: int, epochs: int, metrics: Metrics, curve: list[Metrics]) -> str:
    # The first epoch compiles; without it the guess is better from the second one on.
    known = [line["time/epoch_seconds"] for line in curve[1:] or curve]
    left = round(statistics.median(known) * (epochs - epoch - 1))  # a resumed trial compiles again
    width = len(str(epochs))
    return (
        f"epoch {epoch + 1:{width}}/{epochs}  rate {metrics['opt/learning_rate']:.2e}  "
        f"train {metrics['train/loss']:.4f} {metrics['train/accuracy']:.4f}  "
        f"val {metrics['val/loss']:.4f} {metrics['val/accuracy']:.4f}  "
        f"{metrics['time/epoch_seconds']:.1f} s, at most {left // 60}:{left % 60:02d} left"
    )
