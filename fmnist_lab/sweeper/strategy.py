"""One study of a sweep: its trials are asked, concluded, repeated, and never left running.

A trial that is to be repeated, because it was interrupted or because it failed and may try again,
ends as FAIL, marked as superseded, and a waiting trial with the same suggestion follows it. The
order of the three writes is such that a kill between any two of them loses nothing. A trial that
failed only because its workers died counts until the sweep is started again; then it is repeated.
"""

import math
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import optuna
from hydra.core.utils import JobReturn, JobStatus
from optuna.samplers import GridSampler
from optuna.trial import FrozenTrial, TrialState

from fmnist_lab.errors import Phrase
from fmnist_lab.foundation.instantiate import explain
from fmnist_lab.foundation.secrets import mask
from fmnist_lab.launcher.streaming import WorkerLostError
from fmnist_lab.sweeper.job import RECORD, REPEATS, is_pruned
from fmnist_lab.sweeper.observers import TrialInfo
from fmnist_lab.sweeper.plans import Plan
from fmnist_lab.sweeper.settings import Settings, SweepRequestError, plain
from fmnist_lab.sweeper.sweep_end import Budget, TrialEnd

# User attributes of trials, which journals of earlier versions hold too.
PROBLEM = "sweep:problem"  # why the trial failed
FOLDER = "sweep:folder"  # where its job has run
SUPERSEDED = "sweep:superseded"  # why the trial does not count: interrupted or retried
LOST = "sweep:lost"  # set where its workers died, and nothing else is known to be wrong
ATTEMPT = "sweep:attempt"  # how often the suggestion has failed before
ENQUEUED = "sweep:enqueued"  # the position in `enqueue`
_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
_NAMES = {state: name for name, state in _STATES.items()}


@dataclass(frozen=True)
class Outcome:
    """The end of a trial; one that failed has a problem, one that raised has an error too."""

    state: str  # complete | pruned | failed
    values: list[float] | None = None
    problem: str | None = None
    error: BaseException | None = None
    folder: str | None = None


