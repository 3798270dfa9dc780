"""The ends of a trial, of a budget and of a sweep, as values that code decides by."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter

from fmnist_lab.sweeper.settings import Settings


class EndReason(StrEnum):
    """Why no more trials start. All but the last two are keys of `hydra.sweeper`."""

    N_TRIALS = "n_trials"
    MAX_EPOCHS = "max_epochs"
    TARGET = "target"
    PLATEAU = "plateau"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"
    FAILED = "failed"

    @property
    def is_cut_short(self) -> bool:
        """Whether trials are missing that the budgets allow."""
        return self in (EndReason.TIMEOUT, EndReason.INTERRUPTED, EndReason.FAILED)


@dataclass(frozen=True)
class TrialEnd:
    """A trial as it ended, in this run or in an earlier one."""

    number: int
    state: str  # complete | pruned | failed | interrupted
    values: Sequence[float] | None
    params: Mapping[str, Any]
    steps: int  # how many were reported
    seconds: float | None
    problem: str | None = None  # why it failed: a traceback or a sentence
    folder: str | None = None
    counts: bool = True  # towards n_trials; not if it is repeated
    lost: bool = False  # failed because its workers died; it is repeated when the sweep goes on
    strategy: str | None = None


@dataclass(frozen=True)
class BudgetEnd:
    """The setting that a strategy has reached, its limit, and where the strategy stands."""

    reason: EndReason
    limit: float
    reached: float  # seconds, epochs, trials, or the objective


class Budget:
    """Counts the trials of a study, their steps and their best value, earlier runs included."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._start = clock()
        self.best: TrialEnd | None = None  # where there is one direction
        self._best = math.inf  # its value, times the sign
        self.done = 0
        self.failed = 0
        self._steps = 0
        self._since_best = 0

    def observe(self, trial: TrialEnd) -> None:
        """Counts a trial that ended."""
        if not trial.counts:  # the trial that repeats it may go on from its last step
            return
        self._steps += trial.steps
        self.done += 1
        self.failed += trial.state == "failed"
        self._since_best += 1
        if trial.state == "complete" and trial.values and len(trial.values) == 1:
            value = self._settings.sign * trial.values[0]
            if self.best is None or value < self._best:
                self.best, self._best, self._since_best = trial, value, 0

    def spent(self) -> BudgetEnd | None:
        """Returns the first limit that is reached, after which no trial starts.

        The time comes last: it cuts nothing short where another limit is reached, too.
        """
        asked = self._settings
        if self.done >= asked.n_trials:
            return BudgetEnd(EndReason.N_TRIALS, asked.n_trials, self.done)
        if asked.max_epochs is not None and self._steps >= asked.max_epochs:
            return BudgetEnd(EndReason.MAX_EPOCHS, asked.max_epochs, self._steps)
        if asked.target is not None and self._best <= asked.sign * asked.target:
            return BudgetEnd(EndReason.TARGET, asked.target, asked.sign * self._best)
        if asked.plateau is not None and self.best and self._since_best >= asked.plateau:
            return BudgetEnd(EndReason.PLATEAU, asked.plateau, self._since_best)
        seconds = self._clock() - self._start
        if asked.timeout is not None and seconds >= asked.timeout:
            return BudgetEnd(EndReason.TIMEOUT, asked.timeout, round(seconds, 3))
        return None


@dataclass(frozen=True)
class SweepEnd:
    """The end of a sweep, as observers get it and `optimization_results.yaml` keeps it.

    Args:
        reason: Of several, one that cuts the sweep short comes first.
        done: Trials that count.
        n_trials: Trials that were asked for.
        strategies: The end of each strategy; the key is empty where there are no strategies.
        error: The class of the error for the reason `failed`.
    """

    reason: EndReason
    done: int
    n_trials: int
    strategies: Mapping[str, BudgetEnd] = field(default_factory=dict)
    error: str | None = None

    @classmethod
    def of_budgets(
        cls, strategies: Mapping[str, BudgetEnd], done: int, n_trials: int
    ) -> "SweepEnd":
        """Returns the end of a sweep in which every strategy has reached a limit."""
        reasons = [end.reason for end in strategies.values()]
        first = min(reasons, key=lambda item: (not item.is_cut_short, item == EndReason.N_TRIALS))
        return cls(first, done, n_trials, strategies)

    @classmethod
    def read(cls, content: object) -> "SweepEnd | None":
        """Reads what `as_dict` has written; None for a sweep that runs, and for earlier versions.

        Those have written a sentence, which the next start of the sweep replaces.
        """
        return TypeAdapter(cls).validate_python(content) if isinstance(content, Mapping) else None

    def as_dict(self) -> dict[str, Any]:
        """Returns the end as plain values, for YAML."""
        plain: dict[str, Any] = TypeAdapter(SweepEnd).dump_python(self, mode="json")
        return plain

    @property
    def budgets(self) -> dict[EndReason, list[str]]:
        """The limits other than `n_trials` that ended strategies, and the names of these."""
        found: dict[EndReason, list[str]] = {}
        for name, end in self.strategies.items():
            if end.reason != EndReason.N_TRIALS:
                found.setdefault(end.reason, []).append(name)
        return found

    def __str__(self) -> str:
        """A sentence without its full stop, such as `Stopped by hydra.sweeper.timeout=20 ...`."""
        left = max(0, self.n_trials - self.done)
        missing = f"{left} of {self.n_trials} trials are left"
        if self.reason == EndReason.FAILED:
            return f"Failed with {self.error}: {missing}"
        if self.reason == EndReason.INTERRUPTED:
            return f"Interrupted: {missing}"
        if self.reason == EndReason.N_TRIALS:
            return f"All {self.done} trials are done"
        stops = " and ".join(self._stop(*found) for found in self.budgets.items())
        return f"Stopped by {stops}: {missing}"

    def _stop(self, reason: EndReason, names: list[str]) -> str:
        ends = [self.strategies[name] for name in names]
        # The limit says it all where trials or an objective are counted.
        after = (
            f" after {max(end.reached for end in ends):.0f} s"
            if reason == EndReason.TIMEOUT
            else ""
        )
        whose = f" ({', '.join(names)})" if any(names) and len(names) < len(self.strategies) else ""
        return f"hydra.sweeper.{reason}={ends[0].limit:g}{after}{whose}"
