"""The events of a sweep as plain values, and the interface of the objects that get them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fmnist_lab.sweeper.sweep_end import SweepEnd, TrialEnd

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SweepInfo:
    """A sweep as it starts or continues."""

    study_name: str
    storage: str  # without a password
    folder: str
    directions: Sequence[str]
    strategies: Mapping[str, int]  # their shares of n_trials; empty where there is only one study
    n_trials: int  # the total to reach, of all strategies together
    done: int  # of these, by earlier runs
    slots: int  # trials at once


@dataclass(frozen=True)
class TrialInfo:
    """A trial as it starts. Its number is its job's number and, unless configured, its folder."""

    number: int
    params: Mapping[str, Any]
    overrides: Sequence[str]
    strategy: str | None = None


class SweepObserver(Protocol):
    """Called by the controller, in its process; an exception is logged and ignored."""

    def on_start(self, sweep: SweepInfo, earlier: Sequence[TrialEnd]) -> Sequence[str] | None:
        """The sweep starts; `earlier` are the trials that ended before.

        Returns:
            Overrides to give to every job, if any.
        """

    def on_trial_start(self, trial: TrialInfo) -> None:
        """A trial is handed to the launcher."""

    def on_progress(self, steps: Mapping[int, int]) -> None:
        """About once a second: how many steps each running trial, by its number, has reported."""

    def on_trial_end(self, trial: TrialEnd) -> None:
        """A trial ended."""

    def on_end(self, end: SweepEnd) -> None:
        """The sweep ends, however it ends."""


class Observers:
    """Several observers as one, none of which can break the sweep; each may lack some events."""

    def __init__(self, observers: Sequence[SweepObserver]) -> None:
        self._observers = observers

    def __bool__(self) -> bool:
        return bool(self._observers)

    def tell(self, event: str, *values: object) -> list[Any]:
        """Calls the method `event` of each that has it, and returns what they returned."""
        returned = []
        for observer in self._observers:
            try:
                if method := getattr(observer, event, None):
                    returned.append(method(*values))
            except Exception:
                log.warning("%s.%s failed.", type(observer).__name__, event, exc_info=True)
        return returned
