"""Statistics of paired differences, held to textbooks, to scipy and to simulations."""

import math

import numpy as np
import pytest
from scipy import stats

from fmnist_lab.statistics import (
    MOST_PAIRS,
    equivalence_p,
    holm,
    least_pairs,
    more_pairs,
    sign_flip_p,
    t_interval,
)

# Darwin's maize, eighths of an inch (Fisher, The Design of Experiments, sections 17 and 21).
MAIZE = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48], float)
# Student's sleep data, hours (Biometrika 1908).
SLEEP = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])


class TestTInterval:
    """Student's interval for a mean."""

    def test_the_textbook_numbers(self) -> None:
        assert t_interval(SLEEP) == pytest.approx((0.7001142, 2.4598858), abs=1e-7)

    @pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
    def test_it_is_scipys(self, confidence: float) -> None:
        expected = stats.ttest_1samp(MAIZE, 0).confidence_interval(confidence)
        assert t_interval(MAIZE, confidence) == pytest.approx(tuple(expected))

    def test_equal_differences_leave_no_width(self) -> None:
        assert t_interval(np.full(8, 0.25)) == (0.25, 0.25)

    @pytest.mark.parametrize("n", [0, 1])
    def test_one_pair_says_nothing(self, n: int) -> None:
        assert np.isnan(t_interval(np.ones(n))).all()

    @pytest.mark.parametrize("n", [3, 6, 10, 30])
    def test_it_covers_at_its_nominal_rate(self, n: int) -> None:
        rng = np.random.default_rng(n)
        assert self.coverage(rng.normal(1, 2, (4000, n)), 1) == pytest.approx(0.95, abs=0.011)

    def test_skewed_differences_cost_some_coverage(self) -> None:
        rng = np.random.default_rng(5)
        assert 0.88 < self.coverage(rng.exponential(1, (4000, 10)), 1) < 0.93

    def coverage(self, samples: np.ndarray, truth: float) -> float:
        intervals = np.array([t_interval(sample) for sample in samples])
        return float(np.mean((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])))


class TestSignFlip:
    """Exact where it can be."""

    def test_fishers_count_for_darwins_maize(self) -> None:
        assert sign_flip_p(MAIZE) == 2 * 863 / 2**15

    @pytest.mark.parametrize(
        ("n", "smallest"), [(1, 1.0), (3, 0.25), (5, 0.0625), (6, 0.03125), (10, 2 / 1024)]
    )
    def test_the_smallest_possible_value(self, n: int, smallest: float) -> None:
        assert sign_flip_p(np.arange(1.0, n + 1)) == smallest
        assert sign_flip_p(-np.ones(n)) == smallest

    def test_it_is_scipys(self) -> None:
        expected = stats.permutation_test(
            (SLEEP,), np.mean, permutation_type="samples", n_resamples=np.inf
        )
        assert sign_flip_p(SLEEP) == expected.pvalue

    def test_many_pairs_are_sampled_and_give_the_same_again(self) -> None:
        rng = np.random.default_rng(0)
        many = rng.normal(0.4, 1, 25)
        normal = 2 * stats.norm.sf(abs(many.sum()) / np.sqrt((many**2).sum()))
        assert sign_flip_p(many) == pytest.approx(normal, abs=0.01)
        assert sign_flip_p(many) == sign_flip_p(many)

    def test_ties_survive_single_precision(self) -> None:
        accuracies = np.array([[0.9, 0.91, 0.89, 0.9], [0.89, 0.9, 0.9, 0.91]], np.float32)
        differences = np.diff(accuracies.astype(float), axis=0)[0]  # -0.01 -0.01 +0.01 +0.01
        assert len(set(np.abs(differences))) > 1
        assert sign_flip_p(differences) == 1

    def test_zeros_are_pairs_too(self) -> None:
        assert sign_flip_p(np.array([0.0, 0, 1, 2, 3, 4, 5, 6])) == 2 / 2**6
        assert sign_flip_p(np.zeros(10)) == 1

    def test_no_pairs_no_value(self) -> None:
        assert math.isnan(sign_flip_p(np.array([])))


class TestEquivalence:
    """Two one-sided tests."""

    @pytest.mark.parametrize("margin", [0.5, 2.0, 3.0])
    def test_it_is_the_larger_of_scipys_two(self, margin: float) -> None:
        above = stats.ttest_1samp(SLEEP, -margin, alternative="greater").pvalue
        below = stats.ttest_1samp(SLEEP, margin, alternative="less").pvalue
        assert equivalence_p(SLEEP, margin) == pytest.approx(max(above, below))
        assert equivalence_p(-SLEEP, margin) == pytest.approx(max(above, below))

    def test_it_agrees_with_the_interval_of_twice_alpha(self) -> None:
        _, high = t_interval(SLEEP, 0.9)
        assert equivalence_p(SLEEP, high * 1.001) < 0.05 < equivalence_p(SLEEP, high * 0.999)

    def test_a_difference_of_the_margin_passes_in_one_of_twenty(self) -> None:
        samples = np.random.default_rng(3).normal(0.002, 0.0025, (4000, 10))
        passed = np.mean([equivalence_p(sample, 0.002) < 0.05 for sample in samples])
        assert passed == pytest.approx(0.05, abs=0.011)

    @pytest.mark.parametrize(("mean", "p"), [(0.0, 0), (-0.25, 0), (0.5, 1), (-0.5, 1), (1.0, 1)])
    def test_equal_differences_are_certain(self, mean: float, p: float) -> None:
        assert equivalence_p(np.full(4, mean), 0.5) == p

    def test_one_pair_says_nothing(self) -> None:
        assert math.isnan(equivalence_p(np.zeros(1), 0.5))


