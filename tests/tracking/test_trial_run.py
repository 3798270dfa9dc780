"""What a run holds in a real MLflow store: names, steps, tags, files, and how it got there."""

import json
import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from fmnist_lab import data, tracking
from fmnist_lab.config import TrackingConfig
from fmnist_lab.foundation.files import write_json
from fmnist_lab.tracking import MlflowTracker
from fmnist_lab.training.runner import Tracker
from fmnist_lab.trial import Labels, StopReason, Trial, TrialResult
from tests.support.sweeping import first_start, wait_for

pytestmark = pytest.mark.slow

COMMAND = "fmnist-lab train scheduler=calm seed=42"
CURVE_METRICS = {
    "train/loss", "train/accuracy", "val/loss", "val/accuracy",
    "opt/learning_rate", "opt/grad_norm", "opt/clipped_fraction", "time/epoch_seconds",
}  # fmt: skip
SUMMARY_METRICS = {
    "objective", "stop/epoch", "best/epoch", "best/val_loss", "best/val_accuracy",
}  # fmt: skip
RESULT = TrialResult(
    objective=0.75,
    objective_metric="val/accuracy",
    stop_reason=StopReason.COMPLETED,
    epochs_trained=3,
    best_epoch=1,
    best_val_loss=0.5,
    best_val_accuracy=0.8,
    delivered_epoch=2,
    parameters=1234,
    seconds=6.0,
)


def metrics(epoch: int) -> dict[str, float]:
    """An epoch's metrics, each recognisable."""
    names = sorted(CURVE_METRICS)
    return {name: 10.0 * epoch + number for number, name in enumerate(names)}


class Recorded:
    """One run in the store, recorded from invented values and read back."""

    def __init__(self, run_id: str, calls: list[dict[str, Any]]) -> None:
        import mlflow

        self.client = mlflow.MlflowClient(tracking.store_uri())
        self.run = self.client.get_run(run_id)
        self.calls = calls  # of `log_batch`, their arguments

    def curve(self, name: str) -> list[tuple[int, float]]:
        points = self.client.get_metric_history(self.run.info.run_id, name)
        return sorted((point.step, point.value) for point in points)

    def files(self, path: str | None = None) -> set[str]:
        listed = self.client.list_artifacts(self.run.info.run_id, path)
        below = (self.files(item.path) for item in listed if item.is_dir)
        return {item.path for item in listed if not item.is_dir}.union(*below)


class Store:
    """A folder with a store; records runs there."""

    def __init__(self, root: Path, labels: Labels) -> None:
        self.root, self.labels = root, labels

    def record(self, trial: Trial, curve: list[dict[str, float]], result: TrialResult) -> Recorded:
        dataset = data.load(trial.data)
        folder = self.root / "trial"
        (folder / ".hydra").mkdir(parents=True, exist_ok=True)
        for name in (".hydra/config.yaml", "curves.jsonl", "curves.png"):
            (folder / name).write_text(name)
        write_json(folder / "result.json", asdict(result))
        tracker = MlflowTracker(TrackingConfig(), COMMAND)
        with counted_calls() as calls:
            tracker.start(trial, self.labels, dataset, 1234, folder)
            for epoch, line in enumerate(curve):
                tracker.log(epoch, line)
            tracker.finish(result, folder)
        assert tracker.run_id is not None
        return Recorded(tracker.run_id, calls)


@contextmanager
def counted_calls() -> Iterator[list[dict[str, Any]]]:
    """The arguments of all calls of `log_batch` in this block, which must do without others."""
    import mlflow

    calls: list[dict[str, Any]] = []
    send = mlflow.MlflowClient.log_batch

    def log_batch(client: Any, run_id: str, **arguments: Any) -> None:
        calls.append(arguments)
        send(client, run_id, **arguments)

    def forbidden(*arguments: Any, **others: Any) -> None:
        raise AssertionError("one call per metric is what batches are for")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_batch", log_batch)
        patch.setattr(mlflow.MlflowClient, "log_metric", forbidden)
        patch.setattr(mlflow.MlflowClient, "log_param", forbidden)
        yield calls


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, labels: Labels) -> Iterator[Store]:
    """One store for all tests here: creating it takes seconds."""
    root = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield Store(root, labels)


@pytest.fixture(scope="module")
def trial(tiny: Any) -> Trial:
    return tiny("clipping=norm", "clipping.threshold=0.5")  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def recorded(store: Store, trial: Trial) -> Recorded:
    """A completed trial of three epochs."""
    return store.record(trial, [metrics(epoch) for epoch in range(3)], RESULT)


