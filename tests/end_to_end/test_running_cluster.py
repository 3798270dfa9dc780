"""The launcher on a Dask scheduler and workers that were started separately."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from distributed import Client
from hydra.core.utils import JobStatus

from fmnist_lab.errors import ConnectionLostError, RequestError
from tests.support.jobs import pids, task
from tests.support.launchers import Launcher, command, launcher, started, wait_for, workers

pytestmark = pytest.mark.slow


class Running:
    """A scheduler with workers, as processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", file
        )
        wait_for(lambda: file.exists() and file.read_text().rstrip().endswith("}"))
        self._file = file
        self.address: str = json.loads(file.read_text())["address"]

    def add_worker(self) -> "subprocess.Popen[bytes]":
        """Starts a worker with its nanny."""
        return self._start("worker", "--scheduler-file", self._file, "--nthreads", "1")

    def close(self) -> None:
        """Ends everything, workers first."""
        for process in reversed(self._processes):
            process.terminate()
            process.wait()

    def _start(self, *arguments: str | Path) -> "subprocess.Popen[bytes]":
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *map(str, arguments), "--no-dashboard"],
                cwd=self._folder,  # not the controller's
                env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
                stdout=log,
                stderr=log,
            )
        self._processes.append(process)
        return process


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    started = Running(folder)
    try:
        yield started
    finally:
        started.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One with two workers, whichever tests of this file come first in this process."""
    with running(tmp_path_factory.mktemp("cluster")) as started:
        started.add_worker()
        started.add_worker()
        with Client(started.address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield started


@pytest.fixture
def jobs(cluster: Running, tmp_path: Path) -> Iterator[Launcher]:
    with launcher(task, tmp_path / "sweep", f"address='{cluster.address}'") as connected:
        yield connected


def test_jobs_wait_for_the_first_worker(tmp_path: Path) -> None:
    with (
        running(tmp_path) as cluster,
        launcher(task, tmp_path / "sweep", f"address='{cluster.address}'") as jobs,
    ):
        assert jobs.slots == 1  # none yet, but a sweeper may ask for one trial
        jobs.submit(["+do=nap", "+seconds=0.1"], 0)
        assert jobs.next_result(0.5) is None
        cluster.add_worker()
        assert (jobs.next_result(60) or (None,))[0] == 0


def test_a_later_command_finds_the_workers_as_they_were(jobs: Launcher) -> None:
    results = jobs.launch([["+do=look_around"]] * 3, 0)
    assert {result.return_value[0] for result in results} == {str(Path().absolute())}
    assert jobs.slots == 2


def test_a_job_of_a_killed_worker_is_tried_again(jobs: Launcher, tmp_path: Path) -> None:
    jobs.submit(["+do=die", "+times=1", f"+file={tmp_path / 'log'}"], 0)
    ended = jobs.next_result(60)
    assert ended is not None
    assert ended[1].status == JobStatus.COMPLETED
    assert len(pids(tmp_path / "log")) == 2
    wait_for(lambda: jobs.slots == 2)


def test_a_worker_may_die_while_it_is_told_what_to_do(cluster: Running, tmp_path: Path) -> None:
    third = cluster.add_worker()
    with Client(cluster.address, set_as_default=False) as client:
        client.wait_for_workers(3, timeout=60)
    (worker,) = workers(third.pid)
    worker.suspend()  # it accepts jobs and does not answer
    death = threading.Timer(1.0, worker.kill)
    death.start()
    with launcher(task, tmp_path / "sweep", f"address='{cluster.address}'") as jobs:
        (result,) = jobs.launch([["+do=look_around"]], 0)
        assert result.status == JobStatus.COMPLETED
        death.join()
        third.send_signal(signal.SIGINT)
        third.wait(30)
        wait_for(lambda: jobs.slots == 2)


def test_a_worker_that_leaves_takes_its_slot_and_not_its_job(
    cluster: Running, jobs: Launcher, tmp_path: Path
) -> None:
    third = cluster.add_worker()
    wait_for(lambda: jobs.slots == 3)
    files = [tmp_path / f"log{idx}" for idx in range(3)]
    for idx, file in enumerate(files):
        jobs.submit(["+do=wait_long", f"+file={file}"], idx)
    wait_for(lambda: all(pids(file) for file in files))
    third.send_signal(signal.SIGINT)  # as Ctrl-C, or the end of its allocation
    third.wait(30)
    wait_for(lambda: jobs.slots == 2)
    jobs.cancel_all()
    assert all(file.with_suffix(".interrupted").exists() for file in files)


def test_closing_interrupts_the_jobs_and_keeps_the_workers(
    cluster: Running, tmp_path: Path
) -> None:
    setting = f"address='{cluster.address}'"
    with launcher(task, tmp_path / "sweep", setting) as jobs:
        jobs.submit(["+do=wait_long", f"+file={tmp_path / 'log'}"], 0)
        wait_for(lambda: pids(tmp_path / "log"))
    assert (tmp_path / "log.interrupted").exists()
    assert not list((tmp_path / "sweep").glob(".*"))
    with launcher(task, tmp_path / "sweep", setting) as jobs:
        jobs.submit(["+do=note", f"+file={tmp_path / 'log'}"], 0)
        assert (jobs.next_result(60) or (None,))[0] == 0


def test_jobs_of_a_killed_controller_are_interrupted(cluster: Running, tmp_path: Path) -> None:
    address = ["hydra.launcher.workers=null", f"hydra.launcher.address='{cluster.address}'"]
    with command(tmp_path, "+x=1,2,3", "+seconds=60", *address) as process:
        wait_for(lambda: started(tmp_path))
        process.kill()
        wait_for((tmp_path / "job1.interrupted").exists)
        wait_for((tmp_path / "job2.interrupted").exists)
    assert not (tmp_path / "job3").exists()


def test_a_lost_scheduler_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fmnist_lab.launcher.cluster._CONNECT_TIMEOUT", 1.0)
    with running(tmp_path) as cluster:
        cluster.add_worker()
        with launcher(task, tmp_path / "sweep", f"address='{cluster.address}'") as jobs:
            jobs.submit(["+do=wait_long", f"+file={tmp_path / 'log.txt'}"], 0)
            wait_for(lambda: pids(tmp_path / "log.txt"))
            cluster.scheduler.kill()
            with pytest.raises(ConnectionLostError, match="scheduler"):
                jobs.next_result(60)
            jobs.cancel_all()


def test_a_job_finds_the_variables_of_the_command(
    jobs: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cret")
    (result,) = jobs.launch([["+do=look_around"]], 0)
    assert result.return_value[1]["MLFLOW_TRACKING_PASSWORD"] == "s3cret"


def test_a_later_command_does_not_find_them(jobs: Launcher) -> None:
    (result,) = jobs.launch([["+do=look_around"]], 0)
    assert "MLFLOW_TRACKING_PASSWORD" not in result.return_value[1]


def test_a_worker_makes_the_folder_that_it_does_not_share(
    jobs: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tmp_path / "ours"
    ours.mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(ours)
        assert jobs.slots  # connects from there
    ours.rmdir()
    (result,) = jobs.launch([["+do=look_around"]], 0)
    assert result.return_value[0] == str(ours)


def test_an_address_without_a_scheduler_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmnist_lab.launcher.cluster._CONNECT_TIMEOUT", 1.0)
    with (
        launcher(task, tmp_path, "address='tcp://me:secret@127.0.0.1:9'") as jobs,
        pytest.raises(
            RequestError, match=r"`hydra\.launcher\.address` .* tcp://127\.0\.0\.1:9"
        ) as caught,
    ):
        jobs.submit(["+do=nap"], 0)
    assert "secret" not in str(caught.value)
