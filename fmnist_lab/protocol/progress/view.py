"""Observer that shows a sweep while it runs."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.text import Text

from fmnist_lab.foundation.wording import count, duration
from fmnist_lab.protocol.progress import summary
from fmnist_lab.protocol.progress.counts import SweepProgress, label, objective, speed
from fmnist_lab.results.layout import SWEEP_LOG, WORKERS_LOG
from fmnist_lab.sweeper.observers import SweepInfo, TrialInfo
from fmnist_lab.sweeper.sweep_end import SweepEnd, TrialEnd

SILENCE = 60.0  # seconds after which a line says what runs, where nothing else was printed
_FRAMES = 2.0  # per second
_WIDEST = 100  # columns of the table


class LiveView:
    """Draws a table in a terminal, prints plain lines elsewhere, and a summary at the end.

    Args:
        epochs: The most that a trial may train.
        metric: The objective's name.
        name: The sweep, as `fmnist-lab compare` takes it.
        command: The command line that continues it.
        kind: What each trial is: `trial` or `replicate`; of replicates the summary has no best one.
        console: Where to print; the standard output if left out.
        clock: Seconds from any origin.
    """

    def __init__(  # noqa: PLR0913 - the last two are for tests
        self,
        epochs: int,
        metric: str,
        name: str,
        command: str,
        kind: str = "trial",
        *,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._epochs, self._metric, self._clock = epochs, metric, clock
        self._name, self._command, self._kind = name, command, kind
        # Into a pipe or a file the summary is as wide as it needs to be.
        self._console = console or Console(width=None if sys.stdout.isatty() else 120)
        self._warnings = WarningHandler(self._console)
        self._lock = threading.Lock()  # a thread of rich's draws the table
        self._live: Live | None = None
        self._printed = clock()
        self._progress: SweepProgress

    def on_start(self, sweep: SweepInfo, earlier: Sequence[TrialEnd]) -> None:
        """Shows what earlier runs have done."""
        self._progress = SweepProgress(sweep, earlier, self._epochs, self._clock)
        if self._console.is_interactive:
            self._live = Live(
                get_renderable=self._draw,
                console=self._console,
                refresh_per_second=_FRAMES,
                transient=True,  # the summary takes its place
            )
            self._live.start(refresh=True)
        else:
            self._print(start_line(self._progress))
        self._add_handler()

    def on_trial_start(self, trial: TrialInfo) -> None:
        """Counts a trial as running."""
        with self._lock:
            self._progress.start(trial)

    def on_progress(self, steps: Mapping[int, int]) -> None:
        """Moves the running trials on."""
        with self._lock:
            self._progress.advance(steps)
        if self._live is None and self._clock() - self._printed >= SILENCE:
            self._print(running_line(self._progress))

    def on_trial_end(self, trial: TrialEnd) -> None:
        """Counts a trial, and prints a line if it failed or if there is no table."""
        self._add_handler()
        with self._lock:
            self._progress.end(trial)
        if trial.state == "failed":
            self._print(failure_line(trial, self._progress), "red")
        elif self._live is None:
            self._print(end_line(trial, self._progress))

    def on_end(self, end: SweepEnd) -> None:
        """Prints the summary."""
        logging.getLogger().removeHandler(self._warnings)
        if self._live is not None:
            self._live.stop()
        is_search = self._kind != "replicate"
        following = summary.commands(self._name, self._command, self._progress, end)
        if is_search and (best := summary.repeat_best(self._progress, end)):
            following.append(best)
        metric = self._metric if is_search else None
        summary.show(self._console, self._progress, end, following, metric)

    def _add_handler(self) -> None:
        # Again after every trial: a launcher that runs jobs in this process configures logging.
        logging.getLogger().addHandler(self._warnings)

    def _draw(self) -> RenderableType:
        with self._lock:
            return picture(self._progress, self._metric)

    def _print(self, line: str, style: str = "") -> None:
        self._console.print(Text(line, style=style), soft_wrap=True)
        self._printed = self._clock()


def picture(progress: SweepProgress, metric: str) -> RenderableType:
    """Composes the bar, the counts, the best trial and the table of strategies."""
    counts = Text.assemble(
        f"{len(progress.running)} running, {progress.pruned} pruned, ",
        (f"{progress.failed} failed", "red" if progress.failed else ""),
        f", {speed(progress.speed)}",
    )
    best = Text("" if progress.has_several_objectives else f"no {metric} yet", no_wrap=True)
    if trial := progress.best:
        best = Text.assemble(
            f"best {metric} ", (objective(trial), summary.BEST), f" by {label(trial)}"
        )
    hint = f"Ctrl-C stops; what is done is kept. Log: {_sweep_log(progress)}"
    table = summary.strategies_table(progress, is_live=True)
    footer = Text(hint, style="dim", no_wrap=True, overflow="ellipsis")
    return Constrain(Group("", progress.bar, counts, best, "", table, "", footer), _WIDEST)


def start_line(progress: SweepProgress) -> str:
    """Says where the sweep stands and where it is stored."""
    sweep = progress.sweep
    strategies = f"{len(sweep.strategies)} strategies, " if sweep.strategies else ""
    total = count(sweep.n_trials, "trial")
    parts = [
        f"Sweep {sweep.study_name}: {progress.done} of {total} are done",
        *_best(progress),
        f"{strategies}{sweep.slots} at once",
        f"storage {sweep.storage}",
        f"log {_sweep_log(progress)}",
    ]
    return "; ".join(parts)


def end_line(trial: TrialEnd, progress: SweepProgress) -> str:
    """Says how a trial ended, and where the sweep stands now."""
    took = count(trial.steps, "epoch")
    if trial.seconds is not None:
        took = f"{took}, {duration(trial.seconds)}"
    how = f"{trial.state} after {took}"
    if trial.state == "complete":
        how = f"complete {objective(trial)} in {took}"
    elif trial.state == "interrupted":
        how = f"interrupted after {took}, to be repeated"
    line = f"{_position(progress)} {label(trial)} {how}"
    return "; ".join([line, *_best(progress), *_time_left(progress)])


def failure_line(trial: TrialEnd, progress: SweepProgress) -> str:
    """Says why a trial failed, and which log has more."""
    reason = (trial.problem or "").strip().rpartition("\n")[2] or "no reason was recorded"
    again = "" if trial.counts else " It will be tried again."
    again = " The same command tries it again." if trial.lost else again
    # The trial's own log; without one, the output of its worker.
    logs = sorted(Path(trial.folder).glob("*.log")) if trial.folder else []
    folder = Path(progress.sweep.folder)  # or an earlier stage's, which has started the workers
    theirs = (path / WORKERS_LOG for path in (folder, *folder.parents))
    log = logs[0] if logs else next(filter(Path.exists, theirs), folder / WORKERS_LOG)
    log = log.relative_to(Path.cwd()) if log.is_relative_to(Path.cwd()) else log
    how = f"{label(trial)} failed: {reason.rstrip('.')}.{again}"
    return f"{_position(progress)} {how} Log: {log}"


def running_line(progress: SweepProgress) -> str:
    """Says what runs, and how fast."""
    trials = ", ".join(
        f"{label(trial)} epoch {summary.epoch(trial.number, progress)}"
        for trial in progress.running.values()
    )
    line = f"{_position(progress)} running {trials or 'nothing'}"
    return "; ".join([line, speed(progress.speed), *_best(progress), *_time_left(progress)])


def _position(progress: SweepProgress) -> str:
    total = str(progress.sweep.n_trials)
    return f"[{progress.done:>{len(total)}}/{total}]"


def _best(progress: SweepProgress) -> list[str]:
    best = progress.best
    return [f"best {label(best)} {objective(best)}"] if best else []


def _time_left(progress: SweepProgress) -> list[str]:
    seconds = progress.seconds_left
    return [f"{duration(seconds)} left"] if seconds is not None and progress.left else []


def _sweep_log(progress: SweepProgress) -> Path:
    return Path(progress.sweep.folder) / SWEEP_LOG


class LogFile(logging.FileHandler):
    """Log file whose folder is made with the first line, since Hydra sets up logging before it."""

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()


class WarningHandler(logging.Handler):
    """Prints warnings and errors above the table, without their tracebacks."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a record, unless `on_trial_end` has a line for it."""
        if hasattr(record, "trial_end"):
            return
        severe = record.levelno >= logging.ERROR
        level = ("Error: ", "bold red") if severe else ("Warning: ", "bold yellow")
        error = record.exc_info[1] if record.exc_info else None
        cause = f" {type(error).__name__}: {error}" if error else ""
        try:
            self._console.print(Text.assemble(level, record.getMessage() + cause), soft_wrap=True)
        except Exception:
            self.handleError(record)
