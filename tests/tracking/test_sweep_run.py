"""A sweep's run in a real MLflow store, driven by what a controller would tell it."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import hydra
import pytest
from omegaconf import OmegaConf

from fmnist_lab import config, data, tracking
from fmnist_lab.config import TrackingConfig
from fmnist_lab.errors import RequestError
from fmnist_lab.sweeper.observers import SweepInfo
from fmnist_lab.sweeper.sweep_end import BudgetEnd, EndReason, SweepEnd, TrialEnd
from fmnist_lab.tracking import MlflowTracker, SweepRun
from fmnist_lab.tracking.outbox import unsent
from fmnist_lab.tracking.sender import sender
from fmnist_lab.trial import Labels, StopReason, Trial, TrialResult

pytestmark = pytest.mark.slow

COMMAND = "fmnist-lab sweep night training.epochs=5"
LOCAL = asdict(TrackingConfig())
RESULT = TrialResult(
    objective=0.5,
    objective_metric="val/accuracy",
    stop_reason=StopReason.COMPLETED,
    epochs_trained=0,
    best_epoch=None,
    best_val_loss=math.nan,
    best_val_accuracy=math.nan,
    delivered_epoch=None,
    parameters=1,
    seconds=1.0,
)


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:  # never twice the same: MLflow merges points that are
        self.now += 0.01
        return self.now


def settle() -> None:
    """Lets everything arrive."""
    assert sender(TrackingConfig()).settle()


class Store:
    """A folder with a store; plays the controller of the sweeps in it, and their workers."""

    def __init__(self, root: Path, labels: Labels, trial: Trial) -> None:
        import mlflow

        self.root, self.labels, self.trial = root, labels, trial
        tracking.open_experiment(TrackingConfig())
        self.client = mlflow.MlflowClient(tracking.store_uri())

    def info(self, name: str, **changes: Any) -> SweepInfo:
        folder = self.root / "mlruns" / "sweeps" / name
        folder.mkdir(parents=True, exist_ok=True)
        info = SweepInfo(
            name, "journal", str(folder), ["maximize"], {"calm": 2, "wild": 2}, 4, 0, 2
        )
        return replace(info, **changes)

    def start(self, name: str, *earlier: TrialEnd, **changes: Any) -> tuple[SweepRun, str]:
        """A sweep that has started, and the id of its run."""
        observer = SweepRun(LOCAL, name, "val/accuracy", COMMAND)
        overrides = observer.on_start(self.info(name, **changes), earlier)
        assert overrides is not None
        settle()
        return observer, parent(overrides)

    def work(self, parent: str, number: int, reason: StopReason | None) -> str:
        """A trial's run under a sweep's; left open by a worker that died if there is no reason."""
        folder = self.root / f"trial-{number}"
        folder.mkdir(exist_ok=True)
        tracker = MlflowTracker(TrackingConfig(parent=parent), "fmnist-lab train")
        labels = replace(self.labels, trial=number)
        tracker.start(self.trial, labels, data.load(self.trial.data), 1, folder)
        if reason:
            tracker.finish(replace(RESULT, stop_reason=reason), folder)
        settle()
        assert tracker.run_id is not None
        return tracker.run_id

    def status(self, run_id: str) -> tuple[str, str | None]:
        settle()
        run = self.client.get_run(run_id)
        return run.info.status, run.data.tags.get("stop_reason")

    def note(self, run_id: str) -> str:
        settle()
        return str(self.client.get_run(run_id).data.tags["mlflow.note.content"])

    def curve(self, run_id: str) -> list[tuple[int, float]]:
        settle()
        points = self.client.get_metric_history(run_id, "objective")
        return sorted((point.step, point.value) for point in points)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, labels: Labels, tiny: Any) -> Iterator[Store]:
    """One store for all tests here: creating it takes seconds."""
    root = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield Store(root, labels, tiny())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The one that updates are throttled by."""
    stopped = Clock()
    monkeypatch.setattr("fmnist_lab.tracking.sweep_run.time", stopped)
    return stopped


def parent(overrides: list[str]) -> str:
    """The parent that a job with these overrides would be given."""
    return str(config.compose(overrides).tracking.parent)


def ended(number: int, value: float | None, **changes: Any) -> TrialEnd:
    given: dict[str, Any] = {
        "number": number,
        "state": "complete" if value is not None else "failed",
        "values": None if value is None else [value],
        "params": {"optimizer.learning_rate": 0.01},
        "steps": 3,
        "seconds": 1.0,
        "strategy": ("calm", "wild")[number % 2],
    }
    return TrialEnd(**given | changes)


