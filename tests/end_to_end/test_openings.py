"""The ways in which the test set could be opened without a trace: on the record, or refused."""

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from fmnist_lab import report, results
from fmnist_lab.commands import compare, promote, sweep, train
from fmnist_lab.errors import RequestError
from fmnist_lab.report import cautions, page
from fmnist_lab.results import ledger
from fmnist_lab.tracking import models
from fmnist_lab.training import weights
from tests.conftest import TINY, ComposeTrial

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

SMALL = [*TINY[:-1], "training.epochs=1", "hydra/launcher=basic", "tracking=none", "replicates=1",
         "hydra.sweeper.n_trials=1", *(f"~hydra.sweeper.strategies.{name}" for name in
                                       ("cosine", "exponential", "one_cycle"))]  # fmt: skip
FILE = """# @package _global_
# Question: which one?
defaults:
  - override /hydra/sweeper: fmnist_lab
{line}
hydra:
  sweeper:
    n_trials: 1
    strategies:
      a: [scheduler=constant, {word}]
"""


def lines() -> list[dict[str, Any]]:
    path = Path("mlruns/test-openings.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class TestRefused:
    """(1) and (2): no command line and no file makes a trial a replicate."""

    @pytest.mark.parametrize(
        "words",
        [["kind=replicate"], ["-m", "kind=replicate"], ["-m", "kind=trial,replicate"],
         ["-m", "++kind=replicate", "seed=1,2"],
         ["-m", "hydra/sweeper=fmnist_lab", "kind=choice(trial,replicate)"]],
    )  # fmt: skip
    def test_a_training(self, folder: Path, words: list[str]) -> None:
        with pytest.raises(RequestError, match="`kind` "):
            train.main([*words, *TINY, "tracking=none"])
        assert not Path("mlruns").exists()

    @pytest.mark.parametrize("word", ["kind=replicate", "kind=choice(trial,replicate)"])
    def test_a_sweep(self, folder: Path, word: str) -> None:
        with pytest.raises(RequestError, match="`kind` "):
            sweep.main("demo", [*SMALL, word])
        assert not Path("mlruns").exists()

    @pytest.mark.parametrize(
        ("line", "word"), [("kind: replicate", "seed=1"), ("seed: 1", "kind=replicate")]
    )
    def test_a_sweeps_file(self, folder: Path, line: str, word: str) -> None:
        (folder / "sweeps").mkdir()
        (folder / "sweeps/mine.yaml").write_text(FILE.format(line=line, word=word))
        with pytest.raises(RequestError, check=lambda error: error.key == "kind"):
            sweep.main("mine", [*TINY, "hydra/launcher=basic", "tracking=none"])
        assert not Path("mlruns").exists()

    def test_a_job_of_another_sweeper(self, folder: Path) -> None:
        (folder / "conf/recipe").mkdir(parents=True)
        text = "# @package _global_\nhydra: {sweeper: {params: {kind: replicate}}}\n"
        (folder / "conf/recipe/sly.yaml").write_text(text)  # for Hydra's own
        with pytest.raises(RequestError, check=lambda error: error.key == "kind"):
            train.main(["-m", "recipe=sly", *TINY, "tracking=none"])
        assert not list(folder.rglob("result.json"))
        assert lines() == []


def test_a_sweep_that_starts_afresh_and_one_with_more_searches(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """(3) and (5): what was opened before, and what was added then, are shown."""
    sweep.main("demo", SMALL)
    assert [(line["subject"], line["runs"]) for line in lines()] == [("demo", 1)]
    begun = json.loads(Path("mlruns/sweeps/demo/manifest.json").read_text())
    assert begun["plan"]["question"].startswith("Question: ")
    sweep.main("demo", SMALL, new=True)
    assert [line["subject"] for line in lines()] == ["demo", "demo-2"]
    again = json.loads(Path("mlruns/sweeps/demo-2/manifest.json").read_text())
    assert again["openings"][0]["number"] == 2

    sweep.main("demo", [*SMALL, "searches=2"])  # of demo-2, the latest
    assert [(line["subject"], line["search"]) for line in lines()[2:]] == [("demo-2", 1)]
    capsys.readouterr()
    compare.main()
    printed, count = capsys.readouterr().out, "opened 3 times"
    assert count in printed
    assert " 2 sweeps" in printed
    assert "1 more search " in printed
    evidence = report.gather(results.find("demo-2"), results.trials("demo-2"))
    html = page.page(evidence)
    assert count in html
    assert again["hash"][:12] in html
    assert "sweep demo: 1, sweep demo-2: 2." in html
    assert "searches 1 to 2" in html
    for caution in cautions.grave(evidence):
        assert "seeds" not in caution


def test_a_promoted_model(
    folder: Path,
    tiny: ComposeTrial,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """(4): the line is there before anything is measured."""

    def measure(*_: Any) -> float:
        assert len(lines()) == 1
        return 0.5

    monkeypatch.setattr(models, "measure", measure)
    monkeypatch.setattr(models, "pack", mock.Mock())
    monkeypatch.setattr(weights, "read", lambda _: [0])
    monkeypatch.setattr("fmnist_lab.training.engines.building.save", mock.Mock())
    keys = ("sweep", "strategy", "kind", "trial", "seed")
    result = dict.fromkeys(keys) | {"mlflow_run_id": "f" * 32}
    promote._pack(folder / "0", tiny(), result, folder / "packed", False)
    (line,) = lines()
    assert (line["command"], line["subject"], line["runs"]) == ("promote", "f" * 32, 1)
    assert "1 time" in capsys.readouterr().out
    assert len(ledger.read(line["images"])) == 1


# (6), a sweep that time cuts short: tests/protocol/test_searches.py.
