"""Verdicts on strategies: the rule, its controls on simulated curves, and what never changes it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_lab import looks
from fmnist_lab.errors import RequestError
from fmnist_lab.statistics import compare, compare_to_best

SPREAD = 0.0025  # of a paired difference: 0.25 points, as in DeepOBS's runs on Fashion-MNIST


def replicates(
    scores: Mapping[str, Any], value: str = "test_accuracy", **columns: Any
) -> pd.DataFrame:
    """A replicate per strategy and score; the seeds are 0, 1, ..., NaN has diverged."""
    rows = [
        {"strategy": strategy, "seed": seed, "search": 0, value: score}
        for strategy, values in scores.items()
        for seed, score in enumerate(values)
    ]
    frame = pd.DataFrame(rows)
    reasons = frame[value].isna().map({True: "diverged", False: "completed"})
    return frame.assign(stop_reason=reasons, **columns)


def simulated(
    rng: np.random.Generator, gains: Mapping[str, float], seeds: int = 10
) -> pd.DataFrame:
    """Replicates of simulated learning curves: what is read after 20 epochs, paired by seed."""
    epochs = np.arange(1, 21)
    of_seed = rng.normal(0, 0.002, seeds)  # the split and the order of batches, alike for all
    plateaus = 0.89 + np.array(list(gains.values()))[:, None] + of_seed
    noise = rng.normal(0, SPREAD / np.sqrt(2), (len(gains), seeds, len(epochs)))
    curves = plateaus[:, :, None] * (1 - 0.3 * np.exp(-epochs)) + noise
    return replicates(dict(zip(gains, curves[:, :, -1], strict=True)))


def verdicts(frame: pd.DataFrame) -> dict[str, str]:
    return dict(zip(frame["strategy"], frame["verdict"], strict=True))


@pytest.mark.slow
class TestControls:
    """What must come out of many experiments whose truth is known."""

    def test_constant_under_another_name_is_not_found_better_or_worse(self) -> None:
        rng = np.random.default_rng(11)
        found = [verdicts(compare(simulated(rng, {"constant": 0, "twin": 0}))) for _ in range(200)]
        assert sum(each["twin"] in ("better", "worse") for each in found) <= 16  # 10, and 2 sd
        assert sum(each["twin"] == "equivalent" for each in found) > 50  # and most are found

    def test_neither_is_any_of_eight_twins(self) -> None:
        rng = np.random.default_rng(12)
        names = ["constant", *(f"twin {number}" for number in range(8))]
        found = [compare(simulated(rng, dict.fromkeys(names, 0))) for _ in range(100)]
        assert sum(each["verdict"].isin(["better", "worse"]).any() for each in found) <= 5

    def test_half_a_point_is_found_among_twelve_rivals(self) -> None:
        rng = np.random.default_rng(13)
        gains = {"constant": 0, "planted": 0.005} | {f"twin {number}": 0 for number in range(11)}
        found = [verdicts(compare(simulated(rng, gains))) for _ in range(40)]
        assert sum(each["planted"] == "better" for each in found) >= 38

    def test_intervals_cover_the_true_differences_together(self) -> None:
        rng = np.random.default_rng(14)
        gains = {"constant": 0} | {f"better {number}": 0.001 * number for number in range(1, 9)}
        truth = np.array(list(gains.values()))[1:]
        found = [compare(simulated(rng, gains)) for _ in range(100)]
        covered = [((each["low"] <= truth) & (truth <= each["high"])).all() for each in found]
        assert 0.9 <= np.mean(covered) <= 0.99

    def test_choosing_the_best_of_equals_makes_no_verdict(self) -> None:
        rng = np.random.default_rng(15)
        names = [f"twin {number}" for number in range(6)]
        found = [compare_to_best(simulated(rng, dict.fromkeys(names, 0), 12)) for _ in range(100)]
        assert sum((each["verdict"] == "worse").any() for each in found) <= 5
        assert sum((5 * each["p"] < 0.05).any() for each in found) > 5  # for rivals alone

    def test_intervals_against_the_best_cover_all_comparisons_together(self) -> None:
        rng = np.random.default_rng(32)
        gains = {"constant": 0, "linear": 0.001, "cosine": 0.002, "step": 0.003}
        found = [compare_to_best(simulated(rng, gains)) for _ in range(100)]
        covered = [
            (each["low"] <= truth) & (truth <= each["high"])
            for each in found
            for truth in [each["strategy"].map(gains) - each["opponent"].map(gains)]
        ]
        assert np.mean([each.all() for each in covered]) >= 0.93  # three of the six are shown

    def test_the_best_is_still_found(self) -> None:
        rng = np.random.default_rng(16)
        gains = {"constant": 0, "cosine": 0, "planted": 0.005}
        found = [compare_to_best(simulated(rng, gains)) for _ in range(20)]
        assert all((each["opponent"] == "planted").all() for each in found)
        assert np.mean([(each["verdict"] == "worse").all() for each in found]) > 0.9


@pytest.mark.slow
class TestControlsAtLooks:
    """The same for planned looks, however they stop."""

    @pytest.mark.parametrize("gain", [0, 0.002])  # which is the margin
    def test_all_verdicts_hold_together(self, gain: float) -> None:
        rng, at = np.random.default_rng(17), looks.errors([6, 8, 12])
        gains = {"constant": 0} | {f"twin {number}": gain * (number < 3) for number in range(4)}
        false = 0
        for _ in range(100):
            found = verdicts(compare(simulated(rng, gains, 12), looks=at))
            wrong = {"better", "worse"} if gain == 0 else {"worse", "equivalent"}
            false += any(found[f"twin {number}"] in wrong for number in range(3))
            false += found["twin 3"] in ("better", "worse") and gain > 0
        assert false <= 5 + 6  # 5 %, and 3 sd

    def test_intervals_cover_together_wherever_a_strategy_stops(self) -> None:
        rng, at = np.random.default_rng(33), looks.errors([6, 8, 12])
        gains = {"constant": 0, "twin": 0.0, "margin": 0.002, "better": 0.004}
        found = [compare(simulated(rng, gains, 12), looks=at) for _ in range(80)]
        covered = [
            ((each["low"] <= truth) & (truth <= each["high"])).all()
            for each in found
            for truth in [each["strategy"].map(gains)]
        ]
        assert np.mean(covered) >= 0.95 - 0.05  # 2 sd

    def test_a_point_is_found_at_the_first_look_and_half_a_point_soon(self) -> None:
        rng, at = np.random.default_rng(18), looks.errors(looks.AUTO)
        gains = {"constant": 0, "point": 0.01, "half": 0.005}
        rows = [
            compare(simulated(rng, gains, 16), looks=at).set_index("strategy") for _ in range(50)
        ]
        assert all((row["verdict"] == "better").all() for row in rows)
        assert np.mean([row.loc["point", "look"] == 1 for row in rows]) > 0.9
        assert np.mean([row.loc["half", "pairs"] for row in rows]) < 11


UP = [0.001, 0.0011, 0.0009, 0.001, 0.0012, 0.0008, 0.001, 0.001]


def one_row(differences: Any, **arguments: Any) -> pd.Series:
    """The verdict on a strategy that differs from the baseline by these."""
    differences = np.asarray(differences, float)
    value = arguments.get("value", "test_accuracy")
    scores = {"constant": np.full(len(differences), 0.5), "other": 0.5 + differences}
    return compare(replicates(scores, value), **arguments).iloc[0]


def cut(frame: pd.DataFrame, **seeds: int) -> pd.DataFrame:
    """Without the replicates that strategies have from a seed on."""
    last = frame["strategy"].map(seeds).fillna(np.inf)
    return frame[frame["seed"] < last]


class TestLooks:
    """Verdicts at planned looks."""

    AT = looks.errors([8, 12, 16])

    def frame(self, seeds: int = 16) -> pd.DataFrame:
        """One rival that the first look decides, one that none does."""
        gains = {"constant": 0, "clear": 0.02, "close": 0.001}
        return simulated(np.random.default_rng(1), gains, seeds)

    def test_a_verdict_is_that_of_the_first_look_that_has_one(self) -> None:
        found = compare(self.frame(), looks=self.AT).set_index("strategy")
        assert found["verdict"].to_dict() == {"clear": "better", "close": "undecided"}
        assert found["look"].to_dict() == {"clear": 1, "close": 3}
        assert found["pairs"].to_dict() == {"clear": 8, "close": 16}
        assert found["next_look"].isna().all()

    def test_what_is_decided_needs_no_more_replicates(self) -> None:
        whole, stopped = self.frame(), cut(self.frame(), clear=8)
        first, again = compare(stopped, looks=self.AT), compare(whole, looks=self.AT)
        pd.testing.assert_frame_equal(first, again)
        assert compare(stopped, looks=self.AT)["missing"].tolist() == [0, 0]

    @pytest.mark.parametrize("seeds", [{"close": 11}, {"constant": 9}, {"close": 8}])
    def test_a_look_waits_for_all_that_is_undecided(self, seeds: dict[str, int]) -> None:
        found = compare(cut(self.frame(12), clear=8, **seeds), looks=self.AT)
        assert found["look"].tolist() == [1, 1]
        assert found["next_look"].tolist() == [pd.NA, 12]
        first = cut(self.frame(12), clear=8, close=8, constant=8)
        pd.testing.assert_frame_equal(found, compare(first, looks=self.AT))

    def test_before_the_first_look_all_is_undecided(self) -> None:
        found = compare(self.frame(7), looks=self.AT)
        assert found["verdict"].tolist() == ["undecided"] * 2
        assert (found["look"].tolist(), found["next_look"].tolist()) == ([0, 0], [8, 8])
        best = compare_to_best(self.frame(7), looks=self.AT, made=0)
        assert best["verdict"].tolist() == ["undecided"] * 2

    def test_a_lost_replicate_is_there(self) -> None:
        frame = self.frame(8)
        here = (frame["strategy"] == "close") & (frame["seed"] == 3)
        frame.loc[here, "test_accuracy"] = np.nan
        frame.loc[here, "stop_reason"] = "diverged"
        assert compare(frame, looks=self.AT)["look"].tolist() == [1, 1]
        frame.loc[here, "stop_reason"] = "interrupted"
        assert compare(frame, looks=self.AT)["look"].tolist() == [0, 0]

    def test_the_best_is_judged_at_the_looks_that_were_made(self) -> None:
        frame = cut(self.frame(12), clear=8)
        best = compare_to_best(frame, looks=self.AT, made=2).set_index("strategy")
        assert (best["opponent"] == "clear").all()
        assert best["verdict"].to_dict() == {"constant": "worse", "close": "worse"}
        assert best["look"].to_dict() == {"constant": 1, "close": 1}

    def test_a_single_look_at_all_is_the_joint_test(self) -> None:
        frame = self.frame(8)
        once, plain = compare(frame, looks={8: 0.05}), compare(frame)
        same = ["difference", "low", "high", "p", "p_joint", "pairs"]
        pd.testing.assert_frame_equal(once[same], plain[same])


class TestRule:
    """Better, worse, equivalent, undecided."""

    def test_better_and_worse(self) -> None:
        assert one_row(10 * np.array(UP))["verdict"] == "better"
        assert one_row(-10 * np.array(UP))["verdict"] == "worse"

    def test_a_lower_loss_is_better(self) -> None:
        lower = one_row(-10 * np.array(UP), value="test_loss")
        assert (lower["verdict"], lower["difference"] < 0) == ("better", True)

    def test_the_objective_says_itself_which_way_is_better(self) -> None:
        scores = {"constant": np.full(8, 0.5), "other": 0.5 + 10 * np.array(UP)}
        for metric, verdict in [("val/accuracy", "better"), ("val/loss", "worse")]:
            frame = replicates(scores, "objective", objective_metric=metric)
            assert verdicts(compare(frame, value="objective")) == {"other": verdict}

    def test_significant_but_too_small_to_matter_is_equivalent(self) -> None:
        row = one_row(UP)
        assert row["p_joint"] < 0.05
        assert (row["verdict"], row["more_pairs"]) == ("equivalent", 0)
        assert one_row(UP, margin=0.0005)["verdict"] == "better"

    def test_the_margin_is_held_to_the_interval_of_twice_alpha(self) -> None:
        differences = np.array([0.003, -0.003, 0.001, -0.001, 0.002, -0.002, 0, 0])
        half = 1.8946 * differences.std(ddof=1) / np.sqrt(8)  # t(7) at 95 %, from a table
        assert one_row(differences, margin=half * 1.001)["verdict"] == "equivalent"
        assert one_row(differences, margin=half * 0.999)["verdict"] == "undecided"

    @pytest.mark.parametrize("difference", [0.0, 0.03125])
    def test_five_pairs_never_decide(self, difference: float) -> None:
        row = one_row([difference] * 5)
        assert (row["pairs"], row["verdict"], row["more_pairs"]) == (5, "undecided", 1)

    def test_identical_replicates(self) -> None:
        same = one_row([0.0] * 6)
        assert (same["verdict"], same["low"], same["high"], same["p"]) == ("equivalent", 0, 0, 1)
        above = one_row([0.03125] * 6)
        assert (above["verdict"], above["low"], above["p"]) == ("better", 0.03125, 0.03125)

    def test_six_pairs_are_enough_for_twelve_rivals(self) -> None:
        scores = {f"rival {number}": 0.75 + np.array(UP[:6]) * number for number in range(12)}
        frame = compare(replicates({"constant": np.full(6, 0.5)} | scores))
        assert (frame["p_joint"] == 2 / 2**6).all()
        assert set(frame["verdict"]) == {"better"}

    def test_a_table_by_hand(self) -> None:
        differences = np.array([0.01, 0.02, 0.03, 0.04, 0.05, -0.01])
        row = one_row(differences)
        assert row["difference"] == pytest.approx(0.14 / 6)
        # Residuals -4 -1 2 5 8 -10, all by 3/1000: of the 32 patterns one sums to 30, one to 28.
        z2 = 28**2 / (16 + 1 + 4 + 25 + 64 + 100)
        half = np.sqrt(z2 * 5 / (6 - z2)) * np.sqrt(0.0056 - 0.14**2 / 6) / np.sqrt(5 * 6)
        assert (row["low"], row["high"]) == pytest.approx((0.14 / 6 - half, 0.14 / 6 + half))
        assert row["p"] == row["p_joint"] == 6 / 64  # none or one of the two 0.01 flipped

    def test_only_the_baseline(self) -> None:
        alone = replicates({"constant": [0.5] * 6})
        assert compare(alone).empty
        assert compare_to_best(alone).empty


class TestMissing:
    """Counted, shown, and never to the advantage of those who have left."""

    def test_pairs_without_a_value_are_counted_on_either_side(self) -> None:
        frame = replicates({"constant": [0.5] * 10, "other": [0.75] * 10})
        frame.loc[0, "test_accuracy"] = np.nan
        frame.loc[1, "test_accuracy"] = np.inf
        frame = frame.drop(index=19)  # the other's last seed was never trained
        row = compare(frame).iloc[0]
        assert (row["pairs"], row["missing"], row["opponent_missing"]) == (7, 1, 2)
        assert (row["lost"], row["opponent_lost"]) == (0, 0)
        assert row["verdict"] == "better"


class TestLost:
    """A replicate that diverged or failed ranks last, and blocks nothing."""

    def test_it_counts_as_the_largest_difference_of_the_two(self) -> None:
        constant, other = [0.5, 0.48, *[0.5] * 8], [*[0.75] * 9, np.nan]
        scores = {"constant": constant, "other": other, "awful": [0.1] * 10}
        row = compare(replicates(scores)).set_index("strategy").loc["other"]
        assert (row["pairs"], row["missing"], row["lost"], row["opponent_lost"]) == (10, 0, 1, 0)
        assert row["difference"] == pytest.approx((8 * 0.25 + 0.27 - 0.27) / 10)
        assert row["conditional"] == pytest.approx((8 * 0.25 + 0.27) / 9)
        assert row["verdict"] == "better"

    def test_of_a_loss_the_worse_way(self) -> None:
        scores = {"constant": [0.5] * 8, "other": [*[0.4] * 7, np.nan]}
        row = compare(replicates(scores, "test_loss"), value="test_loss").iloc[0]
        assert row["difference"] == pytest.approx((7 * -0.1 + 0.1) / 8)

    @pytest.mark.parametrize("reason", ["diverged", "failed"])
    def test_who_has_neither_value_nor_hope_is_lost(self, reason: str) -> None:
        frame = replicates({"constant": [0.5] * 6, "other": [*[0.75] * 5, np.nan]})
        frame.loc[11, "stop_reason"] = reason
        assert compare(frame).iloc[0]["lost"] == 1
        frame.loc[11, "stop_reason"] = "interrupted"
        assert compare(frame).iloc[0][["lost", "missing"]].to_list() == [0, 1]

    @pytest.mark.parametrize(
        ("constant", "other", "verdict"),
        [
            ([0.5] * 8, [0.5] * 8, "equivalent"),
            ([*[0.5] * 8, np.nan], [0.5] * 9, "undecided"),  # almost alike, but for what it loses
            ([*[0.5] * 8, np.nan], [0.75] * 9, "better"),
            ([*[0.5] * 8, np.nan], [0.25] * 9, "worse"),
            ([0.5] * 10, [*[0.5] * 3, *[np.nan] * 7], "worse"),
            ([np.nan] * 8, [0.5] * 8, "better"),
            ([*[0.5] * 8, np.nan, np.nan], [np.nan, np.nan, *[0.5] * 8], "equivalent"),
        ],
    )
    def test_verdicts(self, constant: list[float], other: list[float], verdict: str) -> None:
        assert verdicts(compare(replicates({"constant": constant, "other": other}))) == {
            "other": verdict
        }

    def test_a_strategy_that_was_always_lost_is_worse_than_any_other(self) -> None:
        scores = {"constant": [0.5] * 6, "other": [0.75] * 6, "broken": [np.nan] * 6}
        for frame in (compare(replicates(scores)), compare_to_best(replicates(scores))):
            row = frame.set_index("strategy").loc["broken"]
            assert (row["pairs"], row["missing"], row["lost"]) == (6, 0, 6)
            assert (row["verdict"], np.isnan(row["conditional"])) == ("worse", True)

    def test_two_that_were_always_lost_cannot_be_compared(self) -> None:
        row = compare(replicates({"constant": [np.nan] * 6, "other": [np.nan] * 6})).iloc[0]
        assert (row["pairs"], row["verdict"]) == (0, "undecided")
        assert row[["difference", "low", "high", "p", "p_joint", "p_equivalent"]].isna().all()

    def test_the_best_is_not_who_lost_most(self) -> None:
        scores = {"steady": [0.7] * 8, "lossy": [*[0.75] * 4, *[np.nan] * 4], "poor": [0.5] * 8}
        assert set(compare_to_best(replicates(scores))["opponent"]) == {"steady"}

    def test_the_others_of_a_search_count_beside_it(self) -> None:
        frame = TestSearches().frame()
        frame.loc[24, "test_accuracy"] = np.nan
        frame.loc[24, "stop_reason"] = "diverged"
        row = compare(frame, pair="search").iloc[0]
        assert (row["pairs"], row["lost"]) == (8, 1)
        left = 0.1 + 0.005  # the survivors are its better two, by a hundredth in the mean
        assert row["difference"] == pytest.approx((7 * 0.1 + 2 / 3 * left - left / 3) / 8)
        assert row["conditional"] == pytest.approx(0.1)

    @staticmethod
    def experiments(
        gain: float, lost: tuple[float, float], pairs: int = 10, number: int = 40
    ) -> list[str]:
        """The verdicts on a strategy that is better by so much, and loses such shares."""
        rng = np.random.default_rng(17)
        found: list[str] = []
        for _ in range(number):
            scores = rng.normal(0.89, SPREAD / np.sqrt(2), (2, pairs)) + np.array([[0.0], [gain]])
            scores[rng.random(scores.shape) < np.array(lost)[:, None]] = np.nan
            found += verdicts(
                compare(replicates(dict(zip("ab", scores, strict=True))), "a")
            ).values()
        return found

    @pytest.mark.slow
    def test_a_clear_gain_is_found_though_both_lose_some(self) -> None:
        assert self.experiments(0.013, (0.02, 0.02)).count("better") >= 38
        assert self.experiments(0.013, (0.02, 0.02), pairs=40).count("better") >= 39

    @pytest.mark.slow
    def test_equal_losses_make_no_verdict(self) -> None:
        found = self.experiments(0.0, (0.1, 0.1), number=100)
        assert found.count("better") + found.count("worse") <= 9  # 5, and 2 sd

    @pytest.mark.slow
    def test_who_loses_half_is_never_better(self) -> None:
        assert "better" not in self.experiments(0.0, (0.0, 0.5), number=100)
        assert "better" not in self.experiments(0.013, (0.0, 0.5), pairs=40)


class TestSearches:
    """Where every search is one sample."""

    def frame(self) -> pd.DataFrame:
        """Eight searches, three replicates each, the seeds of each strategy its own."""
        rows = [
            {"strategy": name, "search": search, "seed": 100 * own + 3 * search + number}
            | {"test_accuracy": level + 0.01 * number + 0.001 * search, "stop_reason": "completed"}
            for own, (name, level) in enumerate({"constant": 0.5, "other": 0.6}.items())
            for search in range(8)
            for number in range(3)
        ]
        return pd.DataFrame(rows)

    def test_replicates_are_averaged_within_their_search(self) -> None:
        frame = self.frame()
        frame.loc[24, "test_accuracy"] = 0.6 + 0.3  # the other's first replicate of search 0
        row = compare(frame, pair="search").iloc[0]
        assert (row["pairs"], row["missing"]) == (8, 0)
        assert row["difference"] == pytest.approx(0.1 + 0.3 / 3 / 8)

    @pytest.mark.parametrize("leave", ["out", "empty"])
    def test_a_search_that_lacks_a_replicate_is_missing(self, leave: str) -> None:
        frame = self.frame()
        frame.loc[24, "test_accuracy"] = np.nan
        row = compare(frame.drop(index=24) if leave == "out" else frame, pair="search").iloc[0]
        assert (row["pairs"], row["missing"], row["opponent_missing"]) == (7, 1, 0)


class TestRequests:
    """Mistakes, each answered with key, value and what is allowed."""

    @pytest.mark.parametrize(
        ("arguments", "key"),
        [
            ({"baseline": "cosine"}, "baseline"),
            ({"pair": "epoch"}, "pair"),
            ({"value": "test_loss"}, "replicates"),
            ({"value": "seed"}, "value"),
            ({"margin": 0}, "margin"),
            ({"alpha": 0.5}, "margin"),  # which names both
        ],
    )
    def test_arguments(self, arguments: dict[str, Any], key: str) -> None:
        frame = replicates({"constant": [0.5] * 6, "other": [0.75] * 6})
        with pytest.raises(RequestError, match=f"^`{key}` "):
            compare(frame, **arguments)

    def test_a_replicate_counts_once(self) -> None:
        frame = replicates({"constant": [0.5] * 6})
        with pytest.raises(RequestError, check=lambda error: "constant" in error.got):
            compare(pd.concat([frame, frame]))

    def test_no_replicates_and_unknown_reasons(self) -> None:
        frame = replicates({"constant": [0.5] * 6})
        with pytest.raises(RequestError, match="`replicates` "):
            compare(frame.iloc[:0])
        with pytest.raises(RequestError, check=lambda error: error.got == "bored"):
            compare(frame.assign(stop_reason="bored"))


# Multiples of 1/64 add up exactly, so that equal means equal.
SCORES = st.lists(
    st.tuples(*[st.one_of(st.none(), st.integers(20, 60))] * 3), min_size=1, max_size=9
)


def table(scores: list[tuple[int | None, ...]], shift: int = 0) -> pd.DataFrame:
    """Replicates of three strategies; each seed shifts all of them alike."""
    shifted = np.array(scores, float).T + shift * np.arange(len(scores))  # None is NaN
    return replicates(dict(zip(["constant", "cosine", "wsd"], shifted / 64, strict=True)))


MIRROR = {"better": "worse", "worse": "better"}
few = settings(max_examples=15)  # a comparison takes some 30 ms


class TestProperties:
    """What must not matter."""

    @few
    @given(SCORES, st.randoms(use_true_random=False))
    def test_the_order_of_rows_and_strategies(self, scores: Any, random: Any) -> None:
        frame = table(scores)
        order = list(frame.index)
        random.shuffle(order)
        for comparing in (compare, compare_to_best):
            plain, shuffled = comparing(frame), comparing(frame.loc[order])
            assert set(plain["strategy"]) == set(shuffled["strategy"])
            aligned = shuffled.set_index("strategy").loc[plain["strategy"]].reset_index()
            pd.testing.assert_frame_equal(plain, aligned)

    @few
    @given(SCORES)
    def test_names(self, scores: Any) -> None:
        frame = table(scores)
        swapped = frame.replace({"strategy": {"cosine": "wsd", "wsd": "cosine"}})
        there, back = compare(frame), compare(swapped)
        back = back.replace({"strategy": {"cosine": "wsd", "wsd": "cosine"}})
        pd.testing.assert_frame_equal(there, back)

    @few
    @given(SCORES)
    def test_exchanging_the_sides_mirrors_the_answer(self, scores: Any) -> None:
        frame = table(scores)
        frame = frame[frame["strategy"] != "wsd"]
        there, back = compare(frame).iloc[0], compare(frame, "cosine").iloc[0]
        mirrored = (-there["high"], -there["low"], -there["difference"])
        assert (back["low"], back["high"], back["difference"]) == pytest.approx(
            mirrored, nan_ok=True
        )
        assert back["p"] == pytest.approx(there["p"], nan_ok=True)
        assert back["verdict"] == MIRROR.get(there["verdict"], there["verdict"])
        assert (
            there["more_pairs"] is back["more_pairs"] or there["more_pairs"] == back["more_pairs"]
        )

    @few
    @given(SCORES, st.integers(-2, 2))
    def test_what_a_seed_does_to_all(self, scores: Any, shift: int) -> None:
        pd.testing.assert_frame_equal(compare(table(scores)), compare(table(scores, shift)))

    @few
    @given(SCORES)
    def test_every_pair_is_complete_or_missing(self, scores: Any) -> None:
        frame = table(scores).replace({"stop_reason": {"diverged": "interrupted"}})
        for row in compare(frame).to_dict("records"):
            column = {"cosine": 1, "wsd": 2}[row["strategy"]]
            assert row["missing"] == sum(pair[column] is None for pair in scores)
            assert row["opponent_missing"] == sum(pair[0] is None for pair in scores)
            assert row["pairs"] == sum(None not in (pair[0], pair[column]) for pair in scores)
            assert row["verdict"] == "undecided" or row["pairs"] >= 6
