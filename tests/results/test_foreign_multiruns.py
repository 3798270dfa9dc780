"""Multiruns of other Hydra applications: their jobs as a frame, their verdicts, their report."""

import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

import fmnist_lab
from fmnist_lab import cli, metrics, statistics
from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.files import write_json
from fmnist_lab.results import foreign
from fmnist_lab.trial import StopReason
from tests.support.folders import leave_sweep
from tests.support.sweeping import run

GRID = ("hydra/sweeper=fmnist_lab", "hydra/sweeper/sampler=grid")
SEEDS = ("origin=near,far", "seed=range(0,8)")


def invoke(*words: str, code: int = 0) -> str:
    """Runs the command in this process; its output."""
    result = CliRunner().invoke(cli.app, ["compare", *words])
    if code:
        assert isinstance(result.exception, RequestError), result.output
        return str(result.exception)
    assert result.exit_code == 0, result.output
    return result.output


def leave(place: Path, *jobs: tuple[str, float | None], **content: Any) -> Path:
    """Leaves what jobs with these overrides returned."""
    for number, (words, value) in enumerate(jobs):
        values = {"values": None if value is None else [value]}
        job = {"number": number, "overrides": words.split(), "pruned": False}
        (place / str(number)).mkdir(parents=True, exist_ok=True)
        write_json(place / str(number) / "returned.json", job | values | content)
    return place


def crossed(place: Path, gain: float = 1.0, seeds: int = 8, key: str = "seed") -> Path:
    pairs = [(way, seed) for way in range(2) for seed in range(seeds)]
    return leave(place, *((f"way={w} {key}={s}", s % 3 + w * gain + s * w / 100) for w, s in pairs))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sphere") / "multirun"
    run("sphere", place, *GRID, *SEEDS)
    return place


class TestByOurSweeper:
    """The textbook's sphere, in a group of choices times seeds."""

    @pytest.mark.slow
    def test_a_verdict(self, place: Path) -> None:
        text = invoke(str(place))
        assert re.search(r"origin=far .*worse", text)
        comparison = pd.read_csv(place / "comparison.csv").set_index("strategy")
        assert comparison["pairs"].dropna().tolist() == [8]
        assert comparison.loc["origin=far", "opponent"] == "origin=near"  # the first choice
        assert comparison.loc["origin=far", "difference"] == pytest.approx(510 * 0.9**40, abs=0.2)
        assert len(pd.read_csv(place / "trials.csv")) == 16
        page = (place / "report.html").read_text()
        shown = re.sub(r"<script>.*?</script>|<style>.*?</style>", "", page, flags=re.DOTALL)
        ours = r"\b(test|images?|accurac.*|points|epochs?|learning|MLflow)\b"
        assert not re.search(ours, shown, re.IGNORECASE)

    @pytest.mark.slow
    def test_from_python(self, place: Path) -> None:
        found = fmnist_lab.compare(place)
        assert found.verdicts["verdict"].tolist() == ["worse"]
        assert len(found.replicates) == 16
        assert found.answer in repr(found)

    @pytest.mark.slow
    def test_another_baseline(self, place: Path) -> None:
        text = invoke(str(place), "--baseline", "origin=far", "--no-report")
        assert re.search(r"origin=near .*better", text)
        assert "--baseline" in invoke(str(place), "--baseline", "far", code=2)

    @pytest.mark.slow
    def test_within_a_margin(self, place: Path) -> None:
        assert re.search(r"origin=far .*equivalent", invoke(str(place), "--margin", "9"))
        assert "--margin" in invoke(str(place), "--margin", "-1", code=2)

    @pytest.mark.slow
    def test_a_search_ranks_and_gives_no_verdict(self, tmp_path: Path) -> None:
        run("quadratic", tmp_path / "sweep", "hydra.sweeper.n_trials=3", "x=interval(-5,5)")
        found = foreign.read(tmp_path / "sweep")
        assert not found.is_paired
        assert found.jobs["y"].dtype == "float64"
        text = invoke(str(tmp_path / "sweep"))
        assert re.search(r" cost .*trials", text)
        assert "Budget" in (tmp_path / "sweep/report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "extra", ["hydra/callbacks=record_returns", "hydra/launcher=dask hydra.launcher.workers=1"]
)
def test_hydras_own_sweeper(tmp_path: Path, extra: str) -> None:
    place = tmp_path / "multirun"
    run("groups", place, "db=mysql,postgresql", "schema=school,support,warehouse", *extra.split())
    assert "--maximize" in invoke(str(place), code=2)
    invoke(str(place), "--minimize", "--strategy", "db")
    found = foreign.read(place, ["db"], maximised=False)
    assert (found.pair, found.blocks, found.seed) == ("block", ["schema"], None)
    assert found.jobs["objective"].tolist() == [12, 11, 13, 22, 21, 23]


