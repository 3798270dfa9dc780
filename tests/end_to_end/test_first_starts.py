"""Many first starts at once in an empty folder: one makes what is missing, the others wait."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY
from tests.support.disturbed import Sweep, check
from tests.support.sweeping import ROOT, first_start, start, trials

pytestmark = pytest.mark.slow

MANY = 8
REFUSED = "must have one controller, got a second"


def test_two_controllers_of_one_sweep(tmp_path: Path) -> None:
    """Both start at once where there is nothing; one runs the sweep, the other says so."""
    ledger = tmp_path / "ledger"
    command = [
        "hydra/sweeper=fmnist_lab", "+x=interval(0,1)", f"+ledger={ledger}", "+seconds=0.5",
        "hydra.sweeper.n_trials=4",
    ]  # fmt: skip
    # One log each, but one folder: the later override of two decides.
    both = [
        start("slow", tmp_path / name, *command, f"hydra.sweep.dir={tmp_path / 'sweep'}")
        for name in ("one", "other")
    ]
    codes = [process.wait(timeout=100) for process in both]
    logs = [(tmp_path / f"{name}.log").read_text() for name in ("one", "other")]
    assert sorted(codes) == [0, 1], logs
    assert REFUSED in logs[codes.index(1)]
    assert REFUSED not in logs[codes.index(0)]
    assert len(trials(tmp_path / "sweep", "slow", "COMPLETE")) == 4
    assert ledger.read_text().count("start") == 4


def launch(folder: Path, *words: str) -> "subprocess.Popen[str]":
    """Starts `fmnist-lab` in a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "fmnist_lab", *words],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")}
        | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.faults
@pytest.mark.timeout(1800)
class TestEight:
    """Eight processes at a time."""

    @pytest.mark.parametrize("attempt", range(5))
    def test_open_a_store_that_is_not_there(self, tmp_path: Path, attempt: int) -> None:
        started = [first_start(tmp_path) for _ in range(MANY)]
        answers = [process.communicate(timeout=600) for process in started]
        assert [process.returncode for process in started] == [0] * MANY, answers
        (same,) = {output for output, _ in answers}
        assert same.split()[0] == "2"  # experiments: ours, and MLflow's own default
        client, experiment = open_store(tmp_path)
        assert len(client.search_runs([experiment])) == MANY
        files = {path.name for path in tmp_path.glob("mlruns/*")}
        assert files == {".gitignore", ".mlflow.lock", "mlflow.db"}

    @pytest.mark.parametrize("attempt", range(5))
    def test_trials_in_an_empty_folder(self, tmp_path: Path, attempt: int) -> None:
        started = [launch(tmp_path, "train", *TINY, f"seed={seed}") for seed in range(MANY)]
        outputs = [process.communicate(timeout=600)[0] for process in started]
        assert [process.returncode for process in started] == [0] * MANY, outputs
        assert not any("Traceback" in output for output in outputs), outputs
        sent = launch(tmp_path, "sync")  # what a trial could not send in its one second
        printed, _ = sent.communicate(timeout=600)
        assert sent.returncode == 0, printed
        client, experiment = open_store(tmp_path)
        assert len(client.search_experiments()) == 2  # ours, and MLflow's own default
        runs = client.search_runs([experiment])
        assert Counter(run.info.status for run in runs) == {"FINISHED": MANY}
        assert {run.data.tags["seed"] for run in runs} == set(map(str, range(MANY)))
        for run in runs:
            points = client.get_metric_history(run.info.run_id, "val/loss")
            assert sorted(point.step for point in points) == [0, 1, 2]

    @pytest.mark.parametrize("attempt", range(3))
    def test_controllers_of_one_sweep(self, tmp_path: Path, attempt: int) -> None:
        total = 1
        with Sweep(tmp_path / "raced", *TINY[:-1], f"hydra.sweeper.n_trials={total}") as sweep:
            words = ["sweep", "demo", *sweep.overrides]
            started = [launch(sweep.root, *words) for _ in range(MANY)]
            outputs = [process.communicate(timeout=900)[0] for process in started]
            codes = Counter(process.returncode for process in started)
            assert set(codes) == {0, 2}, outputs
            for process, output in zip(started, outputs, strict=True):
                assert (REFUSED in output) == (process.returncode == 2), output
            assert codes[0] >= 1  # a late one finds all done, and has nothing to do
            check(sweep, total)


def open_store(folder: Path) -> tuple[Any, str]:
    """A client of the store in a folder, and our experiment's id."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}")
    return client, client.get_experiment_by_name("fmnist-lab").experiment_id
