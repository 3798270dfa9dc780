"""What is said when a sweep ends, and what comes next."""

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


LEARNED = {"optimizer.learning_rate": 0.0123456, "strategy": "cosine", "+name": "a b"}


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
        assert lines == [
            "All 4 trials are done.",
            "2 complete, 1 pruned, 1 failed.",
            "This run took 2 min at 0.67 epochs/s.",
            "",
            "strategy  best val/accuracy  by  trials  pruned  failed",
            "cosine               0.9000  #1       2       1       -",
            "constant             0.8500  #0       2       -       1",
            "",
            "Best trials",
            "cosine #1    optimizer.learning_rate=0.0123 +name='a b'",
            "constant #0",
            "",
            "One seed per trial is no verdict: what is ahead here may be ahead by luck.",
            "",
            "What comes next:",
            "  fmnist-lab compare decay          # compares the strategies",
            "  fmnist-lab ui                     # every trial's curves in the browser",
        ]

    def test_interrupted(self, clock: Clock) -> None:
        over = SweepEnd(EndReason.INTERRUPTED, 1, 104)
        lines = summed_up(clock, over, [end(0, 0.9)], n_trials=104)
        assert lines[:2] == [
            "Interrupted: 103 of 104 trials are left.",
            "1 of 104 trials are done and kept: 1 complete, 0 pruned, 0 failed.",
        ]
        assert lines[lines.index("What comes next:") + 1 :] == [
            "  fmnist-lab sweep decay            # goes on with the 103 trials left",
            "  fmnist-lab compare decay          # compares the strategies",
            "  fmnist-lab ui                     # every trial's curves in the browser",
        ]

    def test_nothing_done_yet(self, clock: Clock) -> None:
        assert summed_up(clock, SweepEnd(EndReason.INTERRUPTED, 0, 10)) == [
            "Interrupted: 10 of 10 trials are left.",
            "0 of 10 trials are done and kept: 0 complete, 0 pruned, 0 failed.",
            "This run took 2 min at 0.00 epochs/s.",
            "",
            "What comes next:",
            "  fmnist-lab sweep decay            # goes on with the 10 trials left",
        ]

    @pytest.mark.parametrize(
        ("over", "said", "command"),
        [
            (limited(a=TIMEOUT, b=TIMEOUT),
             "Stopped by hydra.sweeper.timeout=60 after 96 s: 9 of 10 trials are left.",
             "fmnist-lab sweep decay "),
            (limited(a=DONE, b=TIMEOUT),
             "Stopped by hydra.sweeper.timeout=60 after 96 s (b): 9 of 10 trials are left.",
             "fmnist-lab sweep decay "),
            (limited(a=MOST_EPOCHS, b=PLATEAU, c=PLATEAU, d=DONE),
             "Stopped by hydra.sweeper.max_epochs=10 (a) and hydra.sweeper.plateau=3 (b, c): "
             "9 of 10 trials are left.",
             "fmnist-lab sweep decay hydra.sweeper.max_epochs=null hydra.sweeper.plateau=null"),
            (SweepEnd(EndReason.FAILED, 1, 10, error="ValueError"),
             "Failed with ValueError: 9 of 10 trials are left; "
             "see mlruns/sweeps/decay/sweep.log.",
             "fmnist-lab sweep decay "),
        ],
    )  # fmt: skip
    def test_other_endings(self, clock: Clock, over: SweepEnd, said: str, command: str) -> None:
        lines = summed_up(clock, over, [end(0, 0.9)])
        assert " ".join(lines[:2]).startswith(said)  # the terminal may wrap it
        assert any(line.strip().startswith(command.strip()) for line in lines)
        assert any(f"{command.strip()} " in f"{line} " for line in lines)

    def test_the_best_trial_is_the_one_in_the_results(self, clock: Clock, folder: Path) -> None:
        best = {"best_trial": 0, "best_overrides": ["scheduler=cosine", "+name='a b'"]}
        over = limited(a=BudgetEnd(EndReason.TARGET, 0.9, 0.9))
        lines = summed_up(clock, over, [end(0, 0.9)], results=best)
        assert lines[-2:] == [
            "  # the best trial, #0, once more",
            "  fmnist-lab train scheduler=cosine '+name='\"'\"'a b'\"'\"''",
        ]

    def test_several_objectives_have_values_but_no_best(self, clock: Clock) -> None:
        both = ["maximize", "minimize"]
        lines = summed_up(clock, done(1), [end(0, 0.9, 2.0)], directions=both, n_trials=1)
        assert "cosine         0.9000, 2.0000  #0       1       -       -" in lines
        assert not any("train" in line or "Best" in line for line in lines)
