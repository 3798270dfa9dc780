"""Schedules that go their way whatever the length of the training."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.validate import require_non_negative, require_positive
from fmnist_lab.schedules.schedule import SAME_EPOCH, Schedule, as_schedule


def constant(initial_learning_rate: float) -> Schedule:
    """Keeps the rate."""
    require_positive("scheduler", initial_learning_rate=initial_learning_rate)
    return as_schedule(lambda epoch: initial_learning_rate)


def exponential(
    initial_learning_rate: float,
    decay_epochs: float,
    decay_rate: float = 0.1,
    staircase: bool = False,
) -> Schedule:
    """Multiplies the rate by `decay_rate` over every `decay_epochs` (Keras's ExponentialDecay).

    With `staircase` it does so in one drop at the end of each `decay_epochs`: step decay.
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
    """Rises from 0 without end: `initial_learning_rate * 0.1 * (epoch / decay_epochs)`.

    No decay at all, and the first update is spent at rate 0. It is what an exponential decay
    becomes when `**` is mistyped as `*`, kept so that such results can be repeated.
    """
    require_positive(
        "scheduler", initial_learning_rate=initial_learning_rate, decay_epochs=decay_epochs
    )
    return as_schedule(lambda epoch: initial_learning_rate * 0.1 * (epoch / decay_epochs))


def piecewise(
    initial_learning_rate: float, boundaries: Sequence[float], factors: Sequence[float]
) -> Schedule:
    """Keeps `initial_learning_rate * factors[i]` up to and including `boundaries[i]`.

    `factors` has one entry more than `boundaries` and does not accumulate: 0.01 with factors
    1, 0.5, 0.1 gives 0.01, 0.005, 0.001. As in Keras's PiecewiseConstantDecay a position on
    a boundary still has the old rate: with updates per step that is one update, with updates
    per epoch it is the whole epoch that starts there.
    """
    require_positive("scheduler", initial_learning_rate=initial_learning_rate)
    for name, values in (("boundaries", boundaries), ("factors", factors)):
        if not isinstance(values, Sequence):
            raise RequestError(f"`scheduler.{name}` must be a list, got {values!r}.")
    for boundary in boundaries:
        require_positive("scheduler", boundaries=boundary)
    for factor in factors:
        require_non_negative("scheduler", factors=factor)
    if not boundaries or np.any(np.diff(boundaries) <= 0):
        raise RequestError(
            f"`scheduler.boundaries` must be one or more increasing epochs, got {boundaries}."
        )
    if len(factors) != len(boundaries) + 1:
        raise RequestError(
            f"`scheduler.factors` must have {len(boundaries) + 1} entries, one more than "
            f"`scheduler.boundaries`, got {factors}."
        )
    with np.errstate(over="ignore"):  # infinite, which is refused as a rate
        rates = initial_learning_rate * np.asarray(factors, dtype=np.float64)
    return as_schedule(lambda epoch: rates[np.searchsorted(boundaries, epoch - SAME_EPOCH)])


def power(initial_learning_rate: float, decay_epochs: float, power: float = 1.0) -> Schedule:
    """Falls as `initial_learning_rate / (1 + epoch / decay_epochs) ** power`.

    The textbook's power scheduling; with power 1 it is Keras's InverseTimeDecay, which halves
    the rate after `decay_epochs`. Keras's PolynomialDecay(power) is `polynomial`.
    """
    require_positive(
        "scheduler",
        initial_learning_rate=initial_learning_rate,
        decay_epochs=decay_epochs,
        power=power,
    )
    return as_schedule(lambda epoch: initial_learning_rate / (1 + epoch / decay_epochs) ** power)
