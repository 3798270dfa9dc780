"""Trials that end in every way, in a study without other observers."""

import datetime
import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra.core.utils import JobReturn, JobStatus
from optuna.trial import TrialState

from fmnist_lab.launcher.streaming import WorkerLostError
from fmnist_lab.sweeper.job import RECORD, Channel, CurrentTrial
from fmnist_lab.sweeper.observers import Observers
from fmnist_lab.sweeper.plans import Plan
from fmnist_lab.sweeper.samplers import build_sampler
from fmnist_lab.sweeper.settings import Settings, SweepRequestError
from fmnist_lab.sweeper.space import parse
from fmnist_lab.sweeper.storage import StorageAddress, open_storage
from fmnist_lab.sweeper.strategy import SUPERSEDED, Outcome, Strategy, from_record, from_return
from fmnist_lab.sweeper.sweep_end import Budget, BudgetEnd, EndReason, TrialEnd

SPACE = parse(["x=interval(0,1)", "y=choice(a,b)", "z=3"])
PLAN = Plan("study", None, SPACE)


def new_trials(**settings: Any) -> Strategy:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return Strategy(study, PLAN, Settings(**settings))


def states(trials: Strategy) -> list[str]:
    return [trial.state.name for trial in trials.study.trials]


def returned(value: Any, status: JobStatus = JobStatus.COMPLETED) -> JobReturn:
    result = JobReturn(status=status)
    result.return_value = value
    return result


def test_a_trial_is_asked_and_told() -> None:
    trials = new_trials()
    asked = trials.ask()
    assert asked.overrides == [f"x={asked.params['x']}", f"y={asked.params['y']}", "z=3"]
    end = trials.conclude(asked.number, Outcome("complete", [0.5], folder="/job"))
    assert end.seconds is not None
    assert (end.state, end.values, end.params, end.folder, end.counts) == (
        "complete", [0.5], asked.params, "/job", True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("recorded", "now"),
    [
        ("/gone/sweep/trials/0", "trials/0"),
        ("/elsewhere/a/b/c/trials/1,x=2", "trials/1,x=2"),
        ("{sweep}/trials/0", "trials/0"),
        ("{sweep}/gone", "gone"),
        ("/gone/sweep/trials/7", None),
        ("/job", None),
    ],
)
def test_folders_of_jobs_move_with_the_sweep(
    tmp_path: Path, recorded: str, now: str | None
) -> None:
    trials = new_trials()
    trials.sweep = tmp_path
    for name in ("0", "1,x=2"):
        (tmp_path / "trials" / name).mkdir(parents=True)
    recorded = recorded.format(sweep=tmp_path)
    end = trials.conclude(trials.ask().number, Outcome("complete", [0.5], folder=recorded))
    assert end.folder == (recorded if now is None else str(tmp_path / now))


def test_a_clock_that_is_set_back_gives_no_negative_duration() -> None:
    trials = new_trials()
    asked = trials.ask()
    running = trials._get(asked.number)  # not a copy: the storage is in this process
    assert running.datetime_start is not None
    running.datetime_start += datetime.timedelta(hours=1)
    assert trials.conclude(asked.number, Outcome("complete", [0.5])).seconds == 0.0


def test_an_interrupted_trial_is_repeated_once_with_the_same_suggestion() -> None:
    trials = new_trials()
    first = trials.ask()
    [end] = trials.end_running()
    assert (end.state, end.counts) == ("interrupted", False)
    assert trials.end_running() == []
    again = trials.ask()
    assert again.params == first.params
    assert again.number == 1
    assert trials.ask().params != first.params


def test_a_repeated_trial_knows_whom_it_repeats(tmp_path: Path) -> None:
    where = StorageAddress(f"journal://{tmp_path / 'study.journal'}")
    study = optuna.create_study(study_name="b", storage=open_storage(where))
    trials = Strategy(study, PLAN, Settings(), index=1, count=2)
    numbers = []
    for _ in range(3):
        numbers.append(trials.ask().number)
        current = CurrentTrial(numbers[-1], Channel(where, ["a", "b"]))
        assert current.earlier() == numbers[-2::-1]
        trials.end_running()
    assert numbers == [1, 3, 5]


def test_a_kill_between_the_writes_of_an_interruption_is_made_good() -> None:
    trials = new_trials()
    first = trials.ask()
    trials._supersede(trials._get(first.number), "interrupted", 0)  # and then killed
    assert states(trials) == ["RUNNING", "WAITING"]
    trials.end_running()
    assert states(trials) == ["FAIL", "WAITING"]


