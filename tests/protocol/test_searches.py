"""Several searches in one sweep: what differs between them, where they are, how they go on."""

import json
import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from omegaconf import OmegaConf
from typer.testing import CliRunner

from fmnist_lab import cli, looks, results, statistics
from fmnist_lab.commands import sweep
from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.files import write_json
from fmnist_lab.hydra_app import run as hydra_run
from fmnist_lab.protocol import stages
from fmnist_lab.results import ledger, searches
from fmnist_lab.sweeper.sweep_end import EndReason, SweepEnd
from fmnist_lab.training import runner
from fmnist_lab.trial import Labels, Trial, TrialResult
from tests.conftest import TINY
from tests.support.folders import RESULT

pytestmark = pytest.mark.slow

SMALL = (
    *TINY[:-1],
    "training.epochs=1",
    "hydra/launcher=basic",  # in this process
    "tracking=none",
    "replicates=1",
    "hydra.sweeper.n_trials=2",
    "~hydra.sweeper.strategies.exponential",
    "~hydra.sweeper.strategies.one_cycle",
)
PLACE = Path("mlruns/sweeps/demo")
RATE = "optimizer.learning_rate"


def lab(*words: str) -> str:
    """Runs a command to its end; what it printed."""
    result = CliRunner().invoke(cli.app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def stamps() -> dict[str, int]:
    """When each run has ended, by folder."""
    return {str(path): path.stat().st_mtime_ns for path in PLACE.rglob("result.json")}


@pytest.mark.slow
def test_a_sweep_is_tuned_confirmed_and_searched_again(folder: Path) -> None:
    lab("sweep", "demo", *SMALL)
    alone = stamps()
    assert {path.split("/")[3] for path in alone} == {"trials", "replicates"}
    printed = lab("sweep", "demo", *SMALL, "searches=2")
    assert "Search 2 of 2" in printed
    assert (printed.count(" 4 of 4"), printed.count(" 2 of 2")) == (1, 2)  # and "Search 2 of 2"
    assert alone.items() < stamps().items()  # what the first search has done stays

    trials, replicates = results.trials("demo"), results.replicates("demo")
    assert trials["search"].tolist() == [0] * 4 + [1] * 4
    assert trials["trial"].tolist() == [0, 1, 2, 3] * 2
    assert set(trials["sweep"]) == {"demo"}
    assert trials["search"].map({0: 42, 1: 1042}).tolist() == trials["seed"].tolist()
    assert "test_accuracy" not in trials  # closed while anything was chosen
    # Other trials, but within a search the same ones for all strategies.
    assert trials[RATE].nunique() == 4
    assert replicates.groupby(["search", "seed"])["strategy"].unique().map(list).to_dict() == {
        (0, 43): ["constant", "cosine"],
        (1, 1043): ["constant", "cosine"],
    }
    assert replicates["test_accuracy"].between(0, 1).all()
    tuned = json.loads((PLACE / "trials/0/result.json").read_text())
    assert math.isnan(tuned["test_accuracy"])
    for number in range(2):
        manifest = json.loads((searches.folder_of(PLACE, number) / "manifest.json").read_text())
        assert manifest["search"] == number
        assert len(manifest["openings"]) == 1
        assert manifest["strategies"]["cosine"] == "scheduler=cosine"
        assert RATE in manifest["spaces"]["cosine"]


@pytest.mark.slow
def test_each_seed_draws_the_split_for_all_strategies(folder: Path) -> None:
    small = [item for item in SMALL if not item.startswith(("replicates", "hydra.sweeper.n_t"))]
    lab("sweep", "demo", *small, "replicates=1", "hydra.sweeper.n_trials=1", "searches=2")
    trials, replicates = results.trials("demo"), results.replicates("demo")
    runs = pd.concat([trials, replicates], ignore_index=True)
    checksums = results.environments(runs)["data_checksum"]
    assert checksums.groupby([runs["search"], runs["seed"]]).nunique().eq(1).all()
    assert checksums.nunique() == 4
    printed = lab("compare", "demo")
    assert printed.count("Caution") == 1  # synthetic, and not that images differ
    assert "data.split" not in printed  # in the command that goes on
    assert "split=random" in (PLACE / "report.html").read_text()
    before = stamps()
    lab("sweep", "demo", *small, "replicates=1", "hydra.sweeper.n_trials=1", "searches=1")
    assert stamps() == before  # goes on as it began


@pytest.mark.slow
def test_a_sweep_that_time_cuts_short_opens_no_test_set(folder: Path) -> None:
    printed = lab("sweep", "demo", *SMALL, "hydra.sweeper.n_trials=200", "hydra.sweeper.timeout=1")
    kept = yaml.safe_load((PLACE / "optimization_results.yaml").read_text())
    trials = {name: found["trials"]["complete"] for name, found in kept["strategies"].items()}
    assert min(trials.values()) > 0  # each strategy has a best trial
    end = SweepEnd.read(kept["ended"])
    assert end is not None
    assert (end.reason, end.n_trials) == (EndReason.TIMEOUT, 400)
    assert end.strategies["cosine"].limit == 1
    assert end.strategies["cosine"].reached > 1
    assert "hydra.sweeper.timeout=1" in printed
    assert f"{400 - sum(trials.values())} of 400" in printed
    assert not (PLACE / "replicates").exists()
    assert "openings" not in json.loads((PLACE / "manifest.json").read_text())
    assert not ledger.PATH.exists()


class TestSplits:
    """Whether each seed draws the split."""

    DRAWN = ("data.split=random", "data.split_seed=${seed}")

    @pytest.mark.parametrize(
        ("given", "searches", "split", "is_drawn"),
        [
            ([], 6, "first", True),
            ([], 1, "first", False),
            (["data.split=first"], 6, "first", False),
            (["data.split_seed=3"], 6, "first", False),
            ([], 6, "last", False),  # by the sweep's file
        ],
    )
    def test_of_a_sweep_that_begins(
        self, tmp_path: Path, given: list[str], searches: int, split: str, is_drawn: bool
    ) -> None:
        cfg = OmegaConf.create(
            {"searches": searches, "data": {"name": "synthetic", "split": split}}
        )
        found = stages.with_splits(tmp_path, given, cfg)
        assert found == [*(self.DRAWN if is_drawn else ()), *given]

    @pytest.mark.parametrize("searches", [1, 6])
    @pytest.mark.parametrize("begun", ["${seed}", 0])
    def test_of_one_that_has_begun(self, tmp_path: Path, begun: Any, searches: int) -> None:
        content = {"data": {"split": "random", "split_seed": begun}}
        (tmp_path / "multirun.yaml").write_text(yaml.safe_dump(content))
        cfg = OmegaConf.create(
            {"searches": searches, "data": {"name": "synthetic", "split": "first"}}
        )
        found = stages.with_splits(tmp_path, ["--config-dir=mine", "seed=7"], cfg)
        assert found[:2] == ["--config-dir=mine", "seed=7"]
        assert found[2:] == (list(self.DRAWN) if begun else [])


def drawn(trial: Trial, labels: Labels, place: Path, *given: Any, **_: Any) -> TrialResult:
    """Leaves a result that seed and strategy decide, in the place of a training."""
    accuracy = np.random.default_rng([trial.seed, *labels.strategy.encode()]).normal(0.8, 0.01)
    measured = {"objective": accuracy, "test_accuracy": accuracy, "test_loss": 1 - accuracy}
    found = RESULT | asdict(labels) | measured | {"overrides": given[-1]}
    write_json(place / "result.json", found)
    return TrialResult(**{item.name: found[item.name] for item in fields(TrialResult)})


@pytest.mark.slow
def test_a_sweep_with_looks_goes_on_after_a_cut_as_if_there_was_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "run", drawn)
    words = ("sweep", "demo", *SMALL, "hydra.sweeper.n_trials=1", "replicates=[6,8]")
    run, started = hydra_run.run, 0

    def cut(*given: Any, **more: Any) -> None:
        nonlocal started
        started += 1
        if started == 3:  # after the tuning and the first look
            raise KeyboardInterrupt
        run(*given, **more)

    with monkeypatch.context() as patched:
        patched.setattr(hydra_run, "run", cut)
        assert CliRunner().invoke(cli.app, words).exit_code == 130
    before = stamps()
    printed = lab(*words)
    assert before.items() <= stamps().items()
    seeds = results.replicates("demo").groupby("strategy")["seed"].max().to_dict()
    manifest = json.loads((PLACE / "manifest.json").read_text())
    (opening,) = manifest["openings"]
    assert [look["pairs"] for look in opening["looks"]] == [6, 8]
    assert " 8 seeds" in printed
    assert manifest["wanted"] == {"constant": 8, "cosine": 8}
    assert seeds == {name: 42 + count for name, count in manifest["wanted"].items()}
    verdicts = statistics.compare(results.replicates("demo"), looks=looks.errors([6, 8]))
    assert opening["looks"][-1]["verdicts"] == {"cosine": verdicts["verdict"].iloc[0]}


