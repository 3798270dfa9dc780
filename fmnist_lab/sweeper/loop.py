"""The loop: ask, run, tell, until the total, a budget or the user ends it."""

import logging
import time
import traceback
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from hydra.core.utils import JobReturn
from hydra.errors import HydraException

from fmnist_lab.errors import TooManyFailuresError, is_full_disk
from fmnist_lab.launcher.streaming import StreamingLauncher
from fmnist_lab.sweeper.observers import Observers, TrialEnd, TrialInfo
from fmnist_lab.sweeper.signals import Signals
from fmnist_lab.sweeper.strategies import Best, Strategies
from fmnist_lab.sweeper.sweep_end import SweepEnd
from fmnist_lab.sweeper.trial_outcome import Outcome, from_return

log = logging.getLogger(__name__)

_POLL = 1.0  # seconds between looks at the clock while trials run


class Loop:
    """Keeps trials running.

    Args:
        strategies: Where trials come from and go to.
        launcher: A streaming launcher, or one of Hydra's.
        batch_size: How many trials one of Hydra's launchers is given at once.
        observers: Who is told.
        job_overrides: Added to every job, beside the suggestion.
    """

    def __init__(
        self,
        strategies: Strategies,
        launcher: Any,
        batch_size: int,
        observers: Observers,
        job_overrides: list[str],
    ) -> None:
        self._strategies = strategies
        self._launcher = launcher
        self._batch_size = batch_size
        self._observers = observers
        self._job_overrides = job_overrides
        self._has_told = False
        self._looked = 0.0
        self.on_told: Callable[[], None] = lambda: None

    def run(self, signals: Signals) -> SweepEnd:
        """Runs trials and returns why it ended.

        Raises:
            KeyboardInterrupt, SystemExit: A signal; trials that ran will be repeated.
            TooManyFailuresError: Its cause is the last one's error.
        """
        try:
            signals.check()  # to start workers takes seconds
            if isinstance(self._launcher, StreamingLauncher):
                self._stream(self._launcher, signals)
            else:
                self._batches(signals)
        finally:
            for trial in self._strategies.reap():  # none is left running, whatever happened
                self._told(trial)
        return self._strategies.ending

    def _stream(self, launcher: StreamingLauncher, signals: Signals) -> None:
        try:
            while True:
                while self._strategies.running < launcher.slots and (trial := self._next()):
                    launcher.submit([*trial.overrides, *self._job_overrides], trial.number)
                if not self._strategies.running:
                    return
                with signals.waiting():
                    finished = launcher.next_result(timeout=_POLL)
                if finished:
                    self._conclude(*finished)
                    self._give_up_if_needed()
                self._show_progress()
        finally:
            launcher.cancel_all()
            launcher.close()

    def _batches(self, signals: Signals) -> None:
        while batch := list(self._ask(self._batch_size)):
            # A launcher numbers the jobs of a batch in sequence; repeated trials may leave gaps.
            for _, part in groupby(enumerate(batch), lambda item: item[1].number - item[0]):
                self._launch([trial for _, trial in part], signals)
            self._give_up_if_needed()

    def _launch(self, batch: list[TrialInfo], signals: Signals) -> None:
        overrides = [(*trial.overrides, *self._job_overrides) for trial in batch]
        try:
            with signals.waiting():
                returns = self._launcher.launch(overrides, initial_job_idx=batch[0].number)
        except HydraException:  # the configuration is wrong, and would be for every trial
            raise
        except Exception as error:
            if not self._has_told:  # this launcher has never worked
                raise
            log.warning("The launcher lost a batch.", exc_info=True)
            problem = traceback.format_exc()
            for trial in batch:
                self._lose(trial.number, Outcome("failed", None, problem, error))
            return
        for trial, returned in zip(batch, returns, strict=True):
            self._conclude(trial.number, returned)

    def _ask(self, count: int) -> Iterator[TrialInfo]:
        for _ in range(count):
            if trial := self._next():
                yield trial

    def _next(self) -> TrialInfo | None:
        if trial := self._strategies.next():
            self._observers.tell("on_trial_start", trial)
        return trial

    def _show_progress(self) -> None:
        if self._observers and time.monotonic() - self._looked > _POLL:
            self._looked = time.monotonic()
            self._observers.tell("on_progress", self._strategies.progress())

    def _conclude(self, number: int, returned: JobReturn) -> None:
        if is_full_disk(error := returned._return_value):
            raise error  # not the trial's fault: it will be repeated
        outcome = from_return(
            returned, self._strategies.record(number), self._strategies.objectives
        )
        self._told(self._strategies.conclude(number, outcome))

    def _lose(self, number: int, outcome: Outcome) -> None:
        if self._strategies.record(number):  # it had finished before its batch was lost
            self._told(self._strategies.settle(number))
        else:
            self._told(self._strategies.conclude(number, outcome))

    def _told(self, trial: TrialEnd) -> None:
        self._has_told = True
        _log_end(trial, self._strategies.best)
        self._observers.tell("on_trial_end", trial)
        self.on_told()

    def _give_up_if_needed(self) -> None:
        if (why := self._strategies.fails_too_often) and self._strategies.error is not None:
            log.error(why)
            raise TooManyFailuresError(why) from self._strategies.error


def _log_end(trial: TrialEnd, best: Best | None) -> None:
    if trial.state == "failed":
        again = "" if trial.counts else ", will be tried again"
        again = ", the same command will try it again" if trial.lost else again
        extra = {"trial_end": trial}  # a view that shows the trial's end leaves this record out
        log.warning("Trial %d failed%s:\n%s", trial.number, again, trial.problem, extra=extra)
    elif trial.state == "interrupted":
        log.info("Trial %d was interrupted, will be repeated.", trial.number)
    else:
        values = ", ".join(f"{value:g}" for value in trial.values or [])
        so_far = f"; best {best.value:g}, trial {best.number}" if best else ""
        log.info("Trial %d %s: %s%s", trial.number, trial.state, values or "no value", so_far)
