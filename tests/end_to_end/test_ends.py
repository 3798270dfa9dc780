"""However a command with workers ends, its jobs record that and no process is left."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.launchers import command, started, wait_for

pytestmark = pytest.mark.slow


def running(folder: Path) -> set[int]:
    """Processes that work in the folder."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder:
                found.add(int(process.name))
        except OSError:
            continue
    return found


def test_a_command_ends_with_nothing_to_say_and_nothing_left(tmp_path: Path) -> None:
    with command(tmp_path, "+x=1,2,3", "+seconds=0.1", "hydra.sweep.dir=out") as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in output
    assert "distributed" not in output
    assert running(tmp_path) == set()
    assert not list((tmp_path / "temporary").iterdir())


def test_a_failed_job_is_an_error_of_the_command(tmp_path: Path) -> None:
    one = "hydra.launcher.workers=1"
    with command(tmp_path, "+x=1,9", "+seconds=0.1", one) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "nine" in output
    assert running(tmp_path) == set()


@pytest.mark.parametrize("signals", [1, 2])
def test_ctrl_c_interrupts_the_jobs(tmp_path: Path, signals: int) -> None:
    with command(tmp_path, "+x=1,2,3", "+seconds=60") as process:
        wait_for(lambda: started(tmp_path))
        for _ in range(signals):
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.1)
        process.communicate(timeout=30)
        assert process.returncode not in (0, None)
        wait_for(lambda: running(tmp_path) == set())
    assert (tmp_path / "job1.interrupted").exists()
    assert (tmp_path / "job2.interrupted").exists()
    assert not (tmp_path / "job3").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_jobs_do_not_outlive_a_killed_controller(tmp_path: Path, number: signal.Signals) -> None:
    with command(tmp_path, "+x=1,2,3", "+seconds=60") as process:
        wait_for(lambda: started(tmp_path))
        process.send_signal(number)
        start = time.monotonic()
        wait_for(lambda: running(tmp_path) == set(), seconds=20)
        print(f"nothing is left after {time.monotonic() - start:.2f} s")
    assert time.monotonic() - start < 15
    assert (tmp_path / "job1.interrupted").exists()
    assert (tmp_path / "job2.interrupted").exists()


def test_jobs_that_cannot_be_interrupted_are_killed(tmp_path: Path) -> None:
    with command(tmp_path, "+x=1,2", "+seconds=60", "+nap=60") as process:
        wait_for(lambda: started(tmp_path))
        process.kill()
        wait_for(lambda: running(tmp_path) == set(), seconds=25)