class TestHolm:
    """Step-down adjustment."""

    def test_by_hand(self) -> None:
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])

    def test_never_above_one_and_ties_stay(self) -> None:
        assert holm([0.6, 0.02, 0.02, 0.5]) == pytest.approx([1, 0.08, 0.08, 1])

    def test_a_planned_test_without_a_value_counts_in_the_family(self) -> None:
        assert holm([0.01, np.nan, 0.02]) == pytest.approx([0.03, np.nan, 0.04], nan_ok=True)

    def test_none(self) -> None:
        assert len(holm([])) == 0


def sample(mean: float, sd: float, n: int) -> np.ndarray:
    """Differences with exactly this mean and standard deviation."""
    scores = np.random.default_rng(n).normal(size=n)
    return np.asarray(mean + sd * (scores - scores.mean()) / scores.std(ddof=1))


class TestMorePairs:
    """How many more would decide."""

    @pytest.mark.parametrize(
        ("effect", "tests", "pairs"),  # power 0.8 of the paired t-test
        [
            *[(0.5, 1, 34), (0.8, 1, 15), (1.0, 1, 10)],
            *[(0.5, 9, 57), (0.8, 9, 25), (1.0, 9, 17), (1.5, 9, 10)],
            *[(0.5, 45, 73), (0.8, 45, 32), (1.0, 45, 23), (1.5, 45, 13)],
        ],
    )
    def test_a_difference(self, effect: float, tests: int, pairs: int) -> None:
        differences = sample(effect, 1, 6)
        assert more_pairs(differences, margin=1e-3, tests=tests) == pairs - 6

    def test_equivalence(self) -> None:
        assert more_pairs(sample(0, 0.0025, 10), margin=0.002) == 15 - 10

    @pytest.mark.parametrize(("rivals", "pairs"), [(1, 6), (3, 7), (6, 8), (12, 9), (25, 10)])
    def test_the_sign_flip_p_has_to_get_that_small(self, rivals: int, pairs: int) -> None:
        sure = np.array([1.0, 1.001, 0.999])
        assert more_pairs(sure, margin=1e-3, tests=rivals) == pairs - 3
        assert more_pairs(sure, margin=1e-3, tests=rivals + 1) != pairs - 3

    @pytest.mark.parametrize("mean", [0.0, 1.0])
    def test_equal_differences_need_six_pairs(self, mean: float) -> None:
        assert more_pairs(np.full(2, mean), margin=0.1) == 4

    def test_it_promises_at_least_one_and_looks_no_further_than_its_cap(self) -> None:
        assert more_pairs(sample(3, 1, 8), margin=0.1) == 1
        assert more_pairs(sample(0.1, 5, 10), margin=0.01) == MOST_PAIRS - 10

    def test_one_pair_says_nothing(self) -> None:
        assert more_pairs(np.ones(1), margin=0.1) is None

    @pytest.mark.parametrize(("mean", "sd"), [(0.8, 1.0), (0.0, 1.0)])
    def test_with_that_many_four_of_five_experiments_decide(self, mean: float, sd: float) -> None:
        first = sample(mean, sd, 6)
        more = more_pairs(first, margin=0.8)
        assert more is not None
        repeats = np.random.default_rng(7).normal(mean, sd, (500, 6 + more))
        decided = [
            sign_flip_p(repeat) < 0.05 or equivalence_p(repeat, 0.8) < 0.05 for repeat in repeats
        ]
        assert 0.75 < np.mean(decided) < 0.88


class TestLeastPairs:
    """How many pairs a verdict takes at least."""

    @pytest.mark.parametrize(
        ("tests", "pairs"), [(1, 6), (3, 7), (6, 8), (7, 9), (12, 9), (78, 12)]
    )
    def test_the_smallest_p_is_small_enough_and_no_sooner(self, tests: int, pairs: int) -> None:
        assert least_pairs(tests) == pairs
        for n, significant in ((pairs, True), (pairs - 1, False)):
            p = sign_flip_p(np.linspace(1, 2, n))  # all of one sign: none is smaller
            assert bool(holm([p] * tests)[0] < 0.05) is significant
