"""Where memory runs out the kernel kills a sweep's worker; its trial is repeated."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY
from tests.support.disturbed import STRATEGIES, Sweep, check
from tests.support.launchers import wait_for, workers

pytestmark = pytest.mark.slow

MORE = 2**18  # bytes that a process may have beyond those it brought along


@contextmanager
def little_memory() -> Iterator[Path]:
    """A group of processes that get no more memory; skips the test where none can be made."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = [line.split(":")[2] for line in lines if line.split(":")[1] == "memory"]
    if not own:
        pytest.skip("no control group (version 1) of memory is here")
    group = Path(f"/sys/fs/cgroup/memory{own[0]}/fmnist-lab-{os.getpid()}")
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group of memory may be made: {error}")
    try:
        (group / "memory.limit_in_bytes").write_text(str(MORE))
        yield group
    finally:
        wait_for(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def kills(group: Path) -> int:
    """How many processes of the group the kernel has killed for their memory."""
    counts = dict(line.split() for line in (group / "memory.oom_control").read_text().splitlines())
    return int(counts["oom_kill"])


def training(sweep: Sweep) -> list[tuple[Any, int]]:
    """The workers in the midst of a trial, with its number."""
    logs = {str(path.parent / "train.log") for path in sweep.folder.glob("trials/*/curves.jsonl")}
    return [
        (worker, int(Path(file.path).parent.name))
        for worker in workers(sweep.running().pid)
        for file in worker.open_files()
        if file.path in logs
    ]


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_a_worker_that_the_kernel_kills(tmp_path: Path) -> None:
    total = 1
    words = (*TINY[:-1], f"hydra.sweeper.n_trials={total}", "replicates=0")
    with (
        little_memory() as group,
        Sweep(tmp_path / "disturbed", *words, epochs=400) as disturbed,
        Sweep(tmp_path / "calm", *words, epochs=400) as calm,
    ):
        controller = disturbed.running()
        wait_for(lambda: training(disturbed), 120)
        worker, number = training(disturbed)[0]
        (group / "cgroup.procs").write_text(str(worker.pid))
        wait_for(lambda: kills(group), 60)
        assert controller.wait(timeout=300) == 0, disturbed.output
        assert kills(group) == 1
        check(disturbed, total)
        assert f"Job {number} " in disturbed.output
        assert disturbed.output.count("signal 9") == 1
        runs = [run for run in disturbed.runs("trial") if run.data.tags["trial"] == str(number)]
        assert sorted(run.info.status for run in runs) == ["FINISHED", "KILLED"]
        calm.finish()
        check(calm, total)
        for strategy in STRATEGIES:
            assert disturbed.losses(strategy) == calm.losses(strategy)