@dataclass
class Strategy:
    """The trials of one study, and what may still be spent on them."""

    study: optuna.Study  # with sampler and pruner
    plan: Plan
    settings: Settings  # those of the sweep; a grid has fewer trials
    index: int = 0  # its place among `count` studies, which take trial numbers in turn
    count: int = 1
    custom: Callable[[optuna.Trial], None] | None = None  # extends the suggestion of each trial
    # Finds the result that the job of a trial, given by its number, left in its folder alone.
    recall: Callable[[int, FrozenTrial], Mapping[str, Any] | None] = lambda number, trial: None
    sweep: Path = Path()  # its folder; that of each trial's job is below
    running: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Starts the clock of the budget."""
        self.budget = Budget(self.settings)
        self.name, self.space = self.plan.strategy, self.plan.space
        self._distributions = self.plan.searched.distributions

    @property
    def committed(self) -> int:
        """Trials that are done or on their way."""
        return self.budget.done + len(self.running)

    @property
    def wants_more(self) -> bool:
        """Whether another trial may start."""
        return self.committed < self.settings.n_trials and not self.budget.spent()

    def number(self, trial: FrozenTrial | optuna.Trial) -> int:
        """Returns the sweep's number of a trial of the study."""
        return trial.number * self.count + self.index

    def resume(self) -> list[TrialEnd]:
        """Ends what an earlier controller left running, and counts what it has done.

        Raises:
            SweepRequestError: A value of the user's first trials is not in the search space.
        """
        self.end_running()
        for trial in self._all():
            if LOST in trial.user_attrs and trial.state == TrialState.FAIL:
                self._repeat(trial, int(trial.user_attrs.get(ATTEMPT, 0)))
        self._enqueue()
        ended = [self.end_of(trial) for trial in self._all() if trial.state.is_finished()]
        for trial_end in ended:
            self.observe(trial_end)
        return ended

    def ask(self) -> TrialInfo:
        """Asks the study for a trial."""
        with warnings.catch_warnings():
            # A trial that is repeated keeps the values of before the ends were moved.
            warnings.filterwarnings("ignore", "Fixed parameter", UserWarning)
            trial = self.study.ask(self._distributions)
        for name, value in self.space.fixed.items():
            trial.set_user_attr(name, mask(value))
        if self.custom:
            key = "hydra.sweeper.custom_search_space"
            try:
                self.custom(trial)
            except Exception as error:  # a study's choices stay what they are, Optuna says
                rule = f"be able to extend trials of the study {self.study.study_name!r}"
                raise SweepRequestError(key, rule, Phrase(explain(error))) from error
            if overlap := sorted(filter(self.space.fixes, trial.params)):
                rule = "not search fixed parameters"
                raise SweepRequestError(key, rule, Phrase(", ".join(overlap)))
        params, number = trial.params, self.number(trial)
        self.running.add(number)
        values, overrides = self.space.values(params), self.space.overrides(params)
        return TrialInfo(number, values, overrides, self.name)

    def record(self, number: int) -> Mapping[str, Any] | None:
        """Returns the result that the trial's job has left in the study."""
        record: Mapping[str, Any] | None = self._get(number).user_attrs.get(RECORD)
        return record

    def steps(self) -> dict[int, int]:
        """Returns how many steps each running trial, by its number, has reported."""
        return {number: len(self._get(number).intermediate_values) for number in self.running}

    def conclude(self, number: int, outcome: Outcome) -> TrialEnd:
        """Stores how a trial ended; it is tried again if it raised and may."""
        trial = self._get(number)
        attempt = int(trial.user_attrs.get(ATTEMPT, 0))
        lost = isinstance(outcome.error, WorkerLostError)
        if lost and (left := self.recall(number, trial)):
            outcome, lost = from_record(left, len(self.study.directions)), False
        if outcome.problem:
            self._set(trial, PROBLEM, outcome.problem)
        if outcome.folder and RECORD not in trial.user_attrs:
            self._set(trial, FOLDER, outcome.folder)
        if outcome.error is not None and attempt < self.settings.retries:
            self._supersede(trial, "retried", attempt + 1)
        elif lost:
            self._set(trial, LOST, True)
        self._tell(trial, _STATES[outcome.state], outcome.values)
        return self.end_of(self._get(number))

    def settle(self, number: int) -> TrialEnd:
        """Ends a trial whose job is gone: with its result if it left one, else to be repeated."""
        trial = self._get(number)
        record = trial.user_attrs.get(RECORD) or self.recall(number, trial)
        if record and SUPERSEDED not in trial.user_attrs:
            return self.conclude(number, from_record(record, len(self.study.directions)))
        self._supersede(trial, "interrupted", int(trial.user_attrs.get(ATTEMPT, 0)))
        self._tell(trial, TrialState.FAIL, None)
        return self.end_of(self._get(number))

    def end_running(self) -> list[TrialEnd]:
        """Settles every trial that runs; call it when there is no other controller."""
        running = [trial for trial in self._all() if trial.state == TrialState.RUNNING]
        return [self.settle(self.number(trial)) for trial in running]

    def observe(self, trial: TrialEnd) -> None:
        """Charges a trial that ended to the budget."""
        self.running.discard(trial.number)
        self.budget.observe(trial)

    def _enqueue(self) -> None:
        """Puts the user's fixed trials first, unless an earlier run did so."""
        known = {trial.user_attrs.get(ENQUEUED) for trial in self._all()}
        wanted = (plain(self.settings.enqueue) or [])[: self.settings.n_trials]
        # A key may be given without its +, which no mapping in an override has.
        keys = {key.lstrip("+"): key for key in self.space.searched}
        named = [{keys.get(key, key): value for key, value in each.items()} for each in wanted]
        for key, value in chain.from_iterable(params.items() for params in named):
            self._check(key, value)
        for position, params in enumerate(named):
            if position not in known:
                self.study.enqueue_trial(params, user_attrs={ENQUEUED: position})

    def _check(self, name: str, value: object) -> None:
        key, distributions = "hydra.sweeper.enqueue", self.space.distributions
        if self.space.fixes(name) or not (name in distributions or self.custom):
            allowed = ", ".join(distributions)
            raise SweepRequestError(key, f"name searched keys ({allowed})", name)
        if (distribution := distributions.get(name)) is None:
            return
        try:
            is_held = distribution._contains(distribution.to_internal_repr(value))
        except ValueError:
            is_held = False
        if not is_held:
            rule = f"have values of the search space for {name}"
            raise SweepRequestError(key, rule, value, f"it is {distribution}")

    def _supersede(self, trial: FrozenTrial, why: str, attempt: int) -> None:
        if SUPERSEDED not in trial.user_attrs:
            self._set(trial, SUPERSEDED, why)
        self._repeat(trial, attempt)

    def _repeat(self, trial: FrozenTrial, attempt: int) -> None:
        """Adds a waiting trial with the same suggestion, unless there is one."""
        params = trial.system_attrs.get("fixed_params", {}) | trial.params
        if not params or self._is_repeated(trial):  # or there is nothing to repeat
            return
        marks = {REPEATS: trial.number, ATTEMPT: attempt}
        if ENQUEUED in trial.user_attrs:
            marks[ENQUEUED] = trial.user_attrs[ENQUEUED]
        self.study.enqueue_trial(params, user_attrs=marks)

    def _is_repeated(self, trial: FrozenTrial) -> bool:
        return any(other.user_attrs.get(REPEATS) == trial.number for other in self._all())

    def _tell(self, trial: FrozenTrial, state: TrialState, values: list[float] | None) -> None:
        try:
            self.study.tell(trial.number, values, state=state)
        except (RuntimeError, KeyError):
            # The grid sampler stops a loop that is not there, or misses a mark on a trial that
            # was enqueued; the state has been stored by then.
            if not isinstance(self.study.sampler, GridSampler):
                raise

    def end_of(self, trial: FrozenTrial) -> TrialEnd:
        """Returns the end of a trial as plain values."""
        record, duration = trial.user_attrs.get(RECORD, {}), trial.duration
        superseded, lost = (trial.user_attrs.get(name) for name in (SUPERSEDED, LOST))
        return TrialEnd(
            number=self.number(trial),
            state="interrupted" if superseded == "interrupted" else _NAMES[trial.state],
            values=trial.values,
            params=self.space.values(trial.params),
            steps=len(trial.intermediate_values),
            # A clock that was set back would make it negative.
            seconds=max(0.0, duration.total_seconds()) if duration else None,
            problem=trial.user_attrs.get(PROBLEM),
            folder=self._folder(record.get("dir", trial.user_attrs.get(FOLDER))),
            counts=superseded is None and not (lost and self._is_repeated(trial)),
            lost=bool(lost),
            strategy=self.name,
        )

    def _folder(self, recorded: str | None) -> str | None:
        """Returns where a job's folder is now: its sweep's may have been moved or copied since."""
        path = Path(recorded or "")
        if recorded is None or path.is_relative_to(self.sweep):
            return recorded
        tails = (self.sweep.joinpath(*path.parts[at:]) for at in range(1, len(path.parts)))
        return next((str(found) for found in tails if found.is_dir()), recorded)

    def _set(self, trial: FrozenTrial, key: str, value: object) -> None:
        self.study._storage.set_trial_user_attr(trial._trial_id, key, value)

    def _get(self, number: int) -> FrozenTrial:
        return self._all()[number // self.count]

    def _all(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)


def from_return(returned: JobReturn, record: Mapping[str, Any] | None, objectives: int) -> Outcome:
    """Reads a job's return; `record` is what the job left in the study, if anything."""
    record, job = record or {}, returned.hydra_cfg
    folder = record.get("dir") or (None if job is None else str(job.hydra.runtime.output_dir))
    error = returned._return_value  # the getter would raise an error
    is_completed = returned.status is JobStatus.COMPLETED
    if record.get("pruned") if is_completed else is_pruned(error):
        return Outcome("pruned", folder=folder)
    if is_completed:
        return _judge(returned.return_value, objectives, folder)
    if not isinstance(error, BaseException):
        error = RuntimeError(f"the job ended as {returned.status.name}")
    # Workers in other processes lose the traceback on the way; their record has kept it.
    problem = record.get("error") or "".join(traceback.format_exception(error))
    return Outcome("failed", None, problem, error, folder)


def from_record(record: Mapping[str, Any], objectives: int) -> Outcome:
    """Reads what a job left in the study when no controller was there to take its return."""
    folder = record.get("dir")
    if record.get("pruned"):
        return Outcome("pruned", folder=folder)
    if problem := record.get("error"):
        return Outcome("failed", None, problem, RuntimeError(problem.splitlines()[-1]), folder)
    values = record.get("values")
    return _judge(values[0] if values and len(values) == 1 else values, objectives, folder)


def _judge(returned: Any, objectives: int, folder: str | None) -> Outcome:
    """Accepts finite numbers, as many as there are directions."""
    wanted = "a number" if objectives == 1 else f"{objectives} numbers in a list or tuple"
    is_mapping, many = isinstance(returned, Mapping), [returned] if objectives == 1 else returned
    shown = f"a dictionary with {', '.join(map(str, returned))}" if is_mapping else repr(returned)
    try:
        if isinstance(many, Mapping | str):
            raise TypeError
        values = [float(item) for item in many]
        if len(values) == objectives and all(map(math.isfinite, values)):
            return Outcome("complete", values, folder=folder)
        wanted = f"{wanted}, all finite"
    except (TypeError, ValueError):
        pass
    return Outcome("failed", None, f"The task must return {wanted}, got {shown}.", folder=folder)
