"""The default engine: one XLA program per epoch, kept between trials of the same shape."""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_lab import schedules
from fmnist_lab.architectures import CLASSES
from fmnist_lab.data import Dataset
from fmnist_lab.training import clipping
from fmnist_lab.training.early_stopping import EarlyStopping, diverged
from fmnist_lab.training.engines import program_cache
from fmnist_lab.training.engines.backend import compile_model, import_tensorflow, is_not_compiled
from fmnist_lab.training.engines.building import (
    EVALUATION_BATCH,
    build_loss,
    build_model,
    build_optimizer,
)
from fmnist_lab.training.engines.engine import (
    NOT_KEPT,
    Keeper,
    OnEpoch,
    Outcome,
    State,
    batch_order,
    copy_state,
    restore_state,
    steps_per_epoch,
    stop_reason,
)
from fmnist_lab.trial import Trial

tf = import_tensorflow()

KEPT_PROGRAMS = 4  # a sweep over more shapes compiles again, instead of filling the memory


_programs: "dict[str, Program]" = {}  # least recently used first


def program_for(trial: Trial, dataset: Dataset) -> "Program":
    """Returns the program for trials of this shape, ready to train this one from its beginning.

    Trials share a program if they differ in nothing but learning rate, schedule, clipping
    threshold, seed, epochs, stopping and pixel values: those are inputs of the program.
    """
    optimizer = {key: value for key, value in trial.optimizer.items() if key != "learning_rate"}
    shape = json.dumps(
        [
            trial.architecture,
            optimizer,
            trial.clipping.name,
            trial.training.batch_size,
            trial.training.labels,
            trial.training.label_smoothing,
        ],
        sort_keys=True,
        default=str,
    )
    if program := _programs.pop(shape, None):
        program.reset(trial)
    else:
        program = Program(trial)
    _programs[shape] = program
    if len(_programs) > KEPT_PROGRAMS:
        del _programs[next(iter(_programs))]
    program.take_inputs(trial, dataset)
    return program


