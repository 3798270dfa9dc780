"""Images of the user's own, from the first training to the registered model."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist_lab import config, data
from fmnist_lab.data import DataConfig
from fmnist_lab.metrics import BY_CLASS
from fmnist_lab.results import ledger, schema
from fmnist_lab.tracking import models
from fmnist_lab.training import engines
from fmnist_lab.trial import ObjectiveConfig, TrainingConfig
from tests.conftest import run_here
from tests.data.test_images import as_folder, shades
from tests.support.engines import NAMES, a_trial, train, without_time

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

SMALL = ("architecture=mlp", "architecture.hidden_sizes=[8]", "training.epochs=1")


FUNCTION = """
import numpy as np
from sklearn.datasets import load_digits


def load():
    digits = load_digits()
    return digits.images.astype(np.uint8), digits.target
"""


def leave_digits(folder: Path, form: str) -> tuple[str, ...]:
    """Digits in a folder or from a function, and what names them on a command line."""
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    images = digits.images.astype(np.uint8)
    if form == "function":
        (folder / "digits_of_the_test.py").write_text(FUNCTION)
        (folder / "conf/data").mkdir(parents=True)
        option = "defaults: [images]\n_target_: digits_of_the_test.load\n"
        (folder / "conf/data/mine.yaml").write_text(option)
        return ("data=mine",)
    as_folder(folder / "digits", images, [f"{label}" for label in digits.target])
    return ("data=images", "data.path=digits")


@pytest.mark.parametrize("form", ["folder", "function"])
def test_digits_from_a_sweep_to_the_registered_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    named = leave_digits(tmp_path, form)
    # A function is imported by workers, too; a folder is read in this process.
    launcher = "hydra.launcher.workers=1" if form == "function" else "hydra/launcher=basic"

    def run(*words: str) -> str:
        done = run_here(tmp_path, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("train", *named, *SMALL, "tracking=none")
    two = ("~hydra.sweeper.strategies.exponential", "~hydra.sweeper.strategies.one_cycle")
    run("sweep", "demo", *named, *SMALL, *two, launcher, "hydra.sweeper.n_trials=1", "replicates=1")
    run("compare", "demo")
    folder = tmp_path / "mlruns" / "sweeps" / "demo"
    assert (folder / "report.html").exists()
    trained = [*tmp_path.glob("mlruns/trials/*/result.json"), *folder.glob("*/*/result.json")]
    places = [path.parent for path in trained]
    assert len(places) == 1 + 2 + 2
    (checksum,) = {str(schema.environment(place)["data_checksum"]) for place in places}
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    where: dict[str, Any] = (
        {"path": "digits"} if form != "function" else {"_target_": "digits_of_the_test.load"}
    )
    dataset = data.load(DataConfig("images", split="random", val_size=0.15, test_size=0.2, **where))
    assert checksum == dataset.checksum
    assert ledger.read(dataset.test_checksum)

    run("export-best", "demo", "--out", "best.yaml")
    if form == "function":  # which the file names; `promote` loads images as `verify` does
        assert "bit for bit" in run("verify", "best.yaml")
        return
    refused = run_here(tmp_path, "verify", "best.yaml")
    assert refused.returncode == 2
    assert "--data" in refused.stderr
    (tmp_path / "digits").rename(tmp_path / "moved")
    assert "bit for bit" in run("verify", "best.yaml", "--data", "moved")
    (tmp_path / "moved").rename(tmp_path / "digits")

    run("promote", "demo")
    (line,) = (
        entry for entry in ledger.read(dataset.test_checksum) if entry["command"] == "promote"
    )
    assert line["runs"] == 1


def test_every_architecture_trains_on_colour_images_in_folders(tmp_path: Path) -> None:
    images, labels = shades(60)
    as_folder(tmp_path / "shades", images, [f"shade {label}" for label in labels])
    own = ("data=images", "data.path=shades", "training.epochs=1", "tracking=none")
    names = [path.stem for path in (Path(config.config_dir()) / "architecture").glob("*.yaml")]
    for name in names:
        done = run_here(tmp_path, "train", *own, f"architecture={name}")
        assert done.returncode == 0, done.stderr
    places = [path.parent for path in tmp_path.glob("mlruns/trials/*/result.json")]
    found = list(map(schema.result, places))
    assert sorted(result["architecture"] for result in found) == sorted(names)
    assert all(0 <= result["objective"] <= 1 for result in found)
    (checksum,) = {schema.environment(place)["data_checksum"] for place in places}
    cfg = config.compose(["data=images", f"data.path={tmp_path / 'shades'}"])
    assert checksum == data.load(config.to_trial(cfg).data).checksum


@pytest.mark.parametrize("name", ["cnn", "notebook"])
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
