"""The schedules: formulas of the epoch t, from 0, and of the length `epochs` of the training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.foundation.validate import (
    require_choice,
    require_non_negative,
    require_number,
    require_positive,
    require_share,
    require_whole,
)
from fmnist_lab.schedules.schedule import SAME_EPOCH, Schedule, as_schedule

MOST_CYCLES = 1000  # cosine_restarts lists each
_CYCLES_RULE = f"such that at most {MOST_CYCLES} cycles fit into the training"
TRIANGULAR_MODES = ("triangular", "triangular2", "exp_range")


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
    floor: float = 0.0,
) -> Schedule:
    """Decays exponentially: `lr(t) = lr0 * max(r ** (t / s), f)`.

    Source: Keras's `ExponentialDecay`; the floor is the `end_value` of optax, as a fraction.

    Args:
        initial_learning_rate: lr0.
        decay_epochs: s, in epochs.
        decay_rate: r, the factor over s epochs.
        staircase: Rounds t / s down: one drop at the end of each s epochs (step decay).
        floor: f, a fraction of lr0.

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
    _require_fraction(floor=floor)

    def formula(epoch: NDArray[np.float64]) -> Any:
        drops = epoch / decay_epochs
        if staircase:
            drops = np.floor(drops + SAME_EPOCH / decay_epochs)
        rates = initial_learning_rate * decay_rate**drops
        return np.maximum(rates, initial_learning_rate * floor)

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
    _require_list(factors=factors)
    require_increasing(boundaries=boundaries)
    for factor in factors:
        require_non_negative("scheduler", factors=factor)
    if len(factors) != len(boundaries) + 1:
        rule = f"have {len(boundaries) + 1} entries, one more than `scheduler.boundaries`"
        raise RequestError("scheduler.factors", rule, factors)

    def formula(epoch: NDArray[np.float64]) -> Any:
        rates = initial_learning_rate * np.asarray(factors, dtype=np.float64)
        return rates[np.searchsorted(boundaries, epoch - SAME_EPOCH)]

    return as_schedule(formula)


def multi_step(
    initial_learning_rate: float, milestones: Sequence[float], gamma: float = 0.1
) -> Schedule:
    """Multiplies the rate by g at each milestone: `lr(t) = lr0 * g ** (milestones up to t)`.

    Source: PyTorch's `MultiStepLR`. As there, a position on a milestone has the new rate, which
    `piecewise`, like Keras, has one update later, or one epoch with updates per epoch.

    Args:
        initial_learning_rate: lr0.
        milestones: In epochs, increasing.
        gamma: g.

    Example:
        >>> multi_step(0.01, milestones=[5, 15])([0, 4, 5, 15])
        array([0.01  , 0.01  , 0.001 , 0.0001])
    """
    require_positive("scheduler", initial_learning_rate=initial_learning_rate, gamma=gamma)
    require_increasing(milestones=milestones)

    def formula(epoch: NDArray[np.float64]) -> Any:
        passed = np.searchsorted(milestones, epoch + SAME_EPOCH, side="right")
        return initial_learning_rate * gamma**passed

    return as_schedule(formula)