class TestCompletedRun:
    """Everything the contract promises."""

    def test_every_metric_of_every_epoch(self, recorded: Recorded) -> None:
        for name in CURVE_METRICS:
            wanted = [(epoch, metrics(epoch)[name]) for epoch in range(3)]
            assert recorded.curve(name) == wanted, name

    def test_the_summary_once(self, recorded: Recorded) -> None:
        values = {name: recorded.curve(name) for name in SUMMARY_METRICS}
        assert {name: [value for _, value in points] for name, points in values.items()} == {
            "objective": [0.75],
            "stop/epoch": [3.0],
            "best/epoch": [1.0],
            "best/val_loss": [0.5],
            "best/val_accuracy": [0.8],
        }

    def test_no_other_metric(self, recorded: Recorded) -> None:
        assert recorded.run.data.metrics.keys() == CURVE_METRICS | SUMMARY_METRICS

    def test_tags(self, recorded: Recorded, labels: Labels) -> None:
        tags = recorded.run.data.tags
        own = {key: value for key, value in tags.items() if not key.startswith("mlflow.")}
        given = {key: value for key, value in asdict(labels).items() if value is not None}
        assert own == {key: str(value) for key, value in given.items()} | {
            "stop_reason": "completed"
        }
        assert own.keys() == {
            "kind", "sweep", "strategy", "trial", "seed", "stop_reason", "architecture",
            "scheduler", "clipping", "averaging", "optimizer", "dataset", "engine",
        }  # fmt: skip

    def test_description_with_the_command(self, recorded: Recorded) -> None:
        note = recorded.run.data.tags["mlflow.note.content"]
        assert f"```\n{COMMAND}\n```" in note
        assert re.search(r"\*\*completed\*\* .*\b3\b.*\b1\b", note)

    def test_the_name_tells_runs_apart(self, recorded: Recorded) -> None:
        assert recorded.run.info.run_name == "calm-lr0.001-adam-s42"

    def test_parameters_are_the_flat_configuration(self, recorded: Recorded, trial: Trial) -> None:
        params = recorded.run.data.params
        assert params["parameters"] == "1234"
        assert params["training.epochs"] == "3"
        assert params["architecture.hidden_sizes"] == "[16]"
        assert params["clipping.threshold"] == "0.5"
        assert params["data.dir"] == "None"
        assert params["optimizer.learning_rate"] == "0.001"
        sections = sum(
            len(value) if isinstance(value, dict) else 1 for value in trial.as_dict().values()
        )
        assert len(params) == sections + 1

    def test_files(self, recorded: Recorded) -> None:
        wanted = {".hydra/config.yaml", "curves.jsonl", "curves.png", "result.json"}
        assert recorded.files() == wanted
        root = tracking.ROOT.absolute() / "artifacts"
        assert recorded.run.info.artifact_uri.startswith(root.as_uri())

    def test_data_set(self, recorded: Recorded, trial: Trial) -> None:
        (given,) = recorded.run.inputs.dataset_inputs
        dataset = data.load(trial.data)
        assert given.dataset.name == "synthetic"
        assert dataset.checksum.startswith(given.dataset.digest)
        assert json.loads(given.dataset.source)["sha256"] == dataset.checksum
        assert json.loads(given.dataset.profile) == {"train": 320, "val": 100}
        assert [(tag.key, tag.value) for tag in given.tags] == [("mlflow.data.context", "training")]

    def test_the_experiment_is_ours(self, recorded: Recorded) -> None:
        experiment = recorded.client.get_experiment(recorded.run.info.experiment_id)
        assert experiment.name == "fmnist-lab"

    def test_git_ignores_the_folder(self, recorded: Recorded) -> None:
        assert "*" in (tracking.ROOT / ".gitignore").read_text().splitlines()


class TestHowARunEnds:
    """Stop reasons, and values that are no numbers."""

    @pytest.mark.parametrize(
        ("reason", "status"),
        [
            (StopReason.COMPLETED, "FINISHED"),
            (StopReason.EARLY_STOPPED, "FINISHED"),
            (StopReason.DIVERGED, "FINISHED"),
            (StopReason.PRUNED, "KILLED"),
            (StopReason.INTERRUPTED, "KILLED"),
            (StopReason.FAILED, "FAILED"),
        ],
    )
    def test_status(self, store: Store, trial: Trial, reason: StopReason, status: str) -> None:
        result = replace(RESULT, stop_reason=reason, epochs_trained=1)
        recorded = store.record(trial, [metrics(0)], result)
        assert recorded.run.info.status == status
        assert recorded.run.data.tags["stop_reason"] == reason.value
        assert f"**{reason.value}** after 1 epochs" in recorded.run.data.tags["mlflow.note.content"]
        assert recorded.curve("val/loss") == [(0, metrics(0)["val/loss"])]
        assert recorded.run.info.end_time is not None

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_what_is_not_finite_is_kept_as_nan(
        self, store: Store, trial: Trial, value: float
    ) -> None:
        curve = [metrics(0), metrics(1) | {"train/loss": value}]
        diverged = replace(RESULT, objective=math.nan, stop_reason=StopReason.DIVERGED)
        recorded = store.record(trial, curve, diverged)
        first, second = recorded.curve("train/loss")
        assert first == (0, metrics(0)["train/loss"])
        assert second[0] == 1
        assert math.isnan(second[1])
        assert math.isnan(recorded.run.data.metrics["objective"])

    def test_nothing_trained_has_no_best_epoch(self, store: Store, trial: Trial) -> None:
        failed = replace(
            RESULT, stop_reason=StopReason.FAILED, epochs_trained=0, best_epoch=None,
            objective=math.nan, best_val_loss=math.nan, best_val_accuracy=math.nan,
        )  # fmt: skip
        recorded = store.record(trial, [], failed)
        assert recorded.run.data.metrics.keys() == {"objective", "stop/epoch"}
        assert recorded.run.data.metrics["stop/epoch"] == 0


