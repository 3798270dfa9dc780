"""`fmnist-lab sweep`, in a folder of its own; one sweep and the interrupted ones are processes."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import psutil  # type: ignore[import-untyped]
import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import CategoricalDistribution
from scipy.optimize import minimize

from fmnist_lab import config, schedules
from fmnist_lab.commands import sweep
from fmnist_lab.foundation import wording
from fmnist_lab.foundation.interruption import interrupted
from fmnist_lab.hydra_app import callback
from fmnist_lab.hydra_app import run as hydra_run
from fmnist_lab.protocol.stages import outlook
from fmnist_lab.sweeper.plans import Plan, Planner
from fmnist_lab.sweeper.samplers import build_pruner, build_sampler, common_points
from fmnist_lab.sweeper.settings import Settings, plain
from tests.conftest import TINY, run_here
from tests.support.sweeping import MINE, ROOT, wait_for

pytestmark = pytest.mark.slow

SWEEPS = sorted(path.stem for path in (ROOT / "sweeps").glob("*.yaml"))
UNTUNED = ("notebook", "robustness", "textbook_confounded")  # the rate is given
SCHEDULER = """# Choose this when it is yours.
_target_: fmnist_lab.schedules.exponential
initial_learning_rate: ${optimizer.learning_rate}
decay_epochs: 2
update: epoch
space:
  decay_epochs: interval(3, 4)
"""


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Starts `fmnist-lab` in a folder, out of reach of the user's own settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FMNIST_LAB", "MLFLOW"))}
    return subprocess.Popen(
        [sys.executable, "-m", "fmnist_lab", *arguments],
        cwd=folder,
        env=kept | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder: Path, *arguments: str, code: int = 0) -> tuple[str, str]:
    """Runs a command to its end, trials in this process; what it printed, and its complaints."""
    if arguments[0] == "sweep":
        arguments = (*arguments, "hydra/launcher=basic")
    done = run_here(folder, *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout, done.stderr


def own_files(folder: Path) -> None:
    """Writes a sweep and a scheduler of the user's."""
    for name, text in {"sweeps/mine.yaml": MINE, "conf/scheduler/mine.yaml": SCHEDULER}.items():
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_text(text)


def results(folder: Path) -> list[dict[str, Any]]:
    """What the trials of a sweep have left."""
    found = sorted(folder.glob("trials/*/result.json"), key=lambda path: int(path.parent.name))
    return [json.loads(path.read_text()) for path in found]


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> tuple[Path, str]:
    """A folder in which a sweep of the user's own has ended, and what it printed."""
    folder = tmp_path_factory.mktemp("swept")
    own_files(folder)
    (folder / "mlruns").mkdir()
    shutil.copy(empty_store, folder / "mlruns/mlflow.db")
    process = start(folder, "sweep", "mine", "hydra.launcher.workers=1")
    printed, complaint = process.communicate(timeout=200)
    assert (process.returncode, complaint) == (0, ""), printed
    return folder, printed


@pytest.fixture
def again(swept: tuple[Path, str], tmp_path: Path) -> Path:
    """The same, to be changed; what MLflow knows is left behind."""
    folder = tmp_path / "again"
    shutil.copytree(swept[0], folder, ignore=shutil.ignore_patterns("mlflow.db", "artifacts"))
    return folder


