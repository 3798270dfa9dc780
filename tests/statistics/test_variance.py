"""Seeds, searches and images: what spreads accuracies, and intervals that know all of it."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from fmnist_lab.statistics import compare, compare_to_best, components, image_variance
from fmnist_lab.statistics.variance import half_width


def runs(accuracies: Any, searches: int = 1) -> pd.DataFrame:
    """Replicates of `constant`, `1`, `2`, ... from (strategies, runs), in so many searches."""
    rows = [
        {"strategy": str(number or "constant"), "seed": seed, "search": seed % searches}
        for number, values in enumerate(accuracies)
        for seed in range(len(values))
    ]
    frame = pd.DataFrame(rows).assign(stop_reason="completed")
    return frame.assign(test_accuracy=np.asarray(accuracies, float).ravel())


def drawn(
    rng: np.random.Generator, seeds: int, images: int, spread: float, strategies: int = 2
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Strategies of equal skill on new images: replicates, and which images they get right.

    An image is easy for all strategies, and by `spread` for one; a seed is better or worse.
    """
    easy = rng.normal(1.3, 1, images) + rng.normal(0, spread, (strategies, 1, images))
    easy = easy + rng.normal(0, 0.03, (strategies, seeds, 1))
    right = rng.normal(0, 1, (strategies, seeds, images)) < easy
    return runs(right.mean(axis=2)), pd.DataFrame(right.reshape(-1, images))


def is_covered(table: pd.DataFrame, prefix: str = "") -> bool:
    """Whether all intervals hold together, of strategies that are equal."""
    return bool(((table[f"{prefix}low"] <= 0) & (table[f"{prefix}high"] >= 0)).all())


class TestImageVariance:
    """What other test images bring into a mean."""

    def test_a_two_way_table_by_hand(self) -> None:
        table = np.array([[1.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 0.0, 1.0]])
        of_images = np.array([3, 1, 1, 3]) / 3
        residuals = table - of_images - table.mean(axis=1, keepdims=True) + table.mean()
        error = (residuals**2).sum() / 6
        assert image_variance(table) == pytest.approx((of_images.var(ddof=1) - error / 3) / 4)

    def test_it_is_unbiased_whatever_seeds_and_noise_do(self) -> None:
        rng = np.random.default_rng(3)
        found = [
            image_variance(
                rng.normal(0, 2, (4, 1)) + rng.normal(0, 0.5, 50) + rng.normal(0, 1, (4, 50))
            )
            for _ in range(2000)
        ]
        assert np.mean(found) == pytest.approx(0.5**2 / 50, rel=0.05)

    def test_one_pair_shows_none(self) -> None:
        assert np.isnan(image_variance(np.ones((1, 10))))
        assert np.isnan(image_variance(np.ones((6, 0))))

    def test_without_images_the_width_is_that_over_seeds(self) -> None:
        assert half_width(2.0, 3.0, 10, 0.0) == half_width(2.0, 3.0, 10, -1.0) == 6.0
        assert np.isnan(half_width(2.0, 3.0, 10, np.nan))
        assert np.isnan(half_width(0.0, 0.0, 10, 1.0))  # equal pairs


