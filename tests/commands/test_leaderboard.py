"""The tables in the terminal, and what is asked of them."""

import io
import math
import re
from typing import Any, ClassVar

import pandas as pd
import pytest
from rich.console import Console

from fmnist_lab.commands import leaderboard
from fmnist_lab.errors import RequestError
from tests.support.folders import RESULT


def frame(*trials: dict[str, Any]) -> pd.DataFrame:
    """Trials as `results.trials` gives them, their columns filled up."""
    rows = [RESULT | {"trial": n, "superseded": False} | trial for n, trial in enumerate(trials)]
    return pd.DataFrame(rows).drop(columns="overrides")


def shown(trials: pd.DataFrame, width: int = 200, **options: bool) -> list[str]:
    """The lines that are printed."""
    file = io.StringIO()
    leaderboard.show(trials, Console(file=file, width=width, no_color=True), **options)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def cells(line: str) -> list[str]:
    return line.split()


class TestOrder:
    """By objective, or as asked."""

    SCORES = ({"objective": 0.6}, {"objective": math.nan}, {"objective": 0.7}, {"objective": 0.1})

    def test_the_best_accuracy_first_and_nan_last(self) -> None:
        assert leaderboard.select(frame(*self.SCORES))["trial"].tolist() == [2, 0, 3, 1]

    def test_the_lowest_loss_first(self) -> None:
        loss = {"objective_metric": "val/loss"}
        trials = frame(*(loss | score for score in self.SCORES))
        assert leaderboard.select(trials)["trial"].tolist() == [3, 0, 2, 1]

    def test_by_a_column_and_backwards(self) -> None:
        trials = frame({"seconds": 2.0}, {"seconds": 1.0}, {"seconds": 3.0})
        assert leaderboard.select(trials, sort="seconds")["trial"].tolist() == [1, 0, 2]
        assert leaderboard.select(trials, sort="-seconds")["trial"].tolist() == [2, 0, 1]
        scores = frame(*self.SCORES)
        assert leaderboard.select(scores, sort="-objective")["trial"].tolist() == [3, 0, 2, 1]
        parameter = frame({"optimizer.learning_rate": 2.0}, {"optimizer.learning_rate": 1.0})
        ordered = leaderboard.select(parameter, sort="optimizer.learning_rate")
        assert ordered["trial"].tolist() == [1, 0]

    def test_an_unknown_column(self) -> None:
        with pytest.raises(RequestError, match=r"`--sort` .*'speed'"):
            leaderboard.select(frame({}), sort="-speed")

    def test_superseded_trials_do_not_rank(self) -> None:
        trials = frame({"objective": 0.5}, {"objective": 0.9, "superseded": True})
        assert leaderboard.select(trials)["trial"].tolist() == [0]


class TestWhere:
    """Conditions on columns."""

    TRIALS = frame(
        {"strategy": "cosine", "objective": 0.8, "optimizer.learning_rate": 0.01},
        {"strategy": "linear", "objective": 0.9, "optimizer.learning_rate": 0.1},
        {"strategy": "cosine", "objective": 0.7, "optimizer.learning_rate": 0.1},
    )

    @pytest.mark.parametrize(
        ("where", "picked"),
        [
            ("objective > 0.75", [1, 0]),
            ("strategy == 'cosine'", [0, 2]),
            ("optimizer.learning_rate > 0.05", [1, 2]),
            ("`optimizer.learning_rate` > 0.05 and strategy == 'cosine'", [2]),
            ("strategy == 'optimizer' or optimizer.learning_rate<0.05", [0]),
            ("strategy.str.startswith('c')", [0, 2]),
            ("objective > 2", []),
        ],
    )
    def test_it_picks(self, where: str, picked: list[int]) -> None:
        assert leaderboard.select(self.TRIALS, where)["trial"].tolist() == picked

    @pytest.mark.parametrize(
        "where",
        ["objective >", "nope > 1", "objective", "objective = 1", "'a' + 1", "", "strategy > 1"],
    )
    def test_what_is_no_condition_is_refused(self, where: str) -> None:
        with pytest.raises(RequestError) as refused:
            leaderboard.select(self.TRIALS, where)
        assert str(refused.value).startswith("`--where` ")
        assert repr(where) in str(refused.value)


