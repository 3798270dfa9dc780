"""MLflow servers that fail again and again, or for minutes, and local stores on a full disk."""

import functools
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from fmnist_lab import tracking
from fmnist_lab.tracking.outbox import unsent
from fmnist_lab.tracking.sender import _sender as sender_of
from tests.conftest import ComposeTrial
from tests.support.outages import FAULTS, OPEN, SILENT, Gate, fill, mlflow_server, small_disk
from tests.support.recorded import (
    EPOCHS,
    MOST_WAITING,
    Server,
    Trainer,
    check,
    deliver,
    logged_warnings,
)


@pytest.mark.faults
@pytest.mark.timeout(3600)
class TestManyFaults:
    """The same, more often and for longer."""

    def test_twenty_outages(
        self, gate: Gate, trainer: Trainer, server: Server, calm: list[dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        """Each fault four times, from a random epoch to a random later one, or beyond the end."""
        monkeypatch.setattr("fmnist_lab.tracking.trial_run.SEND_SECONDS", 0.0)
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
                folder, waited = trainer.train(gate.url, f"many-{number}", acts)
            seconds.append(waited)
            gate.turn(OPEN)
            deliver(folder)
            check(server, f"many-{number}", folder, calm)
            print(f"{fault:10} from epoch {begin} to {end}: waited {waited:.2f} s")
        assert max(seconds) < MOST_WAITING

    def test_a_network_that_is_lost_for_two_minutes(
        self, gate: Gate, trainer: Trainer, server: Server, tiny: ComposeTrial
    ) -> None:
        trainer.epoch_seconds = 0.5
        trainer.trial = tiny("training.epochs=300")
        acts = {20: lambda: gate.turn(SILENT), 260: lambda: gate.turn(OPEN)}
        folder, waited = trainer.train(gate.url, "lost-network", acts)
        assert waited < MOST_WAITING
        deliver(folder)
        (run,) = server.runs("lost-network")
        assert [step for step, _ in server.curve(run, "val/loss")] == list(range(300))

    def test_a_server_that_is_killed_and_started_again(
        self,
        tmp_path: Path,
        trainer: Trainer,
        calm: list[dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("fmnist_lab.tracking.trial_run.SEND_SECONDS", 0.0)
        (tmp_path / "own").mkdir()
        with mlflow_server(tmp_path / "own") as (url, process):
            Server(url).runs("-")  # its database is there
            acts = {2: lambda: process.send(signal.SIGKILL)}
            folder, waited = trainer.train(url, "killed-server", acts)
        assert waited < MOST_WAITING
        assert any(unsent(folder))
        with mlflow_server(tmp_path / "own", int(url.rpartition(":")[2])):
            deliver(folder)
            check(Server(url), "killed-server", folder, calm)

    @pytest.mark.parametrize("begin", [-1, 2])
    def test_a_full_disk_under_the_local_store(
        self, begin: int, *, tmp_path: Path, empty_store: Path, trainer: Trainer,
        calm: list[dict[str, Any]], caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr("fmnist_lab.tracking.trial_run.SEND_SECONDS", 0.0)
        trainer.epoch_seconds = 2.0  # a store that works is waited for while it is opened
        with small_disk(tmp_path / "disk", 4) as disk:
            shutil.copy(empty_store, disk / "mlflow.db")
            tracking.database().parent.mkdir()
            tracking.database().symlink_to(disk / "mlflow.db")
            ballast: list[Path] = []
            acts = {begin: lambda: ballast.append(fill(disk))}
            acts.get(-1, int)()
            folder, waited = trainer.train(None, "full-disk", acts)
            assert waited < MOST_WAITING
            (warning,) = logged_warnings(caplog)
            assert "disk" in warning
            ballast[0].unlink()
            deliver(folder)
            check(Server(tracking.store_uri()), "full-disk", folder, calm)