@pytest.mark.slow
class TestSweep:
    """A sweep that ends."""

    def test_every_trial_is_labelled(self, swept: tuple[Path, str]) -> None:
        own, plain = results(swept[0] / "mlruns/sweeps/mine")
        assert [result["strategy"] for result in (own, plain)] == ["own", "plain"]
        assert [result["scheduler"] for result in (own, plain)] == ["mine", "constant"]
        assert [result["trial"] for result in (own, plain)] == [0, 1]
        assert {result["sweep"] for result in (own, plain)} == {"mine"}
        assert {result["stop_reason"] for result in (own, plain)} == {"completed"}
        given = (swept[0] / "mlruns/sweeps/mine/trials/0/.hydra/overrides.yaml").read_text()
        assert re.search(r"scheduler\.decay_epochs=3\.\d+", given)

    def test_mlflow_has_a_parent_and_its_children(self, swept: tuple[Path, str]) -> None:
        import mlflow

        client = mlflow.MlflowClient(f"sqlite:///{swept[0]}/mlruns/mlflow.db")
        experiment = client.get_experiment_by_name("fmnist-lab")
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id])
        (parent,) = [run for run in runs if run.data.tags["kind"] == "sweep"]
        assert (parent.info.run_name, parent.info.status) == ("mine", "FINISHED")
        trials = {run.info.run_id: run.data.tags for run in runs if run is not parent}
        for result in results(swept[0] / "mlruns/sweeps/mine"):
            tags = trials.pop(result["mlflow_run_id"])
            assert tags["mlflow.parentRunId"] == parent.info.run_id
            for key in ("kind", "sweep", "strategy", "trial", "scheduler"):
                assert tags[key] == str(result[key])
        assert trials == {}

    def test_compare_shows_its_trials(self, swept: tuple[Path, str]) -> None:
        table, complaint = run(swept[0], "compare", "mine")
        assert complaint == ""
        for result in results(swept[0] / "mlruns/sweeps/mine"):
            row = next(line for line in table.splitlines() if f" {result['strategy']} " in line)
            assert f"{result['objective']:.4f}" in row

    def test_the_best_trial_trains_once_more_to_the_same_objective(
        self, swept: tuple[Path, str]
    ) -> None:
        folder, printed = swept
        _, _, after = printed.partition("# the best trial, #")
        program, *command = shlex.split(after.splitlines()[1])
        assert program == "fmnist-lab"
        run(folder, *command, "tracking=none", "hydra.run.dir=mlruns/once-more")
        repeated = json.loads((folder / "mlruns/once-more/result.json").read_text())
        best = max(results(folder / "mlruns/sweeps/mine"), key=lambda result: result["objective"])
        for key in ("objective", "best_val_loss", "strategy", "scheduler"):
            assert repeated[key] == best[key]

    def test_to_start_afresh_is_to_start_beside(self, again: Path) -> None:
        before = contents(again / "mlruns/sweeps/mine")
        run(again, "sweep", "mine", "--new", "tracking=none")
        beside = again / "mlruns/sweeps/mine-2"
        assert {result["sweep"] for result in results(beside)} == {"mine-2"}
        assert contents(again / "mlruns/sweeps/mine") == before
        printed, _ = run(again, "sweep", "mine", "tracking=none")  # continues the newest
        assert "mine-2: 2 of 2" in printed
        assert len(results(beside)) == 2


@pytest.mark.slow
class TestRefusals:
    """Requests that are wrong: one sentence, exit code 2, and nothing has changed."""

    def test_a_changed_configuration(self, again: Path) -> None:
        before = contents(again / "mlruns")
        _, complaint = run(again, "sweep", "mine", "training.epochs=4", code=2)
        for token in ("`training.epochs`", " 3,", "got 4", "fmnist-lab sweep mine --new\n"):
            assert token in complaint
        after = contents(again / "mlruns")
        journal = "sweeps/mine/study.journal"  # notes that it was opened
        assert after.pop(journal).startswith(before.pop(journal))
        assert after == before
        assert "mine: 2 of 2" in run(again, "sweep", "mine", "tracking=none")[0]

    def test_end_the_workers_that_were_starting(self, tmp_path: Path) -> None:
        before = set(psutil.Process().children(recursive=True))
        refused = run_here(tmp_path, "sweep", "demo", *TINY, "optimizer.learning_rate=-1")
        assert refused.returncode == 2
        assert not list(tmp_path.glob("mlruns/*/*"))
        assert set(psutil.Process().children(recursive=True)) <= before

    @pytest.mark.parametrize(
        ("arguments", "key", "got"),
        [
            (["demi"], "NAME", "'demi'"),
            (["demo", "training.batch_size=-1"], "training.batch_size", "-1"),
            (["demo", "scheduler=linear"], "scheduler", "scheduler=linear"),
            (["demo", "data.dir=/nowhere"], "data.dir", "'/nowhere'"),
        ],
    )
    def test_of_a_sweep_that_does_not_exist(
        self, tmp_path: Path, arguments: list[str], key: str, got: str
    ) -> None:
        printed, complaint = run(tmp_path, "sweep", *arguments, code=2)
        assert printed == ""
        assert complaint.startswith(f"fmnist-lab: `{key}`")
        assert f" {got}" in complaint
        assert complaint.count("\n") == 1
        assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