class TestIntervals:
    """Over seeds and images."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("seeds", "spread", "strategies"), [(6, 0.5, 2), (10, 1.0, 2), (10, 0.5, 4)]
    )
    def test_they_cover_other_seeds_and_images_together(
        self, seeds: int, spread: float, strategies: int
    ) -> None:
        rng = np.random.default_rng(21)
        found = []
        for _ in range(150):
            frame, images = drawn(rng, seeds, 400, spread, strategies)
            found.append(compare(frame, images=images))
        assert 0.93 <= np.mean([is_covered(table, "images_") for table in found]) <= 0.99
        assert np.mean([is_covered(table) for table in found]) < 0.93  # over seeds alone

    def test_searches_are_pairs_as_seeds_are(self) -> None:
        frame, images = drawn(np.random.default_rng(4), 12, 300, 0.5)
        frame["search"] = frame["seed"] % 6
        row = compare(frame, pair="search", images=images).iloc[0]
        means = images.astype(float).groupby([frame["strategy"], frame["search"]]).mean()
        mine, other = means.loc["1"].to_numpy(), means.loc["constant"].to_numpy()
        error = (mine - other).mean(axis=1).std(ddof=1) / np.sqrt(6)
        critical = (row["high"] - row["difference"]) / error
        half = half_width(critical, error, 6, image_variance(mine - other))
        assert row["images_high"] - row["difference"] == pytest.approx(half, rel=1e-4)

    def test_what_is_lost_is_lost_on_all_images(self) -> None:
        frame, images = drawn(np.random.default_rng(5), 10, 300, 0.5)
        frame.loc[[0, 1], "test_accuracy"] = np.nan
        frame.loc[[0, 1], "stop_reason"] = "diverged"
        row = compare(frame, images=images.drop(index=[0, 1])).iloc[0]
        assert row["pairs"] == 10
        bits = images.to_numpy(float)
        of_images = 0.8**2 * image_variance(bits[12:] - bits[2:10])
        scores = frame["test_accuracy"].to_numpy()
        d = scores[10:] - scores[:10]
        d = np.where(np.isnan(d), np.nanmax(np.abs(d)), d)
        error = d.std(ddof=1) / np.sqrt(10)
        critical = (row["high"] - row["difference"]) / error
        half = half_width(critical, error, 10, of_images)
        assert of_images > 0
        assert row["images_high"] - row["difference"] == pytest.approx(half, rel=1e-4)

    def test_who_kept_none_has_none(self) -> None:
        frame, images = drawn(np.random.default_rng(6), 6, 100, 0.5, 3)
        some = images[frame["strategy"] != "2"]
        table = compare(frame, images=some).set_index("strategy")
        assert table["images_low"].isna().to_dict() == {"1": False, "2": True}
        assert compare(frame)[["images_low", "images_high"]].isna().all(axis=None)
        assert compare_to_best(frame, images=images)["images_low"].notna().all()


class TestComponents:
    """Variance by what it comes from."""

    def test_they_are_found_again(self) -> None:
        rng = np.random.default_rng(7)
        of_search = np.tile(rng.normal(0, 0.003, (20, 40)), 3)
        accuracies = 0.9 + of_search + rng.normal(0, 0.001, (20, 120))
        pooled = components(runs(accuracies, searches=40)).mean(numeric_only=True)
        assert np.sqrt(pooled[["seed", "search"]]).tolist() == pytest.approx(
            [0.001, 0.003], rel=0.1
        )
        assert np.isnan(pooled["image"])
        assert (pooled["replicates"], pooled["searches"]) == (120, 40)

    def test_unequal_searches_bring_no_bias(self) -> None:
        rng = np.random.default_rng(8)
        frame = runs(np.zeros((300, 9)), searches=4)  # 3, 2, 2 and 2 replicates
        of_search = frame["strategy"] + "/" + frame["search"].astype(str)
        chance = dict(zip(of_search.unique(), rng.normal(0, 2, of_search.nunique()), strict=True))
        frame["test_accuracy"] = of_search.map(chance) + rng.normal(0, 1, len(frame))
        found = components(frame).mean(numeric_only=True)
        assert found[["seed", "search"]].tolist() == pytest.approx([1, 4], rel=0.15)

    def test_images(self) -> None:
        frame, images = drawn(np.random.default_rng(9), 8, 2000, 0.5)
        found = components(frame, images).set_index("strategy")["image"]
        bits = images.to_numpy(float)
        assert found["constant"] == pytest.approx(image_variance(bits[:8]))
        frame["search"] = frame["seed"] // 2
        by_search = components(frame, images).set_index("strategy")["image"]
        means = bits[:8].reshape(4, 2, -1).mean(axis=1)
        assert by_search["constant"] == pytest.approx(image_variance(means))

    def test_what_cannot_be_told_apart_has_no_number(self) -> None:
        one_each = components(runs([[1.0, 2.0, 3.0]], searches=3)).iloc[0]
        assert (one_each["search"], np.isnan(one_each["seed"])) == (1.0, True)
        one_search = components(runs([[1.0, 2.0, 3.0]])).iloc[0]
        assert (one_search["seed"], np.isnan(one_search["search"])) == (1.0, True)
        assert components(runs([[np.nan]])).empty


@pytest.mark.slow
def test_intervals_over_searches_cover_at_their_nominal_rate() -> None:
    rng = np.random.default_rng(31)
    found = []
    for _ in range(300):
        own = np.tile(rng.normal(0, 0.003, (3, 8)), 2)  # two replicates of each search
        frame = runs(0.89 + own + rng.normal(0, 0.002, (3, 16)), searches=8)
        found.append(is_covered(compare(frame, pair="search")))
    assert np.mean(found) == pytest.approx(0.95, abs=0.025)  # 2 sd


@pytest.mark.slow
def test_two_names_of_one_strategy_differ_in_no_more_than_a_twentieth() -> None:
    """Each search finds a configuration of its own for each name, by chance."""
    rng = np.random.default_rng(22)
    wrong = 0
    for _ in range(200):
        found = np.tile(rng.normal(0, 0.003, (2, 6)), 2)  # two replicates of each
        frame = runs(0.89 + found + rng.normal(0, 0.002, (2, 12)), searches=6)
        verdict = compare(frame, pair="search").iloc[0]["verdict"]
        wrong += verdict in ("better", "worse")
    assert wrong <= 13  # 6.3, as 2 of 64 patterns are, and 2.7 sd
