"""The best configuration as a Python file: it needs only Keras, and gives the same curve."""

import ast
import gzip
import importlib.util
import itertools
import json
import os
import re
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fmnist_lab import config
from fmnist_lab.data import Dataset
from fmnist_lab.data import dataset as loading
from fmnist_lab.errors import RequestError
from fmnist_lab.export import python_file
from fmnist_lab.export.pasting import Pasted
from fmnist_lab.schedules import scheduler
from fmnist_lab.training.engines import Metrics
from fmnist_lab.trial import Trial
from tests.conftest import TINY, ComposeTrial
from tests.support.exporting import document, leave_trial

pytestmark = pytest.mark.slow

RECORD = {
    "sweep": "night", "strategy": "calm", "trial": 7, "chosen": 'It is the """best""".',
    "noise": "Perhaps.", "warnings": [], "replicates": None, "mlflow_run_id": None,
    "command": "fmnist-lab train",
    "environment": {"fmnist-lab": "0", "tensorflow": "2", "keras": "3", "numpy": "2",
                    "machine": "a", "git_commit": None},
}  # fmt: skip


def loaded(trial: Trial, folder: Path) -> ModuleType:
    """The program for a trial, imported from its file."""
    path = folder / "program.py"
    path.write_text(python_file.program(trial, RECORD, "program"))
    spec = importlib.util.spec_from_file_location("program", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCHEDULES = sorted({*config.options("scheduler")} - {"performance", "sequential"})


@pytest.mark.parametrize("option", SCHEDULES)
def test_rates_are_the_same_to_the_last_bit(option: str, folder: Path) -> None:
    asked = [f"scheduler={option}", "training.epochs=18", "optimizer.learning_rate=0.0123"]
    trial = config.to_trial(config.compose(asked))
    for warmup, update in itertools.product([0, 1.5], ["epoch", "step"]):
        changed = trial.scheduler | {"warmup_epochs": warmup, "update": update}
        program = loaded(replace(trial, scheduler=changed), folder)
        ours = scheduler.build(changed)
        for epoch in range(20):
            rates = program.learning_rates(epoch, 7)
            assert np.array_equal(rates, ours.learning_rates(epoch, 7)), (warmup, update, epoch)


OWN = """
import numpy as np
from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.validate import require_positive
from fmnist_lab.schedules.schedule import as_schedule

START = 0.5

def mine(initial_learning_rate, start=START):
    require_positive("scheduler", initial_learning_rate=initial_learning_rate)
    if start < 1:
        base = start
    else:
        raise RequestError("scheduler.start", "be below 1", start)
    return as_schedule(lambda epoch: initial_learning_rate * base ** np.floor(epoch))

class Own:
    def learning_rates(self, epoch, steps):
        return np.zeros(steps)
    def observe(self, epoch, metrics):
        pass
"""


def test_a_schedule_of_the_users_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("own_rates.py").write_text(OWN)
    Path("own_names.py").write_text("def train():\n    return lambda epoch: 0 * epoch\n")
    monkeypatch.syspath_prepend(folder)
    trial = config.to_trial(config.compose([]))
    node = {"_target_": "own_rates.mine", "initial_learning_rate": 0.01}
    program = loaded(replace(trial, scheduler=node), folder)
    assert "require_positive" not in Path("program.py").read_text()
    assert program.learning_rates(2, 1).tolist() == [np.float32(0.0025)]
    with pytest.raises(RequestError, check=lambda error: error.got == "'own_rates.Own'"):
        python_file.program(replace(trial, scheduler={"_target_": "own_rates.Own"}), RECORD, "x")
    with pytest.raises(RequestError, check=lambda error: error.got == "'train'"):
        python_file.program(replace(trial, scheduler={"_target_": "own_names.train"}), RECORD, "x")


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": f"{__name__}.of_a_number", "rate": 0.1},
        {"_target_": f"{__name__}.of_an_epoch"},
        {
            "_target_": "keras.optimizers.schedules.InverseTimeDecay",
            "initial_learning_rate": 0.1,
            "decay_steps": 10,
            "decay_rate": 0.5,
        },
    ],
    ids=["number", "epoch", "keras"],
)
def test_a_schedule_that_takes_no_arrays_is_refused(node: dict[str, Any]) -> None:
    trial = replace(config.to_trial(config.compose([])), scheduler=node)
    with pytest.raises(RequestError, check=lambda error: error.key == "--out"):
        python_file.program(trial, RECORD, "x")


