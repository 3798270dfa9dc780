"""Real trials recorded in a real MLflow server, and what has to be there when all is sent."""

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fmnist_lab import tracking
from fmnist_lab.config import TrackingConfig
from fmnist_lab.tracking import MlflowTracker
from fmnist_lab.tracking.outbox import KEY, unsent
from fmnist_lab.training import runner
from fmnist_lab.trial import Labels
from tests.conftest import ComposeTrial
from tests.support.launchers import wait_for
from tests.support.outages import Gate, gate_to, mlflow_server

EPOCHS = 5
MOST_WAITING = 1.3  # seconds: one, and what a busy machine adds
COMMAND = "fmnist-lab train"
Acts = Mapping[int, Callable[[], None]]


class Server:
    """A real one, and what it holds."""

    def __init__(self, url: str) -> None:
        import mlflow

        self.url = url
        self.client = mlflow.MlflowClient(url)

    def runs(self, experiment: str) -> list[Any]:
        found = self.client.get_experiment_by_name(experiment)
        if found is None:
            return []
        return list(self.client.search_runs([found.experiment_id], max_results=1000))

    def content(self, experiment: str) -> list[dict[str, Any]]:
        """All that it holds, without ids, times and durations; in an order of its own."""
        names = {run.info.run_id: run.info.run_name for run in self.runs(experiment)}
        found = [self._plain(run, names) for run in self.runs(experiment)]
        return sorted(found, key=json.dumps)

    def _plain(self, run: Any, names: Mapping[str, str]) -> dict[str, Any]:
        other = (KEY, "mlflow.source.git.commit")  # a commit may come meanwhile
        tags = {key: value for key, value in run.data.tags.items() if key not in other}
        tags = {key: names.get(value, value) for key, value in tags.items()}
        for run_id in names:
            note = tags["mlflow.note.content"].replace(run_id, "RUN")
            tags["mlflow.note.content"] = note.replace(f"/{run.info.experiment_id}/", "/0/")
        assert (run.info.end_time is None) == (run.info.status == "RUNNING")
        inputs = [
            (dict(vars(given.dataset)), [vars(tag) for tag in given.tags])
            for given in run.inputs.dataset_inputs
        ]
        return {
            "name": run.info.run_name,
            "status": run.info.status,
            "tags": tags,
            "params": run.data.params,
            "curves": {key: self.curve(run, key) for key in sorted(run.data.metrics)},
            "inputs": inputs,
            "files": sorted(self.files(run.info.run_id)),
        }

    def curve(self, run: Any, key: str) -> list[tuple[int, str]]:
        history = self.client.get_metric_history(run.info.run_id, key)
        values = ["-" if "seconds" in key else repr(point.value) for point in history]
        return sorted(zip((point.step for point in history), values, strict=True))

    def files(self, run_id: str, path: str | None = None) -> set[str]:
        listed = self.client.list_artifacts(run_id, path)
        below = (self.files(run_id, item.path) for item in listed if item.is_dir)
        return {item.path for item in listed if not item.is_dir}.union(*below)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Server]:
    """One for all tests here, each of which has its own gate and its own experiment."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder / "server.db")
    with mlflow_server(folder) as (url, _):
        yield Server(url)


@pytest.fixture
def gate(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    with gate_to(server.url) as made:
        yield made


class Trainer:
    """Trains the same trial again and again, for real, with a tracker on a clock."""

    def __init__(self, root: Path, compose: ComposeTrial, labels: Labels) -> None:
        self.root, self.labels = root, labels
        self.epoch_seconds = 0.2  # at least
        self.trial = compose(f"training.epochs={EPOCHS}", "seed=7")

    def train(
        self, url: str | None, experiment: str, acts: Acts | None = None
    ) -> tuple[Path, float]:
        """Returns the trial's folder, and the seconds that its tracker took in all."""
        folder = self.root / "mlruns" / "trials" / experiment
        folder.mkdir(parents=True)
        config = TrackingConfig(uri=url, experiment=experiment)
        tracker = MlflowTracker(config, COMMAND)
        waited = [0.0]

        def clocked(function: Callable[..., None]) -> Callable[..., None]:
            def call(*arguments: Any) -> None:
                start = time.perf_counter()
                function(*arguments)
                waited[0] += time.perf_counter() - start

            return call

        for name in ("start", "log", "finish"):
            setattr(tracker, name, clocked(getattr(tracker, name)))

        def keep_training(epoch: int, metrics: Any) -> bool:
            time.sleep(self.epoch_seconds)
            (acts or {}).get(epoch, int)()
            return True

        runner.run(self.trial, self.labels, folder, tracker, keep_training)
        return folder, waited[0]


@pytest.fixture
def trainer(folder: Path, tiny: ComposeTrial, labels: Labels) -> Trainer:
    return Trainer(folder, tiny, labels)


@pytest.fixture(scope="module")
def calm_trainer(
    tmp_path_factory: pytest.TempPathFactory, tiny: ComposeTrial, labels: Labels
) -> Iterator[Trainer]:
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("calm")
        patch.chdir(root)
        yield Trainer(root, tiny, labels)


@pytest.fixture(scope="module")
def calm(server: Server, calm_trainer: Trainer) -> list[dict[str, Any]]:
    """What an undisturbed trial leaves."""
    folder, _ = calm_trainer.train(server.url, "calm")
    deliver(folder)
    content = server.content("calm")
    assert [run["status"] for run in content] == ["FINISHED"]
    assert [len(curve) for curve in content[0]["curves"].values()].count(EPOCHS) == 8
    assert "result.json" in content[0]["files"]
    return content


def points(record: Path) -> list[tuple[str, int, int, str]]:
    """All points in a record, with their times."""
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    return sorted(
        (key, line["step"], line["time"], repr(value))
        for line in lines
        for key, value in line.get("metrics", {}).items()
    )


def check(server: Server, experiment: str, folder: Path, calm: list[dict[str, Any]]) -> None:
    """Asserts that the server holds what it would hold, each point once and with its time."""
    assert server.content(experiment) == calm
    (run,) = server.runs(experiment)
    (record,) = folder.glob("mlflow-*.jsonl")
    sent = [
        (point.key, point.step, point.timestamp, repr(point.value))
        for key in run.data.metrics
        for point in server.client.get_metric_history(run.info.run_id, key)
    ]
    assert sorted(sent) == points(record)
    result = json.loads((folder / "result.json").read_text())
    assert result["mlflow_run_id"] == run.info.run_id


def logged_warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("fmnist_lab")
    ]


def deliver(folder: Path) -> None:
    """Waits until the rest is sent, by this process's sender or by a `sync`."""

    def is_sent() -> bool:
        tracking.sync()
        return not any(unsent(folder))

    wait_for(is_sent, 60)
    assert not tracking.sync().sent
