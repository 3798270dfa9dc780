"""Whatever becomes of the MLflow server, training goes on, and in the end nothing is missing."""

import functools
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fmnist_lab import cli, data, runner, tracking
from fmnist_lab.config import TrackingConfig, compose
from fmnist_lab.files import write_json
from fmnist_lab.search.observers import SweepInfo, TrialEnd
from fmnist_lab.tracking import MlflowTracker, SweepRun
from fmnist_lab.tracking.delivery import KEY
from fmnist_lab.tracking.record import unsent
from fmnist_lab.tracking.sender import _sender as sender_of
from fmnist_lab.trial import Labels, StopReason, TrialResult
from tests.conftest import TINY, ComposeTrial
from tests.launchers import wait_for
from tests.outages import (
    DOWN,
    FAULTS,
    FORGETFUL,
    OPEN,
    SILENT,
    Gate,
    fill,
    gate_to,
    mlflow_server,
    small_disk,
)
from tests.sweeping import ROOT

RESULT = TrialResult(
    objective=0.5,
    objective_metric="val/accuracy",
    stop_reason=StopReason.COMPLETED,
    epochs_trained=1,
    best_epoch=0,
    best_val_loss=0.5,
    best_val_accuracy=0.5,
    delivered_epoch=0,
    parameters=1,
    seconds=1.0,
)
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
        other = (KEY, "mlflow.source.git.commit")  # somebody may commit meanwhile
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


class Lab:
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
def lab(folder: Path, tiny: ComposeTrial, labels: Labels) -> Lab:
    return Lab(folder, tiny, labels)


@pytest.fixture(scope="module")
def calm_lab(
    tmp_path_factory: pytest.TempPathFactory, tiny: ComposeTrial, labels: Labels
) -> Iterator[Lab]:
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("calm")
        patch.chdir(root)
        yield Lab(root, tiny, labels)


@pytest.fixture(scope="module")
def calm(server: Server, calm_lab: Lab) -> list[dict[str, Any]]:
    """What an undisturbed trial leaves."""
    folder, _ = calm_lab.train(server.url, "calm")
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


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("fmnist_lab")
    ]


