"""Tests and intervals that hold for many differences together: sign flips, the same for all."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from fmnist_lab.looks import LEAST

Floats = npt.NDArray[np.float64]

MIN_PAIRS = LEAST
_EXACT_PAIRS = 20
_RESAMPLES = 100_000
_BLOCK = 2**13  # patterns at a time: 5 MB for the 78 differences of 13 strategies
_SINGLE_PRECISION = 1e-5  # relative error of a small difference of two accuracies


@dataclass(frozen=True)
class JointFlips:
    """What sign flips say of several differences, a number for each; NaN: it has no pair."""

    p: Floats  # of the difference alone, two-sided
    p_joint: Floats  # adjusted for all: the family-wise error is alpha
    critical: Floats  # `mean -+ critical sd / sqrt(n)` are intervals that hold together


def joint_flips(differences: Floats, alpha: float = 0.05) -> JointFlips:
    """Tests whether several mean differences are 0, by signs that a pair's differences share.

    If a difference is nothing, its pairs may as well have the other sign. A pattern gives each
    pair a sign, for all differences at once, so that what they have in common stays (Westfall
    and Young 1993). Each is judged by `z = |sum d| / sqrt(sum d^2)`, which orders patterns as
    `|t|` does, `t = z sqrt((n - 1) / (n - z^2))`, and does not let differences of few pairs raise
    the bar for the others. `p` is the share of patterns with a z at least as large as observed
    (Fisher). `p_joint` is step-down: the share whose largest z, of this difference and those with
    a smaller one, is at least as large; and at least the `p_joint` of those with a larger one.

    `critical` inverts the distribution of the largest z of the residuals `d - mean d`: all
    intervals hold together with 1 - alpha, and so does that of the largest difference. Where
    flips give none, because `2 / 2^pairs` exceeds alpha (with 5 pairs and 0.05, say), or with so
    few that the others' bar is out of reach, it is Student's t at `1 - alpha / (2 tests)`
    (Bonferroni).

    Up to 20 pairs all patterns count, beyond 100,000 random ones of a fixed seed. Ties count as
    extreme, whatever single precision makes of them.

    Args:
        differences: `(pairs, tests)`, NaN where one side is missing: the rest is flipped.
        alpha: The error of the intervals together.

    Example:
        >>> up = np.array([0.01, 0.02, 0.01, 0.03, 0.02, 0.01])
        >>> flips = joint_flips(np.column_stack([up, up - 0.01]))
        >>> flips.p_joint.tolist()  # 2 of 64 patterns; the 3 zeros bring ties
        [0.03125, 0.25]
    """
    present = ~np.isnan(differences)
    pairs, tests = present.sum(axis=0), differences.shape[1]
    values = np.where(present, differences, 0.0)
    means = values.sum(axis=0) / np.maximum(pairs, 1)
    (scaled, tie), (residuals, _) = map(_scaled, (values, (values - means) * present), [values] * 2)
    observed = np.abs(scaled.sum(axis=0))
    order = np.argsort(-observed, kind="stable")
    bars = (observed - tie)[order]
    alone, joint, largest = np.zeros(tests), np.zeros(tests), []
    for sums in _flipped_sums(np.hstack([scaled[:, order], residuals])):
        flipped = np.abs(sums)
        alone[order] += (flipped[:, :tests] >= bars).sum(axis=0)
        rest = np.maximum.accumulate(flipped[:, :tests][:, ::-1], axis=1)[:, ::-1]
        joint[order] += (rest >= bars).sum(axis=0)
        largest.append(flipped[:, tests:].max(axis=1, initial=0.0))
    bar = np.sort(np.concatenate(largest))[::-1]
    joint[order] = np.maximum.accumulate(joint[order])
    p, p_joint = (np.where(pairs > 0, count / len(bar), np.nan) for count in (alone, joint))
    return JointFlips(p, p_joint, _critical(float(bar[int(alpha * len(bar))]), pairs, alpha))


def _scaled(values: Floats, of: Floats) -> tuple[Floats, Floats]:
    """Values by the root of their squares' sum, 0 where that is rounding; a tie, in that unit."""
    rounding = _SINGLE_PRECISION * np.abs(of).sum(axis=0)
    root = np.sqrt((values**2).sum(axis=0))
    root = np.where(root > rounding, root, np.inf)
    return values / root, rounding / root


def _flipped_sums(values: Floats) -> Iterator[Floats]:
    """Blocks of the columns' sums, a row per pattern of signs; the first pattern is all +1."""
    pairs = len(values)
    if pairs > _EXACT_PAIRS:
        rng = np.random.default_rng(0)
        for start in range(0, _RESAMPLES, _BLOCK):
            signs = rng.choice([-1.0, 1.0], (min(_BLOCK, _RESAMPLES - start), pairs))
            if start == 0:
                signs[0] = 1.0
            yield signs @ values
        return
    free = max(pairs - 1, 0)  # the last sign may stay: each pattern has a mirror image
    few = min(free, _BLOCK.bit_length() - 1)
    block = _signs(few) @ values[:few] + values[free:].sum(axis=0)
    for signs in _signs(free - few):
        yield block + signs @ values[few:free]


def _signs(pairs: int) -> Floats:
    """Returns all patterns of signs, `(2^pairs, pairs)`."""
    signs: Floats = np.where(np.arange(2**pairs)[:, None] >> np.arange(pairs) & 1, -1.0, 1.0)
    return signs


def _critical(z: float, pairs: npt.NDArray[np.int_], alpha: float) -> Floats:
    """Returns the critical |t| of each difference that belongs to a critical z of them all."""
    degrees = np.where(pairs > 1, pairs - 1.0, np.nan)
    bonferroni = scipy.special.stdtrit(degrees, 1 - alpha / (2 * max(len(pairs), 1)))
    room = pairs - z**2
    flips = z * np.sqrt(degrees / np.maximum(room, 1e-6))
    is_fine = alpha * 2.0 ** (pairs - 1.0) >= 1
    critical: Floats = np.where(is_fine & (room > 1e-6), flips, bonferroni)
    return critical
