"""Images of the user's own, from the first training to the registered model."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fmnist_lab import data
from fmnist_lab.data import DataConfig
from fmnist_lab.metrics import BY_CLASS
from fmnist_lab.results import ledger, schema
from fmnist_lab.tracking import models
from fmnist_lab.training import engines
from fmnist_lab.trial import ObjectiveConfig, TrainingConfig
from tests.conftest import run_here
from tests.data.test_images import shades
from tests.support.engines import NAMES, a_trial, train, without_time

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

SMALL = ("architecture=mlp", "architecture.hidden_sizes=[8]", "training.epochs=1")


def test_digits_from_a_sweep_to_the_registered_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    np.savez(tmp_path / "digits.npz", images=digits.images.astype(np.uint8), labels=digits.target)
    (tmp_path / "other.npz").write_bytes((tmp_path / "digits.npz").read_bytes())
    own = ("data=images", "data.path=digits.npz", "hydra/launcher=basic", *SMALL)

    def run(*words: str) -> str:
        done = run_here(tmp_path, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("sweep", "demo", *own, "hydra.sweeper.n_trials=1", "replicates=1")
    run("compare", "demo")
    folder = tmp_path / "mlruns" / "sweeps" / "demo"
    assert (folder / "report.html").exists()
    monkeypatch.chdir(tmp_path)
    dataset = data.load(
        DataConfig("images", split="random", val_size=0.15, test_size=0.2, path="digits.npz")
    )
    for place in folder.glob("*/*/result.json"):
        environment = schema.environment(place.parent)
        assert environment["data_checksum"] == dataset.checksum
    assert ledger.read(dataset.test_checksum)

    run("export-best", "demo", "--out", "best.yaml")
    refused = run_here(tmp_path, "verify", "best.yaml")
    assert refused.returncode == 2
    assert "data.path" in refused.stderr
    assert "bit for bit" in run("verify", "best.yaml", "--data", "other.npz")

    run("promote", "demo")
    (line,) = (
        entry for entry in ledger.read(dataset.test_checksum) if entry["command"] == "promote"
    )
    assert line["runs"] == 1


@pytest.mark.parametrize("name", ["mlp", "cnn", "notebook"])
def test_engines_agree_on_colour_images_of_floats(tmp_path: Path, name: str) -> None:
    images, labels = shades(120)
    np.savez(tmp_path / "shades.npz", images=images / 255, labels=labels)
    config = DataConfig(
        "images", split="stratified", test_size=20, path=str(tmp_path / "shades.npz")
    )
    trial = a_trial(
        data=DataConfig(**{**vars(config), "val_size": 20}),
        architecture={"_target_": f"fmnist_lab.architectures.{name}"},
        training=TrainingConfig(2, labels="one_hot" if name == "cnn" else "integer"),
    )
    curves = [train(trial, engine)[1] for engine in engines.ENGINES]
    assert set(curves[0][0]) == NAMES | set(BY_CLASS)
    for one, other in zip(*map(without_time, curves), strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-4)


def test_a_packed_model_of_floats_takes_floats(tmp_path: Path) -> None:
    from fmnist_lab.training.engines import building

    images, labels = shades(120)
    np.savez(tmp_path / "shades.npz", images=images / 255, labels=np.array(list("abc"))[labels])
    config = DataConfig("images", "x", "random", 0, 20, path=str(tmp_path / "shades.npz"))
    trial = a_trial(data=config)
    dataset = data.load(config)
    outcome, _ = train(trial, "compiled")
    building.save(trial, dataset, outcome.weights, tmp_path / "network.keras")
    models.pack(tmp_path / "network.keras", dataset, tmp_path / "packed")
    _, guesses = building.evaluate(trial, dataset, outcome.weights)
    correct = guesses == dataset.test_labels
    assert models.measure(tmp_path / "packed", dataset) == pytest.approx(correct.mean())
    signature = (tmp_path / "packed" / "MLmodel").read_text()
    assert json.dumps("float32")[1:-1] in signature


@pytest.mark.parametrize("engine", engines.ENGINES)
def test_a_metric_by_class_is_measured_where_it_is_the_objective(engine: str) -> None:
    trial = a_trial(objective=ObjectiveConfig("val/macro_f1"), training=TrainingConfig(1))
    ((curve,), (plain,)) = (
        train(t, engine)[1] for t in (trial, replace(trial, objective=ObjectiveConfig()))
    )
    assert set(plain) == NAMES
    assert {name: curve[name] for name in set(plain) - {"time/epoch_seconds"}} == {
        name: plain[name] for name in set(plain) - {"time/epoch_seconds"}
    }
    assert 0 < curve["val/macro_f1"] < 1
    assert 0 < curve["val/balanced_accuracy"] < 1