def of_a_number(rate: float) -> Any:
    return lambda epoch: rate if epoch < 3 else rate / 10


def of_an_epoch(epoch: Any) -> Any:
    return 0.1 * 0.9**epoch


def test_what_keras_alone_cannot_do() -> None:
    late = ["scheduler=performance", "scheduler.warmup_epochs=2"]
    for asked, got in (
        (late, "scheduler.warmup_epochs=2"),
        (["scheduler=sequential"], "schedules.sequential"),
        (["averaging=ema"], "ema"),
        (["augmentation=shift_flip"], "shift_flip"),
    ):
        with pytest.raises(RequestError) as refused:
            python_file.program(config.to_trial(config.compose(asked)), RECORD, "x")
        assert refused.value.key == "--out"
        assert got in refused.value.got
    with pytest.raises(RequestError, check=lambda error: error.key == "--out"):
        Pasted().add(itertools.product)


def test_checks_and_all_but_the_first_paragraph_are_left_out() -> None:
    trial = config.to_trial(config.compose(["architecture=cnn", "scheduler=piecewise"]))
    text = python_file.program(trial, RECORD, "program")
    assert "RequestError" not in text
    assert "_check" not in text
    assert "Args:" not in text
    assert "SAME_EPOCH = 1e-9" in text


def write_idx(folder: Path, name: str, array: NDArray[Any]) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    folder.joinpath(f"{name}.gz").write_bytes(gzip.compress(header + array.tobytes(), 1))


def publish(dataset: Dataset, folder: Path) -> None:
    """The images as four files, those that validate first."""
    images = np.concatenate([dataset.val_images, dataset.train_images])
    labels = np.concatenate([dataset.val_labels, dataset.train_labels]).astype(np.uint8)
    write_idx(folder, "train-images-idx3-ubyte", images)
    write_idx(folder, "train-labels-idx1-ubyte", labels)
    write_idx(folder, "t10k-images-idx3-ubyte", dataset.test_images[:50])
    write_idx(folder, "t10k-labels-idx1-ubyte", dataset.test_labels[:50].astype(np.uint8))


SMALL = [word for word in TINY if not word.startswith("architecture")]
MLP = ["architecture=mlp", "architecture.hidden_sizes=[16]", "architecture.dropout=0.2",
       "architecture.normalization=after", "architecture.l2=0.001", "scheduler=one_cycle",
       "training.labels=one_hot", "training.label_smoothing=0.1", "clipping=global_norm",
       "clipping.threshold=0.5"]  # fmt: skip
DECIDED = ["scheduler=performance", "scheduler.patience=1", "scheduler.min_delta=0.01",
           "stopping=patience", "stopping.patience=2", "clipping=norm"]  # fmt: skip


@pytest.mark.parametrize("option", ["notebook", "mlp", "cnn"])
def test_the_model_starts_from_the_same_weights(option: str, folder: Path) -> None:
    more = [] if option == "notebook" else ["architecture.dropout=0.2"]
    trial = config.to_trial(config.compose([f"architecture={option}", *more, "seed=3"]))
    import keras

    from fmnist_lab.training.engines import building

    original = building.build_model(trial)
    keras.utils.set_random_seed(3)
    copy = loaded(trial, folder).build_model()
    assert [type(layer) for layer in copy.layers] == [type(layer) for layer in original.layers]
    for mine, theirs in zip(copy.variables, original.variables, strict=True):
        assert np.array_equal(mine, theirs)


def test_what_a_metric_decides_is_left_to_keras() -> None:
    trial = config.to_trial(config.compose(DECIDED))
    # An argument may have a line of its own.
    text = re.sub(r"\s+", " ", python_file.program(trial, RECORD, "program"))
    assert (
        "keras.callbacks.ReduceLROnPlateau( monitor='val_loss', mode='auto', factor=0.5, "
        "patience=1, min_delta=0.01, cooldown=0, min_lr=0.0, )"
    ) in text
    assert (
        "keras.callbacks.EarlyStopping( monitor='val_loss', mode='auto', min_delta=0.0, "
        "patience=2, restore_best_weights=True, start_from_epoch=0, )"
    ) in text
    assert "SetRates" not in text
    assert "clipnorm=1.0" in text


