"""A sweep beyond one machine: database, tracking server, scheduler and workers of their own."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.support import remote
from tests.support.launchers import wait_for
from tests.support.sweeping import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not remote.POSTGRESQL, reason="needs apt-get install postgresql"),
    pytest.mark.skipif(
        importlib.util.find_spec("psycopg") is None, reason="needs pip install psycopg[binary]"
    ),
]

# Hard to put into a URL; by its first word each is found in any spelling.
DATABASE_PASSWORD = "d4tabase p@ss:/'{w}%,"
TRACKING_PASSWORD = "tr4cking p@ss:/'{w}%,"
TRACES = (b"d4tabase", b"tr4cking")

EPOCHS = 12
SWEEP = f"""\
# @package _global_
defaults:
  - override /data: synthetic
  - override /architecture: mlp
  - override /hydra/sweeper: fmnist_lab
  - override /hydra/sweeper/sampler: random
data: {{train_size: 640, val_size: 100}}
training: {{epochs: {EPOCHS}}}
replicates: 0
hydra:
  sweeper:
    n_trials: 2
    strategies: {{constant: scheduler=constant, cosine: scheduler=cosine}}
"""


@dataclass
class Site:
    """What a sweep finds ready."""

    folder: Path  # where commands are started, each in a folder of its own
    logs: Path
    storage: str
    tracking: str
    ungated: str  # the tracking server, for those who look at it from inside
    address: str
    workers: list[remote.Process]

    def sweep(self, name: str, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        """Starts `fmnist-lab sweep small` in the folder `name`."""
        sweeps = self.folder / name / "sweeps"
        sweeps.mkdir(parents=True, exist_ok=True)
        (sweeps / "small.yaml").write_text(SWEEP)
        with self.log(name).open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "fmnist_lab", "sweep", "small", *arguments],
                cwd=sweeps.parent,
                env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
                stdout=output,
                stderr=output,
            )

    def log(self, name: str) -> Path:
        """What the command in the folder `name` has printed."""
        return self.logs / f"{name}.log"

    def trials(self, sweep: str) -> dict[int, optuna.trial.FrozenTrial]:
        """The trials of both studies by their numbers in the sweep."""
        storage = optuna.storages.RDBStorage(self.storage)
        names = (f"{sweep}/constant", f"{sweep}/cosine")
        trials = {
            trial.number * len(names) + place: trial
            for place, name in enumerate(names)
            for trial in optuna.load_study(study_name=name, storage=storage).trials
        }
        storage.engine.dispose()
        return trials

    def runs(self) -> list[Any]:
        """All runs in MLflow."""
        import mlflow

        client = mlflow.MlflowClient(self.ungated)
        experiment = client.get_experiment_by_name("fmnist-lab")
        return list(client.search_runs([experiment.experiment_id]))


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Site]:
    logs = tmp_path_factory.mktemp("logs")
    shutil.copy(empty_store, logs / "server.db")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        for name in [name for name in os.environ if name.startswith(("MLFLOW", "FMNIST_LAB"))]:
            patch.delenv(name)
        patch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # it starts faster
        tracking, ungated = stack.enter_context(remote.tracking_server(logs, TRACKING_PASSWORD))
        storage = stack.enter_context(remote.database(logs / "database.log", DATABASE_PASSWORD))
        address = stack.enter_context(remote.scheduler(logs))
        logged = [logs / f"worker{number}.log" for number in range(2)]
        workers = [stack.enter_context(remote.worker(log, address)) for log in logged]
        wait_for(lambda: remote.listens(int(ungated.rpartition(":")[2])), 120)
        folder = tmp_path_factory.mktemp("folders")
        yield Site(folder, logs, storage, tracking, ungated, address, workers)


def test_a_sweep_survives_a_worker_and_keeps_its_secrets(site: Site) -> None:
    typed = site.sweep(
        "here",
        f"hydra.sweeper.storage={site.storage}",
        f"hydra.launcher.address='{site.address}'",
        "tracking=server",
        f"tracking.uri={site.tracking}",
    )
    stopped = stop_in_mid_trial(site.workers, typed)
    titles = process_titles(typed)
    refuse_second_controller(site)
    stopped.send(signal.SIGKILL)
    assert typed.wait(120) == 0, site.log("here").read_text()
    check(site, "small", "trial", count=4, interrupted=1)

    from_environment = site.sweep(
        "here",
        "hydra.sweeper.storage=${oc.env:FMNIST_LAB_STORAGE}",
        f"hydra.launcher.address='{site.address}'",
        "tracking=server",
        "replicates=1",
        FMNIST_LAB_STORAGE=site.storage,
        MLFLOW_TRACKING_URI=site.tracking,
    )
    assert from_environment.wait(120) == 0, site.log("here").read_text()
    check(site, "small-replicates", "replicate", count=2)
    refuse_traces(site, titles)


def stop_in_mid_trial(
    workers: list[remote.Process], command: subprocess.Popen[bytes]
) -> remote.Process:
    """Halts the first worker that is found training."""

    def trains(worker: remote.Process) -> bool:
        latest = worker.log.read_text().rpartition("Trial ")[2]
        return bool(re.search(r"^epoch", latest, re.M)) and " epochs, " not in latest

    caught: list[remote.Process] = []

    def catch() -> bool:
        assert command.poll() is None, "it is over already"
        for worker in filter(trains, workers):
            worker.send(signal.SIGSTOP)
            if trains(worker):
                caught.append(worker)
                return True
            worker.send(signal.SIGCONT)
        return False

    wait_for(catch, 90)
    return caught[0]


def refuse_second_controller(site: Site) -> None:
    second = site.sweep(
        "elsewhere",
        "hydra.sweeper.storage=${oc.env:FMNIST_LAB_STORAGE}",
        "tracking=none",
        "hydra/launcher=basic",
        FMNIST_LAB_STORAGE=site.storage,
    )
    assert second.wait(120) == 2
    assert "controller" in site.log("elsewhere").read_text()
    assert not list(site.folder.glob("elsewhere/mlruns/sweeps/small/[!.]*"))


def check(site: Site, sweep: str, kind: str, count: int, interrupted: int = 0) -> None:
    """Holds what is recorded against what was asked for."""
    stored = site.trials(sweep)
    assert sorted(stored) == list(range(count))
    assert {trial.state.name for trial in stored.values()} == {"COMPLETE"}
    assert {len(trial.intermediate_values) for trial in stored.values()} == {EPOCHS}

    runs = site.runs()
    assert "RUNNING" not in {run.info.status for run in runs}
    (parent,) = [run for run in runs if run.info.run_name == sweep]
    children = [run for run in runs if run.data.tags["kind"] == kind]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    states = Counter(run.info.status for run in children)
    assert states == Counter(FINISHED=count, KILLED=interrupted)
    finished = [run for run in children if run.info.status == "FINISHED"]
    assert sorted(int(run.data.tags["trial"]) for run in finished) == list(range(count))
    assert {run.data.metrics["stop/epoch"] for run in finished} == {EPOCHS}


def process_titles(command: subprocess.Popen[bytes]) -> bytes:
    """What `ps` shows, of the command itself as well."""
    titles = b""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            titles += file.read_bytes()
        except OSError:  # it has ended
            continue
    assert Path(f"/proc/{command.pid}/cmdline").read_bytes() in titles
    return titles


def refuse_traces(site: Site, titles: bytes) -> None:
    """Looks for passwords in everything that was written anywhere."""
    written = {
        str(path): path.read_bytes()
        for folder in (site.folder, site.logs)
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert any(path.endswith(".hydra/overrides.yaml") for path in written)
    written |= {"processes": titles, "database": remote.dump(site.storage)}
    for trace in TRACES:
        assert [path for path, content in written.items() if trace in content] == []
