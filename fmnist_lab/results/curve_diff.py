"""Curves of two trainings of one trial: the same to the last bit, or where they part."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap, zip_longest
from pathlib import Path

from fmnist_lab import results
from fmnist_lab.results.schema import METRICS

VARIES = "time/epoch_seconds"  # the one metric that no two trainings have in common
COMPARED = tuple(name for name in METRICS if name != VARIES)
# How far a metric may be off where machine or versions differ: rounding grows while a network
# learns. The others may be off by any amount.
TOLERANCES = {
    "train/loss": 0.02,
    "train/accuracy": 0.01,
    "val/loss": 0.05,
    "val/accuracy": 0.015,
    "opt/learning_rate": 1e-6,
}
Curve = Mapping[str, Sequence[float | None]]  # by metric, a value per epoch; None: not finite


@dataclass(frozen=True)
class Departure:
    """Where a metric's repetition leaves its record."""

    metric: str
    epoch: int  # the first one, from 0
    recorded: float | None
    now: float | None
    largest: float  # difference in any epoch; infinite where only one curve has a number
    is_allowed: bool  # everywhere within the tolerance


def read(folder: Path) -> Curve:
    """Returns the metrics in a trial's folder that a repetition must reproduce."""
    frame = results.curves([folder])
    return {
        metric: [float(value) if math.isfinite(value) else None for value in frame[metric]]
        for metric in COMPARED
    }


def departures(recorded: Curve, now: Curve, exact: bool) -> list[Departure]:
    """Returns the metrics that are not the same bit for bit.

    Args:
        recorded: The record.
        now: The repetition; it may have more epochs, or fewer.
        exact: Whether any difference is too large.
    """
    found = []
    for metric, before in recorded.items():
        after = now[metric]
        pairs = list(zip_longest(before, after))
        both = min(len(before), len(after))
        parted = [epoch for epoch, (old, new) in enumerate(pairs) if epoch >= both or old != new]
        same_length = both == len(pairs)
        largest = max(starmap(_distance, pairs), default=0.0) if same_length else math.inf
        allowed = not exact and largest <= TOLERANCES.get(metric, math.inf)
        if parted:
            found.append(Departure(metric, parted[0], *pairs[parted[0]], largest, allowed))
    return found


def shown(value: float | None) -> str:
    """Returns a value for people, with every digit that single precision has."""
    return "-" if value is None else f"{value:.9g}"


def _distance(old: float | None, new: float | None) -> float:
    if old == new:
        return 0.0
    return math.inf if old is None or new is None else abs(old - new)
