"""What a schedule is."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Schedule = Callable[[ArrayLike], NDArray[np.float64]]
"""From epochs, any shape, to learning rates of the same shape."""

SAME_EPOCH = 1e-9
"""Positions closer than this, in epochs, are the same: 3 * 1.85 is a hair above 111 / 20."""


def as_schedule(formula: Callable[[NDArray[np.float64]], Any]) -> Schedule:
    """The formula as a schedule: numbers and lists in, float64 arrays of the same shape out."""

    def schedule(epochs: ArrayLike) -> NDArray[np.float64]:
        positions = np.asarray(epochs, dtype=np.float64)
        with np.errstate(over="ignore"):  # a rate of zero, or one that no trial may have
            rates = np.asarray(formula(positions), dtype=np.float64)
        return np.broadcast_to(rates, positions.shape)

    return schedule
