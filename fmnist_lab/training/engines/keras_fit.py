"""The reference engine: plain `model.fit` with Keras's own callbacks."""

import math
import time
from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from fmnist_lab import schedules
from fmnist_lab.data import Dataset
from fmnist_lab.metrics import BY_CLASS, RAW, Metrics
from fmnist_lab.training import augmentation, clipping
from fmnist_lab.training.averaging import Average, Decays
from fmnist_lab.training.checkpoint import Checkpoint, State
from fmnist_lab.training.engines.backend import compile_model, import_tensorflow, is_not_compiled
from fmnist_lab.training.engines.building import (
    EVALUATION_BATCH,
    build_loss,
    build_model,
    build_optimizer,
    pixels,
    targets,
)
from fmnist_lab.training.engines.engine import (
    OnEpoch,
    Outcome,
    batch_order,
    copy_state,
    restore_state,
    steps_per_epoch,
    stop_reason,
)
from fmnist_lab.trial import StopReason, Trial

tf = import_tensorflow()
import keras  # noqa: E402  # only after the messages of its backend are silenced

# Our metric -> the key of Keras's logs.
LOG_KEYS = {
    "train/loss": "loss",
    "train/accuracy": "accuracy",
    "val/loss": "val_loss",
    "val/accuracy": "val_accuracy",
}


# The same of what only some trials measure.
BY_CLASS_KEYS = {name: name.replace("/", "_") for name in BY_CLASS}


def train(trial: Trial, dataset: Dataset, on_epoch: OnEpoch, checkpoint: Checkpoint) -> Outcome:
    """Trains one trial; see `engine` for the contract."""
    begun = False

    def note(epoch: int, metrics: Metrics) -> bool:
        nonlocal begun
        begun = True
        return on_epoch(epoch, metrics)

    try:
        return _train(trial, dataset, note, checkpoint)
    except tf.errors.OpError as error:
        if begun or not is_not_compiled(error):
            raise
        return _train(trial, dataset, on_epoch, checkpoint, by_xla=False)


def _train(
    trial: Trial, dataset: Dataset, on_epoch: OnEpoch, checkpoint: Checkpoint, by_xla: bool = True
) -> Outcome:
    model = build_model(trial, dataset)
    gauge = GradientGauge(trial)
    # Compiled by XLA step by step: its random numbers, and so dropout's masks, are not those
    # of TensorFlow's own kernels.
    counted = [ByClass(len(dataset.class_names))] if trial.counts_classes else []
    measured = ["accuracy", *counted]
    settings = {"optimizer": gauge.optimizer, "loss": build_loss(trial), "metrics": measured}
    if by_xla:
        compile_model(model, **settings)
    else:
        model.compile(jit_compile=False, **settings)
    batches, stopping = TrainingBatches(trial, dataset), _early_stopping(trial)
    conductor = Conductor(schedules.build(trial.scheduler), batches, Decays(trial.averaging))
    plateau = _plateau(conductor.scheduler)
    validation = (
        pixels(dataset.val_images, dataset),
        targets(dataset.val_labels, trial, dataset),
    )
    averaging = Averaging(trial, Average(trial.averaging.name, model), conductor, validation)
    observers = (conductor, *plateau, stopping)
    recorder = Recorder(trial, gauge, on_epoch, checkpoint, averaging.average, observers)
    model.fit(
        batches,
        validation_data=validation,
        validation_batch_size=EVALUATION_BATCH,
        shuffle=False,  # the batches come shuffled
        initial_epoch=len(checkpoint.curve),
        epochs=trial.training.epochs,
        callbacks=[conductor, averaging, *observers[1:], recorder],
        verbose=0,
    )
    restored = stopping.best_weights is not None
    delivered = stopping.best_epoch if restored else recorder.last_epoch
    return Outcome(recorder.reason or StopReason.COMPLETED, delivered, model.get_weights())


class TrainingBatches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """The training images in the batches, and the order, of the engine `compiled`."""

    def __init__(self, trial: Trial, dataset: Dataset) -> None:
        super().__init__()
        self._trial, self._dataset = trial, dataset
        self.start(0)

    def __len__(self) -> int:
        return steps_per_epoch(len(self._order), self._trial.training.batch_size)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
        size = self._trial.training.batch_size
        part = slice(index * size, (index + 1) * size)
        chosen, changes = self._order[part], self._changes
        images = self._dataset.train_images[chosen]
        images = augmentation.apply(images, None if changes is None else changes[part])
        labels = targets(self._dataset.train_labels[chosen], self._trial, self._dataset)
        return pixels(images, self._dataset), labels

    def start(self, epoch: int) -> None:
        """Draws the epoch's order. Not in `on_epoch_end`: `fit` calls that before epoch 0 too."""
        size = len(self._dataset.train_labels)
        seed = self._trial.seed
        self._order = batch_order(seed, epoch, size)
        self._changes = augmentation.draw(self._trial.augmentation, seed, epoch, size)


