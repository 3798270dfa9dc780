"""The sweeper from the command line of applications that are not ours."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from optuna.trial import TrialState

from tests.support.sweeping import ROOT, end, results, run, start, trials, wait_for

pytestmark = pytest.mark.slow

OURS = "hydra/sweeper=fmnist_lab"


def test_official_configuration_runs_unchanged(tmp_path: Path) -> None:
    run("quadratic", tmp_path)
    found = results(tmp_path)
    assert found["name"] == "optuna"
    assert found["best_params"].keys() == {"x", "y"}
    assert found["best_value"] < 5
    best = found["best_params"]
    assert found["best_value"] == (best["x"] - 2) ** 2 + (best["y"] + 1) ** 2
    assert (tmp_path / str(found["best_trial"]) / ".hydra" / "config.yaml").exists()
    assert (tmp_path / "multirun.yaml").exists()


def test_a_seeded_sweep_can_be_repeated(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        run("quadratic", tmp_path / folder, "hydra.sweeper.n_trials=4", "hydra.job.chdir=true")
    suggested = [[t.params for t in trials(tmp_path / x, "quadratic")] for x in ("a", "b")]
    assert suggested[0] == suggested[1]


def test_command_line_beats_params(tmp_path: Path) -> None:
    run("quadratic", tmp_path, "x=1", "y=choice(3,4)", "hydra.sweeper.n_trials=4")
    found = results(tmp_path)
    assert found["best_params"] == {"y": 3}
    assert found["best_value"] == 17
    assert trials(tmp_path, "quadratic")[0].user_attrs["x"] == "1"


def test_official_sqlite_storage_reaches_the_total(tmp_path: Path) -> None:
    url = f"hydra.sweeper.storage=sqlite:///{tmp_path}/study.db"
    run("quadratic", tmp_path, url, "hydra.sweeper.n_trials=3")
    run("quadratic", tmp_path, url, "hydra.sweeper.n_trials=5")
    found = optuna.load_study(study_name="quadratic", storage=f"sqlite:///{tmp_path}/study.db")
    assert [trial.number for trial in found.trials] == [0, 1, 2, 3, 4]
    assert len({trial.params["y"] for trial in found.trials}) == 5
    assert all((tmp_path / str(number)).is_dir() for number in range(5))


@pytest.mark.parametrize("move", [Path.rename, shutil.copytree])
def test_a_moved_sweep_goes_on(tmp_path: Path, move: Callable[[Path, Path], Any]) -> None:
    old, new = tmp_path / "a/sweep", tmp_path / "b"
    old.parent.mkdir()
    run("quadratic", old, "hydra.sweeper.n_trials=2")
    move(old, new)
    before = sorted(old.rglob("*"))
    run("quadratic", new, "hydra.sweeper.n_trials=4")
    assert len(trials(new, "quadratic", "COMPLETE")) == 4
    assert Path(results(new)["best_dir"]).parent == new
    assert sorted(old.rglob("*")) == before


def test_two_objectives(tmp_path: Path) -> None:
    space, directions = "+x=interval(-3,3)", "hydra.sweeper.direction=[minimize,minimize]"
    run("two_objectives", tmp_path, OURS, space, directions, "hydra.sweeper.n_trials=6")
    solutions = results(tmp_path)["solutions"]
    for solution in solutions:
        x = solution["params"]["+x"]
        assert solution["values"] == [x**2, (x - 2) ** 2]


def test_custom_search_space_is_conditional_and_quoted(tmp_path: Path) -> None:
    run("custom_space", tmp_path)
    params = [set(trial.params) for trial in trials(tmp_path, "custom_space", "COMPLETE")]
    assert len(params) == 6
    assert {"+kind", "+x"} in params
    assert {"+kind", "+steps"} in params


def test_custom_search_space_must_not_search_what_is_fixed(tmp_path: Path) -> None:
    output = run("custom_space", tmp_path, "++x=1", "hydra.sweeper.sampler.seed=3", code=1)
    assert "+x" in output
    assert not trials(tmp_path, "custom_space", "RUNNING")


def test_grid_visits_every_point_once(tmp_path: Path) -> None:
    grid = ("hydra/sweeper/sampler=grid", "x=range(0,0.3,0.1)", "y=choice(-1,0)")
    run("quadratic", tmp_path, *grid)
    points = sorted((t.params["x"], t.params["y"]) for t in trials(tmp_path, "quadratic"))
    assert points == [(0, -1), (0, 0), (0.1, -1), (0.1, 0), (0.2, -1), (0.2, 0)]


@pytest.mark.parametrize("raises", ["false", "true"])
def test_bad_trials_are_pruned(tmp_path: Path, raises: str) -> None:
    # The first six set the median that the last two fail.
    first = ",".join(f"{{x:{x}}}" for x in (0.5, 0.6, 0.7, 0.5, 0.6, 0.4, 2.9, 2.8))
    run(
        "pruning", tmp_path, OURS, "+x=interval(0,3)", f"+raises={raises}",
        "hydra/sweeper/pruner=median", "hydra.sweeper.n_trials=8",
        f"hydra.sweeper.enqueue=[{first}]",
    )  # fmt: skip
    pruned = trials(tmp_path, "pruning", "PRUNED")
    assert [trial.params["+x"] for trial in pruned] == [2.9, 2.8]
    assert all(len(trial.intermediate_values) < 5 for trial in pruned)
    assert len(trials(tmp_path, "pruning", "COMPLETE")) == 6
    left = [json.loads(file.read_text()) for file in tmp_path.glob("*/returned.json")]
    assert sorted(job["number"] for job in left if job["pruned"]) == [6, 7]


def test_every_kind_of_failure_is_recorded_and_the_sweep_goes_on(tmp_path: Path) -> None:
    how = "+how=raise,undefined,infinite,nothing,text,dictionary,pair,good"
    grid = "hydra/sweeper/sampler=grid"
    run("failing", tmp_path, OURS, grid, how, "hydra.sweeper.max_failure_rate=1")
    failed = {
        t.params["+how"]: t.user_attrs["sweep:problem"] for t in trials(tmp_path, "failing", "FAIL")
    }
    assert len(failed) == 7
    assert 'raise RuntimeError("broken")' in failed["raise"]
    assert "loss" in failed["dictionary"]
    assert "nan" in failed["undefined"]
    assert results(tmp_path)["best_params"] == {"+how": "good"}


def test_nothing_but_failures_still_leaves_results(tmp_path: Path) -> None:
    overrides = ("+how=raise,raise", "hydra.sweeper.n_trials=3", "hydra.sweeper.max_failure_rate=1")
    run("failing", tmp_path, OURS, *overrides)
    assert results(tmp_path)["best_params"] is None
    assert results(tmp_path)["trials"] == {"fail": 3}


def test_too_many_failures_end_the_sweep_with_the_traceback(tmp_path: Path) -> None:
    enqueue = "hydra.sweeper.enqueue=[{how: good}, {how: raise}]"
    output = run("failing", tmp_path, "hydra/sweeper=optuna", "+how=good,raise", enqueue, code=1)
    assert 'raise RuntimeError("broken")' in output
    assert results(tmp_path)["best_value"] == 1.0
    assert not trials(tmp_path, "failing", "RUNNING")


def test_an_error_may_be_retried(tmp_path: Path) -> None:
    overrides = ("+how=choice(raise_once)", f"+flag={tmp_path / 'flag'}", "hydra.sweeper.retries=1")
    run("failing", tmp_path, OURS, *overrides, "hydra.sweeper.n_trials=1")
    assert [trial.state.name for trial in trials(tmp_path, "failing")] == ["FAIL", "COMPLETE"]
    assert results(tmp_path)["trials"] == {"retried": 1, "complete": 1}


@pytest.mark.parametrize(
    ("overrides", "token"),
    [
        (["how=raise,good"], "'how'"),
        (["+how=good,raise", "hydra/sweeper/sampler=motpe"], "hydra/sweeper/sampler=tpe"),
        (["+how=range(3,0)"], "range(3,0)"),
        (["+how=good,raise", "hydra.sweeper.n_trials=0"], "`hydra.sweeper.n_trials`"),
        (["+how=good,raise", "hydra.sweeper.direction=up"], "`hydra.sweeper.direction`"),
        (["+how=interval(0,1)", "hydra/sweeper/sampler=grid"], "`+how`"),
        (["+how=good,raise", "hydra.sweeper.enqueue=[{x: 1}]"], "`hydra.sweeper.enqueue`"),
        (["+how=good,raise", "hydra.sweeper.storage=nowhere"], "journal:///path"),
    ],
)
def test_wrong_requests_are_refused_in_a_sentence(
    tmp_path: Path, overrides: list[str], token: str
) -> None:
    output = run("failing", tmp_path, OURS, *overrides, code=1)
    assert token in output
    assert "Traceback" not in output
    assert not (tmp_path / "0").exists()


def test_other_space_or_direction_is_refused_on_resume(tmp_path: Path) -> None:
    two = (OURS, "hydra.sweeper.n_trials=2")
    run("quadratic", tmp_path, *two)
    output = run("quadratic", tmp_path, *two, "x=interval(0,1)", code=1)
    assert "'quadratic'" in output
    output = run("quadratic", tmp_path, *two, "hydra.sweeper.direction=maximize", code=1)
    assert "`hydra.sweeper.direction`" in output
    run("quadratic", tmp_path, *two, "x=interval(0,1)", "hydra.sweeper.changed_space=allow")


@pytest.mark.parametrize("launcher", ["basic", "joblib", "dask"])
def test_an_ended_sweep_continues(tmp_path: Path, launcher: str) -> None:
    folder, ledger = tmp_path / "sweep", tmp_path / "ledger"
    command = [
        OURS, "+x=interval(0,1)", f"+ledger={ledger}",
        "+seconds=0.4", "hydra.sweeper.n_trials=12", "hydra.sweeper.sampler.seed=1",
    ]  # fmt: skip

    def noted(word: str) -> list[float]:
        """The x of every job that has started, or of every one that has ended."""
        lines = ledger.read_text().splitlines() if ledger.exists() else []
        return [float(line.split()[2]) for line in lines if line.startswith(word)]

    def stop_by(sent: signal.Signals) -> None:
        """Starts the sweep, and ends it while at least its fourth job runs."""
        earlier = len(noted("start"))
        process = start("slow", folder, *command, f"hydra/launcher={launcher}")
        wait_for(lambda: len(noted("start")) >= earlier + 4)
        assert end(process, sent) != 0

    for sent in (signal.SIGINT, signal.SIGTERM):
        stop_by(sent)
        assert not trials(folder, "slow", "RUNNING")
        assert results(folder)["ended"]["reason"] == "interrupted"
    # Between a job's last line and its record there is a moment in which SIGKILL costs the trial.
    kept = set(noted("end"))
    stop_by(signal.SIGKILL)
    kept |= {trial.params["+x"] for trial in trials(folder, "slow", "COMPLETE")}
    run("slow", folder, *command, f"hydra/launcher={launcher}")

    done = trials(folder, "slow", "COMPLETE")
    assert len(done) == 12
    assert len({trial.params["+x"] for trial in done}) == 12
    assert not trials(folder, "slow", "RUNNING", "WAITING")
    interrupted = trials(folder, "slow", "FAIL")
    assert all(t.user_attrs["sweep:superseded"] == "interrupted" for t in interrupted)
    assert {t.params["+x"] for t in interrupted} <= {t.params["+x"] for t in done}
    ends = Counter(noted("end"))
    assert len(ends) == 12
    assert all(ends[x] == 1 for x in kept), "a trial that had finished ran again"
    left = ledger.read_text()
    run("slow", folder, *command)
    assert ledger.read_text() == left


def test_a_second_controller_is_refused(tmp_path: Path) -> None:
    folder, ledger = tmp_path / "sweep", tmp_path / "ledger"
    command = [OURS, "+x=interval(0,1)", f"+ledger={ledger}", "+seconds=8"]
    first = start("slow", folder, *command)
    wait_for(ledger.exists)
    assert "controller" in run("slow", folder, *command, code=1)
    assert end(first, signal.SIGINT) != 0
    assert [t.state for t in trials(folder, "slow")].count(TrialState.WAITING) == 2


def test_the_job_of_a_dead_worker_fails_and_the_sweep_goes_on(tmp_path: Path) -> None:
    enqueue = "[{how: good}, {how: good}, {how: die}, {how: good}]"
    run(
        "failing", tmp_path, OURS, "hydra/launcher=joblib", "+how=good,die",
        "hydra.sweeper.n_trials=6", f"hydra.sweeper.enqueue={enqueue}",
        "hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=0",
        "hydra.sweeper.max_failure_rate=1",
    )  # fmt: skip
    assert len(trials(tmp_path, "failing", "COMPLETE", "FAIL")) == 6
    assert trials(tmp_path, "failing", "FAIL")


def test_passwords_stay_out_of_logs_and_files(tmp_path: Path) -> None:
    # SQLite ignores the parameter, which stands for a server's password.
    url = f"sqlite:///file:{tmp_path}/study.db?uri=true&password=s3cret"
    key = "hydra.sweeper.storage='postgresql://me:s3cret@127.0.0.1:1/db'"
    output = run("quadratic", tmp_path / "a", key, code=1)
    assert "s3cret" not in output
    assert "me:***@127.0.0.1" in output
    # Submitit writes the task to a file.
    two = (f"hydra.sweeper.storage='{url}'", "hydra.sweeper.n_trials=2")
    submitit = ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=2")
    output = run("quadratic", tmp_path / "b", *two, *submitit)
    assert "2 trials" in output
    assert "s3cret" not in output
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or "s3cret" not in path.read_text(errors="ignore"), path


def test_plateau_target_and_steps_end_a_sweep(tmp_path: Path) -> None:
    space = (OURS, "+x=interval(0,3)", "hydra.sweeper.n_jobs=1")
    run("pruning", tmp_path / "a", *space, "hydra.sweeper.max_epochs=12")
    assert len(trials(tmp_path / "a", "pruning")) == 3
    assert results(tmp_path / "a")["ended"]["strategies"][""] == {
        "reason": "max_epochs", "limit": 12, "reached": 15
    }  # fmt: skip
    run("pruning", tmp_path / "b", *space, "hydra.sweeper.target=100")
    assert len(trials(tmp_path / "b", "pruning")) == 1
    run("pruning", tmp_path / "c", *space, "hydra.sweeper.timeout=0.05")
    assert len(trials(tmp_path / "c", "pruning")) == 1


def test_observers_are_told_plain_values(tmp_path: Path) -> None:
    folder, diary = tmp_path / "sweep", tmp_path / "diary"
    observer = f"hydra.sweeper.observers=[{{_target_: watching.Diary, file: {diary}}}]"
    command = (OURS, observer, "+x=choice(1)")
    run("watching", folder, *command, "hydra.sweeper.n_trials=1")
    run("watching", folder, *command, "hydra.sweeper.n_trials=2")
    x = {"+x": 1}
    assert [json.loads(line) for line in diary.read_text().splitlines()] == [
        ["start", 1, 0, []],
        ["trial", 0, x, ["+x=1"]],
        ["end", 0, "complete", [1.0], str(folder / "0")],
        ["over", "n_trials", 1],
        ["start", 2, 1, [0]],
        ["trial", 1, x, ["+x=1"]],
        ["end", 1, "complete", [1.0], str(folder / "1")],
        ["over", "n_trials", 2],
    ]


@pytest.mark.parametrize("official", [False, True])
def test_names_and_imports_of_the_plugin(tmp_path: Path, official: bool) -> None:
    # Every Hydra application imports this module: it must be cheap, and polite to the official one.
    if official:
        plugin = tmp_path / "hydra_plugins" / "hydra_optuna_sweeper"
        plugin.mkdir(parents=True)
        (plugin / "__init__.py").touch()
        (plugin / "config.py").write_text(
            "from hydra.core.config_store import ConfigStore as Store\n"
            "for group, name in [('sweeper', 'optuna'), ('sweeper/sampler', 'tpe')]:\n"
            "    Store.instance().store(name, {}, f'hydra/{group}', provider='theirs')\n"
        )
    code = """
import sys
import hydra_plugins.fmnist_lab_sweeper.sweeper_options
import hydra_plugins.fmnist_lab_sweeper.sweeper
from hydra.core.config_store import ConfigStore
group = ConfigStore.instance().repo["hydra"]["sweeper"]
options = group | group.pop("sampler")
del options["pruner"]
print(*sorted(node.name for node in options.values() if node.provider == "theirs"))
print(len(options), options["qmc.yaml"].provider)
print([name for name in ("optuna", "tensorflow", "mlflow", "filelock") if name in sys.modules])
"""
    output = subprocess.run(
        [sys.executable, "-Werror", "-c", code],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    theirs = "optuna.yaml tpe.yaml" if official else ""
    assert output == f"{theirs}\n11 fmnist_lab\n[]\n"


def test_hydra_finds_the_sweeper() -> None:
    found = [plugin.__name__ for plugin in Plugins.instance().discover(Sweeper)]
    assert "FmnistLabSweeper" in found
