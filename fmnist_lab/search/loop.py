"""The loop: ask, run, tell, until the total, a budget or the user ends it."""

import logging
import traceback
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from hydra.core.utils import JobReturn
from hydra.errors import HydraException

from fmnist_lab.search.budget import Budget
from fmnist_lab.search.observers import Observers, TrialEnd, TrialInfo
from fmnist_lab.search.outcome import Outcome, from_return
from fmnist_lab.search.settings import Settings
from fmnist_lab.search.signals import Signals
from fmnist_lab.search.trials import Trials
from fmnist_lab.streaming import StreamingLauncher

log = logging.getLogger(__name__)

_POLL = 1.0  # seconds between looks at the clock while trials run


class Loop:
    """Keeps trials running.

    Args:
        trials: The study's trials.
        launcher: A streaming launcher, or one of Hydra's.
        settings: How many trials, and how large a batch is.
        budget: What has been spent.
        observers: Who is told.
        job_overrides: Added to every job, beside the suggestion.
    """

    def __init__(
        self,
        trials: Trials,
        launcher: Any,
        settings: Settings,
        budget: Budget,
        observers: Observers,
        job_overrides: list[str],
    ) -> None:
        self._trials = trials
        self._launcher = launcher
        self._settings = settings
        self._budget = budget
        self._observers = observers
        self._job_overrides = job_overrides
        self._running: dict[int, TrialInfo] = {}
        self._last_error: BaseException | None = None
        self._has_told = False
        self.on_told: Callable[[], None] = lambda: None

    def run(self, signals: Signals) -> str:
        """Runs trials and returns why it ended.

        Raises:
            KeyboardInterrupt, SystemExit: A signal; trials that ran will be repeated.
            Exception: Too many trials failed; it is the last one's error.
        """
        try:
            if isinstance(self._launcher, StreamingLauncher):
                self._stream(self._launcher, signals)
            else:
                self._batches(signals)
        finally:
            self._settle()
        return self._budget.spent() or f"all {self._budget.done} trials are done"

    def _stream(self, launcher: StreamingLauncher, signals: Signals) -> None:
        try:
            while True:
                while len(self._running) < launcher.slots and (trial := self._next()):
                    launcher.submit([*trial.overrides, *self._job_overrides], trial.number)
                if not self._running:
                    return
                with signals.waiting():
                    finished = launcher.next_result(timeout=_POLL)
                if finished:
                    self._conclude(*finished)
                    self._give_up_if_needed()
        finally:
            launcher.cancel_all()
            launcher.close()

    def _batches(self, signals: Signals) -> None:
        while batch := list(self._ask(self._settings.n_jobs)):
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
        if self._budget.done + len(self._running) >= self._settings.n_trials:
            return None
        if self._budget.spent():
            return None
        trial = self._trials.next()
        self._running[trial.number] = trial
        self._observers.tell("on_trial_start", trial)
        return trial

    def _conclude(self, number: int, returned: JobReturn) -> None:
        objectives = len(self._settings.directions)
        outcome = from_return(returned, self._trials.record(number), objectives)
        self._tell(number, outcome)

    def _lose(self, number: int, outcome: Outcome) -> None:
        if self._trials.record(number):  # it had finished before its batch was lost
            self._told(self._trials.settle(number))
        else:
            self._tell(number, outcome)

    def _tell(self, number: int, outcome: Outcome) -> None:
        if outcome.state == "failed":
            self._last_error = outcome.error or ValueError(outcome.problem)
        self._told(self._trials.conclude(number, outcome))

    def _told(self, trial: TrialEnd) -> None:
        self._running.pop(trial.number, None)
        self._has_told = True
        self._budget.observe(trial)
        _log_end(trial, self._budget)
        self._observers.tell("on_trial_end", trial)
        self.on_told()

    def _give_up_if_needed(self) -> None:
        if self._budget.fails_too_often and self._last_error is not None:
            log.error(
                "%d trials failed, more than max_failure_rate=%g of %d allows.",
                self._budget.failed,
                self._settings.max_failure_rate,
                self._settings.n_trials,
            )
            raise self._last_error

    def _settle(self) -> None:
        """Leaves no trial running, whatever happened."""
        for trial in self._trials.reap():
            self._told(trial)


def _log_end(trial: TrialEnd, budget: Budget) -> None:
    if trial.state == "failed":
        again = "" if trial.counts else ", will be tried again"
        log.warning("Trial %d failed%s:\n%s", trial.number, again, trial.problem)
    elif trial.state == "interrupted":
        log.info("Trial %d was interrupted, will be repeated.", trial.number)
    else:
        values = ", ".join(f"{value:g}" for value in trial.values or [])
        best = f"; best {budget.best:g}, trial {budget.best_number}" if budget.best else ""
        log.info("Trial %d %s: %s%s", trial.number, trial.state, values or "no value", best)