class TestShow:
    """A line per trial."""

    def test_only_what_differs_has_a_column(self) -> None:
        trials = frame({"objective": 0.5, "seed": 1}, {"objective": 0.25, "seed": 2})
        header, first, _, common = shown(trials)
        assert cells(header) == ["trial", "strategy", "seed", "objective"]
        assert cells(first) == ["0", "constant", "1", "0.5000"]
        assert "architecture notebook, optimizer adam," in common
        assert "seed" not in common

    def test_all_columns(self) -> None:
        header, row, *_ = shown(frame({}, {}), only_changed=False)
        for heading in leaderboard.COLUMNS.values():
            assert heading in header
        assert "1.2500" in row

    def test_parameters_that_all_have_are_columns_and_others_share_one(self) -> None:
        trials = frame(
            {"optimizer.learning_rate": 0.0123456, "scheduler.power": 2.0},
            {"optimizer.learning_rate": 1.0, "scheduler.power": math.nan, "data.fold": "x"},
            {"optimizer.learning_rate": 2.0},
        )
        header, first, second, third, *_ = shown(trials)
        assert cells(header)[-2:] == ["learning_rate", "parameters"]
        assert cells(first)[-3:] == ["0.01235", "power", "2"]
        assert cells(second)[-3:] == ["1", "fold", "x"]
        assert cells(third)[-1] == "2"

    def test_what_is_missing_is_a_dash_and_counted(self) -> None:
        trials = frame({}, {"objective": math.nan, "best_epoch": None, "stop_reason": "failed"})
        _, _, row, *remarks = shown(trials)
        assert cells(row)[2] == "-"
        assert "nan" not in row
        assert "1 of 2" in remarks[-1]

    def test_a_long_table_is_cut_and_says_so(self) -> None:
        trials = frame(*({"seed": number} for number in range(leaderboard.MOST_ROWS + 5)))
        lines = shown(trials)
        assert sum("constant" in line for line in lines[1:-2]) == leaderboard.MOST_ROWS
        assert "... and 5 more" in lines[-2]

    @pytest.mark.parametrize("width", [60, 80, 100, 130])
    def test_what_has_no_room_is_named_and_no_number_is_cut(self, width: int) -> None:
        common = {"optimizer.learning_rate": 0.01234, "architecture": "mlp", "engine": "keras"}
        trials = frame(
            common | {"strategy": "averaged_with_a_rather_long_name", "averaging.decay": 0.9997},
            common | {"strategy": "constant", "seed": 7, "objective": 0.71234},
        )
        *lines, last = shown(trials, width, only_changed=False)
        assert max(map(len, lines)) <= width
        assert "engine" not in cells(lines[0])
        assert re.match(r"No room for: engine\b", last)
        row = next(line for line in lines if "constant" in line)
        assert "0.7123" in row
        assert "…" not in row
        named = last.removeprefix("No room for: ").removesuffix(".").split(", ")
        assert not any(f" {heading} " in f" {lines[0]} " for heading in named)

    def test_nothing(self) -> None:
        assert len(shown(frame({})[:0])) == 1


class TestStrategies:
    """A line per strategy."""

    ROW: ClassVar = dict.fromkeys(("trials", "pruned", "diverged", "failed", "replicates"), 0) | {
        "strategy": "calm", "best": 0.9, "trial": 3, "trials": 4, "test_accuracy": math.nan,
    }  # fmt: skip

    def lines(self, *rows: dict[str, Any], width: int = 200) -> list[str]:
        file = io.StringIO()
        standings = pd.DataFrame([self.ROW | row for row in rows])
        console = Console(file=file, width=width, no_color=True)
        leaderboard.show_strategies(standings, "val/loss", console)
        return file.getvalue().splitlines()

    @pytest.mark.parametrize("width", [60, 72, 80])
    def test_names_stay_distinct_and_no_number_is_cut(self, width: int) -> None:
        lost = dict.fromkeys(("pruned", "diverged", "failed", "replicates", "replicates_lost"), 7)
        rows = [
            lost | {"strategy": f"a_rather_long_common_name_{end}", "test_accuracy": 0.885,
                    "verdict": "undecided", "difference": 0.004}
            for end in ("small_net", "large_net")
        ]  # fmt: skip
        header, *shown, last = self.lines(*rows, width=width)
        assert len({row.split()[0] for row in shown}) == 2
        assert all("0.8850" in row and "undecided" in row for row in shown)
        assert max(map(len, [header, *shown])) <= width
        assert "failed" in last

    def test_without_replicates(self) -> None:
        header, row = self.lines({})
        assert cells(header) == ["strategy", "best", "val/loss", "in", "trial", "trials"]
        assert cells(row) == ["calm", "0.9000", "3", "4"]

    def test_with_a_verdict(self) -> None:
        header, row, other = self.lines(
            {"replicates": 8, "test_accuracy": 0.885, "verdict": "better", "difference": 0.004},
            {"strategy": "other", "diverged": 2, "best": math.nan, "trial": None},
        )
        assert cells(header)[-4:] == ["seeds", "test", "difference", "verdict"]
        assert cells(row)[-4:] == ["8", "0.8850", "0.0040", "better"]
        assert cells(other)[:5] == ["other", "-", "-", "4", "2"]