class TestInASweep:
    """The run is nested under the sweep's."""

    def test_the_parent_is_a_tag(self, store: Store, trial: Trial, recorded: Recorded) -> None:
        tracker = MlflowTracker(TrackingConfig(parent="abc"), COMMAND)
        tracker.start(trial, store.labels, data.load(trial.data), 1, store.root / "trial")
        tracker.finish(RESULT, store.root / "trial")
        tags = recorded.client.get_run(tracker.run_id).data.tags
        assert tags["mlflow.parentRunId"] == "abc"
        assert "mlflow.parentRunId" not in recorded.run.data.tags


class TestBatches:
    """Points travel together."""

    def test_a_short_trial_is_sent_at_once(self, recorded: Recorded) -> None:
        parameters, *others = recorded.calls
        assert parameters.keys() == {"params"}
        points = [call["metrics"] for call in others if call.get("metrics")]
        assert sum(map(len, points)) == 3 * len(CURVE_METRICS) + len(SUMMARY_METRICS)
        assert len(points) <= 2  # the end of the trial may meet the sender awake

    def test_a_long_one_every_few_seconds(
        self, store: Store, trial: Trial, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("fmnist_lab.tracking.trial_run.SEND_SECONDS", 0.5)
        curve = [metrics(epoch) for epoch in range(20)]

        class Slow(list[dict[str, float]]):
            """Epochs of a tenth of a second."""

            def __iter__(self) -> Iterator[dict[str, float]]:
                for line in curve:
                    time.sleep(0.1)
                    yield line

        recorded = store.record(trial, Slow(curve), replace(RESULT, epochs_trained=20))
        batches = [call["metrics"] for call in recorded.calls if call.get("metrics")]
        assert 2 <= len(batches) <= 6
        assert recorded.curve("val/loss") == [(n, metrics(n)["val/loss"]) for n in range(20)]


def is_half_made(root: Path) -> bool:
    """Whether the store has some of its tables; all of them take 950 kB."""
    files = [root / name for name in ("mlflow.db", "mlflow.part")]
    return any(path.exists() and path.stat().st_size > 200_000 for path in files)


class TestStores:
    """Which store, and who creates it."""

    def test_another_experiment_and_address(self, store: Store) -> None:
        client, experiment = tracking.open_experiment(
            TrackingConfig(name="server", uri=tracking.store_uri(), experiment="elsewhere")
        )
        assert client.get_experiment(experiment).name == "elsewhere"
        again = tracking.open_experiment(
            TrackingConfig(name="server", uri=tracking.store_uri(), experiment="elsewhere")
        )
        assert again[1] == experiment

    @pytest.mark.slow
    def test_two_starts_after_a_killed_one_share_one_experiment(self, tmp_path: Path) -> None:
        killed = first_start(tmp_path)
        wait_for(lambda: is_half_made(tmp_path / "mlruns"), 120)
        killed.kill()
        killed.communicate()
        starts = [first_start(tmp_path), first_start(tmp_path)]
        answers = [start.communicate(timeout=120) for start in starts]
        assert [start.returncode for start in starts] == [0, 0], answers
        first, second = (output.split() for output, _ in answers)
        assert first == second
        assert first[0] == "2"  # ours, and MLflow's own default
        files = {path.name for path in tmp_path.glob("mlruns/*")}
        assert files == {".gitignore", ".mlflow.lock", "mlflow.db"}

    def test_no_tracking_leaves_nothing(self, folder: Path, trial: Trial, labels: Labels) -> None:
        tracker = Tracker()
        tracker.start(trial, labels, data.load(trial.data), 1, folder)
        tracker.log(0, metrics(0))
        tracker.finish(RESULT, folder)
        assert tracker.run_id is None
        assert list(folder.iterdir()) == []
