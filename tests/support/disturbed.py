"""A sweep that is disturbed, and what must hold of it afterwards."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import psutil  # type: ignore[import-untyped]
from optuna.trial import FrozenTrial

from fmnist_lab import data
from fmnist_lab.data import DataConfig
from fmnist_lab.errors import DataUnavailableError
from fmnist_lab.tracking.outbox import unsent
from tests.conftest import run_here
from tests.support.launchers import workers
from tests.support.outages import Gate
from tests.support.sweeping import ROOT, trials, wait_for

STRATEGIES = ("constant", "cosine", "exponential", "one_cycle")  # as they take trial numbers

CONTROLLER = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)

EPOCHS = 2

MORE = 10  # trials of each strategy, added whenever all are done before the time is up
ENDS = {130, *(-number for number in CONTROLLER)}  # a start that is hit may not have a handler yet
SMALL = ("architecture=mlp", "architecture.hidden_sizes=[16]")

Suggestion = frozenset[tuple[str, Any]]


@dataclass(frozen=True)
class Fault:
    """A moment, and a signal to the controller; to a worker, SIGKILL, if there is none."""

    to_controller: signal.Signals | None
    trials: int  # that end first
    seconds: float  # that pass then


class Sweep:
    """The sweep `demo` in a folder of its own, with short trials."""

    def __init__(self, folder: Path, *overrides: str, epochs: int = EPOCHS) -> None:
        folder.mkdir()
        self.root, self.epochs = folder, epochs
        self.folder = folder / "mlruns" / "sweeps" / "demo"
        self.overrides = [*overrides, f"training.epochs={epochs}"]
        self._controller: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._controller is not None:  # of a test that failed
            self._controller.kill()
            self._controller.wait()

    def running(self) -> "subprocess.Popen[bytes]":
        """Its controller; started, always with the same command, unless it runs."""
        if self._controller is None or self._controller.poll() is not None:
            with (self.root / "output.log").open("a") as output:
                self._controller = subprocess.Popen(
                    [sys.executable, "-m", "fmnist_lab", "sweep", "demo", *self.overrides],
                    cwd=self.root,
                    env=os.environ | {"PYTHONPATH": str(ROOT)},
                    stdout=output,
                    stderr=output,
                )
        return self._controller

    def finish(self) -> None:
        """Lets it run to its end."""
        assert self.running().wait(timeout=1800) == 0, self.output

    def finish_here(self) -> None:
        """Runs it from beginning to end in this process."""
        done = run_here(self.root, "sweep", "demo", *self.overrides, "hydra/launcher=basic")
        assert done.returncode == 0, done.stdout + done.stderr

    def strike(self, fault: Fault) -> int | None:
        """Lets a fault happen; returns the controller's exit code once it ends, if it was hit."""
        controller, ended = self.running(), self.ended + fault.trials
        wait_for(lambda: self.ended >= ended or controller.poll() is not None, 600)
        time.sleep(fault.seconds)
        assert controller.poll() is None, f"it ended before {fault}: {self.output}"
        if fault.to_controller is None:
            while not (alive := workers(controller.pid)):
                time.sleep(0.02)
            random.Random(fault.seconds).choice(alive).kill()
            return None
        controller.send_signal(fault.to_controller)
        code = controller.wait(timeout=300)
        if fault.to_controller == signal.SIGKILL:
            assert code == -signal.SIGKILL
        elif fault.trials:  # before that, Python itself may have been interrupted
            assert code == 130, self.output
        return code

    @property
    def ended(self) -> int:
        """How many trials have ended, whatever came of them."""
        return len(list(self.folder.glob("trials/*/result.json")))

    @property
    def output(self) -> str:
        return (self.root / "output.log").read_text()

    def stored(self, strategy: str) -> list[FrozenTrial]:
        return trials(self.folder, f"demo/{strategy}")

    def counting(self, strategy: str) -> dict[int, FrozenTrial]:
        """The trials that count, by their numbers in the sweep."""
        first, step = STRATEGIES.index(strategy), len(STRATEGIES)
        stored = self.stored(strategy)
        repeated = {trial.user_attrs.get("sweep:repeats") for trial in stored}
        return {
            first + step * trial.number: trial
            for trial in stored
            if "sweep:superseded" not in trial.user_attrs and trial.number not in repeated
        }

    def losses(self, strategy: str) -> dict[Suggestion, list[float]]:
        """The validation loss of every epoch, by what was suggested."""
        return {
            frozenset(trial.params.items()): [line["val/loss"] for line in self.curve(number)]
            for number, trial in self.counting(strategy).items()
        }

    def curve(self, number: int) -> list[dict[str, float]]:
        lines = (self.folder / "trials" / str(number) / "curves.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def states(self) -> Counter[str]:
        """How many trials ended how; some of them had to be repeated."""
        return Counter(
            trial.user_attrs.get("sweep:superseded", trial.state.name.lower())
            for strategy in STRATEGIES
            for trial in self.stored(strategy)
        )

    @cached_property
    def client(self) -> Any:
        import mlflow

        return mlflow.MlflowClient(f"sqlite:///{self.root / 'mlruns' / 'mlflow.db'}")

    def runs(self, kind: str) -> list[Any]:
        experiment = self.client.get_experiment_by_name("fmnist-lab").experiment_id
        return list(
            self.client.search_runs([experiment], f"tags.kind = '{kind}'", max_results=5000)
        )


def left_over(folder: Path) -> list[Any]:
    """Processes that work in the folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


def check(sweep: Sweep, total: int) -> None:
    """Asserts that the sweep is whole, whatever has happened to it."""
    (parent,) = sweep.runs("sweep")
    assert parent.info.status == "FINISHED"
    runs = sweep.runs("trial")
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {parent.info.run_id}
    finished = [run for run in runs if run.info.status == "FINISHED"]
    by_number = Counter(int(run.data.tags["trial"]) for run in finished)
    for strategy in STRATEGIES:
        assert {trial.state.name for trial in sweep.stored(strategy)} <= {"COMPLETE", "FAIL"}
        counting = sweep.counting(strategy)
        assert len(counting) == total
        assert len(sweep.losses(strategy)) == total, "a suggestion is there twice"
        assert {number: by_number[number] for number in counting} == dict.fromkeys(counting, 1)
        for number, trial in counting.items():
            assert trial.state.name == "COMPLETE"
            (run,) = [run for run in finished if run.data.tags["trial"] == str(number)]
            check_trial(sweep, number, strategy, trial.value, run)
    wait_for(lambda: not left_over(sweep.root))


def check_trial(
    sweep: Sweep, number: int, strategy: str, objective: float | None, run: Any
) -> None:
    """Asserts that study, folder and MLflow tell the same of a trial, and each epoch once."""
    folder = sweep.folder / "trials" / str(number)
    result = json.loads((folder / "result.json").read_text())
    assert (result["sweep"], result["strategy"], result["trial"]) == ("demo", strategy, number)
    assert (result["stop_reason"], result["objective"]) == ("completed", objective)
    assert result["mlflow_run_id"] == run.info.run_id
    curve = sweep.curve(number)
    assert [line["epoch"] for line in curve] == list(range(sweep.epochs))
    assert curve[-1]["val/accuracy"] == objective
    sent = sweep.client.get_metric_history(run.info.run_id, "val/accuracy")
    points = [(point.step, point.value) for point in sorted(sent, key=lambda point: point.step)]
    assert points == [(line["epoch"], line["val/accuracy"]) for line in curve]


def compare(disturbed: Sweep, calm: Sweep, total: int) -> None:
    """Asserts that two sweeps, one of them disturbed, have equal results."""
    for sweep in (disturbed, calm):
        check(sweep, total)
    for strategy in STRATEGIES:
        assert disturbed.losses(strategy) == calm.losses(strategy)


def images() -> list[str]:
    """Real ones where there are any, few of them."""
    few = ["data.train_size=2000", "data.val_size=1000"]
    try:
        data.load(DataConfig())
    except DataUnavailableError:
        return ["data=synthetic", *few]
    return few


class Soaked(Sweep):
    """A sweep that records in an MLflow server behind a gate."""

    def __init__(self, folder: Path, server: str, gate: Gate, *overrides: str) -> None:
        super().__init__(
            folder, *overrides, "tracking=server", f"tracking.uri={gate.url}",
            "checkpoint_seconds=0", epochs=8,
        )  # fmt: skip
        self.server, self.trials = server, MORE

    @cached_property
    def client(self) -> Any:
        """Looks at the server from inside the gate."""
        import mlflow

        return mlflow.MlflowClient(self.server)

    def running(self) -> "subprocess.Popen[bytes]":
        """Its controller; with more trials to do, if it has done them all."""
        ended = self._controller and self._controller.poll()
        assert ended is None or ended in {0, *ENDS}, self.output[-5000:]
        if ended == 0:
            self.trials += MORE
        self.overrides = [word for word in self.overrides if "n_trials" not in word]
        self.overrides.append(f"hydra.sweeper.n_trials={self.trials}")
        return super().running()

    def deliver(self) -> None:
        """Sends what is left, as a user would."""
        command = [sys.executable, "-m", "fmnist_lab", "sync"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True,
                              text=True, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert not any(unsent(self.folder))
