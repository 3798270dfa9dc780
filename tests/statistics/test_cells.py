"""Verdicts, probabilities of improvement and performance profiles over several cells."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fmnist_lab import statistics
from fmnist_lab.errors import RequestError


def replicates(levels: dict[str, dict[str, float]], seeds: int = 8) -> pd.DataFrame:
    """Replicates at a level for each cell and strategy, 0.001 apart by seed."""
    rows = [
        {"cell": cell, "strategy": name, "search": 0, "seed": seed, "stop_reason": "completed",
         "test_accuracy": level + 0.001 * (seed if name == "a" else seed * 3 % seeds)}
        for cell, own in levels.items()
        for name, level in own.items()
        for seed in range(seeds)
    ]  # fmt: skip
    return pd.DataFrame(rows)


LEVELS = {"5": {"a": 0.85, "b": 0.87}, "9": {"a": 0.9, "b": 0.88}, "20": {"a": 0.9, "b": 0.9}}


class TestCompareInCells:
    """A verdict in each cell."""

    def test_each_cell_is_compared_by_itself(self) -> None:
        runs = replicates(LEVELS)
        found = statistics.compare_in_cells(runs, "a")
        assert found["cell"].to_list() == list(LEVELS)
        assert found["verdict"].to_list() == ["better", "worse", "equivalent"]
        for cell, rows in found.groupby("cell"):
            alone = statistics.compare(runs[runs["cell"] == cell], "a")
            assert rows["p_joint"].to_list() == alone["p_joint"].to_list()

    def test_a_cell_without_the_baseline_has_no_row(self) -> None:
        runs = replicates(LEVELS)
        rest = runs[(runs["cell"] != "9") | (runs["strategy"] != "a")]
        assert statistics.compare_in_cells(rest, "a")["cell"].to_list() == ["5", "20"]
        assert statistics.compare_in_cells(rest[rest["strategy"] == "b"], "a").empty

    def test_columns_are_required(self) -> None:
        with pytest.raises(RequestError, check=lambda error: error.key == "replicates"):
            statistics.compare_in_cells(replicates(LEVELS).drop(columns="cell"), "a")


class TestImprovement:
    """How often a replicate is ahead of one of the baseline."""

    def test_it_is_mann_whitneys_u_averaged_over_the_cells(self) -> None:
        runs = replicates(LEVELS)
        found = statistics.improvement(runs, "a").iloc[0]
        own = {key: frame["test_accuracy"] for key, frame in runs.groupby(["cell", "strategy"])}
        shares = [
            stats.mannwhitneyu(own[cell, "b"], own[cell, "a"]).statistic / 64 for cell in LEVELS
        ]
        assert found["probability"] == pytest.approx(np.mean(shares))
        assert found["cells"] == 3
        assert found["low"] < found["probability"] < found["high"]

    def test_a_lost_replicate_ranks_last(self) -> None:
        runs = replicates({"5": {"a": 0.8, "b": 0.9}})
        lost = (runs["strategy"] == "b") & (runs["seed"] < 2)
        runs.loc[lost, "test_accuracy"] = np.nan
        assert statistics.improvement(runs, "a")["probability"][0] == 6 / 8

    def test_its_interval_covers_the_truth_as_often_as_it_says(self) -> None:
        rng, hits = np.random.default_rng(3), 0
        truth = stats.norm.cdf(0.5 / np.sqrt(2))
        for _ in range(60):
            runs = replicates(LEVELS, 20)
            gains = np.where(runs["strategy"] == "b", 0.5, 0.0)
            runs = runs.assign(test_accuracy=rng.normal(gains))
            (row,) = statistics.improvement(runs, "a").itertuples()
            hits += row.low <= truth <= row.high
        assert hits >= stats.binom.ppf(0.002, 60, 0.95)


class TestProfiles:
    """Dolan and Moré."""

    def test_shares_of_cells_by_ratio(self) -> None:
        runs = replicates({"5": {"a": 0.5, "b": 0.8}, "9": {"a": 0.9, "b": 0.7}}, seeds=1)
        found = statistics.profiles(runs)
        shares = {
            name: own[["ratio", "share"]].to_numpy().round(6).tolist()
            for name, own in found.groupby("strategy")
        }
        assert shares == {"a": [[1, 0.5], [2.5, 1]], "b": [[1, 0.5], [3, 1]]}

    def test_the_best_of_a_cell_may_make_no_error(self) -> None:
        runs = replicates({"5": {"a": 1.0, "b": 0.8}}, seeds=1)
        found = statistics.profiles(runs)
        assert found.set_index("strategy")["share"].to_dict() == {"a": 1.0, "b": 0.0}

    def test_a_cell_with_a_loss_is_not_solved(self) -> None:
        runs = replicates({"5": {"a": 0.5, "b": 0.8}, "9": {"a": 0.9, "b": 0.7}})
        runs.loc[(runs["cell"] == "9") & (runs["strategy"] == "a") & (runs["seed"] == 0),
                 "test_accuracy"] = np.nan  # fmt: skip
        found = statistics.profiles(runs)
        assert found[found["strategy"] == "a"]["share"].max() == 0.5
        assert found[found["strategy"] == "b"]["share"].to_list() == [1.0]