@pytest.mark.slow
def test_without_records_the_remedies_are_named(tmp_path: Path) -> None:
    place = tmp_path / "multirun"
    run("groups", place, "db=mysql,postgresql")
    message = invoke(str(place), code=2)
    assert all(word in message for word in (str(place), " 2 ", "hydra/callbacks=record_returns"))
    assert not (place / "report.html").exists()


class TestJobs:
    """What the overrides mean."""

    def test_seeds_are_pairs(self, tmp_path: Path) -> None:
        found = foreign.read(crossed(tmp_path), maximised=True)
        assert (found.strategies, found.seed, found.pair) == (["way"], "seed", "seed")
        assert found.jobs["strategy"].unique().tolist() == ["way=0", "way=1"]
        assert found.jobs["seed"].dtype == "int64"
        assert found.is_paired

    @pytest.mark.parametrize(("key", "asked"), [("model.seed", None), ("start", "start")])
    def test_the_key_of_the_seed(self, tmp_path: Path, key: str, asked: str | None) -> None:
        found = foreign.read(crossed(tmp_path, key=key), seed=asked, maximised=True)
        assert (found.seed, found.pair) == (key, "seed")

    def test_further_keys_are_blocks(self, tmp_path: Path) -> None:
        jobs = [(f"way={w} size={n} seed={s}", 1.0) for w in "ab" for n in "12" for s in "345"]
        found = foreign.read(leave(tmp_path, *jobs), ["way"], maximised=False)
        assert (found.pair, found.blocks) == ("block", ["size"])
        verdicts = statistics.compare(found.jobs, "way=a", "objective", "block", 0.1)
        assert verdicts["pairs"].tolist() == [6]

    def test_keys_that_follow_from_the_strategy_are_none(self, tmp_path: Path) -> None:
        jobs = [(f"way={w} rate=0.{w} seed={s}", 1.0) for w in "12" for s in "345"]
        assert foreign.read(leave(tmp_path, *jobs), ["way"], maximised=False).blocks == []

    def test_several_keys_name_a_strategy(self, tmp_path: Path) -> None:
        jobs = [(f"way={w} size={n} seed=1", 1.0) for w in "ab" for n in "12"]
        found = foreign.read(leave(tmp_path, *jobs), maximised=False)
        assert found.jobs["strategy"].tolist()[1] == "way=a size=2"

    def test_an_attempt_that_was_repeated_does_not_count(self, tmp_path: Path) -> None:
        jobs = [("way=a seed=1", None), ("way=a seed=1", 2.0), ("way=b seed=1", 3.0)]
        found = foreign.read(leave(tmp_path, *jobs, error="..."), maximised=False)
        assert found.jobs["superseded"].tolist() == [True, False, False]

    def test_without_seeds_repetitions_are_draws_and_no_pairs(self, tmp_path: Path) -> None:
        jobs = [("way=a", 1.0), ("way=a", None), ("way=a", 2.0), ("way=b", 3.0)]
        found = foreign.read(leave(tmp_path, *jobs, error="..."), maximised=False)
        assert found.jobs["superseded"].tolist() == [False, True, False, False]
        assert not found.is_paired

    def test_the_first_choice_is_spelled_as_in_an_override(self, tmp_path: Path) -> None:
        place = leave(tmp_path, ("flag=false", 1.0), ("flag=true", 2.0))
        write_json(place / "spaces.json", {"": {"flag": {"choices": [True, False]}}})
        assert foreign.read(place, maximised=False).first == "flag=true"

    def test_what_has_no_number(self, tmp_path: Path) -> None:
        jobs = [("way=a", math.nan), ("way=b", math.inf), ("way=d", None), ("way=c", 1.0)]
        found = foreign.read(leave(tmp_path, *jobs), maximised=False).jobs
        assert found["stop_reason"].tolist() == [StopReason.FAILED] * 3 + [StopReason.COMPLETED]
        assert found["objective"].isna().tolist() == [True, True, True, False]
        pruned = foreign.read(leave(tmp_path, *jobs, pruned=True), maximised=False).jobs
        assert set(pruned["stop_reason"]) == {StopReason.PRUNED}
        assert pruned["objective"].isna().all()

    @pytest.mark.parametrize(
        ("direction", "asked", "metric"),
        [("maximize", None, metrics.SCORE), ("minimize", None, metrics.COST),
         (["minimize"], None, metrics.COST), ("minimize", True, metrics.SCORE)],
    )  # fmt: skip
    def test_which_way_is_better(
        self, tmp_path: Path, direction: Any, asked: bool | None, metric: str
    ) -> None:
        place = crossed(tmp_path)
        write_json(place / "multirun.yaml", {"hydra": {"sweeper": {"direction": direction}}})
        found = foreign.read(place, maximised=asked)
        assert found.jobs["objective_metric"].unique().tolist() == [metric]


