"""Ranges of numbers as distributions, exact in decimals: 0.3, not 0.30000000000000004."""

import math
from decimal import Decimal
from fractions import Fraction

from hydra.core.override_parser.types import RangeSweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

Number = int | float
MOST_VALUES = 1_000_000  # where all are listed; an interval holds any number
_MOST_STEPS = 10**18  # where none is: Optuna computes with 28 digits


class Range:
    """The values of `range(start, stop, step)`, of which `stop` is not one."""

    def __init__(self, sweep: RangeSweep) -> None:
        ends = (sweep.start, sweep.stop, sweep.step)
        self.is_whole = all(isinstance(end, int) for end in ends)
        self._start, stop, self._step = (Decimal(str(end)) for end in ends)
        if self._step == 0:
            raise ValueError("the step of a range must not be zero")
        count = (Fraction(stop) - Fraction(self._start)) / Fraction(self._step)
        self._count = math.ceil(count)
        if self._count <= 0:
            raise ValueError("a range must hold at least one value")
        if self._count > _MOST_STEPS:
            raise ValueError("a range must hold at most 1e18 values")

    def values(self) -> list[Number]:
        """All values, in order; ValueError if they are too many to list."""
        if self._count > MOST_VALUES:
            raise ValueError(f"a range must hold at most {MOST_VALUES} values")
        return [self._number(self._at(index)) for index in range(self._count)]

    def distribution(self) -> BaseDistribution:
        """A distribution over the values, ends included."""
        low, high = sorted((self._at(0), self._at(self._count - 1)))
        step = abs(self._step)
        if self.is_whole:
            return IntDistribution(int(low), int(high), step=int(step))
        if not all(Decimal(str(float(number))) == number for number in (low, high, step)):
            return CategoricalDistribution(list(dict.fromkeys(self.values())))
        return FloatDistribution(float(low), float(high), step=float(step))

    def _at(self, index: int) -> Decimal:
        return self._start + index * self._step

    def _number(self, value: Decimal) -> Number:
        return int(value) if self.is_whole else float(value)


def snap(value: float, distribution: FloatDistribution) -> float:
    """The decimal grid point that Optuna means by 0.30000000000000004."""
    if distribution.step is None:
        return value
    low, step = Decimal(str(distribution.low)), Decimal(str(distribution.step))
    index = round((Decimal(str(value)) - low) / step)
    return float(low + index * step)


def grid(distribution: BaseDistribution) -> list[object]:
    """All values of a discrete distribution.

    Raises:
        ValueError: It is continuous.
    """
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution) and not distribution.log:
        return list(range(distribution.low, distribution.high + 1, distribution.step))
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        low, step = Decimal(str(distribution.low)), Decimal(str(distribution.step))
        count = int((Decimal(str(distribution.high)) - low) / step) + 1
        return [float(low + index * step) for index in range(count)]
    raise ValueError("a grid needs choices and ranges")