class TestStart:
    """The sweep's run is there before any worker is."""

    def test_a_new_run(self, store: Store) -> None:
        _, run_id = store.start("new")
        run = store.client.get_run(run_id)
        assert (run.info.run_name, run.info.status) == ("new", "RUNNING")
        own = {key: value for key, value in run.data.tags.items() if not key.startswith("mlflow.")}
        assert own == {
            "kind": "sweep", "sweep": "new", "runs": "trial", "objective.metric": "val/accuracy",
        }  # fmt: skip
        assert run.data.tags["mlflow.source.name"] == "fmnist-lab"
        assert "0 of 4" in store.note(run_id)
        assert f"```\n{COMMAND}\n```" in store.note(run_id)

    def test_the_folder_says_which(self, store: Store) -> None:
        _, run_id = store.start("which")
        written = json.loads((Path(store.info("which").folder) / "mlflow.json").read_text())
        assert written == {
            "store": None, "experiment": "fmnist-lab", "run_id": run_id,
        }  # fmt: skip

    def test_trials_are_nested_and_keep_their_tags(self, store: Store) -> None:
        _, run_id = store.start("nest")
        child = store.client.get_run(store.work(run_id, 3, StopReason.COMPLETED))
        assert child.data.tags["mlflow.parentRunId"] == run_id
        assert (
            child.data.tags.items() >= {"kind": "trial", "trial": "3", "strategy": "calm"}.items()
        )

    def test_as_an_observer_in_a_configuration(self, store: Store) -> None:
        cfg = config.compose([])
        OmegaConf.set_struct(cfg, False)
        cfg.observer = {
            "_target_": "fmnist_lab.tracking.SweepRun", "tracking": "${tracking}",
            "name": "configured", "metric": "${objective.metric}", "command": COMMAND,
        }  # fmt: skip
        observer = hydra.utils.instantiate(cfg.observer)
        (override,) = observer.on_start(store.info("configured"), [])
        run = store.client.get_run(parent([override]))
        assert run.data.tags["objective.metric"] == "val/accuracy"

    def test_without_tracking_there_is_nothing(self, folder: Path) -> None:
        observer = SweepRun(LOCAL | {"name": "none"}, "night", "val/accuracy", COMMAND)
        info = SweepInfo("night", "journal", str(folder), ["maximize"], {}, 4, 0, 2)
        assert observer.on_start(info, [ended(0, 0.5)]) is None
        observer.on_trial_end(ended(1, 0.5))
        observer.on_progress({2: 1})
        observer.on_end(SweepEnd(EndReason.INTERRUPTED, 0, 2))
        assert list(folder.iterdir()) == []

    def test_tracking_that_is_not_allowed_is_refused(self) -> None:
        with pytest.raises(RequestError, check=lambda error: error.key == "tracking.uri"):
            SweepRun(LOCAL | {"name": "server"}, "night", "val/accuracy", COMMAND)


class TestProgress:
    """The description and the curve follow the trials."""

    def test_the_curve_is_the_best_so_far_over_trials_done(
        self, store: Store, clock: Clock
    ) -> None:
        observer, run_id = store.start("curve")
        values = [None, 0.5, 0.7, 0.6]
        for number, value in enumerate(values):
            observer.on_trial_end(ended(number, value))
        observer.on_trial_end(ended(4, None, state="interrupted", counts=False))
        observer.on_trial_end(ended(5, 0.8))
        observer.on_end(SweepEnd(EndReason.N_TRIALS, 5, 5))
        assert store.curve(run_id) == [(2, 0.5), (3, 0.7), (4, 0.7), (5, 0.8)]

    def test_the_first_at_once_the_next_after_ten_seconds(self, store: Store, clock: Clock) -> None:
        observer, run_id = store.start("throttle")
        observer.on_trial_end(ended(0, 0.5))
        assert "val/accuracy: 0.5000" in store.note(run_id)
        clock.now += 9
        observer.on_trial_end(ended(1, 0.6))
        observer.on_progress({2: 1})
        assert "0.6000" not in store.note(run_id)
        clock.now += 2
        observer.on_progress({2: 2})  # no other trial has to end for it
        assert "val/accuracy: 0.6000" in store.note(run_id)


class TestEnd:
    """The sweep's run says how it ended."""

    @pytest.mark.parametrize(
        ("reason", "status"),
        [
            (EndReason.N_TRIALS, "FINISHED"),
            (EndReason.TIMEOUT, "FINISHED"),
            (EndReason.INTERRUPTED, "KILLED"),
            (EndReason.FAILED, "FAILED"),
        ],
    )
    def test_status(self, store: Store, reason: EndReason, status: str) -> None:
        observer, run_id = store.start(f"end-{reason}")
        observer.on_trial_end(ended(0, 0.5))
        observer.on_trial_end(ended(1, 0.6))
        ends = {"": BudgetEnd(reason, 3600, 3601)}
        end = SweepEnd(reason, 2, 4, ends, "RuntimeError")
        observer.on_end(end)
        run = store.client.get_run(run_id)
        assert run.info.status == status
        assert run.info.end_time is not None
        assert f"{end}." in store.note(run_id)
        assert "0.6000" in store.note(run_id)