def power(initial_learning_rate: float, decay_epochs: float, power: float = 1.0) -> Schedule:
    """Falls as a power of time: `lr(t) = lr0 / (1 + t / s) ** p`.

    Source: power scheduling in Géron, Hands-On Machine Learning. With p = 1 it is Keras's
    `InverseTimeDecay`, which halves the rate after s; Keras's `PolynomialDecay` is `polynomial`.
    With p = 0.5 and a warm-up of s epochs it is the inverse square root of Vaswani et al. (2017),
    and with another s that of Hugging Face, whose `timescale` it is.

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


def polynomial(
    initial_learning_rate: float,
    epochs: float,
    end_learning_rate: float = 0.0,
    power: float = 1.0,
) -> Schedule:
    """Falls as a polynomial: `lr(t) = (lr0 - lr1) * (1 - t / epochs) ** p + lr1`.

    Source: Keras's `PolynomialDecay`, whose default for lr1 is 1e-4.

    Args:
        initial_learning_rate: lr0.
        epochs: The length of the training.
        end_learning_rate: lr1, a rate and not a fraction of lr0.
        power: p.

    Example:
        >>> polynomial(0.01, epochs=10, power=2)([0, 5, 10])
        array([0.01  , 0.0025, 0.    ])
    """
    require_positive(
        "scheduler", initial_learning_rate=initial_learning_rate, epochs=epochs, power=power
    )
    require_non_negative("scheduler", end_learning_rate=end_learning_rate)

    def formula(epoch: NDArray[np.float64]) -> Any:
        height = initial_learning_rate - end_learning_rate
        return height * (1 - np.minimum(epoch / epochs, 1.0)) ** power + end_learning_rate

    return as_schedule(formula)


def linear(initial_learning_rate: float, epochs: float) -> Schedule:
    """Falls to zero in a straight line: `lr(t) = lr0 * (1 - t / epochs)`.

    Example:
        >>> linear(0.01, epochs=10)([0, 5, 10])
        array([0.01 , 0.005, 0.   ])
    """
    return polynomial(initial_learning_rate, epochs)


def cosine(
    initial_learning_rate: float, epochs: float, alpha: float = 0.0, hold_fraction: float = 0.0
) -> Schedule:
    """Falls along half a cosine: `lr(t) = lr0 * (a + (1 - a) * (1 + cos(pi * u)) / 2)`.

    u goes from 0 to 1 between `h * epochs` and `epochs`; until then the rate is lr0. Source:
    Loshchilov and Hutter, SGDR (2017); Keras's `CosineDecay`, where h is 0. `a * lr0` is the
    `eta_min` of PyTorch's `CosineAnnealingLR`, and `h * epochs` the `hold_base_rate_steps` of the
    TensorFlow Model Garden.

    Args:
        initial_learning_rate: lr0.
        epochs: The length of the training.
        alpha: a, the fraction of lr0 at the end.
        hold_fraction: h, the part of the training before the fall.

    Example:
        >>> cosine(0.01, epochs=10)([0, 5, 10])
        array([0.01 , 0.005, 0.   ])
    """
    require_positive("scheduler", initial_learning_rate=initial_learning_rate, epochs=epochs)
    _require_fraction(alpha=alpha)
    require_share("scheduler", hold_fraction=hold_fraction)

    def formula(epoch: NDArray[np.float64]) -> Any:
        progress = np.maximum((epoch / epochs - hold_fraction) / (1 - hold_fraction), 0.0)
        return initial_learning_rate * (alpha + (1 - alpha) * half_cosine(progress))

    return as_schedule(formula)


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
    """Repeats half a cosine, with u = 0 to 1 through cycle i.

    `lr(t) = lr0 * (a + (1 - a) * m ** i * (1 + cos(pi * u)) / 2)`; a cycle is `t_mul` times as
    long as the one before. Source: Loshchilov and Hutter, SGDR (2017); Keras's
    `CosineDecayRestarts`.

    Args:
        initial_learning_rate: lr0.
        epochs: The length of the training.
        cycles: How many; the last one ends with the training. This or `first_decay_epochs`.
        first_decay_epochs: Length of the first cycle, in epochs; the training may end within a
            cycle, at a high rate.
        t_mul: Factor from one cycle's length to the next.
        m_mul: m, factor from one cycle's start to the next.
        alpha: a, a fraction of lr0 in every cycle.

    Example:
        >>> cosine_restarts(initial_learning_rate=0.01, epochs=15, cycles=2)([0, 2.5, 5, 10])
        array([0.01 , 0.005, 0.01 , 0.005])
    """
    require_positive(
        "scheduler", initial_learning_rate=initial_learning_rate, epochs=epochs, m_mul=m_mul
    )
    require_number("scheduler", "1 or more", lambda value: value >= 1, t_mul=t_mul)
    _require_fraction(alpha=alpha)
    edges = _cycle_edges(epochs, cycles, first_decay_epochs, t_mul)
    # A cycle may be shorter than what counts as the same position.
    starts = edges[:-1] - np.minimum(SAME_EPOCH, np.diff(edges[:-1], prepend=-1.0) / 2)

    def formula(epoch: NDArray[np.float64]) -> Any:
        begun = np.searchsorted(starts, epoch, side="right")
        cycle = np.maximum(begun - 1, 0)
        progress = (epoch - edges[cycle]) / np.diff(edges)[cycle]
        decay = m_mul**cycle * half_cosine(progress)
        return initial_learning_rate * (alpha + (1 - alpha) * decay)

    return as_schedule(formula)


def one_cycle(  # noqa: PLR0913  # each one is a key of the configuration
    max_learning_rate: float,
    epochs: float,
    div_factor: float = 10.0,
    final_div_factor: float = 1000.0,
    final_fraction: float = 0.1,
    *,
    annealing: str = "linear",
    pct_start: float | None = None,
) -> Schedule:
    """Connects four points by straight lines: up, down again, then down to almost zero.

    With e = epochs * (1 - f): `lr(0) = m / d`, `lr(e / 2) = m`, `lr(e) = m / d` and
    `lr(epochs) = m / d / D`. Source: 1cycle in Géron, Hands-On Machine Learning, without its
    change of momentum. With `pct_start` there are three points, `lr(p * epochs) = m` the one
    between. Source: PyTorch's `OneCycleLR` (there d = 25, D = 10,000, cosine, p = 0.3), whose last
    update has the last point's rate, one update earlier than here; optax's
    `cosine_onecycle_schedule`.

    Args:
        max_learning_rate: m.
        epochs: The length of the training.
        div_factor: d.
        final_div_factor: D.
        final_fraction: f, the last part of the training.
        annealing: `linear`, or `cosine` for halves of a cosine between the points.
        pct_start: p, the part of the training in which the rate rises; f is then ignored. None:
            the four points.

    Example:
        >>> one_cycle(0.01, epochs=10)([0, 4.5, 9, 10])
        array([1.e-03, 1.e-02, 1.e-03, 1.e-06])
        >>> one_cycle(0.01, epochs=10, annealing="cosine", pct_start=0.2)([0, 1, 2, 10])
        array([1.0e-03, 5.5e-03, 1.0e-02, 1.0e-06])
    """
    require_positive("scheduler", max_learning_rate=max_learning_rate, epochs=epochs)
    require_number(
        "scheduler",
        "1 or more",
        lambda value: value >= 1,
        div_factor=div_factor,
        final_div_factor=final_div_factor,
    )
    shares = {"final_fraction": final_fraction}
    shares |= {} if pct_start is None else {"pct_start": pct_start}
    require_number("scheduler", "above 0 and below 1", lambda value: 0 < value < 1, **shares)
    require_choice("scheduler", ("linear", "cosine"), annealing=annealing)

    def formula(epoch: NDArray[np.float64]) -> Any:
        descent = epochs * (1 - final_fraction)
        start = max_learning_rate / div_factor
        corners = [0.0, descent / 2, descent, epochs]
        rates = [start, max_learning_rate, start, start / final_div_factor]
        if pct_start is not None:
            corners, rates = [0.0, pct_start * epochs, epochs], [*rates[:2], rates[3]]
        if annealing == "linear":
            return np.interp(epoch, corners, rates)
        line = np.searchsorted(corners[1:-1], epoch, side="right")
        progress = (epoch - np.take(corners, line)) / np.take(np.diff(corners), line)
        return np.take(rates, line + 1) - np.take(np.diff(rates), line) * half_cosine(progress)

    return as_schedule(formula)


def triangular(
    max_learning_rate: float,
    epochs: float,
    cycles: int = 3,
    div_factor: float = 4.0,
    mode: str = "triangular",
    gamma: float = 0.9,
) -> Schedule:
    """Rises from a base rate to a peak and falls back, in straight lines, in cycles of one length.

    `lr(t) = b + (m - b) * s * (1 - abs(2 * u - 1))`, with b = m / d and u = 0 to 1 through cycle
    i = 0, 1, ...; the mode says what s is. Source: Smith, Cyclical Learning Rates (2017);
    PyTorch's `CyclicLR`, whose step size in epochs is `epochs / cycles / 2` here.

    Args:
        max_learning_rate: m.
        epochs: The length of the training.
        cycles: How many; the last one ends with the training, at b.
        div_factor: d.
        mode: `triangular` (s = 1), `triangular2` (s = 0.5 ** i, half of it with each cycle) or
            `exp_range` (s = g ** t).
        gamma: g, the factor of `exp_range` over an epoch. PyTorch's is over an update: g here is
            its gamma to the power of the updates of an epoch. Other modes ignore it.

    Example:
        >>> triangular(0.04, epochs=12, mode="triangular2")([0, 1, 2, 4, 6, 12])
        array([0.01 , 0.025, 0.04 , 0.01 , 0.025, 0.01 ])
    """
    require_positive("scheduler", max_learning_rate=max_learning_rate, epochs=epochs)
    _require_cycles(cycles)
    require_number("scheduler", "1 or more", lambda value: value >= 1, div_factor=div_factor)
    require_choice("scheduler", TRIANGULAR_MODES, mode=mode)
    require_number("scheduler", "above 0 and at most 1", lambda value: 0 < value <= 1, gamma=gamma)

    def formula(epoch: NDArray[np.float64]) -> Any:
        begun = np.minimum(epoch / epochs, 1.0) * cycles
        cycle = np.floor(begun)
        scales = {"triangular": 1.0, "triangular2": 0.5**cycle, "exp_range": gamma**epoch}
        height = scales[mode] * (1 - np.abs(2 * (begun - cycle) - 1))
        base = max_learning_rate / div_factor
        return base + (max_learning_rate - base) * height

    return as_schedule(formula)


def wsd(
    initial_learning_rate: float,
    epochs: float,
    decay_fraction: float = 0.2,
    alpha: float = 0.0,
    decay_type: str = "linear",
) -> Schedule:
    """Keeps the rate lr0 until `epochs * (1 - f)`, then falls to `a * lr0`.

    With u = 0 to 1 in the fall, it is `lr0 * (a + (1 - a) * s)`, s = `1 - u` in a straight line,
    `(1 + cos(pi * u)) / 2` or `1 - sqrt(u)`. Source: warmup-stable-decay, Hu et al., MiniCPM
    (2024); for 1-sqrt Hägele et al. (2024); `get_wsd_schedule` of Hugging Face. Its warm-up is
    `warmup_epochs`.

    Args:
        initial_learning_rate: lr0.
        epochs: The length of the training.
        decay_fraction: f, the part of the training in which the rate falls.
        alpha: a, the fraction of lr0 at the end.
        decay_type: `linear`, `cosine` or `1-sqrt`.

    Example:
        >>> wsd(0.01, epochs=10)([0, 8, 9, 10])
        array([0.01 , 0.01 , 0.005, 0.   ])
    """
    require_positive("scheduler", initial_learning_rate=initial_learning_rate, epochs=epochs)
    require_number(
        "scheduler",
        "above 0 and at most 1",
        lambda value: 0 < value <= 1,
        decay_fraction=decay_fraction,
    )
    _require_fraction(alpha=alpha)
    require_choice("scheduler", ("linear", "cosine", "1-sqrt"), decay_type=decay_type)

    def formula(epoch: NDArray[np.float64]) -> Any:
        corners = [epochs * (1 - decay_fraction), epochs]
        if decay_type == "linear":
            return initial_learning_rate * np.interp(epoch, corners, [1.0, alpha])
        progress = np.interp(epoch, corners, [0.0, 1.0])
        falls = {"cosine": half_cosine(progress), "1-sqrt": 1 - np.sqrt(progress)}
        return initial_learning_rate * (alpha + (1 - alpha) * falls[decay_type])

    return as_schedule(formula)


def shape(initial_learning_rate: float, epochs: float, factors: Mapping[str, float]) -> Schedule:
    """Runs smoothly through knots at equal distances in time, each a factor of the one before.

    `lr(t) = lr0 * exp(c(t))`, where the monotone cubic c is 0 at t = 0 and
    `log(f[1] * ... * f[i])` at `epochs * i / n`; between two knots it stays between their values.
    Source: the interpolation of Fritsch and Butland (1984), SciPy's `PchipInterpolator`; to search
    a shape, and apart from it a base rate: arXiv 2603.10301 (2026).

    Args:
        initial_learning_rate: lr0, the base rate.
        epochs: The length of the training.
        factors: f, n of them in the order of time; their names are free.

    Raises:
        RequestError: There is no factor, or one is not positive.

    Example:
        >>> shape(0.01, epochs=10, factors={"rise": 2, "fall": 0.1})([0, 5, 10])
        array([0.01 , 0.02 , 0.002])
    """
    require_positive("scheduler", initial_learning_rate=initial_learning_rate, epochs=epochs)
    if not isinstance(factors, Mapping) or not factors:
        raise RequestError("scheduler.factors", "be a mapping with one or more entries", factors)
    for name, factor in factors.items():
        require_positive("scheduler.factors", **{str(name): factor})

    def formula(epoch: NDArray[np.float64]) -> Any:
        progress = np.clip(epoch / epochs, 0.0, 1.0)
        rises = np.log(np.asarray(list(factors.values()), dtype=np.float64))
        return initial_learning_rate * np.exp(monotone_cubic(progress * len(rises), rises))

    return as_schedule(formula)


def monotone_cubic(position: NDArray[np.float64], rises: NDArray[np.float64]) -> Any:
    """Interpolates a curve that is 0 at 0 and rises by `rises[i]` between i and i + 1.

    A slope is the harmonic mean of the two rises beside it, and 0 where one of these is a fall.
    """
    left, right = rises[:-1], rises[1:]
    same = left * right > 0
    inner = np.where(same, 2 * left * right / np.where(same, left + right, 1.0), 0.0)
    slopes = np.concatenate([rises[:1], inner, rises[-1:]])
    for end, rise, beside in ((0, rises[0], rises[1:2]), (-1, rises[-1], rises[-2:-1])):
        for other in beside:  # one, or none where there is a single rise
            slope = (3 * rise - other) / 2
            limit = 3 * abs(rise) if rise * other < 0 else np.inf
            slopes[end] = np.clip(slope, -limit, limit) if slope * rise > 0 else 0.0
    piece = np.minimum(position.astype(np.int64), len(rises) - 1)
    along, rise = position - piece, rises[piece]
    start, end = slopes[piece], slopes[piece + 1]
    bend = along * (3 * rise - 2 * start - end + along * (start + end - 2 * rise))
    return np.concatenate([[0.0], np.cumsum(rises)])[piece] + along * (start + bend)


def half_cosine(progress: NDArray[np.float64]) -> Any:
    """Falls from 1 at progress 0 to exactly 0 at progress 1 and after."""
    return 0.5 * (1 + np.cos(np.pi * np.minimum(progress, 1.0)))


def _cycle_edges(
    epochs: float, cycles: int | None, first_decay_epochs: float | None, t_mul: float
) -> NDArray[np.float64]:
    """Returns where the cycles begin and, last, where the last one ends, in epochs."""
    if cycles is not None and first_decay_epochs is None:
        _require_cycles(cycles)
        # Shares of the last cycle, not multiples of the first: those may overflow.
        lengths = np.concatenate([[0.0], np.cumsum(t_mul ** np.arange(1.0 - cycles, 1.0))])
        return np.asarray(epochs * lengths / lengths[-1])
    if first_decay_epochs is None or cycles is not None:
        raise RequestError(
            "scheduler.cycles",
            "be a number and `scheduler.first_decay_epochs` null, or the other way round",
            Phrase(f"{cycles} and {first_decay_epochs}"),
        )
    require_positive("scheduler", first_decay_epochs=first_decay_epochs)
    require_number(
        "scheduler",
        _CYCLES_RULE,
        lambda length: epochs / length <= MOST_CYCLES,
        first_decay_epochs=first_decay_epochs,
    )
    edges, length = [0.0], float(first_decay_epochs)
    while edges[-1] < epochs:
        edges.append(edges[-1] + length)
        length *= t_mul
    return np.asarray(edges)


def _require_cycles(cycles: int) -> None:
    require_positive("scheduler", cycles=cycles)
    require_whole("scheduler", cycles=cycles)
    require_number("scheduler", _CYCLES_RULE, lambda count: count <= MOST_CYCLES, cycles=cycles)


def _require_list(**values: object) -> None:
    for name, value in values.items():
        if not isinstance(value, Sequence):
            raise RequestError(f"scheduler.{name}", "be a list", value)


def require_increasing(**values: Sequence[float]) -> None:
    """Checks that every value is a list of positive epochs, one or more, each after the last."""
    _require_list(**values)
    for name, epochs in values.items():
        for epoch in epochs:
            require_positive("scheduler", **{name: epoch})
        if not epochs or np.any(np.diff(epochs) <= 0):
            raise RequestError(f"scheduler.{name}", "be one or more increasing epochs", epochs)


def _require_fraction(**values: object) -> None:
    require_number("scheduler", "from 0 to 1", lambda value: 0 <= value <= 1, **values)
