"""A trial seen from its job: reports, pruning, and a result that outlives the controller."""

import functools
import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_method

from fmnist_lab.errors import is_full_disk
from fmnist_lab.foundation.interruption import interrupted
from fmnist_lab.launcher import returned

if TYPE_CHECKING:
    import optuna

    from fmnist_lab.sweeper.storage import StorageAddress

log = logging.getLogger(__name__)

RECORD = "sweep:job"  # the user attribute in which a job leaves its result
REPEATS = "sweep:repeats"  # the number of the trial whose suggestion this one repeats


@dataclass(frozen=True)
class Channel:
    """The address of a job's study; travels to the worker with the task.

    The studies of a sweep take trial numbers in turn: trial k of study i of n has number k * n + i
    in the sweep, so that neither number has to be stored to find the other.
    """

    storage: "StorageAddress"
    studies: Sequence[str]  # their names, in the order in which they take trial numbers
    pruner: Mapping[str, Any] | None = None  # its configuration
    recall: str | None = None  # the function behind `hydra.sweeper.recall`


class CurrentTrial:
    """The trial that runs in this process; its number is the job's, unique within the sweep."""

    def __init__(self, number: int, channel: Channel) -> None:
        self.number = number
        self.pruned = False  # whether `should_prune` has returned True
        self._channel = channel
        self._number, self._index = divmod(number, len(channel.studies))  # in its study

    @functools.cached_property
    def _study(self) -> "optuna.Study":
        """Opened at first use, in `_reach`: a job runs even if its study cannot be opened."""
        import optuna

        from fmnist_lab.sweeper import samplers
        from fmnist_lab.sweeper.storage import open_in_job

        return optuna.load_study(
            study_name=self._channel.studies[self._index],
            storage=open_in_job(self._channel.storage),
            sampler=optuna.samplers.RandomSampler(),  # never asked
            pruner=samplers.build_pruner(self._channel.pruner),
        )

    def report(self, value: float, step: int) -> None:
        """Stores the value of the objective after a step, counted from 0."""
        value, step = float(value), int(step)
        self._reach(lambda storage, trial: storage.set_trial_intermediate_value(trial, step, value))

    def should_prune(self) -> bool:
        """Returns whether the study gives this trial up.

        After True the task cleans up and returns, or raises `optuna.TrialPruned`; either way
        the trial counts as pruned. A study that cannot be reached prunes nothing.
        """
        self.pruned |= bool(self._reach(lambda storage, trial: self._ask_pruner()))
        return self.pruned

    def record(self, **content: Any) -> None:
        """Leaves the result in the study, in case that no controller is there to take it."""
        hydra = HydraConfig.get()
        content["pruned"] = self.pruned
        if self._channel.recall is None:  # the job itself leaves nothing in its folder
            with suppress(OSError):  # the study has it, too
                returned.write(hydra, **content)
        content["dir"] = str(hydra.runtime.output_dir)
        self._reach(lambda storage, trial: storage.set_trial_user_attr(trial, RECORD, content))

    def earlier(self) -> list[int]:
        """Returns the numbers of the trials whose suggestion this one repeats, the last first."""

        def follow() -> list[int]:
            trials, count = self._study.get_trials(deepcopy=False), len(self._channel.studies)
            found, number = [], trials[self._number].user_attrs.get(REPEATS)
            while number is not None:
                found.append(number * count + self._index)
                number = trials[number].user_attrs.get(REPEATS)
            return found

        return self._reach(lambda storage, trial: follow()) or []

    def recorded(self) -> Sequence[float] | None:
        """Returns the values that an earlier attempt left before its worker died.

        Where they are in the job's folder alone, they are recorded; an attempt that was pruned is
        made again.
        """
        record = self._reach(lambda storage, trial: self._stored().user_attrs.get(RECORD))
        if record is None:
            folder, recall = Path(HydraConfig.get().runtime.output_dir), self._channel.recall
            record = self._reach(lambda storage, trial: left_in(folder, self._stored(), recall))
            if record and not record["pruned"]:
                log.info("Trial %d has ended in an earlier attempt.", self.number)
                self.record(values=record["values"])
        return record.get("values") if record and not record["pruned"] else None

    def _stored(self) -> "optuna.trial.FrozenTrial":
        return self._study.get_trials(deepcopy=False)[self._number]

    def _ask_pruner(self) -> bool:
        if len(self._study.directions) > 1:
            return False  # Optuna compares single values only
        return self._study.pruner.prune(self._study, self._stored())

    def _reach(self, action: Callable[["optuna.storages.BaseStorage", int], Any]) -> Any:
        try:
            storage = self._study._storage
            trial = storage.get_trial_id_from_study_id_trial_number(
                self._study._study_id, self._number
            )
            return action(storage, trial)
        except Exception:  # a training that goes well is worth more than its report
            log.warning("Trial %d cannot reach its study.", self.number, exc_info=True)
            return None


_current: CurrentTrial | None = None


def current_trial() -> CurrentTrial | None:
    """Returns the trial that this job runs; None outside a sweep."""
    return _current


class RecordedTask:
    """The user's task, which leaves its result in the study before the controller gets it."""

    def __init__(self, task: Callable[[Any], Any], channel: Channel) -> None:
        functools.update_wrapper(self, task)
        self.task = task
        self.channel = channel

    def __call__(self, cfg: Any) -> Any:
        """Runs the task as the trial whose number is the job's."""
        global _current  # noqa: PLW0603 - a process runs one job at a time
        trial = CurrentTrial(int(HydraConfig.get().job.num), self.channel)
        if (values := trial.recorded()) is not None:
            return values[0] if len(values) == 1 else values
        _current = trial
        try:
            value = self.task(cfg)
        except Exception as error:
            if interrupted.is_set():  # which some library has taken for an error of its own
                raise KeyboardInterrupt from error
            trial.pruned |= is_pruned(error)
            if not is_full_disk(error):  # which is not the trial's fault: it will be repeated
                trial.record(error=traceback.format_exc())
            raise
        finally:
            _current = None
        trial.record(values=returned.numbers(value))
        return value


def left_in(
    folder: Path, trial: "optuna.trial.FrozenTrial", recall: str | None
) -> Mapping[str, Any] | None:
    """Returns the result that a job of the trial left in its folder alone, if it had ended.

    Args:
        folder: The job's folder; content from before the trial began is not its own.
        trial: The trial.
        recall: See `hydra.sweeper.recall`.
    """
    if recall is None or trial.datetime_start is None:
        return None
    left: Mapping[str, Any] | None = get_method(recall)(folder, trial.datetime_start.timestamp())
    return None if left is None else {**left, "dir": str(folder.absolute())}


def is_pruned(error: object) -> bool:
    """Returns whether a task raised this in order to be pruned."""
    from optuna import TrialPruned

    return isinstance(error, TrialPruned)