class TestAgain:
    """What makes another search of it."""

    def overrides(self, folder: Path, sampler: Any, *arguments: str) -> list[str]:
        content = {"seed": 7, "hydra": {"sweeper": {"sampler": sampler}}}
        folder.mkdir(parents=True)
        (folder / "multirun.yaml").write_text(yaml.safe_dump(content))
        return stages.again(folder, 2, arguments)

    def test_other_seeds_and_a_folder_of_its_own(self, tmp_path: Path) -> None:
        sampler = {"_target_": "optuna.samplers.QMCSampler", "seed": 3, "scramble": True}
        found = self.overrides(tmp_path / "demo", sampler, "seed=7", "training.epochs=3")
        assert found == [
            "seed=2007", "hydra.sweeper.sampler.seed=5", "hydra.sweeper.study_name=demo-search-2",
            f"hydra.sweep.dir={tmp_path / 'demo/searches/2'}", "training.epochs=3",
        ]  # fmt: skip

    def test_overrides_stay_together_beside_flags(self, tmp_path: Path) -> None:
        given = ("--config-dir=mine", "training.epochs=3", "hydra.sweeper.sampler.seed=8")
        found = self.overrides(tmp_path / "demo", {"seed": 8}, *given)
        assert found[:3] == ["--config-dir=mine", "training.epochs=3", "seed=2007"]
        assert found[3] == "hydra.sweeper.sampler.seed=10"

    def test_a_sequence_is_scrambled_and_chance_needs_no_seed(self, tmp_path: Path) -> None:
        found = self.overrides(tmp_path / "demo", {"seed": None, "scramble": False})
        assert "hydra.sweeper.sampler.scramble=true" in found
        assert not any(item.startswith("hydra.sweeper.sampler.seed") for item in found)


