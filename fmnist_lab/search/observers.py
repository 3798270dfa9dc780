"""Who wants to know how a sweep goes is told in plain values."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SweepInfo:
    """A sweep as it starts or continues."""

    study_name: str
    storage: str  # without a password
    folder: str
    directions: Sequence[str]
    n_trials: int  # the total to reach
    done: int  # of these, by earlier runs
    slots: int  # trials at once


@dataclass(frozen=True)
class TrialInfo:
    """A trial as it starts. Its number is its job's number and, unless configured, its folder."""

    number: int
    params: Mapping[str, Any]
    overrides: Sequence[str]


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


class SweepObserver(Protocol):
    """Called by the controller, in its process; an exception is logged and ignored."""

    def on_start(self, sweep: SweepInfo, earlier: Sequence[TrialEnd]) -> None:
        """The sweep starts; `earlier` are the trials that ended before."""

    def on_trial_start(self, trial: TrialInfo) -> None:
        """A trial is handed to the launcher."""

    def on_trial_end(self, trial: TrialEnd) -> None:
        """A trial ended."""

    def on_end(self, reason: str) -> None:
        """The sweep ends, however it ends."""


class Observers:
    """Several observers as one, none of which can break the sweep."""

    def __init__(self, observers: Sequence[SweepObserver]) -> None:
        self._observers = observers

    def tell(self, event: str, *values: object) -> None:
        """Calls the method `event` of each."""
        for observer in self._observers:
            try:
                getattr(observer, event)(*values)
            except Exception:
                log.warning("%s.%s failed.", type(observer).__name__, event, exc_info=True)
