"""Schedules that do not depend on the length of the training; t is the epoch, from 0."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.validate import require_non_negative, require_positive
from fmnist_lab.schedules.schedule import SAME_EPOCH, Schedule, as_schedule


def constant(initial_learning_rate: float) -> Schedule:
    """Keeps the rate: `lr(t) = lr0`.

    Example:
        >>> constant(0.01)([0, 10])
        array([0.01, 0.01])
    """
    require_positive("scheduler", initial_learning_rate=initial_learning_rate)

    def formula(epoch: NDArray[np.float64]) -> Any:
        return np.full_like(epoch, initial_learning_rate)

    return as_schedule(formula)


def exponential(
    initial_learning_rate: float,
    decay_epochs: float,
    decay_rate: float = 0.1,
    staircase: bool = False,
) -> Schedule:
    """Decays exponentially: `lr(t) = lr0 * r ** (t / s)`. Source: Keras's `ExponentialDecay`.

    Args:
        initial_learning_rate: lr0.
        decay_epochs: s, in epochs.
        decay_rate: r, the factor over s epochs.
        staircase: Rounds t / s down: one drop at the end of each s epochs (step decay).

    Example:
        >>> exponential(0.01, decay_epochs=20)([0, 20, 40])
        array([0.01  , 0.001 , 0.0001])
    """
    require_positive(
        "scheduler",
        initial_learning_rate=initial_learning_rate,
        decay_epochs=decay_epochs,
        decay_rate=decay_rate,
    )

    def formula(epoch: NDArray[np.float64]) -> Any:
        drops = epoch / decay_epochs
        if staircase:
            drops = np.floor(drops + SAME_EPOCH / decay_epochs)
        return initial_learning_rate * decay_rate**drops

    return as_schedule(formula)


def notebook_linear(initial_learning_rate: float, decay_epochs: float = 20.0) -> Schedule:
    """Rises from 0 without end: `lr(t) = lr0 * 0.1 * (t / s)`.

    It does not decay, and trains the first update at rate 0. It is what an exponential decay
    becomes when `**` is mistyped as `*`, and is kept to repeat such results.

    Args:
        initial_learning_rate: lr0.
        decay_epochs: s, in epochs.

    Example:
        >>> notebook_linear(0.01)([0, 20, 40])
        array([0.   , 0.001, 0.002])
    """
    require_positive(
        "scheduler", initial_learning_rate=initial_learning_rate, decay_epochs=decay_epochs
    )

    def formula(epoch: NDArray[np.float64]) -> Any:
        return initial_learning_rate * 0.1 * (epoch / decay_epochs)

    return as_schedule(formula)


def piecewise(
    initial_learning_rate: float, boundaries: Sequence[float], factors: Sequence[float]
) -> Schedule:
    """Changes the rate at given epochs: `lr(t) = lr0 * f[i]` for `b[i - 1] < t <= b[i]`.

    Source: Keras's `PiecewiseConstantDecay`. As there, a position on a boundary has the old rate:
    with updates per step that is one update, with updates per epoch it is a whole epoch.

    Args:
        initial_learning_rate: lr0.
        boundaries: b, in epochs, increasing.
        factors: f, of lr0 and not of the rate before; one more than boundaries.

    Example:
        >>> piecewise(0.01, boundaries=[5, 15], factors=[1, 0.5, 0.1])([0, 5, 6, 16])
        array([0.01 , 0.01 , 0.005, 0.001])
    """
    require_positive("scheduler", initial_learning_rate=initial_learning_rate)
    for name, values in (("boundaries", boundaries), ("factors", factors)):
        if not isinstance(values, Sequence):
            raise RequestError(f"scheduler.{name}", "be a list", values)
    for boundary in boundaries:
        require_positive("scheduler", boundaries=boundary)
    for factor in factors:
        require_non_negative("scheduler", factors=factor)
    if not boundaries or np.any(np.diff(boundaries) <= 0):
        raise RequestError("scheduler.boundaries", "be one or more increasing epochs", boundaries)
    if len(factors) != len(boundaries) + 1:
        rule = f"have {len(boundaries) + 1} entries, one more than `scheduler.boundaries`"
        raise RequestError("scheduler.factors", rule, factors)

    def formula(epoch: NDArray[np.float64]) -> Any:
        rates = initial_learning_rate * np.asarray(factors, dtype=np.float64)
        return rates[np.searchsorted(boundaries, epoch - SAME_EPOCH)]

    return as_schedule(formula)


def power(initial_learning_rate: float, decay_epochs: float, power: float = 1.0) -> Schedule:
    """Falls as a power of time: `lr(t) = lr0 / (1 + t / s) ** p`.

    Source: power scheduling in Géron, Hands-On Machine Learning. With p = 1 it is Keras's
    `InverseTimeDecay`, which halves the rate after s; Keras's `PolynomialDecay` is `polynomial`.

    Args:
        initial_learning_rate: lr0.
        decay_epochs: s, in epochs.
        power: p.

    Example:
        >>> power(0.01, decay_epochs=5)([0, 5, 15])
        array([0.01  , 0.005 , 0.0025])
    """
    require_positive(
        "scheduler",
        initial_learning_rate=initial_learning_rate,
        decay_epochs=decay_epochs,
        power=power,
    )

    def formula(epoch: NDArray[np.float64]) -> Any:
        return initial_learning_rate / (1 + epoch / decay_epochs) ** power

    return as_schedule(formula)
