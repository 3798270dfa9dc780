"""Images of the user's own: an `.npz` file, a folder per class, or the arrays of a function.

All three become the same arrays under the same names; what is wrong with them is one sentence.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.foundation.instantiate import explain, function_at

PARTS = ("train", "val", "test")
MOST_CHANNELS = 4  # of colour, and one of transparency
_CLASSES = "class_names"
_NEEDED = "hold images and labels, or train_images, train_labels and as many of test_ and val_"
_GREY, _COLOUR = ("1", "L", "LA"), ("P", "RGB", "RGBA", "CMYK", "YCbCr")  # Pillow's modes

Arrays = Mapping[str, Any]  # by name: `train_images`, `train_labels`, ..., `class_names`
Labelled = tuple[NDArray[Any], NDArray[np.int32]]  # images, and labels from 0


class Found(NamedTuple):
    """What a user's data hold: each part that there is, and the names of the classes."""

    parts: dict[str, Labelled]  # `train`, and `val` and `test` where they are apart
    classes: tuple[str, ...]
    source: str


def read(path: str | None, target: str | None) -> Found:
    """Reads and checks a user's images.

    Args:
        path: An `.npz` file or a folder; with a function its argument, if there is one.
        target: The dotted path of a function that returns arrays, or pairs of them as Keras's
            `load_data` does.

    Returns:
        Images (n, height, width) or (n, height, width, channels), in uint8 from 0 to 255 or in
        float32; labels count from 0 in the order of the classes' names.

    Raises:
        RequestError: There is nothing that can be read, or the arrays cannot be trained on.
    """
    if target is not None:
        arrays, source = _call(target, path), target
    elif path is None:
        rule = "be an .npz file, or a folder that has a folder of images for each class"
        raise RequestError("data.path", rule, None, "data._target_ may name a function instead")
    else:
        place = Path(path)
        arrays, source = (_from_folder if place.is_dir() else _from_file)(place), str(place)
    return _checked(arrays, "data.path" if target is None else "data._target_", source)


def _from_file(path: Path) -> Arrays:
    try:
        with path.open("rb") as file:  # NumPy leaves a file open that is none of its own
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("it holds a single array")
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or " ".join(f"{error}".split())
        rule = "be an .npz file, or a folder that has a folder of images for each class"
        raise RequestError("data.path", rule, str(path), reason) from error


def _call(target: str, path: str | None) -> Arrays:
    function = function_at("data._target_", target)
    try:
        given = function() if path is None else function(path)
    except Exception as error:  # the user's code may raise anything
        rule = "name a function that returns images"
        raise RequestError("data._target_", rule, target, explain(error)) from error
    if isinstance(given, Mapping):
        return given
    pairs = list(given) if isinstance(given, tuple | list) else []
    if len(pairs) == 2 and not isinstance(pairs[0], tuple | list):
        return {"images": pairs[0], "labels": pairs[1]}
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        pairs = []
    names = ("train", "test") if len(pairs) == 2 else PARTS
    return {
        f"{part}_{kind}": array
        for part, pair in zip(names, pairs, strict=False)
        for kind, array in zip(("images", "labels"), pair, strict=True)
    }


def _from_folder(folder: Path) -> Arrays:
    parts = {place.name: place for place in _visible(folder, True)}
    if "train" not in parts:
        parts = {"": folder}
    classes = sorted({place.name for part in parts.values() for place in _visible(part, True)})
    arrays: dict[str, Any] = {_CLASSES: np.array(classes, str)}
    for part, place in parts.items():
        files = [(file, name) for name in classes for file in _visible(place / name, False)]
        prefix = f"{part}_" if part else ""
        arrays[f"{prefix}images"] = _decoded([file for file, _ in files])
        arrays[f"{prefix}labels"] = np.array([name for _, name in files], str)
    return arrays


def _visible(folder: Path, folders: bool) -> list[Path]:
    """The folders, or the files, in a folder, sorted by name; none where there is no folder."""
    try:
        found = sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise RequestError("data.path", "be readable", str(folder), f"{error.strerror}") from error
    return [path for path in found if path.is_dir() == folders and not path.name.startswith(".")]


def _decoded(files: list[Path]) -> NDArray[np.uint8]:
    """Decodes image files; grey ones among colour ones get three equal channels."""
    from PIL import Image

    images: list[NDArray[np.uint8]] = []
    for file in files:
        try:
            with Image.open(file) as image:
                if image.mode not in (*_GREY, *_COLOUR):
                    raise ValueError(f"its mode {image.mode} has no pixels from 0 to 255")
                images.append(np.asarray(image.convert("L" if image.mode in _GREY else "RGB")))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            reason = Phrase(f"{file}: {error}")
            raise RequestError("data.path", "hold image files alone", reason) from error
        if images[-1].shape[:2] != images[0].shape[:2]:
            sizes = (f"{image.shape[1]}x{image.shape[0]}" for image in (images[0], images[-1]))
            got = Phrase(" and ".join(sizes) + f" ({file})")
            raise RequestError("data.path", "hold images of one size", got)
    if any(image.ndim == 3 for image in images):
        images = [image if image.ndim == 3 else np.dstack([image] * 3) for image in images]
    return np.array(images, np.uint8)


