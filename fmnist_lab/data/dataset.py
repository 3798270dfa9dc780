"""The images that a trial sees: loaded, split, and known by a checksum."""

import hashlib
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_lab.data import fashion_mnist, images, synthetic
from fmnist_lab.errors import Phrase, RequestError
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
PRELOADED = "FMNIST_LAB_PRELOADED"  # a variable: which images, as JSON, `preloaded` is to read
SEED_OF_SPLIT = "${seed}"  # `data.split_seed` where each seed draws the split
SPLITS = ("first", "last", "random", "stratified")
_MOST_IMAGES = 10**12  # no memory holds more
OWN = "images"  # the name of a user's own data
_SEED_OF_TEST = 0  # whatever seed draws the split: a sweep has one test set

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DataConfig:
    """The config group `data`: which images, and which of them validate."""

    name: str = "fashion_mnist"  # or synthetic, or images: the user's own
    dir: str | None = None  # folder with the four files; else FMNIST_LAB_DATA_DIR; else a search
    split: str = "first"  # of SPLITS: which training images validate
    split_seed: int = 0  # of split=random and split=stratified
    val_size: int | float = 5_000  # of the user's own images also a share, below 1
    train_size: int | None = None  # so many of the other training images; None: all of them
    standardize: bool = False  # with mean and deviation of the training part
    # The user's own images. What earlier versions did not know is None where it is not used.
    path: str | None = None  # an .npz file, or a folder with a folder for each class
    _target_: str | None = None  # a function that returns arrays; `path` is its argument
    test_size: int | float | None = None  # where they have no test set: a number, or a share

    @property
    def is_nowhere(self) -> bool:
        """Whether they are the user's own images, and nothing says where."""
        return self.name == OWN and self.path is None and self._target_ is None


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images (n, height, width) or (n, height, width, channels), labels (n,), all read-only.

    Fashion-MNIST's are (n, 28, 28). A model's input is `(images / scale - mean) / std`, where the
    scale of uint8 is 255, and that of floats 1.
    """

    name: str
    source: str  # which one, and where: for people
    checksum: str  # SHA-256 over the name and these very arrays
    train_images: NDArray[Any]  # uint8 or float32
    train_labels: NDArray[np.int32]
    val_images: NDArray[Any]
    val_labels: NDArray[np.int32]
    test_images: NDArray[Any]
    test_labels: NDArray[np.int32]
    mean: float  # 0 unless standardized
    std: float  # 1 unless standardized
    class_names: tuple[str, ...] = CLASS_NAMES

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height and width, and the number of channels where there are several."""
        return self.train_images.shape[1:]

    @property
    def scale(self) -> float:
        """By what pixels are divided."""
        return 255.0 if self.train_images.dtype == np.uint8 else 1.0

    @property
    def test_checksum(self) -> str:
        """SHA-256 over the test images and labels alone."""
        return _checksum("test", (self.test_images, self.test_labels))


def validate(config: DataConfig) -> None:
    """Checks the values; raises RequestError for the first that is not allowed.

    How many images there are is only known of Fashion-MNIST and of what is drawn.
    """
    require_choice("data", ("fashion_mnist", "synthetic", OWN), name=config.name)
    is_own = config.name == OWN
    require_choice("data", SPLITS if is_own else SPLITS[:3], split=config.split)
    if config.split_seed < 0:
        raise RequestError("data.split_seed", "not be negative", config.split_seed)
    if is_own:
        for key, size in (("val_size", config.val_size), ("test_size", config.test_size)):
            if size is not None and not _is_size(size):
                raise RequestError(f"data.{key}", "be a number of images, or a share of 1", size)
        if config.train_size is not None and config.train_size < 1:
            rule = "be positive (or null, for all)"
            raise RequestError("data.train_size", rule, config.train_size)
        return
    if not (isinstance(config.val_size, int) and 1 <= config.val_size < TRAIN_IMAGES):
        raise RequestError("data.val_size", f"be from 1 to {TRAIN_IMAGES - 1}", config.val_size)
    rest = TRAIN_IMAGES - config.val_size
    if config.train_size is not None and not 1 <= config.train_size <= rest:
        rule = f"be from 1 to {rest} (or null, for all) when {config.val_size} images validate"
        raise RequestError("data.train_size", rule, config.train_size)


