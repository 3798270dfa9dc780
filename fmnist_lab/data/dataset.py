"""The images that a trial sees: loaded, split, and known by a checksum."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_lab.data import fashion_mnist, synthetic
from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.validate import require_choice

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
TRAIN_IMAGES, TEST_IMAGES = 60_000, 10_000
SEED_OF_SPLIT = "${seed}"  # `data.split_seed` where each seed draws the split


@dataclass(frozen=True)
class DataConfig:
    """The config group `data`: which images, and which of them validate."""

    name: str = "fashion_mnist"  # or synthetic
    dir: str | None = None  # folder with the four files; else FMNIST_LAB_DATA_DIR; else a search
    split: str = "first"  # first, last or random: which training images validate
    split_seed: int = 0  # of split=random
    val_size: int = 5_000
    train_size: int | None = None  # so many of the other training images; None: all of them
    standardize: bool = False  # with mean and deviation of the training part


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images (n, 28, 28) in uint8 and labels (n,) in int32, all read-only.

    A model's input is `(images / 255 - mean) / std`.
    """

    name: str
    source: str  # which one, and where: for people
    checksum: str  # SHA-256 over the name and these very arrays
    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int32]
    val_images: NDArray[np.uint8]
    val_labels: NDArray[np.int32]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int32]
    mean: float  # 0 unless standardized
    std: float  # 1 unless standardized

    @property
    def test_checksum(self) -> str:
        """SHA-256 over the test images and labels alone."""
        return _checksum("test", (self.test_images, self.test_labels))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes 0 to 9; drawn images have only numbers."""
        drawn = tuple(f"Class {number}" for number in range(len(CLASS_NAMES)))
        return drawn if self.name == "synthetic" else CLASS_NAMES


def validate(config: DataConfig) -> None:
    """Checks the values; raises RequestError for the first that is not allowed."""
    require_choice("data", ("fashion_mnist", "synthetic"), name=config.name)
    require_choice("data", ("first", "last", "random"), split=config.split)
    if config.split_seed < 0:
        raise RequestError("data.split_seed", "not be negative", config.split_seed)
    if not 1 <= config.val_size < TRAIN_IMAGES:
        raise RequestError("data.val_size", f"be from 1 to {TRAIN_IMAGES - 1}", config.val_size)
    rest = TRAIN_IMAGES - config.val_size
    if config.train_size is not None and not 1 <= config.train_size <= rest:
        rule = f"be from 1 to {rest} (or null, for all) when {config.val_size} images validate"
        raise RequestError("data.train_size", rule, config.train_size)


def deciding(config: DataConfig) -> tuple[str, ...]:
    """Returns the keys that decide which images validate."""
    keys = ["name", "split", "val_size"]
    if config.split == "random":
        keys.append("split_seed")
    if config.name == "synthetic" and config.split != "first":  # no more are drawn than needed
        keys.append("train_size")
    return tuple(keys)


def load(config: DataConfig) -> Dataset:
    """Loads the data set; the last few stay in memory.

    Raises:
        RequestError: a value of `config`, or the folder that the user named, is wrong.
        DataUnavailableError: no source of Fashion-MNIST works.
    """
    validate(config)
    return _load(
        replace(config, dir=config.dir or os.environ.get(fashion_mnist.FOLDER_VARIABLE) or None)
    )


@lru_cache(maxsize=3)
def _load(config: DataConfig) -> Dataset:
    original = _draw(config) if config.name == "synthetic" else fashion_mnist.find(config.dir)
    images, labels = original.train
    train, val = _split(config, len(labels))
    parts = (images[train], labels[train], images[val], labels[val], *original.test)
    moments = _moments(parts[0]) if config.standardize else (0.0, 1.0)
    arrays: list[Any] = [part if part.ndim == 3 else part.astype(np.int32) for part in parts]
    for array in arrays:
        array.flags.writeable = False
    checksum = _checksum(config.name, parts)
    return Dataset(config.name, original.source, checksum, *[*arrays, *moments])


def _draw(config: DataConfig) -> fashion_mnist.Original:
    """Draws only the training images that are asked for; there are always 10,000 test images."""
    count = TRAIN_IMAGES
    if config.train_size is not None:
        count = config.val_size + config.train_size
    return fashion_mnist.Original(
        train=synthetic.draw(count, seed=1),
        test=synthetic.draw(TEST_IMAGES, seed=2),
        source="synthetic (drawn by the program)",
    )


def _split(config: DataConfig, count: int) -> tuple[Any, Any]:
    """Returns an index of the training and of the validation images among `count`.

    Images that lie together are a slice, which copies nothing.
    """
    size = config.val_size
    length = count - size if config.train_size is None else config.train_size
    if config.split == "first":
        return slice(size, size + length), slice(size)
    if config.split == "last":
        return slice(length), slice(count - size, count)
    val, rest = np.split(np.random.default_rng(config.split_seed).permutation(count), [size])
    return rest[:length], val


def _moments(images: NDArray[np.uint8]) -> tuple[float, float]:
    """Mean and standard deviation of the pixels / 255, from whole numbers so that no bit varies."""
    counts = sum(np.bincount(image.ravel(), minlength=256) for image in images)
    levels = np.arange(256) / 255
    mean = np.average(levels, weights=counts)
    return float(mean), float(np.sqrt(np.average((levels - mean) ** 2, weights=counts)))


def _checksum(name: str, parts: Iterable[NDArray[Any]]) -> str:
    digest = hashlib.sha256(name.encode())
    for array in parts:
        digest.update(str(array.shape).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