class ByClass(keras.metrics.Metric):  # type: ignore[misc]
    """Balanced accuracy and macro F1 from a confusion matrix; see `metrics.by_class`."""

    def __init__(self, classes: int) -> None:
        super().__init__(name="by_class")
        self._classes = classes
        self._confusion = self.add_variable((classes, classes), "zeros", name="confusion")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts the images of a batch."""
        ops = keras.ops
        one_hot = y_true.shape == y_pred.shape
        actual = ops.argmax(y_true, axis=-1) if one_hot else ops.reshape(y_true, (-1,))
        pairs = [
            ops.one_hot(classes, self._classes)
            for classes in (ops.cast(actual, "int32"), ops.argmax(y_pred, axis=-1))
        ]
        self._confusion.assign_add(ops.matmul(ops.transpose(pairs[0]), pairs[1]))

    def result(self) -> dict[str, Any]:
        """Returns both metrics, under the names of Keras's logs."""
        ops = keras.ops
        hits = ops.diagonal(self._confusion)
        actual, guessed = ops.sum(self._confusion, axis=1), ops.sum(self._confusion, axis=0)
        found = {}
        for name, parts, whole in (
            ("balanced_accuracy", hits, actual),
            ("macro_f1", 2 * hits, actual + guessed),
        ):
            counted = ops.cast(whole > 0, "float32")
            shares = parts / ops.maximum(whole, 1.0)
            found[name] = ops.sum(shares) / ops.maximum(ops.sum(counted), 1.0)
        return found


class GradientGauge:
    """The trial's optimizer, with Keras's own clipping, and what it sees of the gradients."""

    def __init__(self, trial: Trial) -> None:
        self._kind, self._threshold = trial.clipping.name, trial.clipping.threshold or 0.0
        self._norm, self._clipped = keras.metrics.Mean(), keras.metrics.Mean()
        argument = clipping.KERAS_ARGUMENTS.get(self._kind)
        limit = {argument: trial.clipping.threshold} if argument else {}
        self.optimizer = build_optimizer(trial, **limit)
        self._apply = self.optimizer.apply
        self.optimizer.apply = self._measure_and_apply

    def _measure_and_apply(self, gradients: Any, variables: Any = None) -> None:
        _, norm, clipped = clipping.clip(self._kind, gradients, self._threshold)
        self._norm.update_state(norm)
        self._clipped.update_state(clipped)
        self._apply(gradients, variables)

    def read(self) -> dict[str, float]:
        """Means since the last reading, per step."""
        means = {
            "opt/grad_norm": float(self._norm.result()),
            "opt/clipped_fraction": float(self._clipped.result()),
        }
        self._norm.reset_state()
        self._clipped.reset_state()
        return means


class Conductor(keras.callbacks.Callback):  # type: ignore[misc]
    """Starts every epoch's batches and sets the learning rate before every step.

    Not Keras's `LearningRateScheduler`: that one knows epochs only. A plateau's cuts are
    made by Keras's callback, where that can, so under it only the warm-up is set here. Any other
    scheduler gets the metrics from here.
    """

    def __init__(
        self, scheduler: schedules.Scheduler, batches: TrainingBatches, decays: Decays
    ) -> None:
        super().__init__()
        self.scheduler, self._batches, self._decays = scheduler, batches, decays
        self.decays = np.zeros(0, np.float32)  # of the epoch's updates, see `averaging`
        self._rates: NDArray[np.float32] | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._batches.start(epoch)
        self._rates = self.scheduler.learning_rates(epoch, len(self._batches))
        self.decays = self._decays.of(epoch, self._rates)
        if _is_keras(self.scheduler):
            ramp_is_over = epoch > math.ceil(self.scheduler.warmup_epochs)
            self._rates = None if ramp_is_over else self._rates

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._rates is not None:
            self.model.optimizer.learning_rate = self._rates[batch]

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        # Before a plateau's callback cuts it: the rate of the epoch's last step.
        logs["opt/learning_rate"] = float(self.model.optimizer.learning_rate)
        if not _is_keras(self.scheduler):
            self.scheduler.observe(epoch, {name: logs[key] for name, key in LOG_KEYS.items()})


