"""The loop of a sweep: ask, run, conclude, until a budget, a signal or too many failures end it."""

import logging
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from types import FrameType
from typing import Any

from hydra.core.utils import JobReturn
from hydra.errors import HydraException

from fmnist_lab.errors import TooManyFailuresError, is_full_disk
from fmnist_lab.foundation.interruption import interrupted
from fmnist_lab.launcher.streaming import StreamingLauncher, streams
from fmnist_lab.sweeper.observers import Observers, TrialInfo
from fmnist_lab.sweeper.strategy import Outcome, Strategy, from_return
from fmnist_lab.sweeper.sweep_end import SweepEnd, TrialEnd

log = logging.getLogger(__name__)

_POLL = 1.0  # seconds between looks at the clock while trials run
_WRITE_SECONDS = 5.0  # between two writes: the results file grows with the number of strategies


class Signals:
    """SIGINT, SIGTERM and SIGHUP as exceptions, raised only where the controller waits.

    Everywhere else, in the midst of asking and telling, a signal is kept for later.
    """

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._waiting = False
        self._pending: int | None = None

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) != signal.SIG_IGN:  # as by nohup, or & in a script
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        interrupted.clear()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Lets signals interrupt the block; one that was kept is raised at once."""
        try:
            self._waiting = True
            if self._pending is not None:
                self._raise(self._pending)
            yield
        finally:
            self._waiting = False

    def _receive(self, number: int, _: FrameType | None) -> None:
        self._pending = number
        if self._waiting:
            self._raise(number)

    def _raise(self, number: int) -> None:
        self._waiting = False  # once is enough: what follows is cleaning up
        interrupted.set()
        if callable(handler := self._before[number]):
            handler(number, None)  # the application's own, or Python's: KeyboardInterrupt
        raise SystemExit(128 + number)


@dataclass
class Loop:
    """Keeps trials of all strategies running."""

    strategies: Sequence[Strategy]  # in the order in which they take trial numbers
    launcher: Any  # a streaming launcher, or one of Hydra's
    observers: Observers
    job_overrides: Sequence[str] = ()  # added to every job, beside the suggestion
    write: Callable[[], None] = lambda: None  # writes the results so far
    require_held: Callable[[], None] = lambda: None  # raises if another controller has the sweep

    def __post_init__(self) -> None:
        """Starts with nothing written and nothing ended."""
        self._settings = self.strategies[0].settings
        self._written = self._looked = 0.0
        self._has_ended_any = False
        self._error: BaseException | None = None  # of the last trial that failed

    @property
    def done(self) -> int:
        """Trials that count."""
        return sum(strategy.budget.done for strategy in self.strategies)

    @property
    def n_trials(self) -> int:
        """The total to reach."""
        return sum(strategy.settings.n_trials for strategy in self.strategies)

    def run(self, signals: Signals) -> SweepEnd:
        """Runs trials and returns why it ended.

        Raises:
            KeyboardInterrupt, SystemExit: A signal; trials that ran will be repeated.
            TooManyFailuresError: Its cause is the last one's error.
            ConnectionLostError: Another controller has taken the sweep over.
        """
        try:
            with signals.waiting():  # to start workers takes seconds
                pass
            if streams(self.launcher):
                self._stream(self.launcher, signals)
            else:
                self._batches(signals)
        finally:
            self.require_held()  # else the trials that run are the other controller's
            for strategy in self.strategies:  # none is left running, whatever happened
                for trial in strategy.end_running():
                    self._ended(trial)
        ends = {strategy.name or "": strategy.budget.spent() for strategy in self.strategies}
        reached = {name: end for name, end in ends.items() if end is not None}
        return SweepEnd.of_budgets(reached, self.done, self.n_trials)

    def next(self) -> TrialInfo | None:
        """Asks the strategy with the fewest trials; None if none may start another."""
        wanting = (strategy for strategy in self.strategies if strategy.wants_more)
        strategy = min(wanting, key=lambda strategy: strategy.committed, default=None)
        if strategy is None:
            return None
        trial = strategy.ask()
        self.observers.tell("on_trial_start", trial)
        return trial

    def _stream(self, launcher: StreamingLauncher, signals: Signals) -> None:
        try:
            while True:
                while self._running() < launcher.slots and (trial := self.next()):
                    launcher.submit([*trial.overrides, *self.job_overrides], trial.number)
                if not self._running():
                    return
                with signals.waiting():
                    finished = launcher.next_result(timeout=_POLL)
                self.require_held()
                if finished:
                    self._returned(*finished)
                    self.give_up_if_needed()
                self._show_progress()
        finally:
            launcher.cancel_all()
            launcher.close()

    def _batches(self, signals: Signals) -> None:
        while batch := [trial for _ in range(self._settings.n_jobs) if (trial := self.next())]:
            # A launcher numbers the jobs of a batch in sequence; repeated trials may leave gaps.
            for _, part in groupby(enumerate(batch), lambda item: item[1].number - item[0]):
                self._launch([trial for _, trial in part], signals)
            self.give_up_if_needed()

    def _launch(self, batch: list[TrialInfo], signals: Signals) -> None:
        overrides = [(*trial.overrides, *self.job_overrides) for trial in batch]
        try:
            with signals.waiting():
                returns = self.launcher.launch(overrides, initial_job_idx=batch[0].number)
        except HydraException:  # the configuration is wrong, and would be for every trial
            raise
        except Exception as error:
            if not self._has_ended_any:  # this launcher has never worked
                raise
            log.warning("The launcher lost a batch.", exc_info=True)
            lost = Outcome("failed", None, traceback.format_exc(), error)
            for trial in batch:
                strategy = self._of(trial.number)
                if strategy.record(trial.number):  # it had finished before its batch was lost
                    self._ended(strategy.settle(trial.number))
                else:
                    self.conclude(trial.number, lost)
            return
        self.require_held()
        for trial, returned in zip(batch, returns, strict=True):
            self._returned(trial.number, returned)

    def _returned(self, number: int, returned: JobReturn) -> None:
        if is_full_disk(error := returned._return_value):
            raise error  # not the trial's fault: it will be repeated
        record = self._of(number).record(number)
        self.conclude(number, from_return(returned, record, len(self._settings.directions)))

    def conclude(self, number: int, outcome: Outcome) -> None:
        """Stores, counts and reports how a trial ended."""
        if outcome.state == "failed":
            self._error = outcome.error or ValueError(outcome.problem)
        self._ended(self._of(number).conclude(number, outcome))

    def _ended(self, trial: TrialEnd) -> None:
        self._has_ended_any = True
        self._of(trial.number).observe(trial)
        self._log_end(trial)
        self.observers.tell("on_trial_end", trial)
        if time.monotonic() - self._written > _WRITE_SECONDS:
            self.write()
            self._written = time.monotonic()

    def give_up_if_needed(self) -> None:
        """Raises TooManyFailuresError where more than the allowed part of all trials failed."""
        failed = sum(strategy.budget.failed for strategy in self.strategies)
        rate, total = self._settings.max_failure_rate, self.n_trials
        if failed > rate * total and self._error is not None:
            why = f"{failed} trials failed, more than max_failure_rate={rate:g} of {total} allows."
            log.error(why)
            raise TooManyFailuresError(why) from self._error

    def _show_progress(self) -> None:
        if self.observers and time.monotonic() - self._looked > _POLL:
            self._looked = time.monotonic()
            steps = {k: v for each in self.strategies for k, v in each.steps().items()}
            self.observers.tell("on_progress", steps)

    def _running(self) -> int:
        return sum(len(strategy.running) for strategy in self.strategies)

    def _of(self, number: int) -> Strategy:
        return self.strategies[number % len(self.strategies)]

    def _log_end(self, trial: TrialEnd) -> None:
        if trial.state == "failed":
            again = "" if trial.counts else ", will be tried again"
            again = ", the same command will try it again" if trial.lost else again
            extra = {"trial_end": trial}  # a view that shows the trial's end leaves this record out
            log.warning("Trial %d failed%s:\n%s", trial.number, again, trial.problem, extra=extra)
        elif trial.state == "interrupted":
            log.info("Trial %d was interrupted, will be repeated.", trial.number)
        else:
            values = ", ".join(f"{value:g}" for value in trial.values or []) or "no value"
            log.info("Trial %d %s: %s%s", trial.number, trial.state, values, self._best())

    def _best(self) -> str:
        """Returns the end of a log line that names the best trial, where there is one direction."""
        bests = [strategy.budget.best for strategy in self.strategies]
        found = [(best.values[0], best.number) for best in bests if best and best.values]
        best = min(found, key=lambda item: self._settings.sign * item[0], default=None)
        return f"; best {best[0]:g}, trial {best[1]}" if best else ""