class TestATrial:
    """Trained while the server is not what it should be."""

    @pytest.mark.parametrize("fault", FAULTS)
    def test_from_the_start_to_the_end(
        self,
        fault: str,
        *,
        gate: Gate,
        lab: Lab,
        server: Server,
        calm: list[dict[str, Any]],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        gate.turn(fault)
        folder, waited = lab.train(gate.url, f"whole-{fault}")
        assert waited < MOST_WAITING
        assert len(complaints(caplog)) == 1
        assert "fmnist-lab sync" in complaints(caplog)[0]
        gate.turn(OPEN)
        deliver(folder)
        check(server, f"whole-{fault}", folder, calm)

    @pytest.mark.parametrize("fault", [DOWN, FORGETFUL])
    @pytest.mark.parametrize(("begin", "end"), [(-1, 2), (1, 3), (3, None)])
    def test_for_a_while(
        self,
        fault: str,
        begin: int,
        end: int | None,
        *,
        gate: Gate,
        lab: Lab,
        server: Server,
        calm: list[dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("fmnist_lab.tracking.trial.SEND_SECONDS", 0.0)  # it always speaks
        acts = {begin: lambda: gate.turn(fault)} | ({end: lambda: gate.turn(OPEN)} if end else {})
        acts.get(-1, int)()
        folder, waited = lab.train(gate.url, f"{fault}-{begin}", acts)
        assert waited < MOST_WAITING
        gate.turn(OPEN)
        deliver(folder)
        check(server, f"{fault}-{begin}", folder, calm)


class TestASweep:
    """Its trials may reach the server before it does."""

    @staticmethod
    def play(lab: Lab, url: str, experiment: str, acts: Acts, first: int = 0) -> Path:
        """What controller and workers do for two trials of a sweep of four; returns its folder."""
        config = TrackingConfig(name="server", uri=url, experiment=experiment)
        folder = lab.root / "mlruns" / "sweeps" / experiment
        observer = SweepRun(asdict(config), "night", "val/accuracy", "fmnist-lab sweep night")
        (folder / "trials").mkdir(parents=True, exist_ok=True)
        acts.get(-1, int)()
        told = SweepInfo("night", "-", str(folder), ["maximize"], {"calm": 4}, 4, first, 2)
        (override,) = observer.on_start(told, []) or []
        parent = compose([override]).tracking.parent
        for number in range(first, first + 2):
            trial = folder / "trials" / str(number)
            trial.mkdir()
            tracker = MlflowTracker(replace(config, parent=parent), COMMAND)
            labels = replace(lab.labels, trial=number)
            tracker.start(lab.trial, labels, data.load(lab.trial.data), 1, trial)
            tracker.log(0, {"val/accuracy": 0.5 + number / 10})
            acts.get(number, int)()
            write_json(trial / "result.json", asdict(RESULT) | {"mlflow_run_id": tracker.run_id})
            tracker.finish(RESULT, trial)
            given = {"optimizer.learning_rate": 0.1}
            observer.on_trial_end(
                TrialEnd(number, "complete", [0.5 + number / 10], given, 1, 1.0,
                         folder=str(trial), strategy="calm")
            )  # fmt: skip
        acts.get(2, int)()
        observer.on_end("2 trials were asked for")
        return folder

    @pytest.fixture(scope="class")
    @staticmethod
    def calm_sweep(server: Server, calm_lab: Lab) -> list[dict[str, Any]]:
        deliver(TestASweep.play(calm_lab, server.url, "sweep-calm", {}))
        return server.content("sweep-calm")

    @pytest.mark.parametrize(
        ("begin", "end"), [(-1, None), (-1, 1), (0, None), (2, None)],
        ids=["always", "start", "trials", "end"],
    )  # fmt: skip
    def test_is_whole_with_its_trials(
        self, begin: int, end: int | None, *, gate: Gate, lab: Lab, server: Server,
        calm_sweep: list[dict[str, Any]],
    ) -> None:  # fmt: skip
        name = f"sweep-{begin}-{end}"
        acts = {begin: lambda: gate.turn(DOWN)} | ({end: lambda: gate.turn(OPEN)} if end else {})
        folder = self.play(lab, gate.url, name, acts)
        gate.turn(OPEN)
        deliver(folder)
        content = server.content(name)
        assert content == calm_sweep
        kinds = [(run["tags"]["kind"], run["status"]) for run in content]
        assert sorted(kinds) == [
            ("sweep", "FINISHED"),
            ("trial", "FINISHED"),
            ("trial", "FINISHED"),
        ]
        parents = {run["tags"].get("mlflow.parentRunId") for run in content}
        assert parents == {None, "night"}
        (sweep,) = (run for run in content if run["tags"]["kind"] == "sweep")
        assert "[1](#/experiments/0/runs/RUN?" in sweep["tags"]["mlflow.note.content"]

    def test_a_continued_one_takes_in_trials_that_know_nothing_of_its_run(
        self, gate: Gate, lab: Lab, server: Server
    ) -> None:
        """The server was there at first, and is not when the sweep goes on."""
        deliver(self.play(lab, gate.url, "twice", {}))
        gate.turn(DOWN)
        folder = self.play(lab, gate.url, "twice", {}, first=2)
        gate.turn(OPEN)
        deliver(folder)
        content = server.content("twice")
        kinds = [(run["tags"]["kind"], run["status"]) for run in content]
        assert sorted(kinds) == [("sweep", "FINISHED"), *[("trial", "FINISHED")] * 4]
        parents = [run["tags"].get("mlflow.parentRunId") for run in content]
        assert sorted(map(str, parents)) == ["None", *["night"] * 4]


class TestWhatACommandLeaves:
    """The next one sends it, or `fmnist-lab sync`."""

    def test_the_next_command_sends_it(
        self, gate: Gate, lab: Lab, server: Server, calm: list[dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr("fmnist_lab.tracking.sender.SEND_SECONDS", 1e6)  # not this one again
        gate.turn(DOWN)
        left, _ = lab.train(gate.url, "left")
        gate.turn(OPEN)
        sender_of.cache_clear()  # as in a new process
        lab.train(gate.url, "next")
        wait_for(lambda: not any(unsent(left)), 60)
        check(server, "left", left, calm)

    @pytest.mark.slow
    def test_of_a_killed_one_the_run_ends_as_killed(
        self, gate: Gate, folder: Path, server: Server
    ) -> None:
        gate.turn(DOWN)
        options = ["tracking=server", f"tracking.uri={gate.url}", "tracking.experiment=killed"]
        process = subprocess.Popen(
            [sys.executable, "-m", "fmnist_lab", "train", *TINY[:-1],
             "training.epochs=100000", *options],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(lambda: list(folder.rglob("curves.jsonl")), 200)
        time.sleep(0.5)
        process.kill()
        process.wait()
        down = CliRunner().invoke(cli.app, ["sync"])
        assert down.exit_code == 1
        assert f"1 run not sent to {gate.url}: [Errno 111]" in down.stderr
        gate.turn(OPEN)
        for line in (f"1 run sent to {gate.url}.", "Nothing was missing."):
            done = CliRunner().invoke(cli.app, ["sync"])
            assert (done.exit_code, done.stdout.strip()) == (0, line), done.stderr
        (run,) = server.runs("killed")
        assert (run.info.status, run.data.tags["stop_reason"]) == ("KILLED", "interrupted")
        (record,) = folder.rglob("mlflow-*.jsonl")
        steps = [step for key, step, *_ in points(record) if key == "val/loss"]
        assert len(steps) > 1
        assert [step for step, _ in server.curve(run, "val/loss")] == steps
        assert run.info.end_time == max(time for _, _, time, _ in points(record))


@pytest.mark.faults
@pytest.mark.timeout(3600)
class TestManyFaults:
    """The same, more often and for longer."""

    def test_twenty_outages(
        self, gate: Gate, lab: Lab, server: Server, calm: list[dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        """Each fault four times, from a random epoch to a random later one, or beyond the end."""
        monkeypatch.setattr("fmnist_lab.tracking.trial.SEND_SECONDS", 0.0)
        chance, seconds = random.Random(1), []
        for number, fault in enumerate(FAULTS * 4):
            begin = chance.randint(-1, EPOCHS - 1)
            end = chance.randint(begin + 1, EPOCHS)
            acts = {begin: functools.partial(gate.turn, fault)}
            acts |= {end: functools.partial(gate.turn, OPEN)}
            acts.get(-1, int)()
            sender_of.cache_clear()
            with monkeypatch.context() as patch:
                patch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")  # not of `check`'s own calls
                folder, waited = lab.train(gate.url, f"many-{number}", acts)
            seconds.append(waited)
            gate.turn(OPEN)
            deliver(folder)
            check(server, f"many-{number}", folder, calm)
            print(f"{fault:10} from epoch {begin} to {end}: waited {waited:.2f} s")
        assert max(seconds) < MOST_WAITING

    def test_a_network_that_is_lost_for_two_minutes(
        self, gate: Gate, lab: Lab, server: Server, tiny: ComposeTrial
    ) -> None:
        lab.epoch_seconds = 0.5
        lab.trial = tiny("training.epochs=300")
        acts = {20: lambda: gate.turn(SILENT), 260: lambda: gate.turn(OPEN)}
        folder, waited = lab.train(gate.url, "lost-network", acts)
        assert waited < MOST_WAITING
        deliver(folder)
        (run,) = server.runs("lost-network")
        assert [step for step, _ in server.curve(run, "val/loss")] == list(range(300))

    def test_a_server_that_is_killed_and_started_again(
        self, tmp_path: Path, lab: Lab, calm: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("fmnist_lab.tracking.trial.SEND_SECONDS", 0.0)
        (tmp_path / "own").mkdir()
        with mlflow_server(tmp_path / "own") as (url, process):
            Server(url).runs("-")  # its database is there
            acts = {2: lambda: process.send(signal.SIGKILL)}
            folder, waited = lab.train(url, "killed-server", acts)
        assert waited < MOST_WAITING
        assert any(unsent(folder))
        with mlflow_server(tmp_path / "own", int(url.rpartition(":")[2])):
            deliver(folder)
            check(Server(url), "killed-server", folder, calm)

    @pytest.mark.parametrize("begin", [-1, 2])
    def test_a_full_disk_under_the_local_store(
        self, begin: int, *, tmp_path: Path, empty_store: Path, lab: Lab,
        calm: list[dict[str, Any]], caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr("fmnist_lab.tracking.trial.SEND_SECONDS", 0.0)
        lab.epoch_seconds = 2.0  # a store that works is waited for while it is opened
        with small_disk(tmp_path / "disk", 4) as disk:
            shutil.copy(empty_store, disk / "mlflow.db")
            tracking.database().parent.mkdir()
            tracking.database().symlink_to(disk / "mlflow.db")
            ballast: list[Path] = []
            acts = {begin: lambda: ballast.append(fill(disk))}
            acts.get(-1, int)()
            folder, waited = lab.train(None, "full-disk", acts)
            assert waited < MOST_WAITING
            (complaint,) = complaints(caplog)
            assert "disk is full" in complaint
            ballast[0].unlink()
            deliver(folder)
            check(Server(tracking.store_uri()), "full-disk", folder, calm)


def deliver(folder: Path) -> None:
    """Has the rest sent, by whoever is faster: this process's sender, or a `sync`."""

    def is_sent() -> bool:
        tracking.sync()
        return not any(unsent(folder))

    wait_for(is_sent, 60)
    assert not tracking.sync().sent
