"""`fmnist-lab train` in a folder of its own, and where that matters in a process of its own."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra

from fmnist_lab.hydra_app import trial_job
from tests.conftest import TINY, run_here
from tests.support.sweeping import wait_for

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.slow


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())  # type: ignore[no-any-return]


OWN_CODE = """
import numpy as np
from fmnist_lab import architectures

def halving(initial_learning_rate):
    return lambda epoch: initial_learning_rate * 0.5 ** np.asarray(epoch)

def small(units):
    return architectures.mlp([units])
"""


def test_own_options_train(folder: Path) -> None:
    for group, text in {
        "scheduler": "_target_: own_options_of_train.halving\n"
        "initial_learning_rate: ${optimizer.learning_rate}\nupdate: epoch\n",
        "architecture": "_target_: own_options_of_train.small\nunits: 8\n",
    }.items():
        (folder / "conf" / group).mkdir(parents=True)
        (folder / "conf" / group / "mine.yaml").write_text(text)
    (folder / "own_options_of_train.py").write_text(OWN_CODE)

    tiny = [word for word in TINY if not word.startswith("architecture")]
    words = ["tracking=none", "scheduler=mine", "architecture=mine"]
    done = run_here(folder, "train", *tiny, *words)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    progress = [line[:9] for line in done.stdout.splitlines() if "rate" in line]
    assert progress == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]

    trial = only(folder, "mlruns/trials/*")
    curve = [json.loads(line) for line in (trial / "curves.jsonl").read_text().splitlines()]
    assert [line["opt/learning_rate"] for line in curve] == pytest.approx([1e-3, 5e-4, 2.5e-4])
    result = read_json(trial / "result.json")
    assert (result["scheduler"], result["architecture"]) == ("mine", "mine")
    assert (result["strategy"], result["sweep"], result["trial"]) == ("mine", None, 0)
    assert result["parameters"] == 784 * 8 + 8 + 8 * 10 + 10
    assert (trial / ".hydra" / "config.yaml").exists()
    assert "epoch 3/3" in (trial / "train.log").read_text()
    assert not (folder / "mlruns/mlflow.db").exists()


def test_a_multirun_keeps_what_came_before_a_wrong_job(folder: Path) -> None:
    jobs = ["training.epochs=3,0", "scheduler=linear,cosine"]  # the third job has no epochs
    done = run_here(folder, "train", "-m", *TINY[:-1], "tracking=none", *jobs)
    assert done.returncode == 2
    assert done.stderr.startswith("fmnist-lab: `training.epochs` ")
    assert done.stderr.endswith(" 0.\n")
    night = only(folder, "mlruns/multirun/*")
    assert {path.name for path in night.iterdir()} == {"0", "1", "multirun.yaml"}
    results = [read_json(night / str(number) / "result.json") for number in range(2)]
    assert [result["strategy"] for result in results] == ["linear", "cosine"]
    assert [result["trial"] for result in results] == [0, 1]
    assert {result["sweep"] for result in results} == {night.name}

    table = run_here(folder, "compare")
    assert (table.returncode, table.stderr) == (0, "")
    for result in results:
        row = next(line for line in table.stdout.splitlines() if result["strategy"] in line)
        assert f"{result['objective']:.4f}" in row
    assert str(night.relative_to(folder)) in table.stdout


def require_kept(code: int, complaint: str, trial: Path) -> dict[str, Any]:
    """Asserts that an interrupted command has kept what it trained; returns the trial's result."""
    assert code == 130, complaint
    assert complaint.startswith("fmnist-lab: ")
    assert complaint.count("\n") == 1
    result = read_json(trial / "result.json")
    lines = (trial / "curves.jsonl").read_text().splitlines()
    assert result["stop_reason"] == "interrupted"
    assert result["epochs_trained"] == len(lines) > 0
    assert result["objective"] == json.loads(lines[-1])["val/accuracy"]
    return result