class _Check:
    """Raises a `RequestError` about the user's data where something does not hold."""

    def __init__(self, key: str, source: str) -> None:
        self._key, self._source = key, source

    def __call__(self, holds: object, rule: str, got: object, hint: str = "") -> None:
        if not holds:
            raise RequestError(self._key, rule, Phrase(f"{got} ({self._source})"), hint)


def _checked(given: Arrays, key: str, source: str) -> Found:
    """Checks the arrays, and numbers the classes."""
    check = _Check(key, source)
    known = ("images", *(f"{part}_images" for part in PARTS))
    others = [name for name in given if name.endswith("images") and name not in known]
    check(not others, f"have no parts but {', '.join(PARTS)}", ", ".join(others))
    named = {part: f"{part}_" for part in PARTS if f"{part}_images" in given}
    prefixes = {"train": ""} | named  # plain `images` are for training, too
    images: dict[str, NDArray[Any]] = {}
    labels: dict[str, list[Any]] = {}
    for part, prefix in prefixes.items():
        absent = [name for name in (f"{prefix}images", f"{prefix}labels") if name not in given]
        check(not absent, _NEEDED, ", ".join(given) or "no arrays")
        images[part] = _pixels(np.asarray(given[f"{prefix}images"]), f"{prefix}images", check)
        labels[part] = _comparable(np.asarray(given[f"{prefix}labels"]), f"{prefix}labels", check)
        counts = f"{len(labels[part])} labels of {len(images[part])} {prefix}images"
        check(len(images[part]) == len(labels[part]), "have a label per image", counts)
    kinds = {f"{(*array.shape[1:], array.dtype.name)}": None for array in images.values()}
    check(len(kinds) == 1, "have images of one size and one type", " and ".join(kinds))
    names = [f"{name}" for name in np.asarray(given.get(_CLASSES, ())).ravel()]
    numbers = _numbered([label for part in labels.values() for label in part], names, check)
    parts = {
        part: (images[part], np.array([numbers[label] for label in labels[part]], np.int32))
        for part in images
    }
    return Found(parts, tuple(names or map(str, numbers)), source)


def _pixels(images: NDArray[Any], name: str, check: _Check) -> NDArray[Any]:
    """Checks images and makes them uint8 or float32; a single channel is no dimension."""
    is_sized = images.ndim == 3 or (images.ndim == 4 and images.shape[3] <= MOST_CHANNELS)
    rule = f"have {name} of shape (n, height, width) or (n, height, width, 1 to 4 channels)"
    check(is_sized and images.size, rule, images.shape)
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.dtype == bool:
        return images.astype(np.uint8) * np.uint8(255)
    if np.issubdtype(images.dtype, np.integer):
        lowest, highest = int(images.min()), int(images.max())
        rule, hint = f"have {name} from 0 to 255, or floats", "floats reach the model unscaled"
        check(lowest >= 0 and highest <= 255, rule, f"{lowest} to {highest}", hint)
        return images.astype(np.uint8, copy=False)
    check(np.issubdtype(images.dtype, np.floating), f"have numbers as {name}", images.dtype)
    with np.errstate(over="ignore"):
        images = images.astype(np.float32, copy=False)
    broken = int((~np.isfinite(images)).sum())
    check(not broken, f"have finite {name}", f"{broken} values that are NaN or infinite")
    return images


def _comparable(labels: NDArray[Any], name: str, check: _Check) -> list[Any]:
    """Checks labels and makes them strings or whole numbers."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    check(labels.ndim == 1, f"have one label per image in {name}", f"the shape {labels.shape}")
    found = [_label(label) for label in labels.tolist()]
    missing = found.count(None)
    check(not missing, f"have a name or a whole number for each of {name}", f"{missing} without")
    return found


def _label(label: Any) -> Any:
    """A label as a string or a whole number; None for NaN, halves and what is empty."""
    if isinstance(label, bytes):
        label = label.decode(errors="replace")
    if isinstance(label, str):
        return label.strip() or None
    if isinstance(label, int) or (isinstance(label, float) and label.is_integer()):
        return int(label)
    return None


def _numbered(labels: list[Any], names: list[str], check: _Check) -> dict[Any, int]:
    """Maps each label to its class, which `names`, where there are any, have in their order."""
    present = set(labels)
    known: list[Any] = sorted(present, key=lambda label: (isinstance(label, str), label))
    if names:
        known = names if isinstance(known[-1], str) else list(range(len(names)))
        unknown = [f"{label}" for label in present - set(known)]
        rule = f"have labels that are names among its {_CLASSES}, or their numbers from 0"
        check(not unknown, rule, ", ".join(sorted(unknown)[:3]))
    count = f"{len(known)}: {', '.join(names or map(str, known))}"
    check(len(known) > 1, "have two classes or more", count)
    empty = [names[number] for number, label in enumerate(known) if label not in present]
    check(not empty, "have images of each class", f"none of {', '.join(empty)}")
    return {label: number for number, label in enumerate(known)}
