"""The observer that shows a sweep."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from fmnist_lab.protocol.progress import summary, words
from fmnist_lab.protocol.progress.counts import Progress
from fmnist_lab.protocol.progress.logs import Warnings
from fmnist_lab.protocol.progress.table import table
from fmnist_lab.sweeper.observers import SweepInfo, TrialEnd, TrialInfo
from fmnist_lab.sweeper.sweep_end import SweepEnd

SILENCE = 60.0  # seconds after which a line says what runs, where nothing else was printed
_FRAMES = 2.0  # per second


class LiveView:
    """Draws a table in a terminal, prints plain lines elsewhere, and a summary at the end.

    Args:
        epochs: The most that a trial may train.
        metric: What the objective is called.
        name: The sweep, as it can be compared.
        command: The command line that continues it.
        kind: What each trial is; of replicates the summary names no best one.
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
        self._warnings = Warnings(self._console)
        self._lock = threading.Lock()  # the table is drawn by a thread of its own
        self._live: Live | None = None
        self._printed = clock()
        self._progress: Progress

    def on_start(self, sweep: SweepInfo, earlier: Sequence[TrialEnd]) -> None:
        """Shows what is there already."""
        self._progress = Progress(sweep, earlier, self._epochs, self._clock)
        if self._console.is_interactive:
            self._live = Live(
                get_renderable=self._draw,
                console=self._console,
                refresh_per_second=_FRAMES,
                transient=True,  # the summary takes its place
            )
            self._live.start(refresh=True)
        else:
            self._print(words.start(self._progress))
        self._listen()

    def on_trial_start(self, trial: TrialInfo) -> None:
        """Counts a trial as running."""
        with self._lock:
            self._progress.start(trial)

    def on_progress(self, steps: Mapping[int, int]) -> None:
        """Moves the running trials on."""
        with self._lock:
            self._progress.advance(steps)
        if self._live is None and self._clock() - self._printed >= SILENCE:
            self._print(words.running(self._progress))

    def on_trial_end(self, trial: TrialEnd) -> None:
        """Counts a trial, and says so where there is no table."""
        self._listen()
        with self._lock:
            self._progress.end(trial)
        if trial.state == "failed":
            self._print(words.failed(trial, self._progress), "red")
        elif self._live is None:
            self._print(words.ended(trial, self._progress))

    def on_end(self, end: SweepEnd) -> None:
        """Prints the summary."""
        logging.getLogger().removeHandler(self._warnings)
        if self._live is not None:
            self._live.stop()
        commands = summary.commands(self._name, self._command, self._progress, end)
        if self._kind == "replicate":
            summary.show_replicates(self._console, self._progress, end, commands)
        else:
            if best := summary.repeat_best(self._progress, end):
                commands.append(best)
            summary.show(self._console, self._metric, self._progress, end, commands)

    def _listen(self) -> None:
        # Again after every trial: a launcher that runs jobs in this process configures logging.
        logging.getLogger().addHandler(self._warnings)

    def _draw(self) -> RenderableType:
        log = Path(self._progress.sweep.folder) / "sweep.log"
        hint = f"Ctrl-C stops; what is done is kept. Log: {log}"
        with self._lock:
            return table(self._metric, self._progress, hint)

    def _print(self, line: str, style: str = "") -> None:
        self._console.print(Text(line, style=style), soft_wrap=True)
        self._printed = self._clock()
