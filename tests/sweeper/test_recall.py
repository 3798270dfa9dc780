"""A trial that has ended is not made again, whenever its process dies."""

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from fmnist_lab.hydra_app.sweeper_hooks import recall
from tests.conftest import TINY
from tests.support.disturbed import Soaked, check
from tests.support.folders import RESULT
from tests.support.launchers import workers
from tests.support.outages import OPEN, SILENT, gate_to, mlflow_server
from tests.support.sweeping import wait_for


def leave(folder: Path, **content: object) -> None:
    (folder / "result.json").write_text(json.dumps(RESULT | content))


class TestWhatATrialLeft:
    """That has ended."""

    @pytest.mark.parametrize("reason", ["completed", "early_stopped", "diverged", "pruned"])
    def test_is_its_objective(self, tmp_path: Path, reason: str) -> None:
        leave(tmp_path, stop_reason=reason, objective=0.5)
        left = recall(tmp_path, time.time() - 60)
        assert left == {"values": [0.5], "pruned": reason == "pruned"}

    @pytest.mark.parametrize("reason", ["interrupted", "failed", "nonsense"])
    def test_is_nothing_if_it_is_made_again(self, tmp_path: Path, reason: str) -> None:
        leave(tmp_path, stop_reason=reason, objective=0.5)
        assert recall(tmp_path, 0) is None

    def test_is_nothing_if_another_left_it(self, tmp_path: Path) -> None:
        leave(tmp_path, stop_reason="completed", objective=0.5)
        assert recall(tmp_path, time.time() + 60) is None

    @pytest.mark.parametrize("text", [None, "", "{", "[1]", "{}", '{"stop_reason": "completed"}'])
    def test_is_nothing_if_there_is_nothing_whole(self, tmp_path: Path, text: str | None) -> None:
        if text is not None:
            (tmp_path / "result.json").write_text(text)
        assert recall(tmp_path, 0) is None


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("victims", ["worker", "worker and controller"])
def test_a_kill_between_result_and_study(tmp_path: Path, victims: str) -> None:
    """The server is silent, so the first trial waits for it when its result is there."""
    (tmp_path / "server").mkdir()
    one = (*TINY[:-1], "hydra.launcher.workers=1", "hydra.sweeper.n_trials=1", "replicates=0")
    with (
        mlflow_server(tmp_path / "server") as (url, _),
        gate_to(url) as gate,
        Soaked(tmp_path / "sweep", url, gate, *one) as sweep,
    ):
        sweep.trials = 1
        controller = sweep.running()
        wait_for(lambda: bool(workers(controller.pid)), 120)
        gate.turn(SILENT)
        result = sweep.folder / "trials" / "0" / "result.json"
        wait_for(result.exists, 120)
        (worker,) = workers(controller.pid)
        worker.kill()
        if victims != "worker":
            os.kill(controller.pid, signal.SIGKILL)
            controller.wait()
        first = json.loads(result.read_text())
        gate.turn(OPEN)
        sweep.finish()
        sweep.deliver()
        check(sweep, 1)
        assert sweep.states() == Counter(complete=4)
        assert len(sweep.runs("trial")) == 4
        assert json.loads(result.read_text())["seconds"] == first["seconds"]