class TestFolders:
    """Where searches are."""

    def test_there_and_back(self, tmp_path: Path) -> None:
        place = tmp_path / "demo"
        for number in (0, 1, 12):
            assert searches.split(searches.folder_of(place, number)) == (place, number)
        assert searches.name_of(place) == "demo"
        assert searches.name_of(searches.folder_of(place, 12)) == "demo-search-12"

    def test_in_the_order_of_their_numbers(self, tmp_path: Path) -> None:
        for number in (10, 2):
            searches.folder_of(tmp_path, number).mkdir(parents=True)
        assert [searches.split(path)[1] for path in searches.folders(tmp_path)] == [0, 2, 10]


@pytest.mark.parametrize(
    ("given", "key", "got"),
    [
        (["searches=0"], "searches", "0"),
        (["searches=2", "replicates=1000"], "replicates", "1000"),
        (["searches=2", "replicates=auto"], "replicates", "'auto'"),
        (["replicates=often"], "replicates", "'often'"),
        (["replicates=[8,6]"], "replicates", "[8, 6]"),
        (["searches=2", "++seed=choice(1,2)"], "seed", "choice(1,2)"),
        (["replicates=6", "seed=choice(1,2)"], "seed", "choice(1,2)"),
        (["replicates=auto", "cells=[training.epochs]"], "replicates", "'auto'"),
    ],
)
def test_a_mistake_is_refused(folder: Path, given: list[str], key: str, got: str) -> None:
    with pytest.raises(RequestError) as refused:
        sweep.main("demo", [*SMALL, *given])
    assert (refused.value.key, refused.value.got) == (key, got)
    assert not PLACE.exists()
