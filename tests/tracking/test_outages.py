"""Whatever becomes of the MLflow server, training goes on, and in the end nothing is missing."""

import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fmnist_lab import cli, data
from fmnist_lab.config import TrackingConfig, compose
from fmnist_lab.foundation.files import write_json
from fmnist_lab.sweeper.observers import SweepInfo
from fmnist_lab.sweeper.sweep_end import EndReason, SweepEnd, TrialEnd
from fmnist_lab.tracking import MlflowTracker, SweepRun
from fmnist_lab.tracking.outbox import unsent
from fmnist_lab.tracking.sender import _sender as sender_of
from fmnist_lab.trial import Labels, StopReason, TrialResult
from tests.conftest import TINY
from tests.support.launchers import wait_for
from tests.support.outages import DOWN, FAULTS, LOST_ANSWERS, OPEN, Gate
from tests.support.recorded import (
    COMMAND,
    MOST_WAITING,
    Acts,
    Server,
    Trainer,
    check,
    deliver,
    logged_warnings,
    points,
)
from tests.support.sweeping import ROOT

pytestmark = pytest.mark.slow

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

# A command that does not come to its end; takes overrides, address, labels and folder.
DYING = """
import time
from pathlib import Path
from fmnist_lab import config, data
from fmnist_lab.config import TrackingConfig
from fmnist_lab.tracking import MlflowTracker
from fmnist_lab.trial import Labels

trial = config.to_trial(config.compose([*{}]))
tracker = MlflowTracker(TrackingConfig(uri={!r}, experiment="killed"), "fmnist-lab train")
tracker.start(trial, {}, data.load(trial.data), 1, Path({!r}))
for epoch in range(5):
    tracker.log(epoch, {{"val/loss": 0.5}})
print("all is logged", flush=True)
time.sleep(600)
"""


class TestATrial:
    """Trained while the server is not what it should be."""

    @pytest.mark.parametrize("fault", FAULTS)
    def test_from_the_start_to_the_end(
        self,
        fault: str,
        *,
        gate: Gate,
        trainer: Trainer,
        server: Server,
        calm: list[dict[str, Any]],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        gate.turn(fault)
        folder, waited = trainer.train(gate.url, f"whole-{fault}")
        assert waited < MOST_WAITING
        assert len(logged_warnings(caplog)) == 1
        assert "sync" in logged_warnings(caplog)[0]
        gate.turn(OPEN)
        deliver(folder)
        check(server, f"whole-{fault}", folder, calm)

    @pytest.mark.parametrize("fault", [DOWN, LOST_ANSWERS])
    @pytest.mark.parametrize(("begin", "end"), [(-1, 2), (1, 3), (3, None)])
    def test_for_a_while(
        self,
        fault: str,
        begin: int,
        end: int | None,
        *,
        gate: Gate,
        trainer: Trainer,
        server: Server,
        calm: list[dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("fmnist_lab.tracking.trial_run.SEND_SECONDS", 0.0)  # it always speaks
        acts = {begin: lambda: gate.turn(fault)} | ({end: lambda: gate.turn(OPEN)} if end else {})
        acts.get(-1, int)()
        folder, waited = trainer.train(gate.url, f"{fault}-{begin}", acts)
        assert waited < MOST_WAITING
        gate.turn(OPEN)
        deliver(folder)
        check(server, f"{fault}-{begin}", folder, calm)


class TestASweep:
    """Its trials may reach the server before it does."""

    @staticmethod
    def play(trainer: Trainer, url: str, experiment: str, acts: Acts, first: int = 0) -> Path:
        """What controller and workers do for two trials of a sweep of four; returns its folder."""
        config = TrackingConfig(name="server", uri=url, experiment=experiment)
        folder = trainer.root / experiment / "night"
        observer = SweepRun(asdict(config), "night", "val/accuracy", "fmnist-lab sweep night")
        (folder / "trials").mkdir(parents=True, exist_ok=True)
        acts.get(-1, int)()
        info = SweepInfo("night", "-", str(folder), ["maximize"], {"calm": 4}, 4, first, 2)
        (override,) = observer.on_start(info, []) or []
        parent = compose([override]).tracking.parent
        for number in range(first, first + 2):
            trial = folder / "trials" / str(number)
            trial.mkdir()
            tracker = MlflowTracker(replace(config, parent=parent), COMMAND)
            labels = replace(trainer.labels, trial=number)
            tracker.start(trainer.trial, labels, data.load(trainer.trial.data), 1, trial)
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
        observer.on_end(SweepEnd(EndReason.N_TRIALS, 2, 2))
        return folder

    @pytest.fixture(scope="class")
    @staticmethod
    def calm_sweep(server: Server, calm_trainer: Trainer) -> list[dict[str, Any]]:
        deliver(TestASweep.play(calm_trainer, server.url, "sweep-calm", {}))
        return server.content("sweep-calm")

    @pytest.mark.parametrize(
        ("begin", "end"), [(-1, None), (-1, 1), (0, None), (2, None)],
        ids=["always", "start", "trials", "end"],
    )  # fmt: skip
    def test_is_whole_with_its_trials(
        self, begin: int, end: int | None, *, gate: Gate, trainer: Trainer, server: Server,
        calm_sweep: list[dict[str, Any]],
    ) -> None:  # fmt: skip
        name = f"sweep-{begin}-{end}"
        acts = {begin: lambda: gate.turn(DOWN)} | ({end: lambda: gate.turn(OPEN)} if end else {})
        folder = self.play(trainer, gate.url, name, acts)
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
        self, gate: Gate, trainer: Trainer, server: Server
    ) -> None:
        """The server was there at first, and is not when the sweep goes on."""
        deliver(self.play(trainer, gate.url, "twice", {}))
        gate.turn(DOWN)
        folder = self.play(trainer, gate.url, "twice", {}, first=2)
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
        self, gate: Gate, trainer: Trainer, server: Server, calm: list[dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr("fmnist_lab.tracking.sender.SEND_SECONDS", 1e6)  # not this one again
        gate.turn(DOWN)
        left, _ = trainer.train(gate.url, "left")
        gate.turn(OPEN)
        sender_of.cache_clear()  # as in a new process
        trainer.train(gate.url, "next")
        wait_for(lambda: not any(unsent(left)), 60)
        check(server, "left", left, calm)

    @pytest.mark.slow
    def test_of_a_killed_one_the_run_ends_as_killed(
        self, gate: Gate, folder: Path, server: Server, labels: Labels
    ) -> None:
        gate.turn(DOWN)
        place = folder / "mlruns/trials/killed"
        place.mkdir(parents=True)
        with subprocess.Popen(
            [sys.executable, "-c", DYING.format(TINY, gate.url, labels, str(place))],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"all is logged\n"
            process.kill()
        down = CliRunner().invoke(cli.app, ["sync"])
        assert down.exit_code == 1
        assert f"{gate.url}: [Errno 111]" in down.stderr
        gate.turn(OPEN)
        for line in (f"1 run sent to {gate.url}.", "Nothing was missing."):
            done = CliRunner().invoke(cli.app, ["sync"])
            assert (done.exit_code, done.stdout.strip()) == (0, line), done.stderr
        (run,) = server.runs("killed")
        assert (run.info.status, run.data.tags["stop_reason"]) == ("KILLED", "interrupted")
        (record,) = folder.rglob("mlflow-*.jsonl")
        steps = [step for key, step, *_ in points(record) if key == "val/loss"]
        assert steps == [*range(5)]
        assert [step for step, _ in server.curve(run, "val/loss")] == steps
        assert run.info.end_time == max(time for _, _, time, _ in points(record))