class Program:
    """A model, its optimizer, and the compiled functions that train and evaluate them.

    Images are uint8 of shape (n, 28, 28), labels int32 of shape (n,); pixels reach the
    model as (image / 255 - mean) / std.
    """

    def __init__(self, trial: Trial) -> None:
        self.batch_size = trial.training.batch_size
        self._clipping = trial.clipping.name
        self._one_hot = trial.training.labels == "one_hot"
        self.model = build_model(trial)
        self._optimizer = build_optimizer(trial)
        self._optimizer.build(self.model.trainable_variables)
        self._loss = build_loss(trial)
        self._by_xla = compile_model(self.model)
        self._functions: dict[Any, Any] = {}
        self._scaling: tuple[Any, ...] = (tf.constant(0.0), tf.constant(1.0))
        self._threshold = tf.constant(0.0)

    def reset(self, trial: Trial) -> None:
        """Puts weights, statistics, optimizer slots and random generators to the trial's start."""
        model, optimizer = build_model(trial), build_optimizer(trial)
        optimizer.build(model.trainable_variables)
        for mine, fresh in zip(self.model.variables, model.variables, strict=True):
            mine.assign(fresh)
        for mine, fresh in zip(self._optimizer.variables, optimizer.variables, strict=True):
            mine.assign(fresh)

    def take_inputs(self, trial: Trial, dataset: Dataset) -> None:
        """Sets what may differ between trials that share the program."""
        self._threshold = tf.constant(trial.clipping.threshold or 0.0, tf.float32)
        self._scaling = (
            tf.constant(dataset.mean, tf.float32),
            tf.constant(dataset.std, tf.float32),
        )

    def state(self) -> dict[str, Sequence[NDArray[Any]]]:
        """Copies all that a training changes, the random generators included."""
        return copy_state(self.model.variables, self._optimizer.variables)

    def restore(self, state: State) -> None:
        """Puts back what `state` has copied from a program of the same shape."""
        restore_state(state, self.model.variables, self._optimizer.variables)

    def train_epoch(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int32],
        order: NDArray[np.int64],
        learning_rates: NDArray[np.float32],
    ) -> dict[str, float]:
        """Trains one epoch in the given order, one learning rate per step, shape (steps,).

        Returns:
            Means over the epoch: `train/loss` and `train/accuracy` per image,
            `opt/grad_norm` and `opt/clipped_fraction` per step.
        """
        # Putting the images in order beforehand lets every step read one contiguous block.
        sums = self._call(
            self._train_epoch,
            tf.constant(images[order]),
            tf.constant(labels[order]),
            tf.constant(learning_rates),
            self._threshold,
            *self._scaling,
        )
        loss, correct, norm, clipped = (float(value) for value in sums)
        size, steps = len(order), len(learning_rates)
        return {
            "train/loss": loss / size,
            "train/accuracy": correct / size,
            "opt/grad_norm": norm / steps,
            "opt/clipped_fraction": clipped / steps,
        }

    def evaluate(self, images: Any, labels: Any) -> tuple[float, float]:
        """Mean loss and accuracy; uint8 images and int32 labels, arrays or tensors."""
        inputs = (tf.constant(images), tf.constant(labels), *self._scaling)
        loss, correct = self._call(self._evaluate_all, *inputs)
        return float(loss) / len(labels), float(correct) / len(labels)

    def _call(self, body: Callable[..., Any], *inputs: Any) -> Any:
        """Calls a method as one compiled program, or as TensorFlow's graph where XLA refuses."""
        if body.__name__ not in self._functions:
            compiled = tf.function(body, jit_compile=self._by_xla, autograph=False)
            self._functions[body.__name__] = compiled
        try:
            return self._functions[body.__name__](*inputs)
        except tf.errors.OpError as error:
            if not (self._by_xla and is_not_compiled(error)):
                raise
        self._by_xla = False
        self._functions.clear()
        return self._call(body, *inputs)

    def _train_epoch(
        self, images: Any, labels: Any, rates: Any, threshold: Any, mean: Any, std: Any
    ) -> Any:
        def update(batch: Any, targets: Any, rate: Any, sums: Any) -> Any:
            size = float(batch.shape[0])
            with tf.GradientTape() as tape:
                probabilities = self.model(_pixels(batch, mean, std), training=True)
                loss = self._mean_loss(targets, probabilities)
            weights = [variable.value for variable in self.model.trainable_variables]
            gradients, norm, clipped = clipping.clip(
                self._clipping, tape.gradient(loss, weights), threshold
            )
            self._optimizer.learning_rate.assign(rate)
            self._optimizer.apply(gradients, self.model.trainable_variables)
            news = (loss * size, _correct(targets, probabilities), norm, clipped)
            return tuple(total + new for total, new in zip(sums, news, strict=True))

        return _over_batches(images, labels, self.batch_size, update, sums=4, per_step=rates)

    def _evaluate_all(self, images: Any, labels: Any, mean: Any, std: Any) -> Any:
        def measure(batch: Any, targets: Any, _: Any, sums: Any) -> Any:
            probabilities = self.model(_pixels(batch, mean, std), training=False)
            loss = self._mean_loss(targets, probabilities) * float(batch.shape[0])
            return sums[0] + loss, sums[1] + _correct(targets, probabilities)

        return _over_batches(images, labels, EVALUATION_BATCH, measure, sums=2)

    def _mean_loss(self, targets: Any, probabilities: Any) -> Any:
        labels = tf.one_hot(targets, CLASSES) if self._one_hot else targets
        return self._loss(labels, probabilities) + sum(self.model.losses)