class TestFailures:
    """Trials that fail."""

    QUICK = (*TINY[:-1], "training.epochs=1", "tracking=none", "hydra.sweeper.n_trials=1")

    def test_of_all_end_the_sweep(self, tmp_path: Path) -> None:
        diverging = "optimizer.learning_rate=1e30"
        # One at a time: of two that fail together the second may or may not be counted.
        one = "hydra.sweeper.n_jobs=1"
        printed, complaint = run(tmp_path, "sweep", "demo", *self.QUICK, diverging, one, code=1)
        assert "max_failure_rate=0.5" in complaint
        assert complaint.count("\n") == 1
        assert "0 complete, 0 pruned, 3 failed" in printed
        assert "ValueError: " in printed
        reasons = {result["stop_reason"] for result in results(tmp_path / "mlruns/sweeps/demo")}
        assert reasons == {"diverged"}

    def test_of_some_are_counted(self, tmp_path: Path) -> None:
        own_files(tmp_path)
        # Half of what is searched is refused, but not before its turn has come.
        choice = "training.batch_size=choice(32,0)"
        more = "hydra.sweeper.n_trials=2"
        printed, complaint = run(tmp_path, "sweep", "mine", "tracking=none", choice, more)
        assert complaint == ""
        assert "2 complete, 0 pruned, 2 failed" in printed
        assert printed.count("RequestError: `training.batch_size`") == 2


@pytest.mark.slow
def test_an_interruption_names_what_goes_on(tmp_path: Path) -> None:
    two = "hydra.launcher.workers=2"
    endless = (*TINY[:-1], "training.epochs=100000", "tracking=none", two)
    process = start(tmp_path, "sweep", "demo", *endless)
    wait_for(lambda: bool(list(tmp_path.rglob("curves.jsonl"))), 120)
    process.send_signal(signal.SIGINT)
    printed, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    again = shlex.join(["fmnist-lab", "sweep", "demo", *endless])
    assert complaint.endswith(f": {again}\n")
    assert complaint.count("\n") == 1
    assert "0 of 16" in printed
    reasons = {result["stop_reason"] for result in results(tmp_path / "mlruns/sweeps/demo")}
    assert reasons == {"interrupted"}


@pytest.mark.parametrize("error", [HydraException, OmegaConfBaseException])
def test_an_interruption_is_seen_through_what_it_breaks(error: type[Exception]) -> None:
    def broken() -> None:
        interrupted.set()  # as the program's signal handler does
        raise error("what was being cleaned up is no longer there")

    with pytest.raises(KeyboardInterrupt):
        hydra_run.run(broken, "fmnist-lab sweep demo", [])


