"""The start of a sweep and of a trial as plain values, and the objects that get all events."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


class Observers:
    """Several observers as one, none of which can break the sweep.

    An observer has any of these methods. The controller calls them in its process; an exception
    is logged and ignored.

    * `on_start(sweep: SweepInfo, earlier: Sequence[TrialEnd])`: the sweep starts; `earlier` are the
      trials that ended before. May return a list of overrides to give to every job.
    * `on_trial_start(trial: TrialInfo)`: a trial is handed to the launcher.
    * `on_progress(steps: Mapping[int, int])`: about once a second; how many steps each running
      trial, by its number, has reported.
    * `on_trial_end(trial: TrialEnd)`: a trial ended.
    * `on_end(end: SweepEnd)`: the sweep ends, however it ends.
    """

    def __init__(self, observers: Sequence[Any]) -> None:
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
