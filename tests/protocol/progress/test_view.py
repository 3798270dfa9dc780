"""What is shown while a sweep runs: plain lines, a table that moves, the logs of others."""

import logging
import re
import time
from pathlib import Path

import pytest

from fmnist_lab.sweeper.sweep_end import EndReason, SweepEnd
from tests.support.sweeping import ROOT, run
from tests.support.watching import Clock, Screen, begin, end, info, plain, view


@pytest.fixture
def screen() -> Screen:
    return Screen()


class TestPlainLines:
    """What a log file or a pipe gets."""

    def test_a_line_at_the_start_and_one_per_trial(self, screen: Screen, clock: Clock) -> None:
        shown = view(screen, clock)
        shown.on_start(info(), [end(0, 0.88, strategy="constant")])
        shown.on_trial_start(begin(1))
        shown.on_trial_end(end(1, 0.9))
        shown.on_trial_end(end(2, state="pruned", steps=1, seconds=4.0))
        shown.on_trial_end(end(3, state="interrupted", counts=False, steps=4, seconds=None))
        first, *lines = screen.lines()
        for token in ("decay", "1 of 10", "constant #0 0.8800", "mlruns/sweeps/decay/sweep.log"):
            assert token in first
        assert [line.split(";")[0].split()[:5] for line in lines] == [
            ["[", "2/10]", "cosine", "#1", "complete"],
            ["[", "3/10]", "cosine", "#2", "pruned"],
            ["[", "3/10]", "cosine", "#3", "interrupted"],
        ]
        assert all(line.endswith("cosine #1 0.9000") for line in lines)
        assert all(token in lines[0] for token in ("0.9000", "20 epochs", "40 s"))
        shown.on_end(SweepEnd(EndReason.INTERRUPTED, 1, 10))

    def test_a_failure_is_one_line(self, screen: Screen, clock: Clock, tmp_path: Path) -> None:
        (tmp_path / "train.log").touch()
        shown = view(screen, clock)
        shown.on_start(info(strategies=()), [])
        problem = "Traceback (most recent call last):\n  in train\nValueError: no data.\n"
        failed = end(7, state="failed", strategy=None, problem=problem, folder=str(tmp_path))
        shown.on_trial_end(failed)
        lost = end(8, state="failed", strategy=None, problem="The worker died", counts=False)
        shown.on_trial_end(lost)
        _, failure, loss = screen.lines()
        assert "#7" in failure
        assert "ValueError: no data." in failure
        assert failure.endswith(str(tmp_path / "train.log"))
        assert "#8" in loss
        assert "The worker died." in loss
        assert loss.endswith("mlruns/sweeps/decay/workers.log")
        shown.on_end(SweepEnd(EndReason.INTERRUPTED, 1, 10))

    def test_a_line_a_minute_while_nothing_ends(self, screen: Screen, clock: Clock) -> None:
        shown = view(screen, clock)
        shown.on_start(info(), [])
        shown.on_trial_start(begin(0, "constant"))
        shown.on_trial_start(begin(1))
        for second in range(1, 150):
            clock.wait(1)
            shown.on_progress({0: second // 10, 1: second // 20})
        line = r"\[ 0/10\] running constant #0 epoch (\d+)/20, cosine #1 epoch (\d+)/20; "
        line += r"0\.1\d epochs/s; 2\d min left"
        found = [re.fullmatch(line, shown_line) for shown_line in screen.lines()[1:]]
        assert [match and match.groups() for match in found] == [("7", "4"), ("13", "7")]
        shown.on_end(SweepEnd(EndReason.INTERRUPTED, 1, 10))


def shows(screen: Screen, text: str, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while text not in plain(screen.getvalue()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("is_terminal", [True, False])
class TestLogLines:
    """What others log while the view is there."""

    def test_warnings_are_shown_and_information_is_not(
        self, screen: Screen, clock: Clock, is_terminal: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        before, log = list(logging.root.handlers), logging.getLogger("fmnist_lab.launcher")
        shown = view(screen, clock, is_terminal)
        with caplog.at_level(logging.INFO):
            shown.on_start(info(), [])
            log.info("information")
            log.warning("Worker %d is gone.", 7)
            try:
                raise ValueError("[bold]no markup")
            except ValueError:
                log.exception("It broke.")
            shown.on_end(SweepEnd(EndReason.INTERRUPTED, 1, 10))
            log.warning("too late")
        assert "Warning: Worker 7 is gone." in screen.lines()
        assert "Error: It broke. ValueError: [bold]no markup" in screen.lines()
        assert not {"information", "Traceback", "late"} & set(screen.getvalue().split())
        assert logging.root.handlers == before

    def test_a_job_that_sets_up_logging_here_does_not_end_that(
        self, screen: Screen, clock: Clock, is_terminal: bool
    ) -> None:
        before = list(logging.root.handlers)
        shown = view(screen, clock, is_terminal)
        shown.on_start(info(), [])
        logging.root.handlers[:] = before
        shown.on_trial_end(end(0, 0.9))
        logging.getLogger("fmnist_lab").warning("still here")
        shown.on_end(SweepEnd(EndReason.INTERRUPTED, 1, 10))
        assert "Warning: still here" in screen.lines()
        assert logging.root.handlers == before


class TestTerminal:
    """The picture moves."""

    def test_the_table_follows_the_events_and_gives_way_to_the_summary(
        self, screen: Screen, clock: Clock
    ) -> None:
        shown = view(screen, clock, is_terminal=True)
        shown.on_start(info(), [])
        try:
            assert "Ctrl-C" in screen.getvalue()
            assert "mlruns/sweeps/decay/sweep.log" in screen.getvalue()
            shown.on_trial_start(begin(3))
            shown.on_progress({3: 4})
            assert shows(screen, "#3 5/20")
            shown.on_trial_end(end(3, state="failed", problem="The task must return a number."))
            assert shows(screen, "1 failed")
        finally:
            shown.on_end(SweepEnd(EndReason.INTERRUPTED, 1, 10))
        failure = "[ 1/10] cosine #3 failed"
        assert any(line.startswith(failure) for line in screen.lines())
        _, cursor_is_back, rest = screen.getvalue().rpartition("\x1b[?25h")
        assert cursor_is_back
        assert rest.startswith("\r\x1b[1A\x1b[2K")  # the table is wiped, line by line
        assert "Interrupted: " in rest


class TestSweep:
    """With the real sweeper, and with the logging that goes with the view."""

    WATCHED = (
        "hydra/sweeper=fmnist_lab",
        f"hydra.searchpath=[file://{ROOT}/conf]",
        "hydra/hydra_logging=sweep",
        "hydra.sweeper.observers="
        "[{_target_: fmnist_lab.protocol.progress.LiveView, "
        "epochs: 5, metric: loss, name: mine, command: x}]",
    )

    def test_failures_and_logs(self, tmp_path: Path) -> None:
        folder = tmp_path / "new" / "sweep"
        space = ("+how=choice(raise,good)", "hydra/sweeper/sampler=grid")
        # Verbose, Hydra logs before there is a folder.
        output = run("failing", folder, *self.WATCHED, *space, "hydra.verbose=true")
        lines = output.splitlines()
        assert "0 of 2" in lines[0]
        (failure,) = (line for line in lines if " failed: " in line)
        log = r"\S*/new/sweep/\d/failing.log"
        assert re.fullmatch(rf"\[[12]/2\] #\d failed: RuntimeError: broken\..* {log}", failure)
        assert sum(" complete 1.0000 in 0 epochs" in line for line in lines) == 1
        assert "Traceback" not in output
        logged = (folder / "sweep.log").read_text()
        assert "RuntimeError: broken" in logged
        assert re.search(r"^\[\d{4}-.+\]\[INFO\] - .*\b2\b", logged, re.MULTILINE)

    def test_a_refused_sweep_leaves_no_log(self, tmp_path: Path) -> None:
        folder = tmp_path / "new" / "sweep"
        run("failing", folder, *self.WATCHED, "hydra.sweeper.n_trials=0", code=1)
        assert not folder.exists()