def _is_size(value: Any) -> bool:
    """Returns whether this is a number of images, or a share of them."""
    if not isinstance(value, int | float):
        return False
    return 0 < value < 1 or (1 <= value <= _MOST_IMAGES and value == int(value))


def deciding(config: DataConfig) -> tuple[str, ...]:
    """Returns the keys that decide which images validate."""
    keys = ["name", "split", "val_size"]
    if config.split in SPLITS[2:]:
        keys.append("split_seed")
    if config.name == "synthetic" and config.split != "first":  # no more are drawn than needed
        keys.append("train_size")
    if config.name == OWN:
        keys += ["path", "_target_", "test_size"]
    return tuple(keys)


def load(config: DataConfig) -> Dataset:
    """Loads the data set; the last few stay in memory.

    Raises:
        RequestError: a value of `config`, or the folder that the user named, is wrong.
        DataUnavailableError: no source of Fashion-MNIST works.
    """
    return _load(_found(config))


def checksums(config: DataConfig) -> tuple[str, str]:
    """Returns `checksum` and `test_checksum` of a data set, whose images do not stay in memory.

    Raises:
        RequestError, DataUnavailableError: As `load`.
    """
    return _checksums(_found(config))


@lru_cache(maxsize=3)
def _checksums(config: DataConfig) -> tuple[str, str]:
    dataset = _load.__wrapped__(config)
    return dataset.checksum, dataset.test_checksum


def _found(config: DataConfig) -> DataConfig:
    """Checks the values; returns them with the folders that they stand for here and now."""
    validate(config)
    folder = config.dir or os.environ.get(fashion_mnist.FOLDER_VARIABLE) or None
    path = config.path
    if path and config._target_ is None:  # a function's argument may be no path
        # `Path.expanduser` raises where a user is unknown; here that is a file that is not there.
        path = str(Path(os.path.expanduser(path)).absolute())  # noqa: PTH111
    return replace(config, dir=folder, path=path)


@lru_cache(maxsize=3)
def _load(config: DataConfig) -> Dataset:
    if config.name == OWN:
        parts, classes, source = _own(config)
    else:
        drawn = config.name == "synthetic"
        original = _draw(config) if drawn else fashion_mnist.find(config.dir)
        (pixels, labels), source = original.train, original.source
        train, val = _split(config, len(labels))
        parts = (pixels[train], labels[train], pixels[val], labels[val], *original.test)
        names = tuple(f"Class {number}" for number in range(len(CLASS_NAMES)))
        classes = names if drawn else CLASS_NAMES
    moments = _moments(parts[0]) if config.standardize else (0.0, 1.0)
    arrays: list[Any] = [part if part.ndim > 1 else part.astype(np.int32) for part in parts]
    for array in arrays:
        array.flags.writeable = False
    checksum = _checksum(config.name, parts)
    return Dataset(config.name, source, checksum, *[*arrays, *moments, classes])


def _draw(config: DataConfig) -> fashion_mnist.Original:
    """Draws only the training images that are asked for; there are always 10,000 test images."""
    count = TRAIN_IMAGES
    if config.train_size is not None:
        count = int(config.val_size) + config.train_size
    return fashion_mnist.Original(
        train=synthetic.draw(count, seed=1),
        test=synthetic.draw(TEST_IMAGES, seed=2),
        source="synthetic (drawn by the program)",
    )


