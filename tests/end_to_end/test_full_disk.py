"""A disk that is full under the results: files are whole or absent, and nothing is lost."""

import errno
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from fmnist_lab import tracking
from fmnist_lab.training import runner
from fmnist_lab.training.checkpoint import FILE, Attempts
from fmnist_lab.trial import Labels, StopReason
from tests.conftest import TINY, ComposeTrial
from tests.support.disturbed import Sweep, check
from tests.support.outages import fill, small_disk
from tests.support.runs import Notebook, read_curve
from tests.support.sweeping import wait_for

pytestmark = pytest.mark.slow

SENTENCE = "fmnist-lab: "


def assert_whole(folder: Path) -> None:
    """Whatever is there can be read to its end, and nothing half-written lies beside it."""
    for path in folder.rglob("*"):
        assert not (path.name.startswith(".") and path.name.endswith((".json", ".npz"))), path
        if path.suffix == ".json":
            json.loads(path.read_text())
        if path.suffix == ".jsonl":
            assert path.read_bytes().endswith(b"\n"), path
            [json.loads(line) for line in path.read_text().splitlines()]


def test_a_trial_stops_and_goes_on_when_there_is_room(
    tmp_path: Path, tiny: ComposeTrial, labels: Labels
) -> None:
    trial, reported, ballast = tiny("training.epochs=80"), [], []
    attempts = Attempts(checkpoint_seconds=0, tell=lambda epoch, metrics: reported.append(epoch))

    def fill_once(epoch: int, metrics: Any) -> bool:
        if epoch == 5:
            ballast.append(fill(disk))
        return True

    with small_disk(tmp_path / "disk", 4) as disk:
        folder, tracker = disk / "trial", Notebook()
        folder.mkdir()
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as caught:
            runner.run(trial, labels, folder, tracker, fill_once, attempts=attempts)
        assert caught.value.errno == errno.ENOSPC
        assert [result.stop_reason for result in tracker.finished] == [StopReason.FAILED]
        assert_whole(folder)
        assert not (folder / "result.json").exists()
        assert 5 < len(read_curve(folder)) < 80
        assert (folder / FILE).exists()
        ballast[0].unlink()
        runner.run(trial, labels, folder, Notebook(), attempts=attempts)
        assert reported == [0, 1, 2, 3, 4]
        assert len(read_curve(folder)) == 80
        assert_whole(folder)


@pytest.mark.faults
@pytest.mark.timeout(900)
class TestCommands:
    """Whole commands, with everything that they leave on the small disk."""

    def test_train(
        self, folder: Path, lab: Callable[..., CompletedProcess[str]], environment: dict[str, str]
    ) -> None:
        words = [
            *TINY[:-1], "training.epochs=150", "checkpoint_seconds=0",
            "hydra.run.dir=mlruns/trials/it",
        ]  # fmt: skip
        with small_disk(folder / "mlruns", 8) as disk:
            command = [sys.executable, "-m", "fmnist_lab", "train", *words]
            with subprocess.Popen(
                command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
            ) as process:
                wait_for((disk / "trials" / "it" / FILE).exists, 120)
                ballast = fill(disk)
                error = process.communicate(timeout=300)[1]
            assert process.returncode == 1, error
            assert SENTENCE in error
            assert "Traceback" not in error
            assert_whole(disk)
            ballast.unlink()
            again = lab("train", *words)
            assert again.returncode == 0, again.stderr
            assert len(read_curve(disk / "trials" / "it")) == 150
            assert lab("sync").returncode == 0
            assert_runs({"FINISHED": 1, "KILLED": 1}, folder)

    def test_sweep(self, tmp_path: Path) -> None:
        total = 5
        tiny = (*TINY[:-1], f"hydra.sweeper.n_trials={total}", "replicates=0")
        with (
            Sweep(tmp_path / "swept", *tiny) as sweep,
            small_disk(sweep.root / "mlruns", 12) as disk,
        ):
            for times in range(1, 3):
                controller = sweep.running()
                wait_for(functools.partial(has_ended, sweep, 3 * times), 300)
                ballast = fill(disk)
                assert controller.wait(timeout=300) == 1, sweep.output
                assert_whole(disk)
                ballast.unlink()
            assert sweep.output.count(SENTENCE) == 2
            assert "Traceback" not in sweep.output
            sweep.finish()
            check(sweep, total)
            print(sweep.states())


def has_ended(sweep: Sweep, count: int) -> bool:
    """Whether so many trials have ended."""
    return sweep.ended >= count


def assert_runs(expected: dict[str, int], folder: Path) -> None:
    """So many runs have ended so."""
    import mlflow

    client = mlflow.MlflowClient(tracking.store_uri(folder / "mlruns"))
    experiment = client.get_experiment_by_name("fmnist-lab").experiment_id
    statuses = [run.info.status for run in client.search_runs([experiment])]
    assert {status: statuses.count(status) for status in set(statuses)} == expected