class TestVerdicts:
    """As of a sweep of ours, in numbers of any size."""

    @pytest.mark.parametrize(
        ("word", "verdict"), [("--maximize", "better"), ("--minimize", "worse")]
    )
    @pytest.mark.parametrize("gain", [1.0, 1e-6, 1e6])
    def test_either_way(self, tmp_path: Path, word: str, verdict: str, gain: float) -> None:
        invoke(str(crossed(tmp_path, gain)), word)
        rows = pd.read_csv(tmp_path / "comparison.csv").set_index("strategy")
        assert rows.loc["way=1", "verdict"] == verdict

    def test_the_best_of_three_that_are_smaller(self, tmp_path: Path) -> None:
        jobs = [(f"way={w} seed={s}", 9 - w + s * w / 100) for w in range(3) for s in range(8)]
        text = invoke(str(leave(tmp_path, *jobs)), "--minimize")
        assert re.search(r"Use way=2: -1\.93 over way=0", text)

    def test_a_job_that_failed_ranks_last(self, tmp_path: Path) -> None:
        place = crossed(tmp_path)
        lost = {"number": 15, "overrides": ["way=1", "seed=7"], "pruned": False, "error": "..."}
        write_json(place / "15/returned.json", lost)
        invoke(str(place), "--maximize")
        assert pd.read_csv(place / "comparison.csv")["lost"].sum() == 1

    @pytest.mark.parametrize("lost", [0, 1])  # the first is the baseline
    def test_a_strategy_that_always_failed_is_worse(self, tmp_path: Path, lost: int) -> None:
        jobs = [(f"way={way} seed={seed}", None if way == lost else 0.1 * seed)
                for way in range(2) for seed in range(8)]  # fmt: skip
        text = invoke(str(leave(tmp_path / "m", *jobs)), "--maximize")
        (row,) = (
            pd.read_csv(tmp_path / "m/comparison.csv").dropna(subset="pairs").to_dict("records")
        )
        assert row["verdict"] == ("worse" if lost else "better")
        assert "e-" not in text  # no number so small that it has an exponent

    def test_a_key_called_seconds(self, tmp_path: Path) -> None:
        jobs = [(f"way={way} seconds={n}", 1.0 * n) for n, way in enumerate("aabb")]
        invoke(str(leave(tmp_path / "m", *jobs)), "--maximize", "--strategy", "way")
        assert (tmp_path / "m/report.html").exists()

    def test_five_seeds_are_no_verdict(self, tmp_path: Path) -> None:
        text = invoke(str(crossed(tmp_path, seeds=5)), "--maximize")
        assert re.search(r"5 seeds .* 6 ", text)

    def test_one_strategy(self, tmp_path: Path) -> None:
        invoke(str(leave(tmp_path, ("seed=1", 1.0), ("seed=2", 2.0))), "--maximize")
        assert (tmp_path / "report.html").exists()


def test_a_sampler_that_learns_is_a_caution(tmp_path: Path) -> None:
    place = crossed(tmp_path)
    for sampler, is_said in (("TPESampler", True), ("GridSampler", False)):
        node = {"_target_": f"optuna.samplers.{sampler}"}
        sweeper = {"direction": "minimize", "n_trials": 16, "sampler": node}
        write_json(place / "multirun.yaml", {"hydra": {"sweeper": sweeper}})
        assert ("TPESampler" in invoke(str(place))) == is_said


def test_a_sweep_of_ours_by_its_path(folder: Path) -> None:
    place = leave_sweep(Path("mlruns"), {"constant": [1e-3]}, {"constant": 0.9})
    assert invoke(str(place)) == invoke(str(place.resolve())) == invoke("night")
    for words in (["--minimize"], ["--margin", "0"], ["--strategy", "x"]):
        assert words[0].replace("minim", "maxim") in invoke("night", *words, code=2)


class TestMistakes:
    """One sentence, nothing written."""

    @pytest.mark.parametrize(
        ("words", "token"),
        [(["--strategy", "wya"], "wya"), (["--seed", "sede"], "sede"), ([], "--minimize")],
    )
    def test_options(self, tmp_path: Path, words: list[str], token: str) -> None:
        given = [*words, *["--maximize"] * bool(words)]
        assert token in invoke(str(crossed(tmp_path)), *given, code=2)
        assert not (tmp_path / "report.html").exists()

    def test_what_is_no_number(self, tmp_path: Path) -> None:
        assert " 1 " in invoke(str(leave(tmp_path, ("x=1", None))), code=2)
        leave(tmp_path, ("x=1", 1.0), values=[1.0, 2.0])
        assert " 1 " in invoke(str(tmp_path), code=2)

    def test_a_file_of_another_shape(self, tmp_path: Path) -> None:
        write_json(crossed(tmp_path) / "3/returned.json", {"number": "x"})
        assert "3/returned.json" in invoke(str(tmp_path), code=2)

    def test_a_folder_of_something_else(self, tmp_path: Path) -> None:
        assert "returned.json" in invoke(str(tmp_path), code=2)