def _own(config: DataConfig) -> tuple[Any, tuple[str, ...], str]:
    """The user's images, split where they are not: six arrays, the classes, and the source."""
    found = images.read(config.path, config._target_)
    parts = dict(found.parts)
    pixels, labels = parts["train"]
    rows: Any = slice(None)  # of those that train or validate
    if "test" not in parts:
        split = "stratified" if config.split == "stratified" else "random"
        wished = replace(config, split=split, split_seed=_SEED_OF_TEST, train_size=None)
        wished = replace(wished, val_size=config.test_size or 0.2)
        rows, apart = _split(wished, len(labels), labels, "test_size")
        parts["test"] = pixels[apart], labels[apart]
    own = labels[rows]
    chosen: dict[str, Any] = {}
    if "val" in parts:
        chosen["train"] = _some(config, len(own), own)
    else:
        chosen["train"], chosen["val"] = _split(config, len(own), own)
    for name, part in chosen.items():  # each image is copied once at most
        index = part if "test" in found.parts else rows[part]
        parts[name] = pixels[index], labels[index]
    train, val, test = (parts[part] for part in images.PARTS)
    counts = np.bincount(train[1], minlength=len(found.classes))
    if empty := [found.classes[number] for number in np.flatnonzero(counts == 0)]:
        got = Phrase(f"none of {', '.join(empty)} ({found.source})")
        is_drawn = config.train_size is not None or {"val", "test"} - found.parts.keys()
        hint = "split=stratified puts images of each class into each part"
        hint = hint if is_drawn and config.split != "stratified" else ""
        raise RequestError("data.split", "leave images of each class to train on", got, hint)
    known = {_digest(image) for part in (train, val) for image in part[0]}
    if shared := sum(_digest(image) in known for image in test[0]):
        log.warning(
            "%d of %d test images are among those that train or validate, pixel by pixel: test "
            "results are too good (%s).", shared, len(test[0]), found.source,
        )  # fmt: skip
    return (*train, *val, *test), found.classes, found.source


def _digest(image: NDArray[Any]) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _split(
    config: DataConfig, count: int, labels: Any = None, key: str = "val_size"
) -> tuple[Any, Any]:
    """Returns an index of the training and of the validation images among `count`.

    Images that lie together are a slice, which copies nothing. Only split=stratified needs labels.
    """
    size = int(config.val_size if config.val_size >= 1 else round(config.val_size * count))
    rest = count - size
    if size < 1 or rest < 1:
        rule = f"leave images on both sides of the split of {count}"
        raise RequestError(f"data.{key}", rule, config.val_size)
    length = _length(config, rest)
    train: Any
    val: Any
    if config.split == "first":
        train, val = slice(size, size + length), slice(size)
    elif config.split == "last":
        train, val = slice(length), slice(count - size, count)
    else:
        val, train = np.split(_order(config, count, labels), [size])
        train = train[:length]
    return train, val


def _some(config: DataConfig, count: int, labels: Any) -> Any:
    """Returns an index of those that train among `count` images, where others validate."""
    length = _length(config, count)
    if length == count or config.split in SPLITS[:2]:
        return slice(length)
    return _order(config, count, labels)[:length]


def _length(config: DataConfig, most: int) -> int:
    """Returns how many images train."""
    if config.train_size is not None and config.train_size > most:
        raise RequestError("data.train_size", f"be at most {most}, or null", config.train_size)
    return most if config.train_size is None else config.train_size


def _order(config: DataConfig, count: int, labels: Any) -> NDArray[np.int64]:
    """Returns the order in which images are drawn, of which any stretch is a sample."""
    order = np.random.default_rng(config.split_seed).permutation(count)
    return order[_interleaved(labels[order])] if config.split == "stratified" else order


def _interleaved(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """An order in which any stretch has each class in about its share of the whole."""
    places = np.empty(len(labels))
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        places[own] = (np.arange(len(own)) + 0.5) / len(own)
    return np.argsort(places, kind="stable")


def _moments(images: NDArray[Any]) -> tuple[float, float]:
    """Mean and standard deviation of the scaled pixels.

    Of uint8 they come from whole numbers, so that no bit varies. The deviation of pixels that are
    all the same counts as 1.
    """
    if images.dtype != np.uint8:
        mean, std = (float(function(images, dtype=np.float64)) for function in (np.mean, np.std))
        return mean, std or 1.0
    counts = sum(np.bincount(image.ravel(), minlength=256) for image in images)
    levels = np.arange(256) / 255
    mean = np.average(levels, weights=counts)
    return float(mean), float(np.sqrt(np.average((levels - mean) ** 2, weights=counts))) or 1.0


def _checksum(name: str, parts: Iterable[NDArray[Any]]) -> str:
    digest = hashlib.sha256(name.encode())
    for array in parts:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
