"""The order of a sweep's trials, and the Markdown that shows it."""

import json
import math
import re
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fmnist_lab.foundation.files import write_json
from fmnist_lab.sweeper.observers import SweepInfo
from fmnist_lab.sweeper.sweep_end import TrialEnd
from fmnist_lab.tracking.outbox import link
from fmnist_lab.tracking.sweep_run import MOST_CHARACTERS, Standings

STRATEGIES, TRIALS = 0, 1  # the tables, in their order


def info(direction: str = "maximize", strategies: Sequence[str] = ("calm", "wild")) -> SweepInfo:
    return SweepInfo(
        "night", "memory", "night", [direction], dict.fromkeys(strategies, 10), 20, 0, 2
    )


def ended(number: int, value: float | None, **changes: Any) -> TrialEnd:
    given: dict[str, Any] = {
        "number": number,
        "state": "complete",
        "values": None if value is None else [value],
        "params": {"optimizer.learning_rate": 0.001234567, "scheduler": "power"},
        "steps": 3,
        "seconds": 1.0,
        "strategy": ("calm", "wild")[number % 2],
    }
    return TrialEnd(**given | changes)


def standings(*trials: TrialEnd, **changes: Any) -> Standings:
    return Standings(info(**changes), "val/accuracy", trials)


def rows(markdown: str, table: int) -> list[list[str]]:
    """The cells of a table, without its header."""
    tables = [part for part in markdown.split("\n\n") if part.startswith("|")]
    return [
        [cell.removeprefix("&emsp;").strip() for cell in line.split("|")[1:-1]]
        for line in tables[table].splitlines()[2:]
    ]


SEVERAL = (
    ended(0, 0.7),
    ended(1, 0.8),
    ended(2, 0.9),
    ended(3, 0.85, state="pruned"),  # the study keeps the last report as its value
    ended(4, None, state="failed"),
    ended(5, None, state="interrupted", counts=False),
    ended(6, None, state="failed", counts=False),
)


class TestBest:
    """One number, in the right direction."""

    def test_the_highest_or_the_lowest(self) -> None:
        assert standings(*SEVERAL).best == 0.9
        assert standings(*SEVERAL, direction="minimize").best == 0.7

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("direction", ["maximize", "minimize"])
    def test_what_is_not_finite_never_is(self, value: float, direction: str) -> None:
        assert standings(ended(0, value), ended(1, 0.5), direction=direction).best == 0.5
        assert standings(ended(0, value), direction=direction).best is None

    def test_a_pruned_trial_never_is(self) -> None:
        assert standings(ended(0, 0.5), ended(1, 0.9, state="pruned")).best == 0.5

    @pytest.mark.parametrize("direction", ["maximize", "minimize"])
    def test_it_is_the_same_in_whatever_order_trials_end(self, direction: str) -> None:
        trials = [ended(number, number * 7 % 31 / 31) for number in range(31)]
        expected = standings(*trials, direction=direction)
        for shuffled in (trials[::-1], trials[13:] + trials[:13]):
            made = standings(*shuffled, direction=direction)
            assert made.best == expected.best == (30 / 31 if direction == "maximize" else 0)
            assert made.markdown("") == expected.markdown("")

    def test_repeated_trials_are_not_done(self) -> None:
        assert standings(*SEVERAL).done == 5


class TestMarkdown:
    """What the run's page shows."""

    def test_headline_and_counts(self) -> None:
        text = standings(*SEVERAL).markdown("")
        best = text.split("\n\n")[0]
        assert all(token in best for token in ("val/accuracy", "0.9000", "calm", " 2"))
        counts = ("5 of 20", "3 complete, 1 failed, 1 pruned")
        assert all(token in text for token in (*counts, "1 failed, 1 interrupted"))

    def test_nothing_yet(self) -> None:
        text = standings().markdown("END")
        assert "0 of 20" in text
        assert rows(text, STRATEGIES) == [
            ["calm", "-", "-", "0", "0", "0", "-"],
            ["wild", "-", "-", "0", "0", "0", "-"],
        ]
        assert text.endswith("\n\nEND")

    def test_strategies_by_their_best_trial(self) -> None:
        text = standings(*SEVERAL).markdown("")
        params = "optimizer.learning_rate=0.001235, scheduler=power"
        assert rows(text, STRATEGIES) == [
            ["calm", "0.9000", "2", "3", "0", "1", params],
            ["wild", "0.8000", "1", "2", "1", "0", params],
        ]

    def test_the_lowest_first_where_it_is_the_best(self) -> None:
        text = standings(ended(0, 0.9), ended(1, 0.2), direction="minimize").markdown("")
        assert [row[0] for row in rows(text, STRATEGIES)] == ["wild", "calm"]
        assert [row[1] for row in rows(text, TRIALS)] == ["0.2000", "0.9000"]

    def test_ten_trials_with_links_to_their_runs(self, tmp_path: Path) -> None:
        (tmp_path / "result.json").write_text(json.dumps({"mlflow_run_id": "abc", "x": math.nan}))
        trials = [ended(number, number / 100) for number in range(12)]
        best = ended(12, 0.5, folder=str(tmp_path))
        lost = ended(13, 0.4, folder=str(tmp_path / "lost"))
        sweep = Path("night")
        written = standings(*trials, best, lost).markdown("")
        text, missing = link(written, sweep, "7")
        assert missing == []
        top = rows(text, TRIALS)
        assert [row[0] for row in top] == [str(place) for place in range(1, 11)]
        page = "#/experiments/7/runs/abc?workflowType=machine_learning"
        assert [row[2] for row in top][:3] == [f"[12]({page})", "13", "11"]

    def test_a_study_without_strategies(self) -> None:
        text = standings(ended(0, 0.5, strategy=None), strategies=[]).markdown("")
        assert [row[0] for row in rows(text, STRATEGIES)] == ["-"]

    def test_a_bar_in_a_value_does_not_break_the_table(self) -> None:
        text = standings(ended(0, 0.5, params={"note": "a|b"})).markdown("")
        assert "note=a\\|b" in text

    @pytest.mark.parametrize("keys", [1, 8])
    def test_it_fits_into_a_tag(self, tmp_path: Path, keys: int) -> None:
        names = [f"strategy_{number}" for number in range(200)]
        params = {f"group.a_rather_long_key_{number}": 0.123456789 for number in range(keys)}
        write_json(tmp_path / "result.json", {"mlflow_run_id": uuid.uuid4().hex})
        trials = [
            ended(number, number / 1000, strategy=name, params=params, folder=str(tmp_path))
            for number, name in enumerate(names)
        ]
        closing = "Continue with the same command. " * 10
        text, _ = link(standings(*trials, strategies=names).markdown(closing), Path("night"), "123")
        assert MOST_CHARACTERS * 0.8 < len(text) <= MOST_CHARACTERS
        assert text.endswith(closing)
        assert rows(text, STRATEGIES)[0][0] == "strategy_199"
        assert rows(text, TRIALS)[0][3] == "strategy_199"
        shown = len(rows(text, STRATEGIES))
        assert re.search(rf"\b{200 - shown}\b", text)