@pytest.mark.parametrize("flags", [["--cfg", "job"], ["-c", "job"], ["--info", "searchpath"]])
def test_a_look_at_the_configuration_runs_nothing(
    flags: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep.main("demo", [*flags, "training.epochs=2"])
    printed = capsys.readouterr().out
    assert ("epochs: 2" in printed) is ("job" in flags)  # `--info` speaks through the log
    assert list(folder.iterdir()) == []


class TestFolders:
    """Where a sweep is."""

    def test_the_latest_one_goes_on_and_the_next_one_is_beside_it(self, tmp_path: Path) -> None:
        assert sweep.latest_folder("demo", tmp_path) == tmp_path / "demo"
        assert sweep.next_folder("demo", tmp_path) == tmp_path / "demo"
        for name in ("demo", "demo-2", "demo-10", "demo-x", "demonstration-11"):
            (tmp_path / name).mkdir()
        assert sweep.latest_folder("demo", tmp_path) == tmp_path / "demo-10"
        assert sweep.next_folder("demo", tmp_path) == tmp_path / "demo-11"

    def test_files_whose_names_differ_by_a_number_keep_apart(self, folder: Path) -> None:
        root = folder / "runs"
        (folder / "sweeps").mkdir()

        def add(name: str) -> None:
            shutil.copy(ROOT / "sweeps" / "demo.yaml", folder / "sweeps" / f"{name}.yaml")

        def begin(place: Path, name: str) -> Path:
            place.mkdir(parents=True)
            with composer() as compose:
                OmegaConf.save(compose(f"sweeps={name}"), place / "multirun.yaml")
            return place

        add("mine")
        first = begin(sweep.latest_folder("mine", root), "mine")
        second = begin(sweep.next_folder("mine", root), "mine")
        assert (first.name, second.name) == ("mine", "mine-2")
        add("mine-2")  # its name is taken, by a sweep that is not its own
        other = begin(sweep.latest_folder("mine-2", root), "mine-2")
        assert other.name == "mine-2-2"
        assert sweep.latest_folder("mine-2", root) == other
        assert sweep.latest_folder("mine", root) == second
        shutil.rmtree(second)
        begin(root / "mine-2", "mine-2")
        assert sweep.latest_folder("mine", root) == first
        assert sweep.next_folder("mine", root) == root / "mine-3"


@pytest.mark.parametrize("name", SWEEPS)
class TestFiles:
    """The files in `sweeps/`."""

    def test_strategies_of_each_shape_can_be_trained(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(callback.progress, "kind", "trial")  # an earlier command may set it
        _, planner, plans = planned(name)
        planner.validate(plans, [])
        searched = {"optimizer.learning_rate" in plan.space.searched for plan in plans}
        assert searched == {name not in UNTUNED}

    def test_says_first_what_it_asks_and_how_large_it_is(self, name: str) -> None:
        package, question, size = (ROOT / "sweeps" / f"{name}.yaml").read_text().splitlines()[:3]
        assert package == "# @package _global_"
        assert re.fullmatch(r"# Question: .+\?", question)
        strategies, planner, plans = planned(name)
        stated = re.findall(r"training\.epochs=(\d+)", str(strategies))
        lengths = {plan.configuration["training.epochs"] for plan in plans} | {*map(int, stated)}
        trials = wording.count(planner.settings.n_trials, "trial")
        epochs = " or ".join(map(str, sorted(lengths)))
        counts = f"# {len(strategies)} strategies, {trials} each, {epochs} epochs"
        assert re.fullmatch(rf"{counts}[.:].*", size)

    def test_has_replicates_or_searches_enough_for_a_verdict(self, name: str) -> None:
        strategies, planner, _ = planned(name)
        cfg = planner.config
        if name != "demo":  # which gives none
            assert outlook(len(strategies), cfg.replicates, cfg.searches) is None


@pytest.mark.parametrize("name", ["schedules", "early_stopping"])
def test_schedules_are_compared_with_the_same_rates_and_warm_ups(name: str) -> None:
    _, _, plans = planned(name)
    shared = ["optimizer.learning_rate", "scheduler.warmup_epochs"]
    for plan in plans:
        warmup = plan.space.distributions["scheduler.warmup_epochs"]
        assert isinstance(warmup, CategoricalDistribution)
        assert warmup.choices == (0, 1.0, 2.0)  # of 20 epochs
    points = common_points([list(plan.space.searched) for plan in plans])
    assert all([point["columns"][key] for key in shared] == [0, 1] for point in points)
    averaged = {plan.strategy for plan in plans if plan.configuration["averaging.name"] != "none"}
    assert averaged == {"constant_ema", "constant_swa", "schedule_free"}


class TestShape:
    """The search of `sweeps/shape` on noisy quadratics, whose best schedules can be computed.

    SGD with gradient noise of variance s in a direction of curvature h keeps the mean square
    v' = (1 - rate h)^2 v + rate^2 s; the loss is the sum of h v / 2 (Schaul et al., 2013).
    """

    def test_the_best_sequence_for_one_direction_is_the_greedy_one(self) -> None:
        square, rates = 1.0, []
        for _ in range(20):  # the rate that makes the next square smallest
            rates.append(square / (square + 0.5))
            square = 1 / (1 / square + 1 / 0.5)
        one = Quadratic(np.ones(1), np.full(1, 0.5))
        assert square == pytest.approx(1 / (1 + 20 / 0.5))
        assert one.losses(rates)[-1] == pytest.approx(square / 2)
        assert one.best(20, 0.1) == pytest.approx(square / 2, rel=1e-4)

    def test_the_search_comes_close_to_the_best_sequence(self) -> None:
        _, planner, plans = planned("shape")
        settings = planner.settings
        (plan,) = (plan for plan in plans if plan.strategy == "shape")
        study = optuna.create_study(
            sampler=build_sampler(settings.sampler, plan.space, 0, at_once=2),
            pruner=build_pruner(settings.pruner),
        )
        curvatures = np.logspace(0, 2, 12)
        problem, epochs = Quadratic(curvatures, 30 * curvatures), 20
        positions = np.arange(10 * epochs) / (10 * epochs)
        for _ in range(settings.n_trials):
            trial = study.ask(plan.space.distributions)
            rate, *factors = trial.params.values()
            named = {f"f{number}": factor for number, factor in enumerate(factors)}
            losses = problem.losses(schedules.shape(rate, 1, named)(positions))[9::10]
            for epoch, loss in enumerate(losses[:-1]):
                trial.report(loss, epoch)
                if is_pruned := trial.should_prune():
                    break
            pruned = optuna.trial.TrialState.PRUNED
            study.tell(trial, *([None, pruned] if is_pruned else [losses[-1]]))
        best = problem.best(10 * epochs, 1e-3)
        assert best < study.best_value < 1.08 * best
        for schedule in (schedules.constant, schedules.cosine, schedules.one_cycle):
            length = [] if schedule is schedules.constant else [1]
            rates = [schedule(rate, *length)(positions) for rate in np.geomspace(1e-4, 3e-2, 60)]
            assert min(problem.losses(each)[-1] for each in rates) > 1.3 * best


class Quadratic:
    """Losses of a noisy quadratic, from mean squares of 1."""

    def __init__(self, curvatures: Any, noise: Any) -> None:
        self.curvatures, self.noise = curvatures, noise

    def losses(self, rates: Any) -> list[float]:
        """The loss after each update."""
        return [float(self.curvatures @ square / 2) for square in self.squares(rates)[1:]]

    def squares(self, rates: Any) -> list[Any]:
        found = [np.ones_like(self.curvatures)]
        for rate in rates:
            kept = (1 - rate * self.curvatures) ** 2
            found.append(np.minimum(kept * found[-1] + rate**2 * self.noise, 1e9))
        return found

    def best(self, steps: int, start: float) -> float:
        """The smallest loss that any sequence of rates reaches."""

        def loss_and_slopes(logs: Any) -> tuple[float, Any]:
            rates, slopes = np.exp(logs), []
            squares = self.squares(rates)
            loss, slope = self.curvatures @ squares[-1] / 2, self.curvatures / 2
            for rate, square in zip(rates[::-1], squares[-2::-1], strict=True):
                kept = 1 - rate * self.curvatures
                turn = 2 * rate * self.noise - 2 * self.curvatures * kept * square
                slopes.append(rate * (slope @ turn))
                slope = slope * kept**2
            return float(np.log(loss)), np.array(slopes[::-1]) / loss

        found = minimize(
            loss_and_slopes, np.full(steps, np.log(start)), jac=True, method="L-BFGS-B"
        )
        assert np.abs(found.jac).max() < 1e-3
        return float(np.exp(found.fun))


@pytest.mark.parametrize(
    "chosen",
    [f"hydra/launcher={name}" for name in ("basic", "joblib", "submitit_local", "dask")]
    + [f"hydra/sweeper/sampler={name}" for name in ("tpe", "random", "grid", "qmc")],
)
def test_every_launcher_and_sampler_fits_a_sweep_that_ships(chosen: str) -> None:
    with composer() as compose:
        cfg = compose("sweeps=demo", chosen)
    group, _, name = chosen.partition("=")
    assert cfg.hydra.runtime.choices[group] == name


@cache
def planned(name: str) -> tuple[dict[str, Any], Planner, list[Plan]]:
    """A sweep's strategies, and what the first and last of each shape would try, on little data."""
    given = [f"sweeps={name}", "data=synthetic", "data.train_size=320", "data.val_size=100"]
    with composer() as compose:
        cfg = compose(*given)
        strategies = plain(cfg.hydra.sweeper.strategies)
        last = {shape(words): strategy for strategy, words in strategies.items()}
        first = {shape(words): strategy for strategy, words in reversed(strategies.items())}
        kept = {name: strategies[name] for name in {*first.values(), *last.values()}}
        stated = {key: value for key, value in cfg.hydra.sweeper.items() if key[0] != "_"}
        settings = Settings(**stated | callback._OUR_HOOKS | {"strategies": kept})
        planner = Planner(settings, GlobalHydra.instance().config_loader(), cfg)
        return strategies, planner, planner.plans(name, given)


def shape(words: str | list[str]) -> tuple[str, ...]:
    """A strategy's choices and keys: a value of a key with a dot composes like any other."""
    words = [words] if isinstance(words, str) else words
    keys = [word.partition("=")[0] for word in words]
    return tuple(key if "." in key else word for key, word in zip(keys, words, strict=True))


@contextmanager
def composer() -> Iterator[Callable[..., DictConfig]]:
    """What composes the configuration of a sweep."""
    config.register()
    with initialize_config_dir(config.config_dir(), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        yield lambda *given: loader.load_configuration("sweep", [*given], RunMode.MULTIRUN)