def test_an_interruption_keeps_everything(
    folder: Path, environment: dict[str, str], empty_store: Path
) -> None:
    (folder / "mlruns").mkdir()
    shutil.copy(empty_store, folder / "mlruns/mlflow.db")
    again = [*TINY, "training.epochs=100000", "tracking=local"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fmnist_lab", "train", *again, "tracking.parent='0123'"],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        curves = folder / "mlruns/trials"
        wait_for(lambda: any(curves.rglob("curves.jsonl")) or process.poll() is not None, 120)
        process.send_signal(signal.SIGTERM)
        _, complaint = process.communicate(timeout=60)
    finally:
        process.kill()
    result = require_kept(process.returncode, complaint, only(folder, "mlruns/trials/*"))

    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")
    run = client.get_run(result["mlflow_run_id"])
    assert run.info.status == "KILLED"
    assert run.data.tags["stop_reason"] == "interrupted"
    assert run.data.params["training.epochs"] == "100000"
    assert run.data.tags["mlflow.parentRunId"] == "0123"
    command = shlex.join(["fmnist-lab", "train", *again])  # but not in that sweep
    note = run.data.tags["mlflow.note.content"].replace(" \\\n    ", " ")  # a word a line
    assert f"\n{command}\n" in note
    listed = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert listed >= {".hydra", "curves.jsonl", "curves.png", "result.json", "train.log"}
    history = client.get_metric_history(run.info.run_id, "val/loss")
    assert len(history) == result["epochs_trained"]


def test_an_interruption_of_a_multirun_keeps_everything(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(study: Any, epoch: int, metrics: Any) -> bool:
        if epoch == 1:
            raise KeyboardInterrupt
        return True

    monkeypatch.setattr(trial_job._Study, "keep_training", interrupted)
    done = run_here(folder, "train", "-m", *TINY, "tracking=none", "seed=1,2")
    (trial,) = (path.parent for path in folder.glob("mlruns/**/result.json"))
    result = require_kept(done.returncode, done.stderr, trial)
    assert result["epochs_trained"] == 2


BROKEN = """\
class build:
    def learning_rates(self, epoch, steps):
        if epoch == 1:
            raise OSError("broken")
        return [0.001] * steps

    def observe(self, epoch, metrics):
        pass
"""


def test_an_error_of_own_code_keeps_its_traceback(folder: Path) -> None:
    (folder / "broken_rates.py").write_text(BROKEN)
    (folder / "conf/scheduler").mkdir(parents=True)
    (folder / "conf/scheduler/mine.yaml").write_text("_target_: broken_rates.build\n")
    with pytest.raises(OSError, match="broken") as raised:
        run_here(folder, "train", *TINY, "tracking=none", "scheduler=mine")
    GlobalHydra.instance().clear()
    assert Path(raised.traceback[-1].path).name == "broken_rates.py"


@pytest.mark.parametrize(
    ("overrides", "token"),
    [
        (["training.epochs=0"], "`training.epochs`"),
        (["training.epoch=1"], "'training.epoch'"),
        (["scheduler=cosinus"], "'scheduler/cosinus'"),
        (["optimizer=null"], "ValueError"),
        (["-m", "training.epochs=0,1"], "`training.epochs`"),
        (["tracking=none", "data.dir=/nowhere"], "`data.dir`"),
    ],
)
def test_a_refused_request_is_one_sentence_and_leaves_no_folder(
    folder: Path, overrides: list[str], token: str
) -> None:
    done = run_here(folder, "train", *overrides)
    assert done.returncode == 2
    assert done.stderr.startswith("fmnist-lab: ")
    assert token in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path for path in folder.rglob("*") if path.name not in ("mlruns", "multirun")] == []


def test_the_configuration_is_shown_without_tensorflow(
    folder: Path, lab: Run, environment: dict[str, str]
) -> None:
    environment["PYTHONPROFILEIMPORTTIME"] = "1"  # every import is a line on stderr
    shown = lab("train", "--cfg", "job", "scheduler=linear", "training.epochs=7")
    assert shown.returncode == 0
    assert "_target_: fmnist_lab.schedules.linear" in shown.stdout
    assert "  epochs: 7" in shown.stdout
    imported = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
    assert "fmnist_lab.config" in imported
    assert imported.isdisjoint({"tensorflow", "keras", "mlflow", "matplotlib", "plotext"})
    assert list(folder.iterdir()) == []


def test_help_is_hydras(folder: Path) -> None:
    done = run_here(folder, "train", "--help")
    assert done.returncode == 0
    assert "scheduler: constant, cosine, cosine_restarts" in done.stdout
    assert "Hydra" in done.stdout
    assert os.listdir(folder) == []  # noqa: PTH208  # names are enough


def test_a_study_prunes_a_trial_that_keeps_its_curve(folder: Path) -> None:
    rate = "optimizer.learning_rate"
    study = [
        "hydra/sweeper=fmnist_lab",
        "hydra/sweeper/pruner=median",
        "hydra.sweeper.pruner.n_startup_trials=1",
        "hydra.sweeper.direction=maximize",
        "hydra.sweeper.n_trials=3",
        "hydra.sweeper.n_jobs=1",
        f"+hydra.sweeper.enqueue=[{{{rate}: 0.01}}, {{{rate}: 1.0e-9}}]",
    ]
    searched = f"{rate}=tag(log, interval(1e-9, 0.1))"
    done = run_here(folder, "train", "-m", *TINY, "tracking=none", *study, searched)
    assert done.returncode == 0, done.stderr
    sweep = only(folder, "mlruns/multirun/*")
    results = [read_json(sweep / str(number) / "result.json") for number in range(3)]
    assert results[0]["stop_reason"] == "completed"
    assert results[1]["stop_reason"] == "pruned"
    assert results[1]["epochs_trained"] < 3
    lines = (sweep / "1" / "curves.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == results[1]["epochs_trained"]
    best = (sweep / "optimization_results.yaml").read_text(encoding="utf-8")
    assert str(max(result["objective"] for result in results)) in best
    assert {*TINY, "tracking=none"} <= {*yaml.safe_load(best)["best_overrides"]}
