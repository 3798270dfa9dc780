"""The trials of a study: asked, told, repeated, and never left running."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.samplers import GridSampler
from optuna.trial import FrozenTrial, TrialState

from fmnist_lab.foundation.secrets import mask
from fmnist_lab.launcher.streaming import WorkerLostError
from fmnist_lab.sweeper.job import RECORD
from fmnist_lab.sweeper.numbering import Place
from fmnist_lab.sweeper.observers import TrialEnd, TrialInfo
from fmnist_lab.sweeper.repeats import (
    ATTEMPT,
    ENQUEUED,
    LOST,
    SUPERSEDED,
    is_repeated,
    repeat,
    supersede,
)
from fmnist_lab.sweeper.settings import SweepRequestError
from fmnist_lab.sweeper.space import Space
from fmnist_lab.sweeper.trial_outcome import Outcome, from_record

PROBLEM = "sweep:problem"  # why the trial failed
FOLDER = "sweep:folder"  # where its job has run
_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}

CustomSpace = Callable[[optuna.Trial], None]
Recall = Callable[[int, FrozenTrial], Mapping[str, Any] | None]


class Trials:
    """The one place that writes to a study; every other reader gets plain values."""

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        retries: int = 0,
        custom: CustomSpace | None = None,
        place: Place | None = None,
        strategy: str | None = None,
    ) -> None:
        """Takes a study.

        Args:
            study: The study, with sampler and pruner.
            space: What each of its trials is made of.
            retries: How often a suggestion that failed is tried again.
            custom: Extends the suggestion of each trial.
            place: How the study's own numbers become the sweep's, which all methods speak.
            strategy: What the study is about, where a sweep has several.
        """
        self.study = study
        self.space = space
        self.strategy = strategy
        self._retries = retries
        self._custom = custom
        self._place = place or Place()
        # Finds what the job of a trial has left that ended, and could not tell the study.
        self.recall: Recall = lambda number, trial: None

    def ended(self) -> list[TrialEnd]:
        """All trials that have ended, in order."""
        return [self._end(trial) for trial in self._all() if trial.state.is_finished()]

    def reap(self) -> list[TrialEnd]:
        """Ends what an earlier controller left running; call it when there is no other one."""
        running = [trial for trial in self._all() if trial.state == TrialState.RUNNING]
        return [self.settle(self._place.in_sweep(trial.number)) for trial in running]

    def revive(self) -> None:
        """Has each trial tried again that failed because of its workers alone."""
        for trial in self._all():
            if LOST in trial.user_attrs and trial.state == TrialState.FAIL:
                repeat(self.study, trial, int(trial.user_attrs.get(ATTEMPT, 0)))

    def enqueue(self, wanted: Sequence[Mapping[str, Any]]) -> None:
        """Puts the user's fixed trials first, unless an earlier run did so.

        Raises:
            SweepRequestError: A value is not in the search space.
        """
        known = {trial.user_attrs.get(ENQUEUED) for trial in self._all()}
        named = [{self._name(key): value for key, value in params.items()} for params in wanted]
        for params in named:
            self._check(params)
        for position, params in enumerate(named):
            if position not in known:
                self.study.enqueue_trial(params, user_attrs={ENQUEUED: position})

    def next(self) -> TrialInfo:
        """Asks the study for a trial."""
        trial = self.study.ask(self.space.distributions)
        for name, value in self.space.fixed.items():
            trial.set_user_attr(name, mask(value))
        if self._custom:
            self._extend(trial, self._custom)
        params = trial.params
        return TrialInfo(
            number=self._place.in_sweep(trial.number),
            params=self.space.values(params),
            overrides=self.space.overrides(params),
            strategy=self.strategy,
        )

    def conclude(self, number: int, outcome: Outcome) -> TrialEnd:
        """Tells the study how a trial ended; it is tried again if it raised and may."""
        trial = self._get(number)
        attempt = int(trial.user_attrs.get(ATTEMPT, 0))
        lost = isinstance(outcome.error, WorkerLostError)
        if lost and (left := self.recall(number, trial)):
            outcome, lost = from_record(left, len(self.study.directions)), False
        if outcome.problem:
            self._set(trial, PROBLEM, outcome.problem)
        if outcome.folder and RECORD not in trial.user_attrs:
            self._set(trial, FOLDER, outcome.folder)
        if outcome.error is not None and attempt < self._retries:
            supersede(self.study, trial, "retried", attempt + 1)
        elif lost:
            self._set(trial, LOST, True)
        self._tell(trial, _STATES[outcome.state], outcome.values)
        return self._end(self._get(number))

    def settle(self, number: int) -> TrialEnd:
        """Ends a trial whose job is gone: with its result if it left one, else to be repeated."""
        trial = self._get(number)
        record = trial.user_attrs.get(RECORD) or self.recall(number, trial)
        if record and SUPERSEDED not in trial.user_attrs:
            return self.conclude(number, from_record(record, len(self.study.directions)))
        supersede(self.study, trial, "interrupted", int(trial.user_attrs.get(ATTEMPT, 0)))
        self._tell(trial, TrialState.FAIL, None)
        return self._end(self._get(number))

    def record(self, number: int) -> Mapping[str, Any] | None:
        """What the trial's job has left in the study."""
        record: Mapping[str, Any] | None = self._get(number).user_attrs.get(RECORD)
        return record

    def number(self, trial: FrozenTrial) -> int:
        """The sweep's number of a trial of the study."""
        return self._place.in_sweep(trial.number)

    def steps(self, number: int) -> int:
        """How many steps a running trial has reported."""
        return len(self._get(number).intermediate_values)

    def _extend(self, trial: optuna.Trial, custom: CustomSpace) -> None:
        custom(trial)
        if overlap := trial.params.keys() & self.space.fixed.keys():
            raise SweepRequestError(
                f"`hydra.sweeper.custom_search_space` must not search fixed parameters, "
                f"got {', '.join(sorted(overlap))}."
            )

    def _tell(self, trial: FrozenTrial, state: TrialState, values: list[float] | None) -> None:
        try:
            self.study.tell(trial.number, values, state=state)
        except (RuntimeError, KeyError):
            # The grid sampler stops a loop that is not there, or misses a mark on a trial that
            # was enqueued; the trial has been told by then.
            if not isinstance(self.study.sampler, GridSampler):
                raise

    def _name(self, key: str) -> str:
        """The searched key; it may be given without its +, which no mapping in an override has."""
        names = (key, f"+{key}", f"++{key}")
        return next((name for name in names if name in self.space.searched), key)

    def _check(self, params: Mapping[str, Any]) -> None:
        distributions = self.space.distributions
        for name, value in params.items():
            if name in self.space.fixed or not (name in distributions or self._custom):
                allowed = ", ".join(distributions)
                raise SweepRequestError(
                    f"`hydra.sweeper.enqueue` must name searched keys ({allowed}), got {name!r}."
                )
            if name in distributions and not _holds(distributions[name], value):
                raise SweepRequestError(
                    f"`hydra.sweeper.enqueue` must have a value of the search space for {name}, "
                    f"got {value!r}; allowed: {distributions[name]}."
                )

    def _end(self, trial: FrozenTrial) -> TrialEnd:
        superseded, lost = (trial.user_attrs.get(name) for name in (SUPERSEDED, LOST))
        states = {state: name for name, state in _STATES.items()}
        duration = trial.duration
        return TrialEnd(
            number=self._place.in_sweep(trial.number),
            state="interrupted" if superseded == "interrupted" else states[trial.state],
            values=trial.values,
            params=self.space.values(trial.params),
            steps=len(trial.intermediate_values),
            # A clock that was set back would make it negative.
            seconds=max(0.0, duration.total_seconds()) if duration else None,
            problem=trial.user_attrs.get(PROBLEM),
            folder=folder_of(trial),
            counts=superseded is None and not (lost and is_repeated(self.study, trial)),
            lost=bool(lost),
            strategy=self.strategy,
        )

    def _set(self, trial: FrozenTrial, key: str, value: object) -> None:
        self.study._storage.set_trial_user_attr(trial._trial_id, key, value)

    def _get(self, number: int) -> FrozenTrial:
        return self._all()[self._place.in_study(number)]

    def _all(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)


def folder_of(trial: FrozenTrial) -> str | None:
    """Where the trial's job has run."""
    folder: str | None = trial.user_attrs.get(RECORD, {}).get("dir", trial.user_attrs.get(FOLDER))
    return folder


def _holds(distribution: optuna.distributions.BaseDistribution, value: object) -> bool:
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except ValueError:
        return False
