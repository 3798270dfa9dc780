"""Averages of the weights, which a trial delivers instead of the last update's weights.

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
    """Checks that a decay is given exactly when it is needed, and that an epoch is averaged.

    Raises:
        RequestError: It is not so, or the name is unknown.
    """
    name, first = config.name, config.start_from_epoch
    require_choice("averaging", ("none", "ema", "swa"), name=name)
    if name == "ema":
        rule = "above 0 and below 1"
        require_number("averaging", rule, lambda share: 0 < share < 1, decay=config.decay)
    elif config.decay is not None:
        raise RequestError("averaging.decay", f"be null with averaging={name}", config.decay)
    if name == "none" and first:
        raise RequestError("averaging.start_from_epoch", "be 0 with averaging=none", first)
    rule = f"at least 0 and below training.epochs={epochs}"
    require_number("averaging", rule, lambda epoch: 0 <= epoch < epochs, start_from_epoch=first)


def decays(config: AveragingConfig, epoch: int, steps: int) -> NDArray[np.float32]:
    """Returns which part of the average each update of an epoch keeps, (steps,).

    `average = d * average + (1 - d) * weights`. Before the first epoch d is 0, the average is the
    weights. `ema`: d is the decay, but for the first update, whose weights are taken as they are.
    Source: Polyak and Juditsky (1992); Keras's `use_ema`. `swa`: n / (n + 1) after the last update
    of epoch n, counted from the first one, and 1 after all others. Source: Izmailov et al. (2018);
    PyTorch's `AveragedModel`, updated at the end of each epoch.

    Example:
        >>> decays(AveragingConfig("ema", 0.9), epoch=0, steps=3)
        array([0. , 0.9, 0.9], dtype=float32)
        >>> decays(AveragingConfig("swa", start_from_epoch=2), epoch=3, steps=3)
        array([1. , 1. , 0.5], dtype=float32)
    """
    done = epoch - int(config.start_from_epoch)
    if done < 0:
        return np.zeros(steps, np.float32)
    found = np.full(steps, 1.0 if config.decay is None else config.decay, np.float32)
    if config.decay is None:
        found[-1] = done / (done + 1)
    elif done == 0:
        found[0] = 0.0
    return found


class Average:
    """An average of a model's weights, statistics of batch normalisation among them.

    Statistics are averaged like weights, as PyTorch's `use_buffers=True` and timm's `ModelEma` do:
    computing them anew would cost a pass over the training images after each epoch. Whole numbers
    and the states of random generators are not averaged. With the name `none` there is none: the
    model's weights are what is delivered.
    """

    def __init__(self, name: str, model: Any) -> None:
        """Starts with the model's present weights."""
        import tensorflow as tf

        floats = [weight for weight in model.weights if tf.as_dtype(weight.dtype).is_floating]
        self.name = name
        self._weights: Sequence[Any] = [] if name == "none" else floats
        self._values = [tf.Variable(weight.value) for weight in self._weights]

    def update(self, decay: Any) -> None:
        """Takes the model's weights in; a float32 scalar of `decays`."""
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
