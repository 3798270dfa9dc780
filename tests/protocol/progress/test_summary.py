"""The summary at the end of a sweep, and the commands it proposes."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fmnist_lab.foundation.files import write_json
from fmnist_lab.sweeper.sweep_end import BudgetEnd, EndReason, SweepEnd, TrialEnd
from tests.support.watching import Clock, Screen, end, info, plain, view


def summed_up(
    clock: Clock,
    over: SweepEnd,
    trials: Sequence[TrialEnd] = (),
    is_terminal: bool = False,
    results: dict[str, Any] | None = None,
    **about: Any,
) -> list[str]:
    """The lines of the summary after a run of two minutes."""
    screen = Screen()
    shown = view(screen, clock, is_terminal)
    shown.on_start(info(**about), [])
    for trial in trials:
        shown.on_trial_end(trial)
    clock.wait(120)
    start = len(screen.getvalue())
    if results:
        write_json(Path(info().folder) / "optimization_results.yaml", results)  # YAML, too
    shown.on_end(over)
    # In a terminal the table goes first, and then the cursor comes back.
    summary = plain(screen.getvalue()[start:].rpartition("\x1b[?25h")[2])
    return [line.rstrip() for line in summary.splitlines()][1:]


TIMEOUT = BudgetEnd(EndReason.TIMEOUT, 60, 96.2)
MOST_EPOCHS = BudgetEnd(EndReason.MAX_EPOCHS, 10, 20)
PLATEAU = BudgetEnd(EndReason.PLATEAU, 3, 3)
DONE = BudgetEnd(EndReason.N_TRIALS, 5, 5)


def done(count: int) -> SweepEnd:
    """All trials are done."""
    return SweepEnd(EndReason.N_TRIALS, count, count)


def limited(**ends: BudgetEnd) -> SweepEnd:
    """Each strategy has reached a limit; one of ten trials is done."""
    return SweepEnd.of_budgets(ends, 1, 10)


LEARNED = {"averaging.decay": 0.99972, "strategy": "cosine", "+name": "a b"}


def numbers(line: str) -> list[int]:
    """The whole numbers of a line."""
    return [int(digits) for digits in re.findall(r"\d+", line)]


def commands(lines: list[str]) -> list[str]:
    """The commands that a summary proposes, without the program's name and the comments."""
    shown = [line.strip() for line in lines if line.startswith("  fmnist-lab ")]
    return [re.sub(r" +# .*", "", line).removeprefix("fmnist-lab ") for line in shown]


class TestSummary:
    """How it ended, and what comes next."""

    @pytest.mark.parametrize("is_terminal", [True, False])
    def test_all_done(self, clock: Clock, is_terminal: bool) -> None:
        trials = (
            end(0, 0.85, strategy="constant"),
            end(1, 0.9, params=LEARNED),
            end(2, state="failed", strategy="constant"),
            end(3, state="pruned"),
        )
        lines = summed_up(clock, done(4), trials, n_trials=4, is_terminal=is_terminal)
        assert [line.split() for line in lines if "0.9000" in line or "0.8500" in line] == [
            ["cosine", "0.9000", "#1", "2", "1", "-"],
            ["constant", "0.8500", "#0", "2", "-", "1"],
        ]
        assert [line.split()[0] for line in lines if "#" in line] == [
            "cosine", "constant", "cosine", "constant", "fmnist-lab", "fmnist-lab"
        ]  # fmt: skip
        assert "averaging.decay=0.9997 +name='a b'" in lines[9]
        assert "0.67" in lines[2]  # epochs a second
        assert commands(lines) == ["compare decay", "ui"]

    def test_interrupted(self, clock: Clock) -> None:
        over = SweepEnd(EndReason.INTERRUPTED, 1, 104)
        lines = summed_up(clock, over, [end(0, 0.9)], n_trials=104)
        assert numbers(lines[0]) == [103, 104]
        assert numbers(lines[1]) == [1, 104, 1, 0, 0]
        assert commands(lines) == ["sweep decay", "compare decay", "ui"]

    def test_nothing_done_yet(self, clock: Clock) -> None:
        lines = summed_up(clock, SweepEnd(EndReason.INTERRUPTED, 0, 10))
        assert numbers(lines[1]) == [0, 10, 0, 0, 0]
        assert commands(lines) == ["sweep decay"]

    @pytest.mark.parametrize(
        ("over", "tokens", "more"),
        [
            (limited(a=TIMEOUT, b=TIMEOUT), ["hydra.sweeper.timeout=60 ", " 96 "], ""),
            (limited(a=DONE, b=TIMEOUT), ["hydra.sweeper.timeout=60 ", "(b)"], ""),
            (limited(a=MOST_EPOCHS, b=PLATEAU, c=PLATEAU, d=DONE),
             ["hydra.sweeper.max_epochs=10 (a)", "hydra.sweeper.plateau=3 (b, c)"],
             " hydra.sweeper.max_epochs=null hydra.sweeper.plateau=null"),
            (SweepEnd(EndReason.FAILED, 1, 10, error="ValueError"),
             ["ValueError", "mlruns/sweeps/decay/sweep.log"], ""),
        ],
    )  # fmt: skip
    def test_other_endings(
        self, clock: Clock, over: SweepEnd, tokens: list[str], more: str
    ) -> None:
        lines = summed_up(clock, over, [end(0, 0.9)])
        text = " ".join(lines[:2])  # the terminal may wrap it
        assert all(token in text for token in tokens)
        assert f"sweep decay{more}" in commands(lines)

    def test_the_best_trial_is_the_one_in_the_results(self, clock: Clock, folder: Path) -> None:
        best = {"best_trial": 0, "best_overrides": ["scheduler=cosine", "+name='a b'"]}
        over = limited(a=BudgetEnd(EndReason.TARGET, 0.9, 0.9))
        lines = summed_up(clock, over, [end(0, 0.9)], results=best)
        assert commands(lines)[-1] == "train scheduler=cosine '+name='\"'\"'a b'\"'\"''"

    def test_several_objectives_have_values_but_no_best(self, clock: Clock) -> None:
        both = ["maximize", "minimize"]
        lines = summed_up(clock, done(1), [end(0, 0.9, 2.0)], directions=both, n_trials=1)
        assert "cosine         0.9000, 2.0000  #0       1       -       -" in lines
        assert not any("train" in line or "Best" in line for line in lines)
