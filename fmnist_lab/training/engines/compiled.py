"""The default engine: one XLA program per epoch, kept between trials of the same shape."""

import json
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_lab import schedules
from fmnist_lab.data import Dataset
from fmnist_lab.foundation.memory import return_free_memory
from fmnist_lab.metrics import BY_CLASS, RAW, by_class
from fmnist_lab.training import augmentation, clipping
from fmnist_lab.training.averaging import Average, Decays
from fmnist_lab.training.checkpoint import Checkpoint, State
from fmnist_lab.training.early_stopping import EarlyStopping
from fmnist_lab.training.engines import input_layers, program_cache
from fmnist_lab.training.engines.backend import compile_model, import_tensorflow, is_not_compiled
from fmnist_lab.training.engines.building import (
    EVALUATION_BATCH,
    build_loss,
    build_model,
    build_optimizer,
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
from fmnist_lab.trial import Trial

tf = import_tensorflow()

_ALIGNMENT = 64  # bytes, of TensorFlow's own tensors

KEPT_PROGRAMS = 4  # a sweep over more shapes compiles again, instead of filling the memory

_programs: "dict[str, Program]" = {}  # least recently used first


def program_for(trial: Trial, dataset: Dataset) -> "Program":
    """Returns the program for trials of this shape, ready to train this one from its beginning.

    Trials share a program if they differ in nothing but learning rate, schedule, clipping
    threshold, averaging's numbers, seed, epochs, stopping and pixel values: those are inputs of
    the program.
    """
    optimizer = {key: value for key, value in trial.optimizer.items() if key != "learning_rate"}
    shape = json.dumps(
        [
            trial.architecture,
            optimizer,
            trial.clipping.name,
            trial.averaging.name,
            trial.training.batch_size,
            trial.training.labels,
            trial.training.label_smoothing,
            is_standardised := (dataset.mean, dataset.std) != (0.0, 1.0),
            dataset.image_shape,
            len(dataset.class_names),
            trial.counts_classes,
        ],
        sort_keys=True,
        default=str,
    )
    if program := _programs.pop(shape, None):
        model, optimizer = _build(trial, dataset)
        fresh = {"model": model.variables, "optimizer": optimizer.variables}
        restore_state(fresh, program.model, program.optimizer)
        program.average.reset()
    else:
        program = Program(trial, dataset)
    _programs[shape] = program
    if len(_programs) > KEPT_PROGRAMS:
        del _programs[next(iter(_programs))]
    program.threshold = tf.constant(trial.clipping.threshold or 0.0, tf.float32)
    beta = trial.averaging.beta
    program.beta = None if beta is None else tf.constant(beta, tf.float32)
    moments = (dataset.mean, dataset.std) if is_standardised else ()
    program.scaling = tuple(tf.constant(moment, tf.float32) for moment in moments)
    return program


def _build(trial: Trial, dataset: Dataset) -> tuple[Any, Any]:
    """Returns the trial's model, and its optimizer with all slots."""
    model, optimizer = build_model(trial, dataset), build_optimizer(trial)
    optimizer.build(model.trainable_variables)
    return model, optimizer


class Program:
    """A model, its optimizer, and the compiled functions that train and evaluate them.

    Images are uint8 or float32 of shape (n, *image_shape), labels int32 of shape (n,); pixels
    reach the model as image / scale, or standardised as (image / scale - mean) / std, where the
    scale is 255 for uint8 and 1 for float32.
    """

    def __init__(self, trial: Trial, dataset: Dataset) -> None:
        self.batch_size = trial.training.batch_size
        self._clipping = trial.clipping.name
        self._one_hot = trial.training.labels == "one_hot"
        self.model, self.optimizer = _build(trial, dataset)
        self.average = Average(trial.averaging.name, self.model)
        self._classes = len(dataset.class_names)
        self._counts_classes = trial.counts_classes
        self._loss = build_loss(trial)
        self._by_xla = compile_model(self.model)
        self._training_call = input_layers.training_call(self.model)
        self._functions: dict[str, Any] = {}
        # What may differ between trials that share the program.
        self.threshold = tf.constant(0.0)
        self.beta: Any = None  # of schedule-free averages
        self.scaling: tuple[Any, ...] = ()  # mean and std of pixels that are standardised

    def train_epoch(
        self,
        images: NDArray[Any],
        labels: NDArray[np.int32],
        order: NDArray[np.int64],
        learning_rates: NDArray[np.float32],
        decays: NDArray[np.float32] | None = None,
        changes: NDArray[np.int64] | None = None,
    ) -> dict[str, float]:
        """Trains one epoch in the given order.

        Args:
            images: Those that train.
            labels: Theirs.
            order: In which they are visited.
            learning_rates: One per step, (steps,).
            decays: What the average of the weights keeps in each step, (steps,), if there is one.
            changes: What `augmentation.draw` has drawn for the images in this order, if anything.

        Returns:
            Means over the epoch: `train/loss` and `train/accuracy` per image,
            `opt/grad_norm` and `opt/clipped_fraction` per step.
        """
        # Putting the images in order beforehand lets every step read one contiguous block.
        ordered = _aligned((len(order), *images.shape[1:]), images.dtype)
        np.take(images, order, axis=0, out=ordered, mode="clip")  # other modes copy once more
        if changes is not None:
            ordered[...] = augmentation.apply(ordered, changes)
        sums = self._call(
            self._train_epoch,
            tf.experimental.dlpack.from_dlpack(ordered.__dlpack__()),  # copies nothing
            tf.constant(labels[order]),
            tf.constant(learning_rates),
            self.threshold,
            self.beta,
            None if self.average.name == "none" else tf.constant(decays),
            *self.scaling,
        )
        loss, correct, norm, clipped = (float(value) for value in sums)
        size, steps = len(order), len(learning_rates)
        return {
            "train/loss": loss / size,
            "train/accuracy": correct / size,
            "opt/grad_norm": norm / steps,
            "opt/clipped_fraction": clipped / steps,
        }

    def evaluate(self, images: Any, labels: Any) -> tuple[float, ...]:
        """Measures mean loss and accuracy, and if the trial asks for them the metrics by class."""
        inputs = (tf.constant(images), tf.constant(labels), *self.scaling)
        loss, correct, *cells = self._call(self._evaluate_all, *inputs)
        shape = (self._classes, self._classes)
        more = by_class(cells[0].numpy().reshape(shape)) if cells else ()
        return float(loss) / len(labels), float(correct) / len(labels), *more

    def validate(self, dataset: Dataset) -> dict[str, float]:
        """Measures what would be delivered now and, where that is an average, what trains."""

        def measure(*names: str) -> dict[str, float]:
            found = self.evaluate(dataset.val_images, dataset.val_labels)
            return dict(zip(names, found, strict=False))

        shifts = self.average.interpolate(self.beta)
        raw = {} if self.average.name == "none" else measure(*RAW)
        self.average.undo(shifts)
        with self.average.swapped():
            return raw | measure("val/loss", "val/accuracy", *BY_CLASS)

    def delivered(self) -> list[NDArray[Any]]:
        """Copies the weights that would be delivered now, as `model.get_weights()`."""
        with self.average.swapped():
            return list(self.model.get_weights())

    def state(self) -> State:
        """Copies what a checkpoint holds."""
        return {**copy_state(self.model, self.optimizer), **self.average.state()}

    def restore(self, state: State) -> None:
        """Puts back what `state` has copied."""
        restore_state(state, self.model, self.optimizer)
        self.average.restore(state)

    def _call(self, body: Callable[..., Any], *inputs: Any) -> Any:
        """Calls a method as one compiled program, or as TensorFlow's graph where XLA refuses."""
        if function := self._functions.get(body.__name__):
            return function(*inputs)
        function = tf.function(body, jit_compile=self._by_xla, autograph=False)
        try:
            result = function(*inputs)
        except tf.errors.OpError as error:
            if not (self._by_xla and is_not_compiled(error)):
                raise
            self._by_xla = False
            return self._call(body, *inputs)
        self._functions[body.__name__] = function
        program_cache.publish()
        return_free_memory()
        return result

    def _train_epoch(
        self,
        images: Any,
        labels: Any,
        rates: Any,
        threshold: Any,
        beta: Any,
        decays: Any,
        *scaling: Any,
    ) -> Any:
        averages_steps = self.average.name in ("ema", "schedule_free")

        def update(batch: Any, targets: Any, step: Any, sums: Any) -> Any:
            size = float(batch.shape[0])
            shifts = self.average.interpolate(beta)
            with tf.GradientTape() as tape:
                probabilities = self._training_call(_pixels(batch, *scaling))
                loss = self._mean_loss(targets, probabilities)
            weights = [variable.value for variable in self.model.trainable_variables]
            gradients, norm, clipped = clipping.clip(
                self._clipping, tape.gradient(loss, weights), threshold
            )
            self.optimizer.learning_rate.assign(rates[step])
            self.optimizer.apply(gradients, self.model.trainable_variables)
            self.average.undo(shifts)
            if averages_steps:
                self.average.update(decays[step])
            news = (loss * size, _correct(targets, probabilities), norm, clipped)
            return tuple(total + new for total, new in zip(sums, news, strict=True))

        totals = _over_batches(images, labels, self.batch_size, update, sums=[()] * 4)
        if decays is not None and not averages_steps:
            self.average.update(decays[-1])
        return totals

    def _evaluate_all(self, images: Any, labels: Any, *scaling: Any) -> Any:
        def measure(batch: Any, targets: Any, _: Any, sums: Any) -> Any:
            probabilities = self.model(_pixels(batch, *scaling), training=False)
            loss = self._mean_loss(targets, probabilities) * float(batch.shape[0])
            means = sums[0] + loss, sums[1] + _correct(targets, probabilities)
            if not self._counts_classes:
                return means
            guesses = tf.argmax(probabilities, axis=-1, output_type=targets.dtype)
            cells = (targets * self._classes + guesses)[:, None]
            return *means, tf.tensor_scatter_nd_add(sums[2], cells, tf.ones(batch.shape[0]))

        vectors = [(self._classes**2,)] if self._counts_classes else []
        return _over_batches(images, labels, EVALUATION_BATCH, measure, sums=[(), (), *vectors])

    def _mean_loss(self, targets: Any, probabilities: Any) -> Any:
        labels = tf.one_hot(targets, self._classes) if self._one_hot else targets
        return self._loss(labels, probabilities) + sum(self.model.losses)


def _over_batches(images: Any, labels: Any, batch_size: int, body: Any, sums: Any) -> Any:
    """Runs `body(images, labels, step, sums)` over all batches, the last one smaller.

    A loop has one shape, so the smaller batch is a second copy of the body behind it.
    """
    size = images.shape[0]
    full = size // batch_size
    origin = [0] * (len(images.shape) - 1)

    def step(index: Any, totals: Any) -> Any:
        start = index * batch_size
        batch = tf.slice(images, [start, *origin], [batch_size, *images.shape[1:]])
        return index + 1, body(batch, tf.slice(labels, [start], [batch_size]), index, totals)

    totals: Any = tuple(map(tf.zeros, sums))  # of these shapes
    if full:
        _, totals = tf.while_loop(lambda index, _: index < full, step, (tf.constant(0), totals))
    if size % batch_size:
        start = full * batch_size
        totals = body(images[start:], labels[start:], full, totals)
    return totals


def _aligned(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Allocates an array that begins where compiled code may read it without a copy."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    array: NDArray[Any] = memory[start : start + size].view(dtype).reshape(shape)
    return array


def _pixels(images: Any, *scaling: Any) -> Any:
    pixels = tf.cast(images, tf.float32) / 255.0 if images.dtype == tf.uint8 else images
    if scaling:
        mean, std = scaling
        return (pixels - mean) / std
    return pixels


def _correct(targets: Any, probabilities: Any) -> Any:
    guesses = tf.argmax(probabilities, axis=-1, output_type=targets.dtype)
    return tf.reduce_sum(tf.cast(guesses == targets, tf.float32))


def train(trial: Trial, dataset: Dataset, on_epoch: OnEpoch, checkpoint: Checkpoint) -> Outcome:
    """Trains one trial; see `engine` for the contract."""
    scheduler, stopping = schedules.build(trial.scheduler), EarlyStopping(trial.stopping)
    decays = Decays(trial.averaging)
    program = program_for(trial, dataset)
    size = len(dataset.train_labels)
    steps = steps_per_epoch(size, program.batch_size)
    for epoch, metrics in enumerate(checkpoint.curve):  # for what observes it
        decays.of(epoch, scheduler.learning_rates(epoch, steps))
        stopping.observe(epoch, metrics)
        scheduler.observe(epoch, metrics)
    if checkpoint.curve:
        program.restore(checkpoint.state)
    best = {key: checkpoint.state[key] for key in checkpoint.state.keys() & {"best"}}
    for epoch in range(len(checkpoint.curve), trial.training.epochs):
        start = time.perf_counter()
        rates = scheduler.learning_rates(epoch, steps)
        order = batch_order(trial.seed, epoch, size)
        kept = decays.of(epoch, rates)
        changes = augmentation.draw(trial.augmentation, trial.seed, epoch, size)
        means = program.train_epoch(
            dataset.train_images, dataset.train_labels, order, rates, kept, changes
        )
        metrics = (
            means
            | program.validate(dataset)
            | {
                "opt/learning_rate": float(rates[-1]),
                "time/epoch_seconds": time.perf_counter() - start,
            }
        )
        early = stopping.observe(epoch, metrics)
        if stopping.restores and stopping.best_epoch == epoch:
            best["best"] = program.delivered()
        scheduler.observe(epoch, metrics)
        pruned = not on_epoch(epoch, metrics)
        if reason := stop_reason(trial, epoch, metrics, pruned=pruned, early=early):
            break
        checkpoint.offer(lambda: {**program.state(), **best})
    assert reason is not None  # the last epoch has one
    if best and stopping.best_epoch is not None:
        return Outcome(reason, stopping.best_epoch, list(best["best"]))
    return Outcome(reason, epoch, program.delivered())