class TestReaping:
    """No run stays open when its worker is gone."""

    def test_at_the_start_all(self, store: Store) -> None:
        _, run_id = store.start("killed")  # the controller dies here, and so do its workers
        left = store.work(run_id, 0, None)
        done = store.work(run_id, 1, StopReason.COMPLETED)
        foreign = store.work("another-sweep", 0, None)
        observer, again = store.start("killed")
        assert again == run_id
        assert store.status(left) == ("KILLED", "interrupted")
        assert store.status(done) == ("FINISHED", "completed")
        assert store.status(foreign) == ("RUNNING", None)
        observer.on_end(SweepEnd(EndReason.INTERRUPTED, 0, 2))
        assert store.status(run_id)[0] == "KILLED"

    @pytest.mark.parametrize("end", [ended(5, None), ended(5, 0.5)], ids=["lost", "retried"])
    def test_at_a_trials_end_its_own(self, store: Store, end: TrialEnd) -> None:
        observer, run_id = store.start(f"trial-{end.state}")
        left = store.work(run_id, 5, None)
        running = store.work(run_id, 55, None)
        second = store.work(run_id, 5, StopReason.COMPLETED) if end.values else None
        observer.on_trial_end(end)
        assert store.status(left) == ("KILLED", "interrupted")
        assert store.status(running) == ("RUNNING", None)
        if second:
            assert store.status(second) == ("FINISHED", "completed")

    def test_at_the_end_all(self, store: Store) -> None:
        observer, run_id = store.start("last")
        left = store.work(run_id, 0, None)
        observer.on_end(SweepEnd(EndReason.INTERRUPTED, 0, 2))
        assert store.status(left) == ("KILLED", "interrupted")

    def test_not_one_that_ends_meanwhile(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A worker sends its end between the search for open runs and the look at records."""
        observer, run_id = store.start("meanwhile")
        left = store.work(run_id, 0, None)

        def look(*arguments: Any, **options: Any) -> Iterator[Path]:
            store.client.set_terminated(left, "FINISHED")
            return unsent(*arguments, **options)

        monkeypatch.setattr("fmnist_lab.tracking.outbox.unsent", look)
        observer.on_end(SweepEnd(EndReason.N_TRIALS, 1, 1))
        assert store.status(left) == ("FINISHED", None)


class TestContinuing:
    """One sweep is one run, as long as its store has it."""

    def test_the_same_run_with_what_was_done(self, store: Store) -> None:
        first, run_id = store.start("twice")
        first.on_trial_end(ended(0, 0.5))
        first.on_end(SweepEnd(EndReason.INTERRUPTED, 0, 2))
        second, again = store.start("twice", ended(0, 0.5), ended(1, 0.7), done=2)
        assert again == run_id
        assert store.status(run_id)[0] == "RUNNING"
        assert "2 complete" in store.note(run_id)
        second.on_trial_end(ended(2, 0.6))
        second.on_end(SweepEnd(EndReason.N_TRIALS, 3, 3))
        assert store.status(run_id)[0] == "FINISHED"
        assert store.curve(run_id) == [(1, 0.5), (2, 0.7), (3, 0.7)]

    @pytest.mark.parametrize("gone", ["deleted", "unknown", "elsewhere", "damaged"])
    def test_a_new_run_where_it_is_gone(self, store: Store, gone: str) -> None:
        _, run_id = store.start(f"gone-{gone}")
        file = Path(store.info(f"gone-{gone}").folder) / "mlflow.json"
        if gone == "deleted":
            store.client.delete_run(run_id)
        elif gone == "unknown":  # the store is another one
            file.write_text(json.dumps({"run_id": "0" * 32}))
        elif gone == "damaged":
            file.write_text("[1]")
        else:
            other = tracking.open_experiment(TrackingConfig(experiment="other"))[1]
            file.write_text(json.dumps({"run_id": store.client.create_run(other).info.run_id}))
        before = file.read_text()
        _, again = store.start(f"gone-{gone}")
        assert again != run_id
        assert again not in before
        assert store.status(again)[0] == "RUNNING"
        assert json.loads(file.read_text())["run_id"] == again

    def test_a_password_stays_out_of_folder_and_log(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        uri = "http://user:hidden@127.0.0.1:9"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        config = LOCAL | {"name": "server", "uri": uri}
        observer = SweepRun(config, "secret", "val/accuracy", COMMAND)
        assert observer.on_start(store.info("secret"), [])
        observer.on_end(SweepEnd(EndReason.INTERRUPTED, 0, 2))
        (record,) = Path(store.info("secret").folder).glob("mlflow-*.unsent.jsonl")
        assert "http://user:***@127.0.0.1:9" in record.read_text()
        assert "hidden" not in record.read_text()
        assert "hidden" not in caplog.text
