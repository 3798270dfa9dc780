"""Statistics of paired differences, held to textbooks, to scipy and to simulations."""

import math

import numpy as np
import pytest
from scipy import stats

from fmnist_lab.statistics import MOST_PAIRS, equivalence_p, joint_flips, more_pairs, t_interval

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

    @pytest.mark.parametrize("rivals", [1, 12, 78])
    def test_six_pairs_are_enough_for_any_number_of_rivals(self, rivals: int) -> None:
        assert more_pairs(np.array([1.0, 1.001, 0.999]), margin=1e-3, tests=rivals) == 3

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
            joint_flips(repeat[:, None]).p[0] < 0.05 or equivalence_p(repeat, 0.8) < 0.05
            for repeat in repeats
        ]
        assert 0.75 < np.mean(decided) < 0.88
