"""What a replicate keeps in its folder: its weights, and what it makes of the test images.

`weights.npz` holds the arrays of `model.get_weights()`, 1.1 MB for the notebook's network;
`test_correct.npy` a bit per test image, 1,250 bytes, or a byte each where their number is no
multiple of 8. Plain arrays: reading them runs nothing. `test_confusion.json` has the names of the
classes, and the images of each class (rows) that are taken for each class (columns).
"""

import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.foundation.files import whole_file
from fmnist_lab.results import schema

WEIGHTS, TEST_CORRECT = "weights.npz", "test_correct.npy"
TEST_CONFUSION = "test_confusion.json"
FILES = (WEIGHTS, TEST_CORRECT, TEST_CONFUSION)


def keep(
    folder: Path,
    weights: Sequence[NDArray[Any]],
    guesses: NDArray[np.integer],
    labels: NDArray[np.int32],
    names: Sequence[str],
) -> None:
    """Writes the files, each whole or not at all.

    Args:
        folder: The replicate's.
        weights: As from `model.get_weights()`.
        guesses: The class that each test image is taken for, (images,).
        labels: The true ones, (images,).
        names: Of the classes.
    """
    correct, classes = guesses == labels, len(names)
    counts = np.bincount(labels * classes + guesses, minlength=classes**2)
    confusion = {"classes": list(names), "counts": counts.reshape(classes, classes).tolist()}
    with whole_file(folder / WEIGHTS) as temporary:
        np.savez(temporary, *weights)
    with whole_file(folder / TEST_CORRECT) as temporary:
        np.save(temporary, correct if correct.size % 8 else np.packbits(correct))
    with whole_file(folder / TEST_CONFUSION) as temporary:
        temporary.write_text(json.dumps(confusion), encoding="utf-8")


def read(folder: Path) -> list[NDArray[Any]] | None:
    """Reads the weights in a run's folder; None where it keeps none.

    Raises:
        RequestError: The file is damaged.
    """
    path = folder / WEIGHTS
    if not path.exists():
        return None
    with (
        _as_left(path, "move it away, and the trial is trained again"),
        path.open("rb") as file,
        np.load(file, allow_pickle=False) as archive,
    ):
        return [archive[f"arr_{number}"] for number in range(len(archive.files))]


def read_correct(folder: Path) -> NDArray[np.bool_] | None:
    """Reads which test images a run classifies correctly, (images,); None where it kept none.

    Raises:
        RequestError: The file is damaged.
    """
    path = folder / TEST_CORRECT
    if not path.exists():
        return None
    with _as_left(path, "move it away to go on without"), path.open("rb") as file:
        bits = np.load(file, allow_pickle=False)
        if bits.ndim != 1 or bits.dtype not in (bool, np.uint8):
            raise ValueError(f"an array of shape {bits.shape} and type {bits.dtype}")
        return bits if bits.dtype == bool else np.unpackbits(bits).astype(bool)


def read_confusion(folder: Path) -> tuple[list[str], NDArray[np.int64]] | None:
    """Reads the names of the classes and the confusion matrix, (classes, classes), of a run.

    Returns:
        None where it kept none.

    Raises:
        RequestError: The file has another shape.
    """
    path = folder / TEST_CONFUSION
    remedy = "move it away to go on without"
    if not (found := schema.read_if_there(path, schema.Confusion, remedy=remedy)):
        return None
    names, rows = found["classes"], found["counts"]
    if any(len(row) != len(names) for row in (rows, *rows)):
        raise schema.refusal(path, "counts that are not classes times classes", remedy=remedy)
    return names, np.array(rows, dtype=np.int64)


@contextmanager
def _as_left(path: Path, remedy: str) -> Iterator[None]:
    """Turns what a damaged file raises into a `RequestError`."""
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RequestError(
            str(path), "be as its trial has left it", Phrase(f"a damaged file ({error})"), remedy
        ) from error
