"""Reasons to start no more trials."""

import time
from collections.abc import Callable

from fmnist_lab.sweeper.observers import TrialEnd
from fmnist_lab.sweeper.settings import Settings
from fmnist_lab.sweeper.sweep_end import BudgetEnd, EndReason


class Budget:
    """Counts what trials have cost and brought, those of earlier runs included."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._start = clock()
        # One direction only: targets and plateaus are refused for several.
        self._sign = -1.0 if settings.directions == ["maximize"] else 1.0
        self.best: float | None = None
        self.best_number: int | None = None
        self.done = 0
        self.failed = 0
        self._steps = 0
        self._since_best = 0

    def observe(self, trial: TrialEnd) -> None:
        """Counts a trial that ended."""
        if not trial.counts:  # who repeats it may go on from its last step
            return
        self._steps += trial.steps
        self.done += 1
        self.failed += trial.state == "failed"
        self._since_best += 1
        if trial.state == "complete" and trial.values and len(trial.values) == 1:
            value = trial.values[0]
            if self.best is None or self._sign * value < self._sign * self.best:
                self.best, self.best_number, self._since_best = value, trial.number, 0

    @property
    def fails_too_often(self) -> bool:
        """Whether more than the allowed part of all trials has failed."""
        return self.failed > self._settings.max_failure_rate * self._settings.n_trials

    def spent(self) -> BudgetEnd | None:
        """The first limit that is reached, after which no trial starts; None while one may.

        The time comes last: it cuts nothing short where another limit is reached, too.
        """
        asked = self._settings
        if self.done >= asked.n_trials:
            return BudgetEnd(EndReason.N_TRIALS, asked.n_trials, self.done)
        if asked.max_epochs is not None and self._steps >= asked.max_epochs:
            return BudgetEnd(EndReason.MAX_EPOCHS, asked.max_epochs, self._steps)
        if self.best is not None:
            if asked.target is not None and self._sign * self.best <= self._sign * asked.target:
                return BudgetEnd(EndReason.TARGET, asked.target, self.best)
            if asked.plateau is not None and self._since_best >= asked.plateau:
                return BudgetEnd(EndReason.PLATEAU, asked.plateau, self._since_best)
        seconds = self._clock() - self._start
        if asked.timeout is not None and seconds >= asked.timeout:
            return BudgetEnd(EndReason.TIMEOUT, asked.timeout, round(seconds, 3))
        return None
