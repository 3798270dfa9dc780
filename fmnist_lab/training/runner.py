"""Runs one trial: trains it, and leaves its curve and its result in its folder.

The folder is the truth; what MLflow shows is a copy. `curves.jsonl` grows by a line per
epoch while the trial trains, `result.json` appears whole when it ends, however it ends.
"""

import logging
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from fmnist_lab import data
from fmnist_lab.data import Dataset
from fmnist_lab.foundation.files import append_line, write_json
from fmnist_lab.foundation.interruption import interrupted
from fmnist_lab.foundation.threads import threads
from fmnist_lab.training import engines, environment, plots, weights
from fmnist_lab.training.checkpoint import ONLY, Attempts, Checkpoint, Tell, basis
from fmnist_lab.training.early_stopping import EarlyStopping
from fmnist_lab.training.engines import Metrics, OnEpoch
from fmnist_lab.trial import REPEATED, WHOLE, Labels, StopReason, Trial, TrialResult

log = logging.getLogger(__name__)


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
        trial: What to train.
        labels: What to call it.
        folder: Where its files go; exists. What an earlier attempt left there goes away, but
            for a checkpoint of this very trial, from which it goes on.
        tracker: Where else it is recorded.
        keep_training: Asked after every epoch; False prunes the trial.
        overrides: What it was asked for, in Hydra's words: these become columns of the frames.
        attempts: Those before this one, and whether there may be one after it.

    Returns:
        The result, as in `result.json`.

    Raises:
        RequestError: The data or the model cannot be had as asked; nothing was recorded.
        KeyboardInterrupt: The trial was interrupted; what was trained is recorded.
    """
    dataset = data.load(trial.data)
    log.info("Data: %s", dataset.source)
    parameters = engines.count_parameters(trial)
    here = environment.describe() | {
        "threads": threads(),
        "data_checksum": dataset.checksum,
    }
    checkpoint = Checkpoint(folder, basis(trial, here), attempts)
    left = ("curves.jsonl", "curves.png", weights.WEIGHTS, weights.TEST_CORRECT, "result.json")
    for name in left:  # of a worker that died here
        (folder / name).unlink(missing_ok=True)
    write_json(folder / "environment.json", here)
    tracker.start(trial, labels, dataset, parameters, folder)
    recording = _Recording(trial, folder, tracker, keep_training, checkpoint.curve)
    reason, delivered = StopReason.FAILED, None
    test_loss = test_accuracy = math.nan
    try:
        recording.repeat(attempts.tell)
        train = engines.get(trial.training.engine)
        outcome = train(trial, dataset, recording.on_epoch, checkpoint)
        reason, delivered = outcome.stop_reason, outcome.delivered_epoch
        if labels.kind == "replicate" and reason in WHOLE:
            test_loss, correct = engines.evaluate(trial, dataset, outcome.weights)
            test_accuracy = float(correct.mean())
            weights.keep(folder, outcome.weights, correct)
    except KeyboardInterrupt:
        reason = StopReason.INTERRUPTED
        raise
    except Exception as error:
        if not interrupted.is_set():
            raise
        reason = StopReason.INTERRUPTED
        raise KeyboardInterrupt from error
    finally:
        result = _summarise(trial, recording, reason, delivered)
        result = replace(
            result,
            parameters=parameters,
            mlflow_run_id=tracker.run_id,
            test_loss=test_loss,
            test_accuracy=test_accuracy,
        )
        asked = {"stopping": trial.stopping.name, "overrides": list(overrides)}
        try:
            write_json(folder / "result.json", asdict(result) | asdict(labels) | asked)
            if reason not in REPEATED:
                checkpoint.remove()
            if recording.curve:
                _draw(recording.curve, labels, folder)
        finally:  # the disk may be full
            tracker.finish(result, folder)
    return result


class _Recording:
    """The curve so far, on its way to the trial's folder, the tracker and the screen."""

    def __init__(
        self,
        trial: Trial,
        folder: Path,
        tracker: Tracker,
        keep_training: OnEpoch,
        curve: list[Metrics],  # of earlier attempts; grows
    ) -> None:
        self.curve = curve
        before = sum(metrics["time/epoch_seconds"] for metrics in curve)
        self.start = time.perf_counter() - before
        self._trial = trial
        self._file = folder / "curves.jsonl"
        self._tracker = tracker
        self._keep_training = keep_training

    def repeat(self, tell: Tell) -> None:
        """Records what earlier attempts have trained, as if it had just been."""
        for epoch, metrics in enumerate(self.curve):
            self._record(epoch, metrics)
            tell(epoch, metrics)

    def on_epoch(self, epoch: int, metrics: Metrics) -> bool:
        self.curve.append(metrics)
        self._record(epoch, metrics)
        log.info(_progress_line(epoch, self._trial.training.epochs, metrics, self.curve))
        return self._keep_training(epoch, metrics)

    def _record(self, epoch: int, metrics: Metrics) -> None:
        append_line(self._file, {"epoch": epoch, **metrics})
        self._tracker.log(epoch, metrics)


def _draw(curve: list[Metrics], labels: Labels, folder: Path) -> None:
    try:
        plots.save_trial(curve, labels, folder / "curves.png")
    except OSError:  # the disk is full, say
        raise
    except Exception:  # a trial that went well is worth more than its picture
        log.warning("The trial's picture could not be drawn.", exc_info=True)


def _summarise(
    trial: Trial, recording: _Recording, reason: StopReason, delivered: int | None
) -> TrialResult:
    curve = recording.curve
    if delivered is None and curve:  # failed or interrupted: the last whole epoch
        delivered = len(curve) - 1
    stopping = EarlyStopping(trial.stopping)
    for epoch, metrics in enumerate(curve):
        stopping.observe(epoch, metrics)
    best = stopping.best_epoch
    broken = reason in (StopReason.DIVERGED, StopReason.FAILED)
    return TrialResult(
        # A diverged trial is not a good one, whatever an earlier epoch looked like.
        objective=math.nan if broken else _at(curve, delivered, trial.objective.metric),
        objective_metric=trial.objective.metric,
        stop_reason=reason,
        epochs_trained=len(curve),
        best_epoch=best,
        best_val_loss=_at(curve, best, "val/loss"),
        best_val_accuracy=_at(curve, best, "val/accuracy"),
        delivered_epoch=delivered,
        parameters=0,
        seconds=time.perf_counter() - recording.start,
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
