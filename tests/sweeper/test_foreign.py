"""Applications and configurations that others wrote, on our sweeper and launcher."""

import sys
from pathlib import Path

import pytest

from tests.support.sweeping import results, run

NAMED = "hydra.sweeper._target_=hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"


@pytest.mark.parametrize("kind", ["TPE", "Random", "QMC", "NSGAII", "NSGAIII"])
def test_the_official_path_and_a_sampler_by_its_class(tmp_path: Path, kind: str) -> None:
    sampler = f"hydra.sweeper.sampler._target_=optuna.samplers.{kind}Sampler"
    run("quadratic", tmp_path, NAMED, sampler, "hydra.sweeper.n_trials=2")
    assert results(tmp_path)["best_params"].keys() == {"x", "y"}


def test_a_grid_over_interpolations(tmp_path: Path) -> None:
    words = ["hydra/sweeper/sampler=grid", "x=choice(${y},${z})", "y=3", "+z=2"]
    run("quadratic", tmp_path, *words)
    assert results(tmp_path)["best_params"] == {"x": "${z}"}


@pytest.mark.parametrize("now", ["choice(3,5)", "choice(4,3)", "range(1,5)", "interval(0.5,2)"])
def test_other_choices_are_refused_before_the_first_trial(tmp_path: Path, now: str) -> None:
    url = f"hydra.sweeper.storage=sqlite:///{tmp_path}/study.db"
    folder = tmp_path / "sweep"
    run("quadratic", folder, url, "x=choice(3,4)", "hydra.sweeper.n_trials=2")
    output = run("quadratic", folder, url, f"x={now}", "hydra.sweeper.n_trials=4", code=1)
    assert "`x` must stay CategoricalDistribution" in output
    assert "Traceback" not in output


def test_a_sweep_names_the_version_that_it_cannot_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = tmp_path / "optuna-2.10.1.dist-info"
    known.mkdir()
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: optuna\nVersion: 2.10.1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "fmnist_lab.sweeper.controller", None)  # as if it failed
    output = run("quadratic", tmp_path / "sweep", code=1)
    assert "`optuna` must be installed in a version <6,>=5, got 2.10.1; pip install" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_one_file_on_workers_in_a_folder_of_files_named_like_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "signal", "queue", "types", "logging", "random", "secrets", "select", "numpy", "dask",
        "tokenize/__init__", "hydra_plugins/__init__",
    ):  # fmt: skip
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text("def lowpass(x): return x")
    monkeypatch.chdir(tmp_path)
    words = ["hydra/launcher=dask", "hydra/sweeper=fmnist_lab", "hydra.job.chdir=true"]
    run("one_file", tmp_path / "sweep", *words, "point.x=choice(1,2)", "hydra.sweeper.n_trials=2")
    found = results(tmp_path / "sweep")
    assert found["best_value"] == found["best_params"]["point.x"] ** 2 + 1
