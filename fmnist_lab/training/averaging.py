"""Averages of the weights, which a trial delivers instead of the last update's weights.

With x the average, z the weights that the optimizer updates, and d and beta numbers in [0, 1], an
update is

    y = beta * x + (1 - beta) * z
    z = z + what the optimizer makes of the gradients at y, and of its weight decay at y
    x = d * x + (1 - d) * z

where beta is 0 but for `schedule_free`, of Defazio et al., The Road Less Scheduled (2024).

Keras's `use_ema` leaves out the statistics of batch normalisation, a first epoch, and averages of
epochs, so both engines use this module. `ema` without batch normalisation is Keras's.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.validate import require_choice, require_number
from fmnist_lab.trial import AveragingConfig


def validate(config: AveragingConfig, epochs: int) -> None:
    """Checks that decay and beta are given exactly when needed, and that an epoch is averaged.

    Raises:
        RequestError: It is not so, or the name is unknown.
    """
    name, first = config.name, config.start_from_epoch
    require_choice("averaging", ("none", "ema", "swa", "schedule_free"), name=name)
    if name == "ema":
        rule = "above 0 and below 1"
        require_number("averaging", rule, lambda share: 0 < share < 1, decay=config.decay)
    elif config.decay is not None:
        raise RequestError("averaging.decay", f"be null with averaging={name}", config.decay)
    if name == "schedule_free":
        rule = "at least 0 and at most 1"
        require_number("averaging", rule, lambda share: 0 <= share <= 1, beta=config.beta)
    elif config.beta is not None:
        raise RequestError("averaging.beta", f"be null with averaging={name}", config.beta)
    if name == "none" and first:
        raise RequestError("averaging.start_from_epoch", "be 0 with averaging=none", first)
    rule = f"at least 0 and below training.epochs={epochs}"
    require_number("averaging", rule, lambda epoch: 0 <= epoch < epochs, start_from_epoch=first)


class Decays:
    """Which part of the average each update keeps.

    Before the first epoch d is 0, the average is the weights. `ema`: d is the decay, but for the
    first update, whose weights are taken as they are. Source: Polyak and Juditsky (1992); Keras's
    `use_ema`. `swa`: n / (n + 1) after the last update of epoch n, counted from the first one, and
    1 after all others. Source: Izmailov et al. (2018); PyTorch's `AveragedModel`, updated at the
    end of each epoch. `schedule_free`: the weights after an update count as the square of the
    largest rate so far, all alike but for a warm-up. Source: Defazio et al. (2024), as their
    package `schedulefree` has it.

    Example:
        >>> rates = np.float32([0.1, 0.1, 0.1])
        >>> Decays(AveragingConfig("ema", 0.9)).of(0, rates)
        array([0. , 0.9, 0.9], dtype=float32)
        >>> Decays(AveragingConfig("swa", start_from_epoch=2)).of(3, rates)
        array([1. , 1. , 0.5], dtype=float32)
        >>> Decays(AveragingConfig("schedule_free", beta=0.9)).of(0, rates)
        array([0.       , 0.5      , 0.6666667], dtype=float32)
    """

    def __init__(self, config: AveragingConfig) -> None:
        """Starts before the first epoch."""
        self._config = config
        self._largest = self._counted = 0.0  # rate so far; sum of the squares

    def of(self, epoch: int, rates: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns d of each update of an epoch, (steps,); asked for all epochs, in order.

        Args:
            epoch: From 0.
            rates: The learning rate of each update, (steps,).
        """
        done = epoch - int(self._config.start_from_epoch)
        if done < 0:
            return np.zeros_like(rates)
        if self._config.name == "schedule_free":
            counts = np.maximum.accumulate([self._largest, *rates.astype(float)])[1:] ** 2
            sums = self._counted + np.cumsum(counts)
            self._largest, self._counted = float(counts[-1] ** 0.5), float(sums[-1])
            return (1 - counts / np.where(sums > 0, sums, 1)).astype(np.float32)
        found = np.full_like(rates, 1.0 if self._config.decay is None else self._config.decay)
        if self._config.decay is None:
            found[-1] = done / (done + 1)
        elif done == 0:
            found[0] = 0.0
        return found


class Average:
    """An average of a model's weights, statistics of batch normalisation among them.

    Statistics are averaged like weights, as PyTorch's `use_buffers=True` and timm's `ModelEma` do:
    computing them anew would cost a pass over the training images after each epoch. Whole numbers
    and the states of random generators are not averaged. With `schedule_free` statistics are those
    collected at y, next to the average, whose own they nearly are. With the name `none` there is no
    average: the model's weights are what is delivered.
    """

    def __init__(self, name: str, model: Any) -> None:
        """Starts with the model's present weights."""
        import tensorflow as tf

        floats = [weight for weight in model.weights if tf.as_dtype(weight.dtype).is_floating]
        if name == "schedule_free":
            floats = list(model.trainable_variables)
        self.name = name
        self._weights: Sequence[Any] = [] if name == "none" else floats
        self._values = [tf.Variable(weight.value) for weight in self._weights]

    def interpolate(self, beta: Any) -> list[Any]:
        """Moves the model's weights from z to y; returns what `undo` adds again.

        Args:
            beta: A float32 scalar; None: there is no other point.
        """
        if beta is None:
            return []
        pairs = zip(self._weights, self._values, strict=True)
        shifts = [beta * (weight.value - value) for weight, value in pairs]
        for weight, shift in zip(self._weights, shifts, strict=True):
            weight.assign_sub(shift)
        return shifts

    def undo(self, shifts: Sequence[Any]) -> None:
        """Takes back what `interpolate` did, and keeps what has been done since."""
        for weight, shift in zip(self._weights, shifts, strict=False):  # there may be none
            weight.assign_add(shift)

    def update(self, decay: Any) -> None:
        """Takes the model's weights in; a float32 scalar of `Decays`."""
        for value, weight in zip(self._values, self._weights, strict=True):
            value.assign(decay * value + (1 - decay) * weight.value)

    def reset(self) -> None:
        """Starts anew with the model's present weights."""
        for value, weight in zip(self._values, self._weights, strict=True):
            value.assign(weight.value)

    def swap(self) -> None:
        """Exchanges the model's weights and the average."""
        for value, weight in zip(self._values, self._weights, strict=True):
            kept = weight.value.numpy()
            weight.assign(value)
            value.assign(kept)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Exchanges them for the length of a block."""
        self.swap()
        yield
        self.swap()

    def state(self) -> dict[str, Sequence[NDArray[Any]]]:
        """Copies what a checkpoint keeps beside the model's weights."""
        return {"average": [value.numpy() for value in self._values]} if self._values else {}

    def restore(self, state: Mapping[str, Sequence[NDArray[Any]]]) -> None:
        """Puts back what `state` has copied."""
        for value, kept in zip(self._values, state.get("average", []), strict=True):
            value.assign(kept)
