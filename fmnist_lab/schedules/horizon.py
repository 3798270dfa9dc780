"""Schedules laid over the whole training: they end where it ends."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.validate import (
    require_non_negative,
    require_number,
    require_positive,
    require_whole,
)
from fmnist_lab.schedules.schedule import SAME_EPOCH, Schedule, as_schedule

MOST_CYCLES = 1000  # of cosine_restarts; every one of them is listed


def polynomial(
    initial_learning_rate: float,
    epochs: float,
    end_learning_rate: float = 0.0,
    power: float = 1.0,
) -> Schedule:
    """Falls to `end_learning_rate` as `(1 - epoch / epochs) ** power` (Keras's PolynomialDecay).

    `end_learning_rate` is a rate, not a fraction of the first one. Keras's default is 1e-4.
    """
    require_positive(
        "scheduler", initial_learning_rate=initial_learning_rate, epochs=epochs, power=power
    )
    require_non_negative("scheduler", end_learning_rate=end_learning_rate)
    height = initial_learning_rate - end_learning_rate
    return as_schedule(
        lambda epoch: height * (1 - np.minimum(epoch / epochs, 1.0)) ** power + end_learning_rate
    )


def linear(initial_learning_rate: float, epochs: float) -> Schedule:
    """Falls to zero in a straight line."""
    return polynomial(initial_learning_rate, epochs)


def cosine(initial_learning_rate: float, epochs: float, alpha: float = 0.0) -> Schedule:
    """Falls along half a cosine to the fraction `alpha` of the start (Keras's CosineDecay)."""
    require_positive("scheduler", initial_learning_rate=initial_learning_rate, epochs=epochs)
    _require_fraction(alpha=alpha)
    return as_schedule(
        lambda epoch: initial_learning_rate * (alpha + (1 - alpha) * _half_cosine(epoch / epochs))
    )


def cosine_restarts(  # noqa: PLR0913  # each one is a key of the configuration
    *,
    initial_learning_rate: float,
    epochs: float,
    cycles: int | None = None,
    first_decay_epochs: float | None = None,
    t_mul: float = 2.0,
    m_mul: float = 1.0,
    alpha: float = 0.0,
) -> Schedule:
    """Repeats half a cosine, each time `t_mul` longer and from a start `m_mul` as high.

    Keras's CosineDecayRestarts. Give either `cycles`, and the last one ends with the training,
    or `first_decay_epochs`, and the training may end in the middle of a cycle, at a high rate.
    `alpha` is a fraction of `initial_learning_rate` in every cycle.
    """
    require_positive(
        "scheduler", initial_learning_rate=initial_learning_rate, epochs=epochs, m_mul=m_mul
    )
    require_number("scheduler", "1 or more", lambda value: value >= 1, t_mul=t_mul)
    _require_fraction(alpha=alpha)
    edges = _cycle_edges(epochs, cycles, first_decay_epochs, t_mul)

    def formula(epoch: NDArray[np.float64]) -> Any:
        begun = np.searchsorted(edges[:-1], epoch + SAME_EPOCH, side="right")
        cycle = np.maximum(begun - 1, 0)
        progress = (epoch - edges[cycle]) / np.diff(edges)[cycle]
        decay = m_mul**cycle * _half_cosine(progress)
        return initial_learning_rate * (alpha + (1 - alpha) * decay)

    return as_schedule(formula)


def one_cycle(
    max_learning_rate: float,
    epochs: float,
    div_factor: float = 10.0,
    final_div_factor: float = 1000.0,
    final_fraction: float = 0.1,
) -> Schedule:
    """Rises to the maximum, falls back as far, then to almost nothing: three straight lines.

    The 1cycle of Hands-On Machine Learning: from `max_learning_rate / div_factor` up and back
    in two equal halves, then, over the last `final_fraction` of the training, down to the
    start divided by `final_div_factor`. Momentum stays as it is.
    """
    require_positive("scheduler", max_learning_rate=max_learning_rate, epochs=epochs)
    require_number(
        "scheduler",
        "1 or more",
        lambda value: value >= 1,
        div_factor=div_factor,
        final_div_factor=final_div_factor,
    )
    require_number(
        "scheduler",
        "above 0 and below 1",
        lambda value: 0 < value < 1,
        final_fraction=final_fraction,
    )
    descent = epochs * (1 - final_fraction)
    start = max_learning_rate / div_factor
    corners = [0.0, descent / 2, descent, epochs]
    rates = [start, max_learning_rate, start, start / final_div_factor]
    return as_schedule(lambda epoch: np.interp(epoch, corners, rates))


def wsd(
    initial_learning_rate: float,
    epochs: float,
    decay_fraction: float = 0.2,
    alpha: float = 0.0,
) -> Schedule:
    """Warmup-stable-decay after its warm-up: keeps the rate, then falls in a straight line.

    The fall takes the last `decay_fraction` of the training and ends at the fraction `alpha`
    of the rate.
    """
    require_positive("scheduler", initial_learning_rate=initial_learning_rate, epochs=epochs)
    require_number(
        "scheduler",
        "above 0 and at most 1",
        lambda value: 0 < value <= 1,
        decay_fraction=decay_fraction,
    )
    _require_fraction(alpha=alpha)
    corners = [epochs * (1 - decay_fraction), epochs]
    return as_schedule(
        lambda epoch: initial_learning_rate * np.interp(epoch, corners, [1.0, alpha])
    )


def _half_cosine(progress: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 1 at progress 0 to exactly 0 at progress 1 and after."""
    return np.asarray(0.5 * (1 + np.cos(np.pi * np.minimum(progress, 1.0))))


def _cycle_edges(
    epochs: float, cycles: int | None, first_decay_epochs: float | None, t_mul: float
) -> NDArray[np.float64]:
    """Where the cycles begin and, last, where the last one ends, (cycles + 1,), in epochs."""
    if (cycles is None) == (first_decay_epochs is None):
        raise RequestError(
            "`scheduler.cycles` must be a number and `scheduler.first_decay_epochs` null, or the "
            f"other way round, got {cycles} and {first_decay_epochs}."
        )
    if cycles is not None:
        require_positive("scheduler", cycles=cycles)
        require_whole("scheduler", cycles=cycles)
        _require_few_cycles(cycles, cycles=cycles)
        # Shares of the last cycle, not multiples of the first: those may overflow.
        lengths = np.concatenate([[0.0], np.cumsum(t_mul ** np.arange(1.0 - cycles, 1.0))])
        return np.asarray(epochs * lengths / lengths[-1])
    require_positive("scheduler", first_decay_epochs=first_decay_epochs)
    _require_few_cycles(epochs / (first_decay_epochs or 1.0), first_decay_epochs=first_decay_epochs)
    edges, length = [0.0], float(first_decay_epochs or 0.0)
    while edges[-1] < epochs:
        edges.append(edges[-1] + length)
        length *= t_mul
    return np.asarray(edges)


def _require_few_cycles(count: float, **values: object) -> None:
    rule = f"such that at most {MOST_CYCLES} cycles fit into the training"
    require_number("scheduler", rule, lambda _: count <= MOST_CYCLES, **values)


def _require_fraction(**values: object) -> None:
    require_number("scheduler", "from 0 to 1", lambda value: 0 <= value <= 1, **values)
