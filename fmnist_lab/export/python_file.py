"""An exported document as a Python file in plain Keras, which trains without this project."""

import textwrap
from collections.abc import Mapping
from typing import Any

from fmnist_lab import data
from fmnist_lab.config.exported_files import Document
from fmnist_lab.errors import RequestError
from fmnist_lab.export import document as recipe
from fmnist_lab.export import fitting, formulas, layering, writing
from fmnist_lab.trial import Trial


def to_python(document: Document, name: str) -> str:
    """The document as a program that gives the curve of the engine `keras`.

    Raises:
        RequestError: The trial has something that Keras alone does not.
    """
    trial = recipe.to_trial(document)
    if trial.data.name != "fashion_mnist":
        raise RequestError(
            f"`--out` may be a Python file where data=fashion_mnist, got {trial.data.name}: its "
            "images exist only here; for this trial take .yaml or .json."
        )
    return "\n".join(program(trial, document["exported"], name))


def program(trial: Trial, record: Mapping[str, Any], name: str) -> list[str]:
    """The lines of the program for a trial with this record."""
    model = layering.define(trial)
    return [
        *_docstring(record, name),
        *_IMPORTS.splitlines(),
        _from_keras(model),
        "",
        *_constants(trial),
        "",
        "",
        *_DATA.format(split=_split(trial)).splitlines(),
        "",
        "",
        *model,
        "",
        "",
        *formulas.define(trial.scheduler),
        "",
        "",
        *fitting.define(trial),
        "",
    ]


def _docstring(record: Mapping[str, Any], name: str) -> list[str]:
    told = [
        f"Trains the best configuration of {record['sweep']} in plain Keras: strategy "
        f"{record['strategy']}, trial {record['trial']}.",
        f"python {name}.py [FOLDER]: a folder with the four files of Fashion-MNIST, gzipped or "
        "not; without one Keras downloads them. Needs numpy, keras and tensorflow.",
        *writing.remarks(record),
        "The curve is that of fmnist-lab's engine `keras`: the same seeds, batches and rates. The "
        "engine `compiled` differs from it by rounding, which grows while a network learns.",
    ]
    paragraphs = [textwrap.wrap(_plain(text), 98) for text in told]
    paragraphs.insert(-1, [_plain(f"    {record['command']}")])
    lines = [line for paragraph in paragraphs for line in [*paragraph, ""]]
    return [f'"""{lines[0]}', *lines[1:-1], '"""']


def _plain(text: str) -> str:
    return text.replace("\\", "/").replace('"""', "'''")


_IMPORTS = """
import gzip
import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
"""


def _from_keras(model: list[str]) -> str:
    """The line that imports what the model's lines use."""
    used = [
        name for name in ("layers", "regularizers") if any(f"{name}." in line for line in model)
    ]
    return f"from keras import {', '.join(used)}"


def _constants(trial: Trial) -> list[str]:
    training, mean, std = trial.training, 0.0, 1.0
    if trial.data.standardize:
        dataset = data.load(trial.data)
        mean, std = dataset.mean, dataset.std
    return [
        f"SEED = {trial.seed}  # of initial weights, batch order and dropout",
        f"EPOCHS, BATCH_SIZE = {training.epochs}, {training.batch_size}",
        f"VAL_SIZE = {trial.data.val_size}  # images that validate",
        f"TRAIN_SIZE = {trial.data.train_size}  # so many of the others train; None: all",
        f"MEAN, STD = {mean!r}, {std!r}  # of the pixels / 255, where they are standardized",
    ]


_DATA = '''
def load(folder=None):
    """Training and test set as published: images (n, 28, 28) in uint8, labels (n,)."""
    if folder is None:
        return keras.datasets.fashion_mnist.load_data()

    def read(name, header):
        path = Path(folder, name)
        packed = Path(f"{{path}}.gz")
        content = path.read_bytes() if path.exists() else gzip.decompress(packed.read_bytes())
        return np.frombuffer(content, np.uint8, offset=header)

    return tuple(
        (
            read(f"{{part}}-images-idx3-ubyte", 16).reshape(-1, 28, 28),
            read(f"{{part}}-labels-idx1-ubyte", 8),
        )
        for part in ("train", "t10k")
    )


def split(images, labels):
    """Training part and validation part, each as images and labels."""
    order = {split}
    val, train = np.split(order, [VAL_SIZE])
    train = train[:TRAIN_SIZE]
    return (images[train], labels[train]), (images[val], labels[val])


def pixels(images):
    """What the model takes, in float32."""
    scaled = images.astype(np.float32) / np.float32(255.0)
    return (scaled - np.float32(MEAN)) / np.float32(STD)
'''.strip("\n")


def _split(trial: Trial) -> str:
    return {
        "first": "np.arange(len(labels))  # the first images validate",
        "last": "np.roll(np.arange(len(labels)), VAL_SIZE)  # the last images validate",
        "random": f"np.random.default_rng({trial.data.split_seed}).permutation(len(labels))",
    }[trial.data.split]
