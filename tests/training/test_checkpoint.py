"""A trial that is killed goes on from its last checkpoint; little data, every epoch kept."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fmnist_lab import cli
from fmnist_lab.hydra_app import trial_job
from fmnist_lab.training import checkpoint, runner
from fmnist_lab.training.checkpoint import FILE, Attempts, Checkpoint
from fmnist_lab.trial import Labels, StopReason, Trial, TrialResult
from tests.conftest import TINY, ComposeTrial, run_here
from tests.support.launchers import wait_for
from tests.support.runs import Notebook, read_curve, read_result
from tests.support.sweeping import study

pytestmark = pytest.mark.slow

STATE = {"model": [np.arange(3.0)], "optimizer": [np.array(7)]}
EVERY = Attempts(checkpoint_seconds=0)


def without_time(curve: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "time/epoch_seconds"} for line in curve]


class Fixture:
    """A trial of six epochs, and ways to train it."""

    def __init__(self, trial: Trial, labels: Labels) -> None:
        self.trial, self.labels = trial, labels

    def cut_off(self, folder: Path, after: int, error: type[BaseException] = SystemExit) -> None:
        """Trains so many epochs and one more, of which no checkpoint is left."""

        def stop(epoch: int, metrics: Any) -> bool:
            if epoch == after:
                raise error
            return True

        folder.mkdir(exist_ok=True)
        with pytest.raises(error):
            self.train(folder, stop)

    def train(self, folder: Path, *arguments: Any, **keywords: Any) -> TrialResult:
        folder.mkdir(exist_ok=True)
        keywords = {"attempts": EVERY} | keywords
        tracker = keywords.pop("tracker", runner.Tracker())
        return runner.run(self.trial, self.labels, folder, tracker, *arguments, **keywords)


@pytest.fixture(scope="module")
def it(tiny: ComposeTrial, labels: Labels) -> Fixture:
    return Fixture(tiny("training.epochs=6"), labels)


@pytest.fixture(scope="module")
def whole(it: Fixture, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The curve of a trial that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    it.train(folder)
    return without_time(read_curve(folder))


class TestGoingOn:
    """Another attempt at the same trial."""

    def test_in_the_same_folder(
        self, it: Fixture, whole: list[dict[str, Any]], tmp_path: Path
    ) -> None:
        it.cut_off(tmp_path, after=3)
        first = read_curve(tmp_path)
        tracker, reported = Notebook(), []
        attempts = replace(EVERY, tell=lambda epoch, metrics: reported.append(epoch))
        result = it.train(tmp_path, tracker=tracker, attempts=attempts)
        curve = read_curve(tmp_path)
        assert without_time(curve) == whole
        assert curve[:3] == first[:3], "what was kept has been trained again"
        assert reported == [0, 1, 2]
        assert [line["val/loss"] for line in tracker.epochs] == [line["val/loss"] for line in whole]
        assert (result.stop_reason, result.epochs_trained) == (StopReason.COMPLETED, 6)
        assert result.seconds >= sum(line["time/epoch_seconds"] for line in curve)
        assert not (tmp_path / FILE).exists()

    def test_from_the_folder_of_the_trial_that_it_repeats(
        self, it: Fixture, whole: list[dict[str, Any]], tmp_path: Path
    ) -> None:
        folders = [tmp_path / name for name in "0123"]
        it.cut_off(folders[0], after=2)
        folders[1].mkdir()  # an attempt that was killed before it began
        attempts = replace(EVERY, checkpoint_seconds=600, earlier=[folders[1], folders[0]])
        with pytest.raises(KeyboardInterrupt):
            it.train(folders[2], raise_interrupt, attempts=attempts)
        assert not (folders[0] / FILE).exists()
        reported: list[int] = []
        attempts = replace(
            attempts,
            earlier=[folders[2], *attempts.earlier],
            tell=lambda epoch, metrics: reported.append(epoch),
        )
        it.train(folders[3], attempts=attempts)
        assert reported == [0, 1]
        assert without_time(read_curve(folders[3])) == whole

    @pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
    def test_after_other_ends(self, it: Fixture, tmp_path: Path, error: Any) -> None:
        it.cut_off(tmp_path, 2, error)
        assert (tmp_path / FILE).exists()
        assert read_result(tmp_path)["stop_reason"] in ("interrupted", "failed")

    def test_not_after_it_was_pruned(self, it: Fixture, tmp_path: Path) -> None:
        it.train(tmp_path, lambda epoch, metrics: epoch < 3)
        assert read_result(tmp_path)["stop_reason"] == "pruned"
        assert not (tmp_path / FILE).exists()


def raise_interrupt(epoch: int, metrics: Any) -> bool:
    raise KeyboardInterrupt


class TestOfNoUse:
    """A checkpoint that does not fit is passed over, in a sentence."""

    @pytest.mark.parametrize(
        ("change", "key"),
        [
            (lambda trial: replace(trial, seed=trial.seed + 1), "trial.seed"),
            (lambda trial: replace(trial, stopping=replace(trial.stopping, patience=9)),
             "trial.stopping.patience"),
        ],
    )  # fmt: skip
    def test_of_another_trial(
        self, it: Fixture, tmp_path: Path, caplog: pytest.LogCaptureFixture,
        change: Callable[[Trial], Trial], key: str,
    ) -> None:  # fmt: skip
        it.cut_off(tmp_path, after=1)
        other = Fixture(change(it.trial), it.labels)
        tracker = Notebook()
        other.train(tmp_path, tracker=tracker)
        (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
        assert key in warning
        assert len(tracker.epochs) == 6

    @pytest.mark.parametrize("changed", ["tensorflow", "threads", "processor"])
    def test_of_another_version_or_machine(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, changed: str
    ) -> None:
        kept = Checkpoint(tmp_path, {changed: 1}, EVERY)
        kept.offer(lambda: STATE)
        assert not Checkpoint(tmp_path, {changed: 2}, EVERY).state
        assert changed in caplog.text
        assert Checkpoint(tmp_path, {changed: 1}, EVERY).state

    @pytest.mark.parametrize("size", [0, 1, 100, -1])
    def test_torn(self, tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int) -> None:
        Checkpoint(tmp_path, {}, EVERY).offer(lambda: STATE)
        path = tmp_path / FILE
        path.write_bytes(path.read_bytes()[:size])
        assert Checkpoint(tmp_path, {}, EVERY).curve == []
        assert FILE in caplog.text

    def test_with_something_to_run_in_it(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        np.savez(tmp_path / FILE, json=np.array([Bomb()], dtype=object))
        assert not Checkpoint(tmp_path, {}, EVERY).state
        assert FILE in caplog.text


class Bomb:
    """Would end the process that unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return sys.exit, (3,)


