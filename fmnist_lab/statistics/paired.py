"""Statistics of paired differences: 1-d float64 arrays, a number per pair, all finite."""

from bisect import bisect_left

import numpy as np
import scipy

from fmnist_lab import looks
from fmnist_lab.statistics.joint import Floats

MOST_PAIRS = 1000  # no plan looks further
POWER = 0.8


def t_interval(differences: Floats, confidence: float = 0.95) -> tuple[float, float]:
    """Returns Student's t-interval for the mean: low, high; NaN for fewer than two pairs.

    `mean -+ t((1 + confidence) / 2, n - 1) * sd / sqrt(n)`. Equal differences leave no width: the
    interval is their mean, twice.

    Example:
        >>> low, high = t_interval(np.array([0.01, 0.02, 0.03]))
        >>> round(low, 4), round(high, 4)
        (-0.0048, 0.0448)
    """
    n = len(differences)
    if n < 2:
        return np.nan, np.nan
    mean, error = differences.mean(), differences.std(ddof=1) / np.sqrt(n)
    half = scipy.special.stdtrit(n - 1, (1 + confidence) / 2) * error
    return float(mean - half), float(mean + half)


def equivalence_p(differences: Floats, margin: float) -> float:
    """Returns the p-value of two one-sided t-tests; small: the mean lies within +-`margin`.

    `P(T > (margin - |mean|) / (sd / sqrt(n)))`, T of n - 1 degrees of freedom. Below alpha exactly
    where the (1 - 2 alpha) t-interval lies inside the margin (Schuirmann 1987). Equal
    differences give 0 inside the margin, 1 on it and outside. NaN for fewer than two pairs.

    Example:
        >>> round(equivalence_p(np.array([-0.001, 0.0, 0.001, 0.0]), margin=0.002), 4)
        0.0081
    """
    n = len(differences)
    if n < 2:
        return np.nan
    room, error = margin - abs(differences.mean()), differences.std(ddof=1) / np.sqrt(n)
    if error == 0:
        return float(room <= 0)
    return float(scipy.special.stdtr(n - 1, -room / error))  # the nearer end decides


def more_pairs(
    differences: Floats, margin: float, alpha: float = 0.05, tests: int = 1, intervals: int = 1
) -> int | None:
    """Estimates how many more pairs would decide, if mean and deviation stay as they are.

    The smaller of two plans, each with power 0.8: the difference shows (a two-sided t-test at
    alpha / `tests`, near what a joint test asks of the largest of them), or it is found inside
    the margin (two one-sided tests at alpha / `intervals`). At least 1, and at
    least up to `looks.least(alpha)` pairs; looks no further than 1000 pairs in all, so that a large
    answer means "that many or more". None for fewer than two pairs. The deviation of few pairs is a
    rough guess, and so is this.

    Example:
        >>> more_pairs(np.array([0.01, 0.0, 0.02, -0.01]), margin=0.002)
        51
    """
    n = len(differences)
    if n < 2:
        return None
    mean, sd = abs(differences.mean()), differences.std(ddof=1)
    sd = max(sd, 1e-3 * max(mean, margin))  # equal differences: as good as certain
    plans = range(fewest := looks.least(alpha), MOST_PAIRS)

    def shows(pairs: int) -> bool:
        return difference_power(mean / sd, pairs, alpha / tests) >= POWER

    def is_inside(pairs: int) -> bool:
        power = equivalence_power(mean / sd, margin / sd, pairs, alpha / intervals)
        return power >= POWER

    first = min(bisect_left(plans, True, key=plan) for plan in (shows, is_inside))
    return max(fewest + first - n, 1)


def difference_power(effect: float, pairs: int, alpha: float) -> float:
    """Returns the power of the two-sided paired t-test.

    `P(T' > t(1 - alpha / 2, n - 1))`, T' noncentral t with `effect * sqrt(n)`; `effect` is in
    standard deviations of a difference.

    Example:
        >>> round(difference_power(effect=1.0, pairs=10, alpha=0.05), 3)
        0.803
    """
    critical = scipy.special.stdtrit(pairs - 1, 1 - alpha / 2)
    noncentrality = min(effect * np.sqrt(pairs), _CERTAIN)
    return float(scipy.stats.nct.sf(critical, pairs - 1, noncentrality))  # the far tail is nothing


def equivalence_power(effect: float, margin: float, pairs: int, alpha: float) -> float:
    """Returns the power of two one-sided t-tests, all in standard deviations of a difference.

    The usual approximation by two noncentral t-distributions (Phillips 1990, without Owen's Q);
    it errs only where the power is small.

    Example:
        >>> round(equivalence_power(effect=0.0, margin=1.0, pairs=10, alpha=0.05), 3)
        0.795
    """
    critical = scipy.special.stdtrit(pairs - 1, 1 - alpha)
    ends = np.array([margin - effect, margin + effect]) * np.sqrt(pairs)
    passed = scipy.stats.nct.sf(critical, pairs - 1, np.clip(ends, -_CERTAIN, _CERTAIN))
    return float(max(passed.sum() - 1, 0))


_CERTAIN = 100.0  # a noncentrality beyond which no critical value matters, and scipy gets slow
