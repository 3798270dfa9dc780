"""What a replicate keeps in its folder, and a tuning trial does not."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist_lab import data
from fmnist_lab.data import Dataset
from fmnist_lab.errors import RequestError
from fmnist_lab.tracking.outbox import NOT_SENT
from fmnist_lab.training import runner, weights
from fmnist_lab.training.engines import building
from fmnist_lab.trial import Labels, Trial
from tests.conftest import ComposeTrial

pytestmark = pytest.mark.slow


def test_a_replicate_keeps_what_it_delivers(
    tiny: ComposeTrial, labels: Labels, tmp_path: Path
) -> None:
    trial = tiny()
    result = runner.run(trial, replace(labels, kind="replicate"), tmp_path, runner.Tracker())
    kept = weights.read(tmp_path)
    assert kept is not None
    dataset = data.load(trial.data)
    loss, guesses = building.evaluate(trial, dataset, kept)
    correct = guesses == dataset.test_labels
    assert (loss, correct.mean()) == (result.test_loss, result.test_accuracy)
    confusion = weights.read_confusion(tmp_path)
    assert confusion is not None
    assert confusion[0] == list(dataset.class_names)
    assert confusion[1].sum(axis=1).tolist() == np.bincount(dataset.test_labels).tolist()
    assert confusion[1].trace() == correct.sum()
    of_class_3 = np.bincount(guesses[dataset.test_labels == 3], minlength=10)
    assert confusion[1][3].tolist() == of_class_3.tolist()
    bits = weights.read_correct(tmp_path)
    assert bits is not None
    assert bits.tolist() == correct.tolist()
    assert (tmp_path / weights.TEST_CORRECT).stat().st_size == 1250 + 128  # with its header
    assert json.loads((tmp_path / "result.json").read_text())["test_accuracy"] == correct.mean()


def test_mlflow_gets_the_bits_and_not_the_weights() -> None:
    assert any(map((Path("3") / weights.WEIGHTS).match, NOT_SENT))
    assert not any(map((Path("3") / weights.TEST_CORRECT).match, NOT_SENT))


def test_a_tuning_trial_keeps_none_and_removes_what_was_left(
    tiny: ComposeTrial, labels: Labels, tmp_path: Path
) -> None:
    (tmp_path / weights.WEIGHTS).write_bytes(b"of another attempt")
    runner.run(tiny(), labels, tmp_path, runner.Tracker())
    assert weights.read(tmp_path) is None
    assert weights.read_correct(tmp_path) is None
    assert weights.read_confusion(tmp_path) is None


class InTheWay(runner.Tracker):
    """Puts a folder where the weights go."""

    def start(
        self, trial: Trial, labels: Labels, dataset: Dataset, parameters: int, folder: Path
    ) -> None:
        (folder / weights.WEIGHTS).mkdir()


def test_a_replicate_whose_weights_cannot_be_kept_has_failed(
    tiny: ComposeTrial, labels: Labels, tmp_path: Path
) -> None:
    with pytest.raises(IsADirectoryError):
        runner.run(tiny(), replace(labels, kind="replicate"), tmp_path, InTheWay())
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["stop_reason"] == "failed"
    assert math.isnan(result["test_accuracy"])


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04"])
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / weights.WEIGHTS).write_bytes(content)
    with pytest.raises(RequestError, match=weights.WEIGHTS):
        weights.read(tmp_path)


@pytest.mark.parametrize("images", [359, 360, 10_000])
def test_bits_of_any_number_of_images(tmp_path: Path, images: int) -> None:
    truth = np.arange(images, dtype=np.int32) % 3
    guesses = np.random.default_rng(1).integers(0, 3, images)
    weights.keep(tmp_path, [], guesses, truth, "abc")
    found = weights.read_correct(tmp_path)
    assert found is not None
    assert found.tolist() == (guesses == truth).tolist()


@pytest.mark.parametrize(
    "content", ["[]", '{"classes": ["a"]}', '{"classes": ["a"], "counts": [[1, 2]]}',
                '{"classes": ["a"], "counts": [[-1]]}'],
)  # fmt: skip
def test_what_is_no_confusion_matrix(tmp_path: Path, content: str) -> None:
    (tmp_path / weights.TEST_CONFUSION).write_text(content)
    with pytest.raises(RequestError, match=weights.TEST_CONFUSION):
        weights.read_confusion(tmp_path)


@pytest.mark.parametrize("array", [np.ones((4, 8), bool), np.ones(8)])
def test_what_are_no_bits(tmp_path: Path, array: Any) -> None:
    np.save(tmp_path / weights.TEST_CORRECT, array)
    with pytest.raises(RequestError, match=weights.TEST_CORRECT):
        weights.read_correct(tmp_path)
