"""What a sweep's watcher is told: the numbers, the table, the plain lines, the summary."""

import io
import logging
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fmnist_lab.live import LiveView, words
from fmnist_lab.live.progress import Progress
from fmnist_lab.live.table import table
from fmnist_lab.search.observers import SweepInfo, TrialEnd, TrialInfo
from tests.sweeping import ROOT, run

STRATEGIES = ("constant", "cosine")
MANY = (
    "constant", "power", "exponential", "piecewise_constant", "step", "cosine", "one_cycle", "wsd",
    "performance", "linear", "polynomial", "inverse_sqrt", "cosine_restarts", "triangular",
    "a_name_that_is_much_too_long",
)  # fmt: skip
SCREEN = (80, 24)


class Clock:
    """A clock that stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def info(
    strategies: Sequence[str] = STRATEGIES,
    n_trials: int = 10,
    directions: Sequence[str] = ("maximize",),
    slots: int = 2,
) -> SweepInfo:
    folder = "mlruns/sweeps/decay"
    storage = f"journal:///{folder}/study.journal"
    shares = {name: n_trials // len(strategies) for name in strategies}
    return SweepInfo("decay", storage, folder, directions, shares, n_trials, 0, slots)


def begin(number: int, strategy: str | None = "cosine") -> TrialInfo:
    return TrialInfo(number, {}, [], strategy)


def end(
    number: int,
    *values: float,
    state: str = "complete",
    strategy: str | None = "cosine",
    **more: Any,
) -> TrialEnd:
    known: dict[str, Any] = {"params": {}, "steps": 20, "seconds": 40.0} | more
    return TrialEnd(number, state, values or None, strategy=strategy, **known)


def progress(clock: Clock, *earlier: TrialEnd, **about: Any) -> Progress:
    return Progress(info(**about), earlier, epochs=20, clock=clock)


class TestCounts:
    """Trials by how they ended."""

    @pytest.mark.parametrize(
        ("trial", "done", "pruned", "failed"),
        [
            (end(0, 0.9), 1, 0, 0),
            (end(0, 0.5, state="pruned"), 1, 1, 0),
            (end(0, state="failed"), 1, 0, 1),
            (end(0, state="failed", counts=False), 0, 0, 0),
            (end(0, state="interrupted", counts=False), 0, 0, 0),
        ],
    )
    @pytest.mark.parametrize("is_earlier", [True, False])
    def test_a_trial_counts_by_how_it_ended(
        self, clock: Clock, trial: TrialEnd, done: int, pruned: int, failed: int, is_earlier: bool
    ) -> None:
        state = progress(clock, *[trial] * is_earlier)
        if not is_earlier:
            state.start(begin(0))
            assert list(state.running) == [0]
            state.end(trial)
        assert (state.done, state.pruned, state.failed) == (done, pruned, failed)
        cosine = state.strategies["cosine"]
        assert (cosine.done, cosine.pruned, cosine.failed) == (done, pruned, failed)
        assert (state.left, state.running) == (10 - done, {})
        assert state.strategies["constant"].done == 0

    def test_strategies_share_the_total(self, clock: Clock) -> None:
        assert [one.total for one in progress(clock).strategies.values()] == [5, 5]

    def test_without_strategies_there_is_one_line(self, clock: Clock) -> None:
        state = progress(clock, end(0, 0.8, strategy=None), strategies=())
        ((name, only),) = state.strategies.items()
        assert (name, only.done, only.total) == (None, 1, 10)

    def test_trials_of_a_strategy_that_was_dropped_are_still_counted(self, clock: Clock) -> None:
        state = progress(clock, end(0, 0.8, strategy="dropped"))
        assert (state.done, state.strategies["dropped"].total) == (1, 0)


class TestBest:
    """The best so far, and whose."""

    @pytest.mark.parametrize(("direction", "number"), [("maximize", 1), ("minimize", 0)])
    def test_direction_decides(self, clock: Clock, direction: str, number: int) -> None:
        state = progress(clock, directions=[direction])
        trials = (
            end(0, 0.7), end(1, 0.9, strategy="constant"), end(2, 0.8, strategy="constant")
        )  # fmt: skip
        for trial in trials:
            state.end(trial)
        assert state.best is trials[number]
        assert state.ranking()[0].best is state.best

    def test_first_of_equals_stays(self, clock: Clock) -> None:
        best = progress(clock, end(3, 0.9), end(4, 0.9)).best
        assert best is not None
        assert best.number == 3

    def test_pruned_trials_are_never_best(self, clock: Clock) -> None:
        state = progress(clock, end(0, 0.95, state="pruned"))
        assert state.best is None
        assert [one.name for one in state.ranking()] == ["constant", "cosine"]

    def test_several_objectives_have_no_best(self, clock: Clock) -> None:
        state = progress(clock, end(0, 0.9, 3.0), directions=["maximize", "minimize"])
        assert state.best is None
        assert state.strategies["cosine"].latest is not None


class TestSpeed:
    """Epochs per second, of all trials together."""

    def test_recent_speed_forgets_what_is_over_a_minute_old(self, clock: Clock) -> None:
        state = progress(clock)
        state.start(begin(0))
        for second in range(1, 101):  # one epoch per second, then one in ten
            clock.wait(1)
            state.advance({0: second})
        for tenth in range(1, 13):
            clock.wait(10)
            state.advance({0: 100 + tenth})
        assert state.epochs_per_second == pytest.approx(0.1)
        assert state.mean_epochs_per_second == pytest.approx(112 / 220)

    def test_speed_falls_while_nothing_comes(self, clock: Clock) -> None:
        state = progress(clock)
        state.start(begin(0))
        clock.wait(10)
        state.advance({0: 10})
        assert state.epochs_per_second == 1.0
        clock.wait(10)
        assert state.epochs_per_second == 0.5

    def test_ended_and_running_trials_add_up_but_earlier_ones_do_not(self, clock: Clock) -> None:
        state = progress(clock, end(0, 0.9))
        assert state.epochs_per_second == 0
        state.start(begin(1))
        state.start(begin(2))
        clock.wait(10)
        state.advance({1: 4, 2: 5, 99: 7})
        state.end(end(1, state="pruned", steps=5))
        assert state.epochs_per_second == state.mean_epochs_per_second == 1.0

    def test_a_trial_that_starts_over_gives_no_negative_speed(self, clock: Clock) -> None:
        state = progress(clock)
        state.start(begin(0))
        for steps in (10, 1):
            clock.wait(61)
            state.advance({0: steps})
        assert state.epochs_per_second == 0


class TestTimeLeft:
    """From what trials took, and how many are to come."""

    def test_it_is_unknown_until_something_was_reported(self, clock: Clock) -> None:
        state = progress(clock, end(0, 0.9))
        state.start(begin(1))
        clock.wait(5)
        assert state.seconds_left is None

    def test_until_a_trial_ended_running_ones_are_extrapolated(self, clock: Clock) -> None:
        state = progress(clock, n_trials=4, slots=1)
        state.start(begin(0))
        clock.wait(10)
        state.advance({0: 5})  # 40 seconds for 20 epochs
        assert state.seconds_left == pytest.approx(30 + 3 * 40)

    @pytest.mark.parametrize(
        ("slots", "waited", "left"),
        [
            (1, 0, 9 * 40),
            (2, 0, 9 * 40 / 2),
            (2, 30, (2 * 10 + 7 * 40) / 2),
            (2, 60, 7 * 40 / 2),  # overdue trials are about to end
        ],
    )
    def test_mean_of_the_trials_that_ended_counts(
        self, clock: Clock, slots: int, waited: int, left: float
    ) -> None:
        state = progress(clock, slots=slots)
        state.end(end(0, 0.9, seconds=60.0))
        state.end(end(1, state="interrupted", counts=False, seconds=1.0))
        state.end(end(2, state="pruned", seconds=20.0))
        state.end(end(3, 0.9, seconds=None))
        state.sweep = info(slots=slots, n_trials=12)
        for number in range(4, 4 + slots):
            state.start(begin(number))
        clock.wait(waited)
        assert state.seconds_left == pytest.approx(left)

    def test_last_trials_take_as_long_as_the_longest(self, clock: Clock) -> None:
        state = progress(clock, n_trials=3, slots=8)
        state.start(begin(1))
        clock.wait(30)
        state.start(begin(2))
        state.end(end(0, 0.9))
        assert state.seconds_left == pytest.approx(40)

    def test_none_is_left_at_the_end(self, clock: Clock) -> None:
        assert progress(clock, end(0, 0.9), n_trials=1).seconds_left == 0


class TestWords:
    """Numbers as people say them."""

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0.2, "0 s"), (34.4, "34 s"), (59.7, "1 min"), (725, "12 min"), (3590, "1 h 00 min"),
            (3900, "1 h 05 min"), (86_399, "1 d 00 h"), (2 * 86_400 + 3 * 3600, "2 d 03 h"),
        ],
    )  # fmt: skip
    def test_durations(self, seconds: float, text: str) -> None:
        assert words.duration(seconds) == text

    @pytest.mark.parametrize(
        ("value", "text"),
        [(0.90084, "0.9008"), (0, "0.0000"), (-2.5, "-2.5000"), (1.234e-5, "1.23e-05")],
    )
    def test_numbers(self, value: float, text: str) -> None:
        assert words.number(value) == text


def drawn(state: Progress) -> str:
    console = Console(
        file=io.StringIO(), width=80, height=24, force_terminal=True, color_system="standard",
        record=True, _environ={},
    )  # fmt: skip
    console.print(table("val/accuracy", state, "Ctrl-C stops."))
    return console.export_text(styles=True)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)


def busy(clock: Clock) -> Progress:
    """104 trials per strategy, of which some are done and two run, all cells at their widest."""
    trials = [
        end(i, 0.8 + i / 10_000, strategy=MANY[i % 15], state=("complete", "pruned")[i % 4 == 3])
        for i in range(1500)
    ]
    trials += [end(1500, state="failed", strategy="wsd")]
    state = progress(clock, *trials, strategies=MANY, n_trials=104 * 15)
    for number in (1501, 1502):
        state.start(begin(number, MANY[number % 15]))
    clock.wait(100)
    state.advance({1501: 6, 1502: 20})
    return state


class TestTable:
    """The picture in a terminal."""

    def test_it_fits_a_small_terminal(self, clock: Clock) -> None:
        lines = plain(drawn(busy(clock))).splitlines()
        assert max(map(len, lines)) <= SCREEN[0]
        assert len(lines) < SCREEN[1]
        assert sum(line.startswith("a_name_that_is_mu… ") for line in lines) == 1

    def test_it_says_everything(self, clock: Clock) -> None:
        lines = [" ".join(line.split()) for line in plain(drawn(busy(clock))).splitlines()]
        assert lines[1].startswith("decay ━")
        assert lines[1].endswith("1501/1560 trials")
        assert lines[2].startswith("best val/accuracy 0.9498 by triangular #1498")
        assert lines[2].endswith("0.26 epochs/s, 0.26 on average")
        assert lines[3].startswith("2 running, 375 pruned, 1 failed")
        assert lines[3].endswith("2 min gone, about 1 h 14 min left")
        (wsd,) = (line for line in lines if line.startswith("wsd"))
        assert wsd.endswith("101/104 0.9492 #1492 25 1")
        (power,) = (line for line in lines if line.startswith("power"))
        assert "#1501 7/20" in power
        (exponential,) = (line for line in lines if line.startswith("exponential"))
        assert "#1502 20/20" in exponential  # not 21
        assert lines[-1] == "Ctrl-C stops."

    def test_many_trials_of_one_study_are_cut_short(self, clock: Clock) -> None:
        state = progress(clock, strategies=(), slots=8)
        for number in range(8):
            state.start(begin(number, None))
        assert "#0 1/20, #1 1/20, +6 " in plain(drawn(state))

    def test_best_strategy_is_highlighted_alone(self, clock: Clock) -> None:
        bold_green = re.findall(r"\x1b\[1;32m([^\x1b]+)", drawn(busy(clock)))
        assert [text.strip() for text in bold_green] == [
            "0.9498", "triangular", "0.9498", "#1498",
        ]  # fmt: skip

    def test_one_study_has_one_line(self, clock: Clock) -> None:
        text = plain(drawn(progress(clock, end(0, 0.9, strategy=None), strategies=())))
        assert re.search(r"\nall +\S+ +1/10 +0.9000 +#0 ", text)

    def test_several_objectives_are_shown_without_a_best(self, clock: Clock) -> None:
        state = progress(clock, end(0, 0.9, 3.0), directions=["maximize", "minimize"])
        text = plain(drawn(state))
        assert "best" not in text
        assert "0.9000, 3.0000" in text

    def test_nothing_is_known_at_first(self, clock: Clock) -> None:
        text = plain(drawn(progress(clock)))
        assert "no val/accuracy yet" in text
        assert "time left not known yet" in text


class Screen(io.StringIO):
    """A file that a view prints to."""

    def lines(self) -> list[str]:
        return [line.rstrip() for line in plain(self.getvalue()).splitlines()]


def view(screen: Screen, clock: Clock, is_terminal: bool = False) -> LiveView:
    console = Console(
        file=screen, width=80, height=24, force_terminal=is_terminal,
        force_interactive=is_terminal, _environ={},
    )  # fmt: skip
    return LiveView(
        20, "val/accuracy", "decay", "fmnist-lab sweep decay", console=console, clock=clock
    )


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
        assert screen.lines() == [
            "Sweep decay: 1 of 10 trials are done; best constant #0 0.8800; 2 strategies, 2 at "
            "once; storage journal:///mlruns/sweeps/decay/study.journal; "
            "log mlruns/sweeps/decay/sweep.log",
            "[ 2/10] cosine #1 complete 0.9000 in 20 epochs, 40 s; best cosine #1 0.9000; "
            "3 min left",
            "[ 3/10] cosine #2 pruned after 1 epoch, 4 s; best cosine #1 0.9000; 1 min left",
            "[ 3/10] cosine #3 interrupted after 4 epochs, to be repeated; "
            "best cosine #1 0.9000; 1 min left",
        ]
        shown.on_end("interrupted")

    def test_a_failure_is_one_line(self, screen: Screen, clock: Clock, tmp_path: Path) -> None:
        (tmp_path / "train.log").touch()
        shown = view(screen, clock)
        shown.on_start(info(strategies=()), [])
        problem = "Traceback (most recent call last):\n  in train\nValueError: no data.\n"
        failed = end(7, state="failed", strategy=None, problem=problem, folder=str(tmp_path))
        shown.on_trial_end(failed)
        lost = end(8, state="failed", strategy=None, problem="The worker died", counts=False)
        shown.on_trial_end(lost)
        assert screen.lines()[1:] == [
            f"[ 1/10] #7 failed: ValueError: no data. Log: {tmp_path / 'train.log'}",
            "[ 1/10] #8 failed: The worker died. It will be tried again. "
            "Log: mlruns/sweeps/decay/workers.log",
        ]
        shown.on_end("interrupted")

    def test_a_line_a_minute_while_nothing_ends(self, screen: Screen, clock: Clock) -> None:
        shown = view(screen, clock)
        shown.on_start(info(), [])
        shown.on_trial_start(begin(0, "constant"))
        shown.on_trial_start(begin(1))
        for second in range(1, 150):
            clock.wait(1)
            shown.on_progress({0: second // 10, 1: second // 20})
        assert screen.lines()[1:] == [
            "[ 0/10] running constant #0 epoch 7/20, cosine #1 epoch 4/20; 0.15 epochs/s; "
            "21 min left",
            "[ 0/10] running constant #0 epoch 13/20, cosine #1 epoch 7/20; 0.15 epochs/s; "
            "20 min left",
        ]
        shown.on_end("interrupted")


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
        before, log = list(logging.root.handlers), logging.getLogger("fmnist_lab.workers")
        shown = view(screen, clock, is_terminal)
        with caplog.at_level(logging.INFO):
            shown.on_start(info(), [])
            log.info("nobody asked")
            log.warning("Worker %d is gone.", 7)
            try:
                raise ValueError("[bold]no markup")
            except ValueError:
                log.exception("It broke.")
            shown.on_end("interrupted")
            log.warning("too late")
        assert "Warning: Worker 7 is gone." in screen.lines()
        assert "Error: It broke. ValueError: [bold]no markup" in screen.lines()
        assert not {"asked", "Traceback", "late"} & set(screen.getvalue().split())
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
        shown.on_end("interrupted")
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
            assert "Ctrl-C stops; what is done is kept. Log: mlruns/sweeps/decay/sweep.log" in (
                screen.lines()
            )
            shown.on_trial_start(begin(3))
            shown.on_progress({3: 4})
            assert shows(screen, "#3 5/20")
            shown.on_trial_end(end(3, state="failed", problem="The task must return a number."))
            assert shows(screen, "1 failed")
        finally:
            shown.on_end("interrupted")
        failure = "[ 1/10] cosine #3 failed: The task must return a number. Log: "
        assert any(line.startswith(failure) for line in screen.lines())
        _, cursor_is_back, rest = screen.getvalue().rpartition("\x1b[?25h")
        assert cursor_is_back
        assert rest.startswith("\r\x1b[1A\x1b[2K")  # the table is wiped, line by line
        assert "Interrupted." in rest


def summed_up(
    clock: Clock,
    reason: str,
    trials: Sequence[TrialEnd] = (),
    is_terminal: bool = False,
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
    shown.on_end(reason)
    # In a terminal the table goes first, and then the cursor comes back.
    summary = plain(screen.getvalue()[start:].rpartition("\x1b[?25h")[2])
    return [line.rstrip() for line in summary.splitlines()][1:]


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
        reason = "all 4 trials are done"
        lines = summed_up(clock, reason, trials, n_trials=4, is_terminal=is_terminal)
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
            "  # the best trial, #1, once more",
            "  fmnist-lab train optimizer.learning_rate=0.0123456 strategy=cosine "
            "'+name='\"'\"'a b'\"'\"''",
        ]

    def test_interrupted(self, clock: Clock) -> None:
        lines = summed_up(clock, "interrupted", [end(0, 0.9)], n_trials=104)
        assert lines[:2] == [
            "Interrupted.",
            "1 of 104 trials are done and kept: 1 complete, 0 pruned, 0 failed.",
        ]
        assert lines[lines.index("What comes next:") + 1 :] == [
            "  fmnist-lab sweep decay            # goes on with the 103 trials left",
            "  fmnist-lab compare decay          # compares the strategies",
            "  fmnist-lab ui                     # every trial's curves in the browser",
        ]

    def test_nothing_done_yet(self, clock: Clock) -> None:
        assert summed_up(clock, "interrupted") == [
            "Interrupted.",
            "0 of 10 trials are done and kept: 0 complete, 0 pruned, 0 failed.",
            "This run took 2 min at 0.00 epochs/s.",
            "",
            "What comes next:",
            "  fmnist-lab sweep decay            # goes on with the 10 trials left",
        ]

    @pytest.mark.parametrize(
        ("reason", "said", "command"),
        [
            ("timeout: 61 of 60 seconds are over",
             "Stopped by hydra.sweeper.timeout: 61 of 60 seconds are over.",
             "fmnist-lab sweep decay "),
            ("max_epochs: 20 of 10 steps were reported",
             "Stopped by hydra.sweeper.max_epochs: 20 of 10 steps were reported.",
             "fmnist-lab sweep decay hydra.sweeper.max_epochs=null"),
            ("failed: ValueError",
             "The sweep failed with ValueError; see mlruns/sweeps/decay/sweep.log.",
             "fmnist-lab sweep decay "),
        ],
    )  # fmt: skip
    def test_other_endings(self, clock: Clock, reason: str, said: str, command: str) -> None:
        lines = summed_up(clock, reason, [end(0, 0.9)])
        assert lines[0] == said
        assert any(line.strip().startswith(command.strip()) for line in lines)
        assert any(f"{command.strip()} " in f"{line} " for line in lines)

    def test_a_search_that_found_its_target_offers_its_best(self, clock: Clock) -> None:
        lines = summed_up(clock, "target: 0.9 is as good as 0.9", [end(0, 0.9, params={"a": 1})])
        assert "  fmnist-lab train a=1              # the best trial, #0, once more" in lines

    def test_best_trial_is_given_what_its_job_was_given(self, clock: Clock, tmp_path: Path) -> None:
        (tmp_path / ".hydra").mkdir()
        given = "- scheduler=cosine\n- training.epochs=5\n- +tracking.parent=abc\n- hydra.x=1\n"
        (tmp_path / ".hydra" / "overrides.yaml").write_text(given)
        trial = end(0, 0.9, params={"optimizer.learning_rate": 0.1}, folder=str(tmp_path))
        lines = summed_up(clock, "all 1 trials are done", [trial], n_trials=1)
        assert lines[-1] == "  fmnist-lab train scheduler=cosine training.epochs=5"

    def test_best_trial_may_be_on_another_machine(self, clock: Clock, folder: Path) -> None:
        results = folder / info().folder / "optimization_results.yaml"
        results.parent.mkdir(parents=True)
        results.write_text("best_overrides: [scheduler=cosine, a=1]")
        trial = end(0, 0.9, params={"a": 1}, folder="/elsewhere")
        reason = "all 1 trials are done"
        lines = summed_up(clock, reason, [trial], n_trials=1)
        assert lines[-1] == "  fmnist-lab train scheduler=cosine a=1"

    def test_several_objectives_have_values_but_no_best(self, clock: Clock) -> None:
        both, reason = ["maximize", "minimize"], "all 1 trials are done"
        lines = summed_up(clock, reason, [end(0, 0.9, 2.0)], directions=both, n_trials=1)
        assert "cosine         0.9000, 2.0000  #0       1       -       -" in lines
        assert not any("train" in line or "Best" in line for line in lines)


class TestSweep:
    """With the real sweeper, and with the logging that goes with the view."""

    WATCHED = (
        "hydra/sweeper=fmnist_lab",
        f"hydra.searchpath=[file://{ROOT}/conf]",
        "hydra/hydra_logging=sweep",
        "hydra.sweeper.observers="
        "[{_target_: fmnist_lab.live.LiveView, epochs: 5, metric: loss, name: mine, command: x}]",
    )

    def test_failures_and_logs(self, tmp_path: Path) -> None:
        folder = tmp_path / "new" / "sweep"
        space = ("+how=choice(raise,good)", "hydra/sweeper/sampler=grid")
        # Verbose, Hydra logs before there is a folder.
        output = run("failing", folder, *self.WATCHED, *space, "hydra.verbose=true")
        lines = output.splitlines()
        assert lines[0].startswith("Sweep failing: 0 of 2 trials are done; ")
        (failure,) = (line for line in lines if " failed: " in line)
        log = r"\S*/new/sweep/\d/failing.log"
        assert re.fullmatch(
            rf"\[[12]/2\] #\d failed: RuntimeError: out of luck. Log: {log}", failure
        )
        assert sum(" complete 1.0000 in 0 epochs" in line for line in lines) == 1
        assert "All 2 trials are done." in lines
        assert "Traceback" not in output
        logged = (folder / "sweep.log").read_text()
        assert "RuntimeError: out of luck" in logged
        assert re.search(r"^\[\d{4}-.+\]\[INFO\] - The sweep ended: all 2 ", logged, re.MULTILINE)

    def test_a_refused_sweep_leaves_no_log(self, tmp_path: Path) -> None:
        folder = tmp_path / "new" / "sweep"
        run("failing", folder, *self.WATCHED, "hydra.sweeper.n_trials=0", code=1)
        assert not folder.exists()