def test_a_suggestion_that_was_not_whole_is_completed() -> None:
    trials = new_trials()
    half = trials.study.ask({"y": SPACE.distributions["y"]})
    trials.study.ask()  # and one that had no suggestion yet
    trials.end_running()
    assert states(trials) == ["FAIL", "FAIL", "WAITING"]
    assert trials.ask().params["y"] == half.params["y"]


def test_a_trial_that_finished_without_a_controller_counts() -> None:
    trials = new_trials()
    for record in ({"values": [0.5]}, {"pruned": True}, {"error": "Traceback\nOSError: gone"}):
        asked = trials.ask()
        trials._set(trials._get(asked.number), RECORD, {"dir": "/job", "pruned": False} | record)
    assert [end.state for end in trials.end_running()] == ["complete", "pruned", "failed"]
    assert states(trials) == ["COMPLETE", "PRUNED", "FAIL"]
    assert all(end.counts and end.folder == "/job" for end in trials.resume())


def test_errors_are_retried_as_often_as_allowed_but_bad_values_are_not() -> None:
    trials = new_trials(retries=2)
    params = []
    for attempt in range(3):
        asked = trials.ask()
        params.append(asked.params)
        end = trials.conclude(asked.number, Outcome("failed", problem="!", error=OSError()))
        assert end.counts is (attempt == 2)
    assert params[0] == params[1] == params[2]
    asked = trials.ask()
    assert asked.params != params[0]
    assert trials.conclude(asked.number, Outcome("failed", problem="nan")).counts
    assert trials.study.trials[0].user_attrs[SUPERSEDED] == "retried"


def test_a_trial_whose_workers_died_counts_until_it_is_repeated_when_the_sweep_goes_on() -> None:
    trials = new_trials()
    first, second = trials.ask(), trials.ask()
    died = Outcome("failed", problem="died", error=WorkerLostError())
    end = trials.conclude(first.number, died)
    assert (end.state, end.counts, end.lost) == ("failed", True, True)
    other = trials.conclude(second.number, Outcome("failed", problem="!", error=OSError()))
    assert (other.counts, other.lost) == (True, False)
    for _ in range(2):  # once is enough
        assert [end.counts for end in trials.resume()] == [False, True]
    assert trials.ask().params == first.params
    assert trials.ask().params != second.params


def test_a_result_that_a_job_left_in_its_folder_alone_counts() -> None:
    trials = new_trials()
    left = {"values": [0.5], "pruned": False, "dir": "/job"}
    trials.recall = lambda number, trial: left if number < 2 else None
    interrupted, lost, neither = trials.ask(), trials.ask(), trials.ask()
    ends = [
        trials.settle(interrupted.number),
        trials.conclude(lost.number, Outcome("failed", problem="!", error=WorkerLostError())),
        trials.settle(neither.number),
    ]
    assert [end.state for end in ends] == ["complete", "complete", "interrupted"]
    assert [(end.values, end.folder, end.lost) for end in ends[:2]] == [([0.5], "/job", False)] * 2


def test_enqueued_trials_come_first_and_once() -> None:
    trials = new_trials(enqueue=[{"x": 0.25, "y": "b"}, {"x": 0.75}])
    trials.resume()
    trials.resume()
    assert trials.ask().params == {"x": 0.25, "y": "b"}
    trials.end_running()
    trials.resume()
    assert trials.ask().params["x"] == 0.75
    assert trials.ask().params == {"x": 0.25, "y": "b"}
    assert trials.ask().params["x"] not in (0.25, 0.75)


@pytest.mark.parametrize("wanted", [{"q": 1}, {"z": 3}, {"x": 7}, {"y": "c"}, {"x": "much"}])
def test_what_cannot_be_enqueued_is_refused(wanted: dict[str, Any]) -> None:
    with pytest.raises(SweepRequestError, match=r"`hydra\.sweeper\.enqueue`"):
        new_trials(enqueue=[{"x": 0.5}, wanted]).resume()


def test_an_interrupted_grid_is_completed() -> None:
    space = parse(["a=range(3)", "b=x,y"])
    sampler = build_sampler({"_target_": "optuna.samplers.GridSampler"}, space, 0, 2)
    trials = Strategy(optuna.create_study(sampler=sampler), Plan("grid", None, space), Settings())
    for number in range(7):
        asked = trials.ask()
        if number == 2:
            trials.end_running()
        else:
            trials.conclude(asked.number, Outcome("complete", [0.0]))
    complete = [t for t in trials.study.trials if t.state == TrialState.COMPLETE]
    assert len({tuple(sorted(t.params.items())) for t in complete}) == len(complete) == 6


