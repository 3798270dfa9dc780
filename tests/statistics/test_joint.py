"""Joint sign flips, held to brute force, to textbooks, to scipy and to simulations."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from fmnist_lab.statistics import joint_flips

# Darwin's maize, eighths of an inch (Fisher, The Design of Experiments, sections 17 and 21).
MAIZE = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48], float)
# Student's sleep data, hours (Biometrika 1908).
SLEEP = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])


def alone(differences: np.ndarray) -> float:
    """The p of a single difference."""
    flips = joint_flips(np.asarray(differences, float)[:, None])
    assert flips.p[0] == pytest.approx(flips.p_joint[0], nan_ok=True)
    return float(flips.p[0])


class TestOneDifference:
    """Exact where it can be."""

    def test_fishers_count_for_darwins_maize(self) -> None:
        assert alone(MAIZE) == 2 * 863 / 2**15

    @pytest.mark.parametrize(
        ("n", "smallest"), [(1, 1.0), (3, 0.25), (5, 0.0625), (6, 0.03125), (10, 2 / 1024)]
    )
    def test_the_smallest_possible_value(self, n: int, smallest: float) -> None:
        assert alone(np.arange(1.0, n + 1)) == smallest
        assert alone(-np.ones(n)) == smallest

    @pytest.mark.parametrize("differences", [SLEEP, np.tile(SLEEP, 2)[:17]])
    def test_it_is_scipys(self, differences: np.ndarray) -> None:
        expected = stats.permutation_test(
            (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, batch=10_000
        )
        assert alone(differences) == expected.pvalue

    def test_many_pairs_are_sampled_and_give_the_same_again(self) -> None:
        many = np.random.default_rng(0).normal(0.4, 1, 25)
        normal = 2 * stats.norm.sf(abs(many.sum()) / np.sqrt((many**2).sum()))
        assert alone(many) == pytest.approx(normal, abs=0.01)
        assert alone(many) == alone(many)
        assert alone(5 + many) == 1 / 100_000  # the pattern that was observed counts

    def test_ties_survive_single_precision(self) -> None:
        accuracies = np.array([[0.9, 0.91, 0.89, 0.9], [0.89, 0.9, 0.9, 0.91]], np.float32)
        differences = np.diff(accuracies.astype(float), axis=0)[0]  # -0.01 -0.01 +0.01 +0.01
        assert len(set(np.abs(differences))) > 1
        assert alone(differences) == 1

    def test_zeros_are_pairs_too(self) -> None:
        assert alone(np.array([0.0, 0, 1, 2, 3, 4, 5, 6])) == 2 / 2**6
        assert alone(np.zeros(10)) == 1

    def test_no_pairs_no_value(self) -> None:
        assert np.isnan(alone(np.array([np.nan, np.nan])))
        assert np.isnan(alone(np.array([])))


def by_hand(differences: np.ndarray) -> np.ndarray:
    """The adjusted p-values from their definition, every pattern of signs in turn."""
    sums_of_squares = np.nansum(differences**2, axis=0)
    statistics = np.array(
        [
            np.abs(np.nansum(np.array(signs)[:, None] * differences, axis=0))
            / np.sqrt(sums_of_squares)
            for signs in product((1, -1), repeat=len(differences))
        ]
    )
    order = np.argsort(-statistics[0])
    steps = [
        np.mean(statistics[:, order[step:]].max(axis=1) >= statistics[0, order[step]] - 1e-9)
        for step in range(len(order))
    ]
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate(steps)
    return adjusted


class TestJointP:
    """Step-down, and one sign per pair."""

    @pytest.mark.parametrize("missing", [0.0, 0.2])
    @pytest.mark.parametrize(("pairs", "tests"), [(1, 2), (4, 3), (8, 5), (10, 2)])
    def test_brute_force(self, pairs: int, tests: int, missing: float) -> None:
        rng = np.random.default_rng(pairs * tests)
        differences = rng.normal(0.3, 1, (pairs, tests))
        differences[1:][rng.random((pairs - 1, tests)) < missing] = np.nan
        flips = joint_flips(differences)
        assert flips.p_joint == pytest.approx(by_hand(differences))
        assert flips.p == pytest.approx([alone(column) for column in differences.T])

    def test_blocks_count_every_pattern_once(self) -> None:
        tests = np.random.default_rng(2).normal(0.4, 1, (16, 3))
        assert joint_flips(tests).p_joint == pytest.approx(by_hand(tests), abs=1e-4)  # a near tie

    def test_equal_differences_cost_nothing(self) -> None:
        assert joint_flips(np.tile(SLEEP[:, None], 12)).p_joint == pytest.approx(
            np.full(12, alone(SLEEP))
        )

    def test_six_pairs_reach_any_number_of_rivals(self) -> None:
        sure = np.random.default_rng(3).normal(5, 0.1, (6, 78))
        assert (joint_flips(sure).p_joint == 2 / 64).all()
        assert (joint_flips(sure[:5]).p_joint == 2 / 32).all()

    def test_few_pairs_do_not_raise_the_bar_for_others(self) -> None:
        full = np.random.default_rng(4).normal(1, 0.5, (10, 1))
        few = np.full((10, 1), np.nan)
        few[:2] = 7
        assert joint_flips(np.hstack([full, few])).p_joint[0] == alone(full[:, 0])

    def test_what_was_planned_and_has_no_pair_is_nan_and_harmless(self) -> None:
        flips = joint_flips(np.column_stack([SLEEP, np.full(10, np.nan)]))
        assert flips.p_joint == pytest.approx([alone(SLEEP), np.nan], nan_ok=True)
        assert np.isnan(flips.critical[1])

    def test_nothing_to_test(self) -> None:
        assert joint_flips(np.empty((8, 0))).p_joint.shape == (0,)


class TestIntervals:
    """The critical value of |t|."""

    def test_by_hand(self) -> None:
        differences = np.random.default_rng(5).normal(0, 1, (8, 3))
        residuals = differences - differences.mean(axis=0)
        signs = np.array(list(product((1, -1), repeat=8)))
        largest = np.abs(signs @ residuals / np.sqrt((residuals**2).sum(axis=0))).max(axis=1)
        z = np.sort(largest)[::-1][12]  # of 256 patterns 12 may exceed it
        assert joint_flips(differences).critical == pytest.approx(z * np.sqrt(7 / (8 - z**2)))

    def test_fewer_than_six_pairs_have_bonferronis(self) -> None:
        differences = np.random.default_rng(6).normal(0, 1, (10, 4))
        differences[5:, 1] = np.nan
        differences[1:, 2] = np.nan
        critical = joint_flips(differences).critical
        assert critical[1] == pytest.approx(stats.t.ppf(1 - 0.05 / 8, 4))
        assert critical[0] == critical[3] < stats.t.ppf(1 - 0.05 / 8, 9) * 1.2
        assert np.isnan(critical[2])

    def test_equal_differences_leave_no_width(self) -> None:
        assert joint_flips(np.full((8, 2), 0.3)).critical.tolist() == [0, 0]


def experiments(
    pairs: int, rivals: int, missing: float, gain: float = 0.0
) -> list[tuple[np.ndarray, float]]:
    """Differences from a shared baseline, in points with sd 0.25; the first rival has `gain`."""
    rng = np.random.default_rng(pairs * rivals)
    found = []
    for _ in range(500):
        scores = rng.normal(0, 0.25 / np.sqrt(2), (pairs, 1 + rivals))
        scores[:, 1] += gain
        scores[2:][rng.random((pairs - 2, 1 + rivals)) < missing] = np.nan
        found.append((scores[:, 1:] - scores[:, :1], gain))
    return found


class TestControls:
    """What must come out of 500 experiments whose truth is known; their own error is 1 %."""

    @pytest.mark.parametrize("missing", [0.0, 0.1])
    @pytest.mark.parametrize(("pairs", "rivals"), [(6, 12), (8, 3), (10, 12)])
    def test_a_false_difference_is_rare(self, pairs: int, rivals: int, missing: float) -> None:
        found = experiments(pairs, rivals, missing)
        errors = [(joint_flips(differences).p_joint < 0.05).any() for differences, _ in found]
        assert np.mean(errors) < 0.05 + 0.02

    def test_half_a_point_is_found_among_twelve_rivals(self) -> None:
        found = experiments(10, 12, 0.0, gain=0.5)
        shown = [joint_flips(differences).p_joint[0] < 0.05 for differences, _ in found]
        assert np.mean(shown) >= 0.95

    @pytest.mark.parametrize("missing", [0.0, 0.1])
    @pytest.mark.parametrize(("pairs", "rivals"), [(6, 12), (8, 3), (10, 1), (10, 12)])
    def test_all_intervals_cover_together(self, pairs: int, rivals: int, missing: float) -> None:
        covered = []
        for differences, gain in experiments(pairs, rivals, missing, gain=0.4):
            n = np.sum(~np.isnan(differences), axis=0)
            half = joint_flips(differences).critical * np.nanstd(differences, axis=0, ddof=1)
            truth = np.array([gain] + [0.0] * (rivals - 1))
            distance = np.abs(np.nanmean(differences, axis=0) - truth)
            covered.append((distance <= half / np.sqrt(n)).all())
        assert np.mean(covered) == pytest.approx(0.95, abs=0.03)
