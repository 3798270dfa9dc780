"""Budgets, speed, and how far a tuned result can be trusted."""

import math
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from fmnist_lab.errors import RequestError
from fmnist_lab.statistics import (
    at_edge,
    divergence,
    epochs_to_target,
    expected_best,
    good_range,
    optimism,
    winners,
)

RATE = "optimizer.learning_rate"


def trials(*objectives: Any, **columns: Any) -> pd.DataFrame:
    """A trial per objective; a stop reason instead of a number had none."""
    rows = [
        {
            "strategy": "cosine",
            "search": 0,
            "seed": 42,
            "trial": number,
            "objective": math.nan if isinstance(objective, str) else objective,
            "objective_metric": "val/accuracy",
            "stop_reason": objective if isinstance(objective, str) else "completed",
        }
        for number, objective in enumerate(objectives)
    ]
    return pd.DataFrame(rows).assign(**columns)


class TestExpectedBest:
    """The unbiased estimator."""

    def test_by_hand(self) -> None:
        found = expected_best(trials(0.75, 0.25, 0.5))
        assert found["expected"].to_list() == pytest.approx([0.5, (0.5 + 2 * 0.75) / 3, 0.75])
        assert found["n"].to_list() == [1, 2, 3]

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=7), st.booleans())
    def test_it_is_the_mean_over_all_subsets(self, scores: list[float], loss: bool) -> None:
        metric, best = ("val/loss", min) if loss else ("val/accuracy", max)
        found = expected_best(trials(*scores, objective_metric=metric))["expected"]
        for n, expected in enumerate(found, start=1):
            subsets = [best(subset) for subset in combinations(scores, n)]
            assert expected == pytest.approx(np.mean(subsets))

    def test_it_is_unbiased(self) -> None:
        samples = np.random.default_rng(0).uniform(size=(300, 12))
        found = np.mean([expected_best(trials(*sample))["expected"] for sample in samples], axis=0)
        n = np.arange(1, 13)
        assert found == pytest.approx(n / (n + 1), abs=0.02)  # of the maximum of n uniforms

    def test_hundreds_of_trials(self) -> None:
        found = expected_best(trials(*np.linspace(0, 1, 700)))["expected"]
        assert found.iloc[[0, -1]].to_list() == pytest.approx([0.5, 1])
        assert found.is_monotonic_increasing

    def test_failures_cost_their_budget(self) -> None:
        found = expected_best(trials(0.5, "diverged", "failed", 0.8, "interrupted"))
        counts = found[["trials", "without_objective", "interrupted"]].drop_duplicates()
        assert counts.to_numpy().tolist() == [[4, 2, 1]]
        assert found["expected"].to_list() == pytest.approx(
            [1.3 / 4, (0.8 * 3 + 0.5 * 2) / 6, (0.8 * 3 + 0.5) / 4, 0.8]
        )

    def test_no_finite_loss_makes_up_for_a_failure(self) -> None:
        losses = trials(0.5, "diverged", 0.3, objective_metric="val/loss")
        found = expected_best(losses)["expected"].to_list()
        assert found == pytest.approx([math.inf, (0.3 * 2 + 0.5) / 3, 0.3])
        guessing = expected_best(losses, worst=2.3)["expected"]
        assert guessing.to_list() == pytest.approx([3.1 / 3, (0.3 * 2 + 0.5) / 3, 0.3])

    def test_a_strategy_of_interrupted_trials_is_still_named(self) -> None:
        both = pd.concat([trials(0.5), trials("interrupted", strategy="wsd")])
        row = expected_best(both).iloc[1]
        assert (row["strategy"], row["trials"], row["interrupted"]) == ("wsd", 0, 1)
        assert math.isnan(row["expected"])

    def test_one_metric_only(self) -> None:
        mixed = pd.concat([trials(0.5), trials(0.5, objective_metric="val/loss")])
        with pytest.raises(RequestError, check=lambda error: "val/loss" in error.got):
            expected_best(mixed)


