"""Images that the process has read before its workers are forked."""

import importlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from fmnist_lab import data
from fmnist_lab.data import dataset, preloaded
from fmnist_lab.hydra_app import callback
from fmnist_lab.hydra_app import run as hydra_run
from tests.conftest import TINY

WANTED: dict[str, Any] = {"name": "synthetic", "train_size": 30, "val_size": 10}


def test_a_trial_that_asks_for_them_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(data.PRELOADED, json.dumps(WANTED))
    importlib.reload(preloaded)
    before = dataset._load.cache_info()
    data.load(data.DataConfig(**WANTED))
    after = dataset._load.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)


@pytest.mark.parametrize(
    "wanted", [None, "", "no JSON", '{"name": "images", "path": "nowhere"}', '{"nope": 1}']
)
def test_what_cannot_be_read_is_left_to_the_trial(
    wanted: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(data.PRELOADED, raising=False)
    if wanted is not None:
        monkeypatch.setenv(data.PRELOADED, wanted)
    importlib.reload(preloaded)


@pytest.mark.slow
def test_a_multirun_says_which(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(data.PRELOADED, raising=False)
    words = ["--multirun", *TINY, "training.epochs=1", "data.val_size=50", "seed=1"]
    hydra_run.run(hydra_run.trials, "fmnist-lab train", words)
    found = data.DataConfig(**json.loads(os.environ[data.PRELOADED]))
    assert (found.name, found.train_size, found.val_size) == ("synthetic", 320, 50)


def test_images_of_a_function_are_read_by_the_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(data.PRELOADED, json.dumps(WANTED))
    callback._preload_images(
        OmegaConf.create({"data": {"name": "images", "_target_": "mine.read"}})
    )
    assert data.PRELOADED not in os.environ


def test_checksums_are_those_of_the_images_and_keep_none() -> None:
    config = data.DataConfig(**WANTED | {"val_size": 11})
    before = dataset._load.cache_info().currsize, dataset._load.cache_info().misses
    found = data.checksums(config)
    assert (dataset._load.cache_info().currsize, dataset._load.cache_info().misses) == before
    images = data.load(config)
    assert found == (images.checksum, images.test_checksum)
