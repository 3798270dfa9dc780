"""A schedule, and the linear warm-up that may come before any of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmnist_lab.foundation.validate import require_positive

Schedule = Callable[[ArrayLike], NDArray[np.float64]]
"""From epochs, any shape, to learning rates of the same shape."""

SAME_EPOCH = 1e-9
"""Positions closer than this, in epochs, are the same: 3 * 1.85 is a hair above 111 / 20."""


def as_schedule(formula: Callable[[NDArray[np.float64]], Any]) -> Schedule:
    """Makes a schedule of a formula: numbers and lists in, float64 arrays of the same shape out."""

    def schedule(epochs: ArrayLike) -> NDArray[np.float64]:
        positions = np.asarray(epochs, dtype=np.float64)
        with np.errstate(over="ignore"):  # validation refuses an infinite rate
            rates = np.asarray(formula(positions), dtype=np.float64)
        return np.broadcast_to(rates, positions.shape)

    return schedule


def warmup(schedule: Schedule, warmup_epochs: float, per_epoch: bool = False) -> Schedule:
    """Rises linearly from 0 to the schedule's start, then runs the schedule.

    `lr(t) = schedule(0) * t / w` for `t < w`, then `schedule(t - w)`: the schedule's own epochs
    count from the end of the warm-up. Source: Keras's `CosineDecay`, whose `decay_steps` exclude
    its `warmup_steps`.

    Args:
        schedule: The schedule that follows.
        warmup_epochs: w, in epochs.
        per_epoch: With one rate per epoch, reads the ramp in the middle of each epoch, so that the
            first epoch does not train at rate 0.

    Example:
        >>> warmup(lambda t: 0.01 - 0.001 * t, warmup_epochs=2)([0, 1, 2, 4])
        array([0.   , 0.005, 0.01 , 0.008])
    """
    require_positive("scheduler", warmup_epochs=warmup_epochs)
    start = schedule(0.0)

    def formula(epoch: NDArray[np.float64]) -> Any:
        ramp = (np.floor(epoch) + 0.5 if per_epoch else epoch) / warmup_epochs
        after = schedule(np.maximum(epoch - warmup_epochs, 0.0))
        return np.where(epoch < warmup_epochs, start * np.minimum(ramp, 1.0), after)

    return as_schedule(formula)
