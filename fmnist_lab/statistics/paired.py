"""Statistics of paired differences: 1-d float64 arrays, a number per pair, all finite."""

from bisect import bisect_left

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]

MIN_PAIRS = 6  # with 5 the smallest two-sided sign-flip p is 2/2^5 = 0.0625
MOST_PAIRS = 1000  # no plan looks further
POWER = 0.8
_EXACT_PAIRS = 20  # 2^20 sums take 8 MB and a few milliseconds
_RESAMPLES = 99_999
_SINGLE_PRECISION = 1e-5  # relative error of a small difference of two accuracies


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
    half = stats.t.ppf((1 + confidence) / 2, n - 1) * error
    return float(mean - half), float(mean + half)


def sign_flip_p(differences: Floats) -> float:
    """Returns the two-sided p-value of the mean if each difference may have the other sign.

    The share of sign patterns whose mean is at least as far from 0 as the observed one (Fisher's
    randomisation test).
    Exact up to 20 pairs, all sign patterns counted; beyond, 99,999 random patterns from a fixed
    seed (`scipy.stats.permutation_test`). A pattern that ties with the observed mean counts as
    extreme, whatever floating point makes of it. Zero differences stay: they only bring ties.
    NaN without pairs.

    Example:
        >>> sign_flip_p(np.array([0.01, 0.02, 0.01, 0.03, 0.02, 0.01]))  # 2 of 64 patterns
        0.03125
    """
    if not len(differences):
        return np.nan
    if len(differences) > _EXACT_PAIRS:
        flips = stats.permutation_test(
            (differences,),
            lambda sample, axis: np.abs(sample.mean(axis=axis)),
            permutation_type="samples",
            alternative="greater",
            n_resamples=_RESAMPLES,
            batch=10_000,
            vectorized=True,
            rng=np.random.default_rng(0),
        )
        return float(flips.pvalue)
    sums = differences[:1]  # the first sign may stay: every pattern has a mirror image
    for difference in differences[1:]:
        sums = np.concatenate([sums + difference, sums - difference])
    tie = _SINGLE_PRECISION * np.abs(differences).sum()
    return float(np.mean(np.abs(sums) >= abs(differences.sum()) - tie))


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
    return float(stats.t.sf(room / error, n - 1))  # the nearer end decides


def holm(p_values: npt.ArrayLike) -> Floats:
    """Adjusts p-values by Holm's step-down method (Holm 1979), in the order given.

    `p_(i)` becomes `max over j <= i of min(1, (m - j + 1) p_(j))`; ties stay ties. NaN stays NaN,
    but its test was planned and counts in the family as p = 1.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(np.where(np.isnan(p), 1.0, p), kind="stable")
    steps = np.arange(len(p), 0, -1) * np.where(np.isnan(p), 1.0, p)[order]
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return np.where(np.isnan(p), np.nan, adjusted)


def least_pairs(tests: int = 1, alpha: float = 0.05) -> int:
    """Returns the fewest pairs whose sign-flip p can be below alpha after Holm.

    The smallest two-sided p of n pairs is `2 / 2^n`.

    Example:
        >>> least_pairs(tests=1), least_pairs(tests=12)
        (6, 9)
    """
    return next(n for n in range(1, MOST_PAIRS) if tests * 2.0 ** (1 - n) < alpha)


def more_pairs(
    differences: Floats, margin: float, alpha: float = 0.05, tests: int = 1, intervals: int = 1
) -> int | None:
    """Estimates how many more pairs would decide, if mean and deviation stay as they are.

    The smaller of two plans, each with power 0.8: the difference shows (a two-sided t-test at
    alpha / `tests`, Holm's hardest step, with enough pairs for a sign-flip p that small), or it
    is found inside the margin (two one-sided tests at alpha / `intervals`). At least 1, and at
    least up to 6 pairs; looks no further than 1000 pairs in all, so that a large answer means
    "that many or more". None for fewer than two pairs. The deviation of few pairs is a rough
    guess, and so is this.

    Example:
        >>> more_pairs(np.array([0.01, 0.0, 0.02, -0.01]), margin=0.002)
        51
    """
    n = len(differences)
    if n < 2:
        return None
    mean, sd = abs(differences.mean()), differences.std(ddof=1)
    sd = max(sd, 1e-3 * max(mean, margin))  # equal differences: as good as certain
    plans = range(MIN_PAIRS, MOST_PAIRS)

    def shows(pairs: int) -> bool:
        within_reach = pairs >= least_pairs(tests, alpha)
        return within_reach and difference_power(mean / sd, pairs, alpha / tests) >= POWER

    def is_inside(pairs: int) -> bool:
        power = equivalence_power(mean / sd, margin / sd, pairs, alpha / intervals)
        return power >= POWER

    first = min(bisect_left(plans, True, key=plan) for plan in (shows, is_inside))
    return max(MIN_PAIRS + first - n, 1)


def difference_power(effect: float, pairs: int, alpha: float) -> float:
    """Returns the power of the two-sided paired t-test.

    `P(T' > t(1 - alpha / 2, n - 1))`, T' noncentral t with `effect * sqrt(n)`; `effect` is in
    standard deviations of a difference.

    Example:
        >>> round(difference_power(effect=1.0, pairs=10, alpha=0.05), 3)
        0.803
    """
    critical = stats.t.ppf(1 - alpha / 2, pairs - 1)
    noncentrality = min(effect * np.sqrt(pairs), _CERTAIN)
    return float(stats.nct.sf(critical, pairs - 1, noncentrality))  # the far tail is nothing


def equivalence_power(effect: float, margin: float, pairs: int, alpha: float) -> float:
    """Returns the power of two one-sided t-tests, all in standard deviations of a difference.

    The usual approximation by two noncentral t-distributions (Phillips 1990, without Owen's Q);
    it errs only where the power is small.

    Example:
        >>> round(equivalence_power(effect=0.0, margin=1.0, pairs=10, alpha=0.05), 3)
        0.795
    """
    critical = stats.t.ppf(1 - alpha, pairs - 1)
    ends = np.array([margin - effect, margin + effect]) * np.sqrt(pairs)
    passed = stats.nct.sf(critical, pairs - 1, np.clip(ends, -_CERTAIN, _CERTAIN))
    return float(max(passed.sum() - 1, 0))


_CERTAIN = 100.0  # a noncentrality beyond which no critical value matters, and scipy gets slow