class TestTheFile:
    """When it is written, and what is in it."""

    def test_holds_what_it_was_given(self, tmp_path: Path) -> None:
        kept = Checkpoint(tmp_path, {"seed": 1}, EVERY)
        kept.curve.append({"val/loss": 0.1 + 0.2, "train/loss": float("nan")})
        kept.offer(lambda: STATE)
        again = Checkpoint(tmp_path, {"seed": 1}, EVERY)
        assert json.dumps(again.curve) == json.dumps(kept.curve)
        assert again.state["model"][0].dtype == np.float64
        assert [int(value) for value in again.state["optimizer"]] == [7]
        assert again.state.keys() == STATE.keys()
        assert [path.name for path in tmp_path.iterdir()] == [FILE]

    def test_comes_at_most_so_often(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = SimpleNamespace(now=100.0)
        clock.monotonic = lambda: clock.now
        monkeypatch.setattr(checkpoint, "time", clock)
        kept, written = Checkpoint(tmp_path, {}, Attempts(checkpoint_seconds=30)), []

        def offer(now: float, takes: float = 0.0) -> None:
            def state() -> dict[str, Any]:
                written.append(now)
                clock.now += takes
                return STATE

            clock.now = now
            kept.offer(state)

        for now in (110, 129, 131, 140, 160, 162):
            offer(now)
        assert written == [131, 162]
        offer(200, takes=5)
        for now in (240, 304, 306):
            offer(now)
        assert written == [131, 162, 200, 306], "writing may take a twentieth of the time"

    def test_may_be_left_out(self, it: Fixture, tmp_path: Path) -> None:
        seen: list[bool] = []

        def look(epoch: int, metrics: Any) -> bool:
            seen.append((tmp_path / FILE).exists())
            return True

        it.train(tmp_path, look, attempts=Attempts(checkpoint_seconds=None))
        assert seen == [False] * 6

    def test_what_a_killed_writer_left_goes_away(self, tmp_path: Path) -> None:
        (tmp_path / ".checkpoint.abc.npz").write_text("half")
        Checkpoint(tmp_path, {}, EVERY)
        assert list(tmp_path.iterdir()) == []

    def test_a_disk_that_is_full_stops_no_training(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*arguments: Any, **arrays: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(np, "savez", full)
        kept = Checkpoint(tmp_path, {}, EVERY)
        for _ in range(3):
            kept.offer(lambda: STATE)
        (warning,) = [item.message for item in caplog.records if item.levelname == "WARNING"]
        assert os.strerror(errno.ENOSPC) in warning
        assert list(tmp_path.iterdir()) == []


SWEEP = """# @package _global_
defaults:
  - override /data: synthetic
  - override /architecture: mlp
  - override /hydra/sweeper: fmnist_lab

data: {train_size: 320, val_size: 100}
architecture: {hidden_sizes: [16]}
training: {epochs: 6}
replicates: 0
checkpoint_seconds: 0

hydra:
  sweeper:
    n_trials: 1
    strategies: {calm: scheduler=constant, steep: scheduler=exponential}
"""


def test_a_sweep_repeats_a_trial_from_its_checkpoint(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "sweeps").mkdir()
    (folder / "sweeps" / "night.yaml").write_text(SWEEP)
    keep_training, stops = trial_job._Study.keep_training, [3, 5]

    def interrupted(study: Any, epoch: int, metrics: Any) -> bool:
        if stops and epoch == stops[0]:
            stops.pop(0)
            raise KeyboardInterrupt
        return keep_training(study, epoch, metrics)

    monkeypatch.setattr(trial_job._Study, "keep_training", interrupted)
    words = ["sweep", "night", "tracking=none", "hydra/launcher=basic"]  # in this process
    done = [CliRunner().invoke(cli.app, words) for _ in range(3)]
    assert [one.exit_code for one in done] == [130, 130, 0], [one.output for one in done]
    trials = folder / "mlruns" / "sweeps" / "night" / "trials"
    assert [path.name for path in sorted(trials.iterdir())] == ["0", "2", "4", "5"]
    first, second, whole = (read_curve(trials / name) for name in "024")
    assert [len(first), len(second), len(whole)] == [4, 6, 6]
    assert whole[:5] == second[:5]
    assert whole[:3] == first[:3]
    assert not any(trials.rglob(FILE))
    assert " 5," in (trials / "4" / "train.log").read_text()
    reported = study(trials.parent, "night/calm").get_trials()[2].intermediate_values
    assert list(reported.values()) == [line["val/accuracy"] for line in whole]


@pytest.mark.slow
def test_a_killed_process_goes_on_from_its_checkpoint(
    folder: Path, environment: dict[str, str]
) -> None:
    words = [
        *TINY[:-1], "training.epochs=80", "checkpoint_seconds=0", "tracking=none",
        "scheduler=performance", "scheduler.patience=3", "architecture.dropout=0.1",
        "hydra.run.dir=mlruns/trials/it",
    ]  # fmt: skip
    calm = run_here(folder, "train", *words, "hydra.run.dir=mlruns/trials/calm")
    assert calm.returncode == 0, calm.stderr
    command = [sys.executable, "-m", "fmnist_lab", "train", *words]
    path = folder / "mlruns" / "trials" / "it" / FILE
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as first:
        wait_for(lambda: path.exists() and len(read_curve(path.parent)) > 10, 120)
        first.send_signal(signal.SIGSTOP)  # else it may end before the other is refused
        refused = run_here(folder, "train", *words)
        first.send_signal(signal.SIGKILL)
    assert refused.returncode == 2, refused.stderr
    assert "fmnist-lab: `" in refused.stderr
    assert run_here(folder, "train", *words, "training.epochs=0").returncode == 2
    assert path.exists(), "a slip of the keyboard has cost what was trained"
    before = (path.parent / "curves.jsonl").read_text().splitlines()
    again = run_here(folder, "train", *words)
    assert again.returncode == 0, again.stderr
    assert path.name in again.stdout + again.stderr
    curve = read_curve(path.parent)
    assert len(curve) == 80 > len(before)
    assert [json.loads(line) for line in before[:10]] == curve[:10]
    assert not path.exists()
    assert without_time(curve) == without_time(read_curve(path.parents[1] / "calm"))