# Runs a program as `python FILE FOLDER` does, where this package cannot be imported, and keeps
# what it has computed in full precision.
ALONE = """
import json, runpy, sys
sys.modules["fmnist_lab"] = None
sys.argv = sys.argv[1:]
left = runpy.run_path(sys.argv[0], run_name="__main__")
left["np"].savez("weights.npz", *left["model"].get_weights())
with open("history.json", "w") as file:
    json.dump({key: list(map(float, values)) for key, values in left["history"].items()}, file)
"""


def run_alone(trial: Trial, folder: Path) -> str:
    """Runs the program for a trial in a process of its own; what it printed.

    Keras has settings there that would change the curve.
    """
    (folder / "keras.json").write_text('{"floatx": "float64"}')
    path = folder / "program.py"
    path.write_text(python_file.program(trial, RECORD, "program"))
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(path), "."],
        cwd=folder, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "KERAS_HOME": str(folder)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_alone_it_gives_the_curve_of_the_keras_engine(folder: Path) -> None:
    from fmnist_lab.training.checkpoint import ONLY, Checkpoint
    from fmnist_lab.training.engines import keras_fit

    trial = config.to_trial(config.compose([*SMALL, *MLP]))
    dataset = loading.load(trial.data)
    publish(dataset, folder)
    curve: list[dict[str, float]] = []

    def record(epoch: int, metrics: Metrics) -> bool:
        curve.append(dict(metrics))
        return True

    outcome = keras_fit.train(trial, dataset, record, Checkpoint(folder, {}, ONLY))
    printed = run_alone(trial, folder)

    history = json.loads((folder / "history.json").read_text())
    for ours, theirs in keras_fit.LOG_KEYS.items():
        assert history[theirs] == pytest.approx([line[ours] for line in curve], rel=1e-5)
    assert [np.float32(rate) for rate in history["learning_rate"]] == [
        np.float32(line["opt/learning_rate"]) for line in curve
    ]
    weights = np.load(folder / "weights.npz")
    for number, original in enumerate(outcome.weights):
        assert np.allclose(weights[f"arr_{number}"], original, rtol=1e-3, atol=1e-5)
    line = re.search(r"^Test set: loss [.\d]+, accuracy ([.\d]+)$", printed, re.MULTILINE)
    assert line
    tested = replace(
        dataset, test_images=dataset.test_images[:50], test_labels=dataset.test_labels[:50]
    )
    from fmnist_lab.training.engines import building

    _, guesses = building.evaluate(trial, tested, outcome.weights)
    assert float(line[1]) == (guesses == tested.test_labels).mean()


@pytest.mark.parametrize("split", ["first", "last", "random"])
def test_the_split_is_the_same(split: str, folder: Path) -> None:
    asked = [f"data.split={split}", "data.split_seed=3", "data.train_size=100"]
    trial = config.to_trial(config.compose(asked))
    numbers = np.arange(60_000)
    (train, _), (val, _) = loaded(trial, folder).split(numbers, numbers)
    ours_train, ours_val = loading._split(trial.data, 60_000)
    assert np.array_equal(train, numbers[ours_train])
    assert np.array_equal(val, numbers[ours_val])


def test_it_imports_nothing_of_this_project(tiny: ComposeTrial) -> None:
    tree = ast.parse(python_file.program(tiny(), RECORD, "program"))
    found = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert found <= {"gzip", "os", "sys", "pathlib", "keras", "numpy", "collections", "typing"}
    assert "It is the '''best'''." in (ast.get_docstring(tree) or "")


def test_drawn_images_exist_only_here(folder: Path) -> None:
    place = folder / "mlruns/multirun/night"
    leave_trial(place, 0)
    with pytest.raises(RequestError, check=lambda error: error.key == "--out"):
        python_file.to_python(document(place), "x")