@pytest.mark.parametrize(
    ("value", "objectives", "state"),
    [
        (1, 1, "complete"), (True, 1, "complete"), ("2.5", 1, "complete"),
        (math.nan, 1, "failed"), (-math.inf, 1, "failed"), (None, 1, "failed"),
        ("high", 1, "failed"), ([1], 1, "failed"), ({"loss": 1}, 1, "failed"),
        ((1, 2), 2, "complete"), ([1, "2"], 2, "complete"), ((1,), 2, "failed"),
        (1, 2, "failed"), ("12", 2, "failed"), ((1, math.nan), 2, "failed"),
    ],
)  # fmt: skip
def test_outcome_of_a_returned_value(value: Any, objectives: int, state: str) -> None:
    outcome = from_return(returned(value), None, objectives)
    assert outcome.state == state
    assert (outcome.problem is None) is (state == "complete")
    assert outcome.error is None


def test_outcome_of_an_error() -> None:
    failed = from_return(returned(OSError("full"), JobStatus.FAILED), {"error": "in worker"}, 1)
    assert (failed.state, failed.problem) == ("failed", "in worker")
    assert "full" in str(from_return(returned(OSError("full"), JobStatus.FAILED), None, 1))
    pruned = from_return(returned(optuna.TrialPruned(), JobStatus.FAILED), None, 1)
    assert pruned.state == "pruned"
    assert from_return(returned(0.5), {"pruned": True}, 1).state == "pruned"
    assert from_return(returned(None, JobStatus.UNKNOWN), None, 1).state == "failed"
    assert from_record({"values": [1.0, 2.0]}, 2).values == [1.0, 2.0]
    assert from_record({"values": None}, 1).state == "failed"


def ended(number: int, value: float | None, steps: int = 0, state: str = "complete") -> TrialEnd:
    return TrialEnd(number, state, None if value is None else [value], {}, steps, 1.0)


def test_budgets() -> None:
    now = [0.0]
    limits = {"timeout": 5, "max_epochs": 10, "target": 0.9, "plateau": 2, "direction": "maximize"}

    def spent(after: list[TrialEnd], **settings: Any) -> BudgetEnd | None:
        budget = Budget(Settings(**({"direction": "maximize"} | settings)), clock=lambda: now[0])
        now[0] += 1
        for trial in after:
            budget.observe(trial)
        return budget.spent()

    assert spent([ended(0, 0.5, 4)], **limits) is None
    assert spent([], timeout=1) == BudgetEnd(EndReason.TIMEOUT, 1, 1)
    epochs = [ended(0, 0.5, 6), ended(1, None, 6, "pruned")]
    assert spent(epochs, max_epochs=12) == BudgetEnd(EndReason.MAX_EPOCHS, 12, 12)
    assert spent(epochs, max_epochs=12, timeout=1) == BudgetEnd(EndReason.MAX_EPOCHS, 12, 12)
    assert spent(epochs, n_trials=2, timeout=1) == BudgetEnd(EndReason.N_TRIALS, 2, 2)
    assert spent([ended(0, 0.95)], target=0.9) == BudgetEnd(EndReason.TARGET, 0.9, 0.95)
    worse = [ended(0, 0.5), ended(1, 0.4), ended(2, None, state="failed")]
    assert spent(worse, plateau=2) == BudgetEnd(EndReason.PLATEAU, 2, 2)
    assert spent([*worse, ended(3, 0.6)], plateau=2) is None
    assert spent([ended(0, None, state="failed")] * 5, plateau=2) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("n_trials", 0), ("n_jobs", 0), ("retries", -1), ("max_failure_rate", 1.5),
        ("timeout", 0), ("plateau", -1), ("target", math.nan), ("direction", "up"),
        ("changed_space", "maybe"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(key: str, value: Any) -> None:
    with pytest.raises(SweepRequestError, match=f"`hydra.sweeper.{key}`"):
        Settings(**{key: value})


def test_a_target_needs_one_direction() -> None:
    with pytest.raises(SweepRequestError, match="target"):
        Settings(target=1.0, direction=["minimize", "maximize"])


def test_observers_cannot_break_a_sweep(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    class Broken:
        def on_end(self, reason: str) -> None:
            raise OSError(reason)

    Observers([Broken()]).tell("on_end", "done")
    assert "Broken.on_end" in caplog.text
