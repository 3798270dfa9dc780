"""Applications and configurations that others wrote, on our sweeper and launcher."""

import sys
from pathlib import Path

import pytest

from tests.support.packages import leave_package
from tests.support.sweeping import results, run, trials

pytestmark = pytest.mark.slow

NAMED = "hydra.sweeper._target_=hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"


@pytest.mark.parametrize(
    "kind", ["TPE", "Random", "QMC", "NSGAII", "NSGAIII", "BruteForce", "Grid"]
)
def test_the_official_path_and_a_sampler_by_its_class(tmp_path: Path, kind: str) -> None:
    sampler = f"hydra.sweeper.sampler._target_=optuna.samplers.{kind}Sampler"
    run("quadratic", tmp_path, NAMED, sampler, "y=choice(1,2)", "hydra.sweeper.n_trials=2")
    assert results(tmp_path)["best_params"].keys() == {"x", "y"}


@pytest.mark.parametrize(
    ("words", "best"),
    [
        (["x=choice(${y},${z})", "y=3", "+z=2"], {"x": "${z}"}),
        (["x=choice(${a.b},${a.c})", "+a={b: '${y}', c: '${z}'}", "y=3", "+z=2"], {"x": "${a.c}"}),
        (["+a=choice({k:${y}},{k:2})", "x=${a.k}", "y=3"], {"+a": "{k:2}"}),
        (["+a=choice([${y},0],[2,0])", "x=${a.0}", "y=3"], {"+a": "[2,0]"}),
        (["x='${oc.decode:${oc.env:TWO}}','${y}'", "y=3"], {"x": "${oc.decode:${oc.env:TWO}}"}),
        (["x=choice(${oc.decode:'2'},${oc.decode:'3'})", "y=3"], {"x": "${oc.decode:'2'}"}),
    ],
)
def test_a_grid_over_interpolations(
    tmp_path: Path, words: list[str], best: dict[str, object]
) -> None:
    run("quadratic", tmp_path, "hydra/sweeper/sampler=grid", *words, TWO="2")
    assert results(tmp_path)["best_params"] == best
    assert results(tmp_path)["trials"] == {"complete": 2}


@pytest.mark.parametrize(
    ("scheme", "began", "now"),
    [
        ("sqlite", "choice(3,4)", "choice(3,5)"),
        ("journal", "choice(3,4)", "choice(4,3)"),
        ("journal", "choice(3,4)", "range(1,5)"),
        ("journal", "range(1,5)", "interval(0.5,2)"),
        ("journal", "interval(1.0,6.0)", "int(interval(1,6))"),
        ("journal", "interval(1.0,6.0)", "tag(log,interval(1.0,6.0))"),
    ],
)
def test_another_kind_of_parameter_is_refused_before_the_first_trial(
    tmp_path: Path, scheme: str, began: str, now: str
) -> None:
    url = f"hydra.sweeper.storage={scheme}:///{tmp_path}/study"
    folder = tmp_path / "sweep"
    run("quadratic", folder, url, f"x={began}", "hydra.sweeper.n_trials=1")
    output = run("quadratic", folder, url, f"x={now}", "hydra.sweeper.n_trials=2", code=1)
    assert "`x` " in output
    assert "Traceback" not in output
    assert not (folder / "1").exists()


@pytest.mark.parametrize(
    ("began", "now"),
    [
        ("range(1,5)", "int(interval(1,9))"),
        ("interval(1.0,6.0)", "range(1.0,6.0,0.5)"),
        ("interval(1.0,6.0)", "interval(-9,0.5)"),
        ("choice(3,4)", "3"),
        ("3", "choice(3,4)"),
    ],
)
def test_other_bounds_are_allowed_under_the_official_name(
    tmp_path: Path, began: str, now: str
) -> None:
    run("quadratic", tmp_path, f"x={began}", "hydra.sweeper.n_trials=1")
    run("quadratic", tmp_path, f"x={now}", "hydra.sweeper.n_trials=2")
    assert results(tmp_path)["trials"] == {"complete": 2}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "began"),
    [
        ("tpe", "range(1,4)"),
        ("random", "range(1,4)"),
        ("qmc", "range(1,4)"),
        ("nsgaii", "range(0,9)"),
        ("grid", "range(1,2)"),
    ],
)
def test_a_grid_is_whole_in_a_study_that_began_otherwise(
    tmp_path: Path, sampler: str, began: str
) -> None:
    first = (f"x={began}", "y=1,2", "hydra.sweeper.n_trials=2")
    run("quadratic", tmp_path, f"hydra/sweeper/sampler={sampler}", *first)
    for _ in range(2):  # the second time nothing is left
        run("quadratic", tmp_path, "hydra/sweeper/sampler=grid", "x=range(1,4)", "y=1,2")
        found = [(t.params["x"], t.params["y"]) for t in trials(tmp_path, "quadratic")]
        assert sorted(found[2:]) == [(x, y) for x in (1, 2, 3) for y in (1, 2)]


def test_other_choices_of_a_custom_space_are_one_sentence(tmp_path: Path) -> None:
    run("custom_space", tmp_path, "hydra.sweeper.n_trials=1", "kinds=[a b]")
    output = run("custom_space", tmp_path, "kinds=['c=d']", "hydra.sweeper.n_trials=2", code=1)
    assert "`hydra.sweeper.custom_search_space`" in output
    assert "Traceback" not in output
    assert not trials(tmp_path, "custom_space", "RUNNING")


def test_a_sweep_names_the_version_that_it_cannot_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_package(tmp_path, "optuna", "2.10.1")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "fmnist_lab.sweeper.controller", None)  # as if it failed
    output = run("quadratic", tmp_path / "sweep", code=1)
    assert all(token in output for token in ("`optuna`", "<6,>=5", " 2.10.1"))
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
    words = [
        "hydra/launcher=dask", "hydra.launcher.workers=1", "hydra/sweeper=fmnist_lab",
        "hydra.job.chdir=true",
    ]  # fmt: skip
    run("one_file", tmp_path / "sweep", *words, "point.x=choice(1,2)", "hydra.sweeper.n_trials=2")
    found = results(tmp_path / "sweep")
    assert found["best_value"] == found["best_params"]["point.x"] ** 2 + 1
