"""The plan of a sweep: what it says, when it is written, and that it stays."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fmnist_lab import data
from fmnist_lab.data import DataConfig
from fmnist_lab.foundation.files import write_json
from fmnist_lab.protocol.registration import Registration
from fmnist_lab.sweeper.observers import SweepInfo
from fmnist_lab.sweeper.sweep_end import TrialEnd

IMAGES: dict[str, Any] = {"name": "synthetic", "train_size": 10, "val_size": 10}
RATE = "optimizer.learning_rate"
FILE = "# @package _global_\n# Question: which one?\n# Two trials.\nseed: 1\n"


@pytest.fixture
def search(folder: Path) -> Path:
    """The folder of a search as its sweeper leaves it at the start."""
    (folder / "sweeps").mkdir()
    (folder / "sweeps/mine.yaml").write_text(FILE)
    place = folder / "mlruns/sweeps/mine"
    place.mkdir(parents=True)
    sweeper = {"strategies": {"a": "scheduler=constant"}, "n_trials": 4, "timeout": None}
    hydra = {"sweeper": sweeper, "runtime": {"choices": {"sweeps": "mine"}}}
    config = {"hydra": hydra, "seed": 7, "margin": 0.003, "alpha": 0.05, "baseline": None,
              "searches": 2, "replicates": 8, "training": {"epochs": 3},
              "data": IMAGES}  # fmt: skip
    (place / "multirun.yaml").write_text(yaml.safe_dump(config))
    write_json(place / "spaces.json", {"a": {RATE: {"low": 1e-4, "high": 1, "log": True}}})
    return place


def begin(place: Path, kind: str = "trial", *earlier: Any) -> dict[str, Any]:
    info = SweepInfo("mine", "journal", str(place), ["maximize"], {"a": 4}, 4, len(earlier), 2)
    Registration(kind).on_start(info, earlier)
    path = place / "manifest.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def test_what_is_written_before_the_first_trial(search: Path) -> None:
    found = begin(search)
    plan, dataset = found["plan"], data.load(DataConfig(**IMAGES))
    assert plan["question"] == "Question: which one? Two trials."
    assert plan["sweep"] == "mine"
    assert plan["strategies"] == {"a": "scheduler=constant"}
    assert plan["spaces"]["a"][RATE]["high"] == 1
    wanted = {"seed": 7, "margin": 0.003, "alpha": 0.05, "baseline": None, "searches": 2,
              "replicates": 8, "n_trials": 4, "training": {"epochs": 3}, "search": 0}  # fmt: skip
    assert wanted.items() <= plan.items()
    assert plan["data"] == dataset.checksum
    assert plan["test_images"] == dataset.test_checksum
    assert plan["versions"]["python"]
    assert len(found["hash"]) == 64
    assert "openings" not in found


def test_a_plan_stays_as_it_is(search: Path) -> None:
    first = begin(search)
    config = yaml.safe_load((search / "multirun.yaml").read_text()) | {"margin": 0.1}
    (search / "multirun.yaml").write_text(yaml.safe_dump(config))
    assert begin(search) == first


def test_the_same_question_has_the_same_hash(search: Path) -> None:
    first = begin(search)
    (search / "manifest.json").unlink()
    assert begin(search)["hash"] == first["hash"]


def test_too_late_is_no_plan(search: Path) -> None:
    assert begin(search, "replicate") == {}
    assert begin(search, "trial", TrialEnd(0, "complete", [0.5], {}, 3, 1.0)) == {}


@pytest.mark.parametrize("same", [{}, {"train_size": 20}, {"split": "last"}])
def test_the_test_images_are_known_whatever_else_is_used(same: dict[str, Any]) -> None:
    known = data.load(DataConfig(**IMAGES)).test_checksum
    assert data.load(DataConfig(**IMAGES | same)).test_checksum == known