def run_lengths(lengths: str, strategy: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Curves and trials that reach 0.9 after so many epochs; with + they end there without."""
    curves, ends = [], []
    for number, length in enumerate(lengths.split()):
        epochs = int(length.rstrip("+"))
        rising = np.full(epochs, 0.5)
        if not length.endswith("+"):
            rising[-1] = np.float32(0.9)  # a little less than 0.9
        keys: dict[str, Any] = {"strategy": strategy, "trial": number, "seed": number}
        curves.append(
            pd.DataFrame({"epoch": np.arange(epochs), "val/accuracy": rising}).assign(**keys)
        )
        ends.append(keys | {"stop_reason": "completed"})
    return pd.concat(curves), pd.DataFrame(ends)


class TestEpochsToTarget:
    """Kaplan and Meier's estimate."""

    def test_the_textbook_example(self) -> None:
        # Freireich et al. 1963: weeks of remission of 42 children with leukaemia.
        treated = "6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+"
        placebo = "1 1 2 2 3 4 4 5 5 8 8 8 8 11 11 12 12 15 17 22 23"
        both = [run_lengths(treated, "treated"), run_lengths(placebo, "placebo")]
        curves, ends = (pd.concat(part) for part in zip(*both, strict=True))
        found = epochs_to_target(curves, ends, 0.9).set_index("strategy")
        assert found["median_epochs"].to_dict() == {"treated": 23, "placebo": 8}
        assert found["reached"].to_dict() == {"treated": 9, "placebo": 21}
        assert found["censored"].to_dict() == {"treated": 12, "placebo": 0}

    def test_half_is_half_however_the_product_rounds(self) -> None:
        lengths = [f"{epoch}" for epoch in range(1, 24)] + ["24+"]
        for censored in (12, 14, 17):
            lengths[censored] += "+"  # all after the median
        curves, ends = run_lengths(" ".join(lengths), "cosine")
        assert epochs_to_target(curves, ends, 0.9)["median_epochs"].item() == 12

    def test_the_first_time_counts_and_a_loss_falls(self) -> None:
        curves = pd.DataFrame(
            {"strategy": "cosine", "seed": 1, "epoch": range(4), "val/loss": [3, 1, 2, math.nan]}
        )
        ends = pd.DataFrame({"strategy": ["cosine"], "seed": [1], "stop_reason": ["completed"]})
        assert epochs_to_target(curves, ends, 2, "val/loss")["median_epochs"].item() == 2

    def test_half_of_the_runs_never_get_there(self) -> None:
        curves, ends = run_lengths("3 9+ 9+", "cosine")
        found = epochs_to_target(curves, ends, 0.9).iloc[0]
        assert found.to_list()[1:4] == [3, 1, 2]
        assert math.isnan(found["median_epochs"])

    @pytest.mark.parametrize(
        ("reason", "median"),
        [("completed", 9), ("interrupted", 9), ("diverged", 12), ("early_stopped", 12)],
    )
    def test_ending_early_for_good_is_no_credit(self, reason: str, median: float) -> None:
        curves, ends = run_lengths("4 9 12 2+ 2+", "cosine")
        ends.loc[ends.index >= 3, "stop_reason"] = reason
        assert epochs_to_target(curves, ends, 0.9)["median_epochs"].item() == median

    @pytest.mark.parametrize(("reason", "median"), [("failed", 9), ("interrupted", 4)])
    def test_runs_without_a_curve_are_counted(self, reason: str, median: float) -> None:
        curves, ends = run_lengths("4 9", "cosine")
        lost = ends.assign(trial=[2, 3], seed=[2, 3], stop_reason=reason)
        found = epochs_to_target(curves, pd.concat([ends, lost]), 0.9).iloc[0]
        assert (found["trials"], found["without_curve"], found["censored"]) == (4, 2, 2)
        assert found["median_epochs"] == median

    def test_every_curve_is_of_a_trial(self) -> None:
        curves, ends = run_lengths("4 9", "cosine")
        with pytest.raises(RequestError, match="'cosine', 1"):
            epochs_to_target(curves, ends.iloc[:1], 0.9)


class TestGoodRange:
    """Width in decades."""

    def test_by_hand(self) -> None:
        accuracies = [0.5, 0.895, 0.88, "diverged", 0.9, 0.8949]
        rates = [1e-5, 1e-4, 1e-3, 2e-3, 1e-2, 1e-1]
        row = good_range(trials(*accuracies, **{RATE: rates})).iloc[0]
        assert (row["good"], row["between"], row["trials"], row["without_objective"]) == (
            2,
            4,
            6,
            1,
        )
        assert (row["low"], row["high"], row["best"]) == (1e-4, 1e-2, 0.9)
        assert row["decades"] == pytest.approx(2)

    def test_a_low_loss_is_good(self) -> None:
        losses = trials(0.3, 0.31, 0.2, objective_metric="val/loss", **{RATE: [0.1, 0.01, 0.001]})
        row = good_range(losses, within=0.1).iloc[0]
        assert (row["low"], row["high"], row["good"]) == (0.001, 0.1, 2)

    def test_one_good_trial_and_none(self) -> None:
        both = pd.concat(
            [trials(0.9, 0.1), trials("failed", "diverged", strategy="wsd")], ignore_index=True
        ).assign(**{RATE: [0.1, 0.2, 0.1, 0.2]})
        one, none = (row for _, row in good_range(both).iterrows())
        assert (one["good"], one["decades"]) == (1, 0)
        assert none[["strategy", "good", "between"]].to_list() == ["wsd", 0, 0]
        assert none[["best", "low", "decades"]].isna().all()

    def test_a_logarithm_needs_positive_numbers(self) -> None:
        with pytest.raises(RequestError, match=f"`{RATE}` "):
            good_range(trials(0.9, 0.9, **{RATE: [0.0, 1.0]}))


class TestDivergence:
    """How trials ended."""

    def test_counts_and_share(self) -> None:
        ended = trials(0.5, "diverged", "failed", "pruned", "interrupted", 0.25, 0.5, 0.5, 0.5, 0.5)
        row = divergence(ended).iloc[0]
        names = ["completed", "early_stopped", "pruned", "diverged", "failed", "interrupted"]
        assert row[names].to_list() == [6, 0, 1, 1, 1, 1]
        assert (row["trials"], row["without_objective"], row["share"]) == (10, 4, 0.1)
        # Wilson's interval for 1 of 10
        assert (row["low"], row["high"]) == pytest.approx((0.01788, 0.40415), abs=1e-5)

    @pytest.mark.parametrize("runs", [8, 48, 160])
    def test_the_interval_covers_at_its_nominal_rate(self, runs: int) -> None:
        """Exactly, by all counts that there may be, in the mean over shares up to a half."""
        counts = np.arange(runs + 1)
        rows = [
            {"strategy": str(count), "objective": 0.9}
            | {"stop_reason": "diverged" if run < count else "completed"}
            for count in counts
            for run in range(runs)
        ]
        found = divergence(pd.DataFrame(rows))
        shares = np.linspace(0.01, 0.5, 50)
        chances = scipy.stats.binom.pmf(counts[:, None], runs, shares)
        low, high = (found[end].to_numpy()[:, None] for end in ("low", "high"))
        covered = (chances * ((low <= shares) & (shares <= high))).sum(axis=0)
        assert covered.mean() == pytest.approx(0.95, abs=0.01)


class TestOptimism:
    """How much of the best score is chance."""

    def test_a_winner_of_equals_was_lucky(self) -> None:
        again = trials(0.86, 0.88, "diverged").drop(columns="trial").assign(seed=[1, 2, 3])
        row = optimism(trials(0.85, 0.9, "failed"), again).iloc[0]
        assert (row["trial"], row["tuned"], row["replicates"], row["missing"]) == (1, 0.9, 2, 1)
        assert (row["replicated"], row["optimism"]) == pytest.approx((0.87, 0.03))
        half = 12.7062 * 0.01  # t(1) at 97.5 %, times the standard error of 0.86 and 0.88
        assert (row["low"], row["high"]) == pytest.approx((0.03 - half, 0.03 + half), abs=1e-6)

    def test_of_a_loss_too_positive_is_flattering(self) -> None:
        loss = {"objective_metric": "val/loss"}
        row = optimism(trials(0.3, 0.2, **loss), trials(0.25, 0.25, **loss)).iloc[0]
        assert row["optimism"] == pytest.approx(0.05)

    def test_each_search_has_its_winner_and_its_replicates(self) -> None:
        tuning = pd.concat(
            [trials(0.5, 0.75), trials(0.25, 0.5, search=1), trials("failed", search=2)]
        )
        again = pd.concat([trials(0.5, 0.5), trials(0.5, search=1)])
        found = optimism(tuning, again)
        assert found["search"].to_list() == [0, 1, 2]
        assert found["optimism"].to_list() == pytest.approx([0.25, 0, math.nan], nan_ok=True)
        assert found["replicates"].to_list() == [2, 1, 0]
        assert found["trial"].isna().to_list() == [False, False, True]


class TestWinners:
    """Who is taken home."""

    def test_ties_go_to_the_earlier_and_only_whole_trials_win(self) -> None:
        ended = trials(0.5, 0.75, 0.75, 0.9, 0.9, math.inf)
        ended.loc[[3, 4], "stop_reason"] = ["pruned", "interrupted"]
        assert winners(ended.iloc[::-1])["trial"].to_list() == [1]

    def test_missing_columns(self) -> None:
        with pytest.raises(RequestError, check=lambda error: "search" in error.rule):
            winners(trials(0.5).drop(columns="search"))


class TestEdge:
    """Whether the space was wide enough."""

    @pytest.mark.parametrize(
        ("value", "log", "expected"),
        [
            (1e-4 * 10**0.14, True, True),  # 0.14 of 3 decades: 4.7 %
            (1e-4 * 10**0.16, True, False),
            (1e-1 / 10**0.14, True, True),
            (0.004, False, True),
            (0.006, False, False),
            (0.2, False, True),  # outside
        ],
    )
    def test_within_a_twentieth_of_the_range(self, value: float, log: bool, expected: bool) -> None:
        low = 1e-4 if log else 0
        spaces = {"cosine": {RATE: (low, 1e-1, log)}}
        row = at_edge(trials(0.5, 0.9, **{RATE: [0.01, value]}), spaces).iloc[0]
        assert (row["trial"], row["value"], row["at_edge"]) == (1, value, expected)

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ([0.01, 0.001, 0.03], True),  # the winner is the last
            ([0.1, 0.05, 0.03], True),
            ([0.01, 0.05, 0.03], False),
            ([0.01, 0.03], False),  # of two each is an end
            ([0.01, 0.01, 0.03], False),
        ],
    )
    def test_the_largest_or_smallest_that_was_tried(
        self, values: list[float], expected: bool
    ) -> None:
        objectives = [0.5] * (len(values) - 1) + [0.9]
        row = at_edge(trials(*objectives, **{RATE: values}), {"cosine": {RATE: (1e-5, 1, True)}})
        assert row["near_end"].to_list() == [False]
        assert row["outermost"].to_list() == row["at_edge"].to_list() == [expected]
        assert (row["tried_low"].item(), row["tried_high"].item()) == (min(values), max(values))

    def test_what_diverged_was_tried(self) -> None:
        ended = trials(0.5, 0.9, "diverged", **{RATE: [0.001, 0.01, 0.1]})
        assert not at_edge(ended, {"cosine": {RATE: (1e-5, 10, True)}})["at_edge"].item()

    def test_each_search_and_strategy_has_tried_its_own(self) -> None:
        rates = {RATE: [0.001, 0.003, 0.01]}
        frames = [
            trials(0.5, 0.6, 0.9, **rates).assign(search=1),
            trials(0.9, 0.8, 0.7, **{RATE: [0.1, 0.3, 1.0]}),
            trials(0.5, 0.9, 0.5, strategy="wsd", **rates),
        ]
        spaces = {name: {RATE: (1e-5, 10.0, True)} for name in ("cosine", "wsd")}
        found = at_edge(pd.concat(frames, ignore_index=True), spaces)
        assert found["outermost"].to_list() == [True, True, False]

    def test_what_cannot_be_known(self) -> None:
        both = pd.concat([trials(0.9), trials("failed", strategy="wsd")]).assign(**{RATE: 0.1})
        spaces = {"cosine": {RATE: (0.1, 0.1, True)}, "wsd": {RATE: (0.1, 1.0, True)}}
        assert at_edge(both, spaces)["at_edge"].isna().all()
        assert at_edge(both, {"cosine": {}, "wsd": {}}).empty

    def test_every_strategy_and_parameter_is_named(self) -> None:
        with pytest.raises(RequestError, check=lambda error: error.got == "cosine"):
            at_edge(trials(0.9), {"wsd": {}})
        with pytest.raises(RequestError, check=lambda error: "decay" in error.rule):
            at_edge(trials(0.9), {"cosine": {"decay": (0, 1, False)}})