class Averaging(keras.callbacks.Callback):  # type: ignore[misc]
    """Averages the weights, and has the average in the model from validation to the next epoch.

    So callbacks that come after it keep and restore the weights that are delivered. Keras's
    `SwapEMAWeights` does this for an average of its optimizer alone, see `averaging`.
    """

    def __init__(
        self, trial: Trial, average: Average, conductor: Conductor, validation: Any
    ) -> None:
        super().__init__()
        self.average = average
        self._config, self._conductor, self._validation = trial.averaging, conductor, validation
        self._shifts: list[Any] = []
        self._is_in = False
        self._update = tf.function(average.update)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._is_in:
            self._swap()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._shifts = self.average.interpolate(self._config.beta)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.average.undo(self._shifts)
        decay = self._conductor.decays[batch]
        if self._config.name != "none" and decay < 1:
            self._update(tf.constant(decay))

    def on_test_begin(self, logs: Any = None) -> None:
        self._swap()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if self._config.name != "none":
            with self.average.swapped():
                shifts = self.average.interpolate(self._config.beta)
                raw = self.model.evaluate(
                    *self._validation, batch_size=EVALUATION_BATCH, verbose=0, return_dict=True
                )
                self.average.undo(shifts)
            logs |= dict(zip(RAW, (raw["loss"], raw["accuracy"]), strict=True))

    def _swap(self) -> None:
        self.average.swap()
        self._is_in = not self._is_in


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Reports every epoch's metrics, determines why training stops, and keeps checkpoints.

    It comes last: it reads which of the other callbacks has asked to stop, and Keras's callbacks
    reset everything when training begins.
    """

    def __init__(
        self,
        trial: Trial,
        gauge: GradientGauge,
        on_epoch: OnEpoch,
        checkpoint: Checkpoint,
        average: Average,
        observers: Sequence[Any],  # the callbacks that watch the curve; the last one stops early
    ) -> None:
        super().__init__()
        self._trial, self._gauge, self._hand_on = trial, gauge, on_epoch
        self._checkpoint, self._observers, self._stopping = checkpoint, observers, observers[-1]
        self._average, self._start = average, 0.0
        self.reason: StopReason | None = None
        self.last_epoch = -1

    def on_train_begin(self, logs: Any = None) -> None:
        for epoch, metrics in enumerate(self._checkpoint.curve):
            # Whether a plateau cuts the rate depends on the rate that there was.
            self.model.optimizer.learning_rate = metrics["opt/learning_rate"]
            for callback in self._observers:
                callback.on_epoch_begin(epoch)
                callback.on_epoch_end(epoch, {key: metrics[name] for name, key in LOG_KEYS.items()})
        if state := self._checkpoint.state:
            self.model.optimizer.build(self.model.trainable_variables)  # else in the first step
            restore_state(state, self.model, self.model.optimizer)
            self._average.restore(state)
            self._stopping.best_weights = state.get("best")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        metrics = {name: float(logs[key]) for name, key in LOG_KEYS.items()}
        metrics |= {name: float(logs[name]) for name in RAW if name in logs}
        metrics |= {name: float(logs[key]) for name, key in BY_CLASS_KEYS.items() if key in logs}
        metrics |= self._gauge.read()
        metrics["opt/learning_rate"] = logs["opt/learning_rate"]
        metrics["time/epoch_seconds"] = time.perf_counter() - self._start
        self.last_epoch = epoch
        early, pruned = self.model.stop_training, not self._hand_on(epoch, metrics)
        self.reason = stop_reason(self._trial, epoch, metrics, pruned=pruned, early=early)
        self.model.stop_training = self.reason is not None
        if not self.model.stop_training:
            self._checkpoint.offer(self._state)

    def _state(self) -> State:
        best = self._stopping.best_weights
        with self._average.swapped():
            state = copy_state(self.model, self.model.optimizer) | self._average.state()
        return state if best is None else state | {"best": best}


class PlateauAfterWarmup(keras.callbacks.ReduceLROnPlateau):  # type: ignore[misc]
    """Keras's callback, which begins to watch after the warm-up."""

    def __init__(self, warmup_epochs: float, **settings: Any) -> None:
        super().__init__(**settings)
        self._warmup_epochs = warmup_epochs

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch >= self._warmup_epochs:
            super().on_epoch_end(epoch, logs)


def _is_keras(scheduler: schedules.Scheduler) -> TypeGuard[schedules.Performance]:
    """Whether it does what Keras's ReduceLROnPlateau does; that knows no relative threshold."""
    return isinstance(scheduler, schedules.Performance) and scheduler.threshold_mode == "abs"


def _plateau(scheduler: schedules.Scheduler) -> list[Any]:
    if not _is_keras(scheduler):
        return []
    return [
        PlateauAfterWarmup(
            scheduler.warmup_epochs,
            monitor=LOG_KEYS[scheduler.monitor],
            mode=scheduler.mode,
            factor=scheduler.factor,
            patience=scheduler.patience,
            min_delta=scheduler.min_delta,
            cooldown=scheduler.cooldown,
            min_lr=scheduler.min_lr,
        )
    ]


def _early_stopping(trial: Trial) -> Any:
    """Keras's callback; one that never stops, only finds the best epoch, for stopping=none."""
    settings = trial.stopping
    active = settings.name == "patience"
    return keras.callbacks.EarlyStopping(
        monitor=LOG_KEYS[settings.monitor],
        mode=settings.mode,
        min_delta=settings.min_delta,
        patience=settings.patience if active else trial.training.epochs + 1,
        restore_best_weights=settings.restore_best and active,
        start_from_epoch=settings.start_from_epoch,
    )
