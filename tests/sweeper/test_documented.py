"""Applications as others' documentation shows them, written anew, and a project of many files."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.sweeping import APPS, results, run, run_script

pytestmark = pytest.mark.slow

OFFICIAL = "hydra/sweeper=optuna"
FEW = "hydra.sweeper.n_trials=4"


@pytest.mark.parametrize(
    ("app", "words", "searched"),
    [
        # Hydra's page of its Optuna sweeper: ways to say what is searched.
        ("quadratic", ["x=tag(log,interval(0.1,10))", "y=int(interval(-5,5))"], {"x", "y"}),
        ("quadratic", ["x=float(choice(1,2))", "y=range(-5,5,2)"], {"x", "y"}),
        ("quadratic", ["x=shuffle(range(0,5))", "y=int(tag(log,interval(1,100)))"], {"x", "y"}),
        ("quadratic", ["x=-1.5,0,2", "y=-1", "hydra/sweeper/sampler=random"], {"x"}),
        ("quadratic", ["x=tag(first,choice(1,2))", "hydra/sweeper/sampler=qmc"], {"x", "y"}),
        # The same page: a space that depends on its own suggestions.
        ("dependent_space", [], {"x", "y", "z", "+w"}),
        # Hydra's tutorials and launchers: every combination of options of groups.
        (
            "groups",
            [OFFICIAL, "db=glob(*)", "schema=glob(*,exclude=w*)", "hydra/sweeper/sampler=grid"],
            {"db", "schema"},
        ),
        ("groups", [OFFICIAL, "db=mysql", "db.timeout=range(5,20,5)"], {"db.timeout"}),
        # Optuna's tutorials: reports and pruning.
        ("pruning", [OFFICIAL, "+x=interval(0,3)", "hydra/sweeper/pruner=median"], {"+x"}),
    ],
)  # fmt: skip
def test_one_objective(tmp_path: Path, app: str, words: list[str], searched: set[str]) -> None:
    run(app, tmp_path, FEW, *words)
    found = results(tmp_path)
    assert found["best_params"].keys() == searched
    assert sum(found["trials"].values()) == 4
    assert "fail" not in found["trials"]


@pytest.mark.parametrize("sampler", ["nsgaii", "tpe"])
def test_several_objectives(tmp_path: Path, sampler: str) -> None:
    words = ("+x=range(0,5,step=0.5)", "hydra.sweeper.direction=[minimize,minimize]")
    run("two_objectives", tmp_path, OFFICIAL, FEW, *words, f"hydra/sweeper/sampler={sampler}")
    assert results(tmp_path)["solutions"]


def test_a_run_in_mlflow_for_each_trial(tmp_path: Path, empty_store: Path) -> None:
    from mlflow import MlflowClient
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    shutil.copy(empty_store, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri)
    experiment = client.create_experiment("search", str(tmp_path / "artifacts"))
    parent = client.create_run(experiment).info.run_id
    words = (OFFICIAL, FEW, "+lr=tag(log,interval(0.001,1))", "+layers=choice(1,2)")
    run("mlflow_runs", tmp_path / "sweep", *words, MLFLOW_TRACKING_URI=uri, PARENT=parent)
    below = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent}'"
    runs = client.search_runs([experiment], below)
    assert {run.info.run_name for run in runs} == {f"trial-{number}" for number in range(4)}
    assert {run.info.status for run in runs} == {"FINISHED"}
    best = min(run.data.metrics["val_loss"] for run in runs)
    assert best == results(tmp_path / "sweep")["best_value"]
    assert len(client.get_metric_history(runs[0].info.run_id, "loss")) == 3


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return shutil.copytree(APPS / "project", tmp_path / "project")


def sweep_of(project: Path) -> Path:
    (sweep,) = project.glob("logs/train/multiruns/*")
    return sweep


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "dask hydra.launcher.workers=1"])
def test_a_project_of_the_templates_layout(project: Path, launcher: str) -> None:
    chosen = f"hydra/launcher={launcher}".split()
    words = ("hparams_search=blobs_optuna", "experiment=example", *chosen)
    run_script(project / "src" / "train.py", project / "log", *words)
    sweep = sweep_of(project)
    found = results(sweep)
    assert found["trials"] == {"complete": 4}
    assert found["best_params"].keys() == {
        "model.optimizer.lr", "data.batch_size", "model.net.features"
    }  # fmt: skip
    for number in range(4):
        job = sweep / str(number)
        assert (job / "tags.log").read_text() == "blobs,example"
        assert f": {job}" in (job / "train.log").read_text()
    best = sweep / str(found["best_trial"])
    assert len(np.load(best / "best.npy")) == found["best_params"]["model.net.features"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["-m", "hparams_search=blobs_older"], 4),
        (["hparams_search=blobs_optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2"], 2),
        (["hparams_search=blobs_optuna", FEW, "model.net.features=4", "seed=1,2"], 4),
        (["hparams_search=blobs_optuna", FEW, "~callbacks.best", "optimized_metric=val/acc"], 4),
        (["-m", "data.batch_size=20,40", "trainer.max_epochs=1,2", "experiment=example"], 4),
    ],
)
def test_other_commands_of_the_project(project: Path, words: list[str], count: int) -> None:
    run_script(project / "src" / "train.py", project / "log", *words)
    assert len(list(sweep_of(project).glob("*/tags.log"))) == count
    assert "PROJECT_ROOT" not in os.environ