def _over_batches(
    images: Any, labels: Any, batch_size: int, body: Any, sums: int, per_step: Any = None
) -> Any:
    """Runs `body(images, labels, per_step value, sums)` over all batches, the last one smaller.

    A loop has one shape, so the smaller batch is a second copy of the body behind it.
    """
    size = images.shape[0]
    full = size // batch_size

    def step(index: Any, totals: Any) -> Any:
        start = index * batch_size
        batch = tf.slice(images, [start, 0, 0], [batch_size, *images.shape[1:]])
        value = None if per_step is None else per_step[index]
        return index + 1, body(batch, tf.slice(labels, [start], [batch_size]), value, totals)

    totals: Any = tuple(tf.constant(0.0) for _ in range(sums))
    if full:
        _, totals = tf.while_loop(lambda index, _: index < full, step, (tf.constant(0), totals))
    if size % batch_size:
        start = full * batch_size
        value = None if per_step is None else per_step[full]
        totals = body(images[start:], labels[start:], value, totals)
    return totals


def _pixels(images: Any, mean: Any, std: Any) -> Any:
    return (tf.cast(images, tf.float32) / 255.0 - mean) / std


def _correct(targets: Any, probabilities: Any) -> Any:
    guesses = tf.argmax(probabilities, axis=-1, output_type=targets.dtype)
    return tf.reduce_sum(tf.cast(guesses == targets, tf.float32))


def train(trial: Trial, dataset: Dataset, on_epoch: OnEpoch, keeper: Keeper = NOT_KEPT) -> Outcome:
    """Trains one trial; see `Engine` for the contract."""
    scheduler, stopping = schedules.build(trial.scheduler), EarlyStopping(trial.stopping)
    program = program_for(trial, dataset)
    _catch_up(keeper, program, scheduler, stopping, len(dataset.train_labels))
    best = {key: keeper.state[key] for key in keeper.state.keys() & {"best"}}
    for epoch in range(len(keeper.curve), trial.training.epochs):
        metrics = _train_epoch(program, trial, dataset, scheduler, epoch)
        if epoch == len(keeper.curve):  # whatever there was to compile has been compiled
            program_cache.publish()
        early = stopping.observe(epoch, metrics)
        if stopping.restores and stopping.best_epoch == epoch:
            best["best"] = program.model.get_weights()
        scheduler.observe(epoch, metrics)
        reason = stop_reason(
            diverged=diverged(metrics),
            pruned=not on_epoch(epoch, metrics),
            early=early,
            epoch=epoch,
            epochs=trial.training.epochs,
        )
        if reason:
            break
        keeper.offer(lambda: program.state() | best)
    assert reason is not None  # the last epoch has one
    if best and stopping.best_epoch is not None:
        return Outcome(reason, stopping.best_epoch, list(best["best"]))
    return Outcome(reason, epoch, program.model.get_weights())


def _catch_up(
    keeper: Keeper,
    program: Program,
    scheduler: schedules.Scheduler,
    stopping: EarlyStopping,
    size: int,
) -> None:
    """Restores the state of an earlier attempt, and repeats its curve for what observes it."""
    for epoch, metrics in enumerate(keeper.curve):
        scheduler.learning_rates(epoch, steps_per_epoch(size, program.batch_size))
        stopping.observe(epoch, metrics)
        scheduler.observe(epoch, metrics)
    if keeper.curve:
        program.restore(keeper.state)


def _train_epoch(
    program: Program, trial: Trial, dataset: Dataset, scheduler: schedules.Scheduler, epoch: int
) -> dict[str, float]:
    start = time.perf_counter()
    size = len(dataset.train_labels)
    rates = scheduler.learning_rates(epoch, steps_per_epoch(size, program.batch_size))
    metrics = program.train_epoch(
        dataset.train_images, dataset.train_labels, batch_order(trial.seed, epoch, size), rates
    )
    loss, accuracy = program.evaluate(dataset.val_images, dataset.val_labels)
    return metrics | {
        "val/loss": loss,
        "val/accuracy": accuracy,
        "opt/learning_rate": float(rates[-1]),
        "time/epoch_seconds": time.perf_counter() - start,
    }
