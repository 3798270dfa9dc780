"""Images of the user's own: scikit-learn's digits three ways, drawn colour images, bad data."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits  # type: ignore[import-untyped]

from fmnist_lab.data import DataConfig, Dataset, deciding, load
from fmnist_lab.errors import RequestError

Arrays = dict[str, NDArray[Any]]


def digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Scikit-learn's digits, 1,797 images of 8x8; also the function that a `_target_` names."""
    pixels, labels = load_digits(return_X_y=True)
    return (pixels.reshape(-1, 8, 8) * 15).astype(np.uint8), labels


def shades(count: int = 60, classes: int = 3) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Colour images (count, 6, 5, 3), each class in a shade of its own, and their labels."""
    rng = np.random.default_rng(3)
    labels = np.arange(count) % classes
    tints = rng.integers(0, 200, (classes, 1, 1, 3))
    return (tints[labels] + rng.integers(0, 56, (count, 6, 5, 3))).astype(np.uint8), labels


def as_npz(folder: Path, **arrays: Any) -> DataConfig:
    """The configuration of these arrays in a file."""
    np.savez(folder / "images.npz", **arrays)
    return own(path=str(folder / "images.npz"))


def as_folder(folder: Path, images: NDArray[np.uint8], names: list[str]) -> None:
    """Writes a file for each image into its class's folder."""
    for number, (image, name) in enumerate(zip(images, names, strict=True)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / name / f"{number:04}.png")


def own(**changes: Any) -> DataConfig:
    given = {"name": "images", "split": "random", "val_size": 0.15, "test_size": 0.2}
    return DataConfig(**{**given, **changes})


def sizes(dataset: Dataset) -> list[int]:
    parts = (dataset.train_labels, dataset.val_labels, dataset.test_labels)
    return [len(labels) for labels in parts]


def refused(config: DataConfig) -> tuple[str, str, str]:
    """The sentence about bad data: key, rule and what was found."""
    with pytest.raises(RequestError) as caught:
        load(config)
    return caught.value.key, caught.value.rule, str(caught.value.got)


class TestSources:
    """The same images in a file, in folders and from a function are the same data."""

    def test_digits_in_a_file_and_from_a_function(self, tmp_path: Path) -> None:
        images, labels = digits()
        file = load(as_npz(tmp_path, images=images, labels=labels))
        function = load(own(_target_=f"{__name__}.digits"))
        assert sizes(file) == [1222, 216, 359]
        assert file.image_shape == (8, 8)
        assert file.class_names == tuple("0123456789")
        assert (file.checksum, file.test_checksum) == (function.checksum, function.test_checksum)
        assert file.checksum != load(own(_target_=f"{__name__}.digits", split_seed=1)).checksum

    @pytest.mark.slow  # writes and reads 1,797 files
    def test_digits_in_folders(self, tmp_path: Path) -> None:
        images, labels = digits()
        as_folder(tmp_path, images, [str(label) for label in labels])
        dataset = load(own(path=str(tmp_path)))
        assert sizes(dataset) == [1222, 216, 359]
        parts = (dataset.train_images, dataset.val_images, dataset.test_images)
        found = np.concatenate(parts).reshape(-1, 64)
        assert np.array_equal(np.sort(found, axis=0), np.sort(images.reshape(-1, 64), axis=0))

    def test_parts_that_are_set_apart_stay_apart(self, tmp_path: Path) -> None:
        images, labels = shades()
        names = np.array(["red", "green", "blue"])[labels]
        cuts = {"train": slice(40), "val": slice(40, 50), "test": slice(50, None)}
        arrays: Arrays = {}
        for part, cut in cuts.items():
            arrays |= {f"{part}_images": images[cut], f"{part}_labels": names[cut]}
            as_folder(tmp_path / "folder" / part, images[cut], list(names[cut]))
        for config in (as_npz(tmp_path, **arrays), own(path=str(tmp_path / "folder"))):
            dataset = load(config)
            assert sizes(dataset) == [40, 10, 10]
            assert dataset.image_shape == (6, 5, 3)
            assert dataset.class_names == ("blue", "green", "red")

    def test_pairs_as_keras_returns_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        images, labels = shades()
        pairs = ((images[:40], labels[:40, None]), (images[40:], labels[40:, None]))
        monkeypatch.setattr(f"{__name__}.digits", lambda path: pairs)
        dataset = load(own(_target_=f"{__name__}.digits", path="pairs"))
        assert sizes(dataset) == [34, 6, 20]

    def test_a_functions_argument_reaches_it_as_it_is(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = mock.Mock(return_value=shades())
        monkeypatch.setattr(f"{__name__}.digits", given)
        load(own(_target_=f"{__name__}.digits", path="https://host/x.npz"))
        given.assert_called_once_with("https://host/x.npz")

    def test_grey_files_among_colour_files(self, tmp_path: Path) -> None:
        images, labels = shades(20, 2)
        as_folder(tmp_path, images, [f"c{label}" for label in labels])
        Image.fromarray(images[0, :, :, 0]).save(tmp_path / "c0" / "grey.png")
        (tmp_path / "c0" / ".hidden").write_text("no image")
        dataset = load(own(path=str(tmp_path)))
        assert sum(sizes(dataset)) == 21
        assert dataset.image_shape == (6, 5, 3)


class TestPixels:
    """Pixels of any kind reach the model as they should."""

    @pytest.mark.parametrize("kind", [np.float64, np.float16])
    def test_floats_are_not_scaled(self, tmp_path: Path, kind: Any) -> None:
        images, labels = shades()
        dataset = load(as_npz(tmp_path, images=(images / 255).astype(kind), labels=labels))
        assert dataset.train_images.dtype == np.float32
        assert dataset.scale == 1.0
        assert (dataset.mean, dataset.std) == (0.0, 1.0)

    def test_whole_numbers_become_uint8(self, tmp_path: Path) -> None:
        images, labels = shades()
        wide = load(as_npz(tmp_path, images=images.astype(np.int64)[..., :1], labels=labels))
        assert wide.train_images.dtype == np.uint8
        assert wide.image_shape == (6, 5)
        assert wide.scale == 255.0

    def test_standardised_floats(self, tmp_path: Path) -> None:
        images, labels = shades()
        np.savez(tmp_path / "f.npz", images=images.astype(np.float32), labels=labels)
        dataset = load(own(path=str(tmp_path / "f.npz"), standardize=True))
        scaled = (dataset.train_images - dataset.mean) / dataset.std
        assert scaled.mean() == pytest.approx(0, abs=1e-5)
        assert scaled.std() == pytest.approx(1, abs=1e-5)


class TestSplits:
    """Which images validate and test where none are set apart."""

    def test_the_test_set_does_not_depend_on_the_seed(self) -> None:
        one, other = (load(own(_target_=f"{__name__}.shades", split_seed=n)) for n in (1, 2))
        assert one.test_checksum == other.test_checksum
        assert one.checksum != other.checksum

    def test_stratified(self, tmp_path: Path) -> None:
        images, _ = shades(200)
        labels = np.repeat([0, 1], [180, 20])
        np.savez(tmp_path / "rare.npz", images=images, labels=labels)
        path = str(tmp_path / "rare.npz")
        dataset = load(own(path=path, split="stratified", val_size=40, test_size=0.2))
        for found, wanted in ((dataset.test_labels, [36, 4]), (dataset.val_labels, [36, 4])):
            assert np.bincount(found).tolist() == wanted
        few = load(own(path=path, split="stratified", val_size=40, train_size=20))
        assert np.bincount(few.train_labels).tolist() == [18, 2]

    def test_a_test_set_of_its_own_goes_with_plain_images(self, tmp_path: Path) -> None:
        images, labels = shades()
        given = {"test_images": 255 - images[:10], "test_labels": labels[:10]}
        found = load(as_npz(tmp_path, images=images, labels=labels, **given))
        assert sizes(found) == [51, 9, 10]

    def test_a_part_of_the_training_images_beside_a_validation_set(self, tmp_path: Path) -> None:
        images, _ = shades(200)
        labels = np.repeat([0, 1], 100)
        others = {"val_images": 255 - images[:10], "val_labels": labels[:10],
                  "test_images": 250 - images[:10], "test_labels": labels[:10]}  # fmt: skip
        whole = as_npz(tmp_path, train_images=images, train_labels=labels, **others)
        some = replace(whole, train_size=20)
        assert refused(replace(some, split="first"))[0] == "data.split"  # they begin with one class
        assert np.bincount(load(some).train_labels).min() > 2
        assert load(some).checksum != load(replace(some, split_seed=1)).checksum
        alike = load(replace(some, split="stratified"))
        assert np.bincount(alike.train_labels).tolist() == [10, 10]
        np.testing.assert_array_equal(load(whole).train_images, images)
        key, rule, got = refused(replace(whole, train_size=201))
        assert (key, "200" in rule, got) == ("data.train_size", True, "201")

    @pytest.mark.parametrize(
        ("split", "parts", "is_helped"),
        [
            ("first", ("train", "test"), True),
            ("stratified", ("train", "test"), False),
            ("first", ("train", "test", "val"), False),
        ],
    )
    def test_stratified_is_advised_where_it_helps(
        self, tmp_path: Path, split: str, parts: tuple[str, ...], is_helped: bool
    ) -> None:
        images, labels = shades(9)
        arrays = {f"{part}_images": images + np.uint8(n) for n, part in enumerate(parts)}
        arrays |= {f"{part}_labels": np.minimum(labels, n) for n, part in enumerate(parts)}
        arrays["train_labels"][0] = "val" not in parts
        config = replace(as_npz(tmp_path, **arrays), split=split, val_size=5)
        with pytest.raises(RequestError, check=lambda error: error.key == "data.split") as caught:
            load(config)
        assert ("split=stratified" in caught.value.hint) == is_helped

    def test_what_decides(self) -> None:
        assert {"path", "_target_", "test_size", "split_seed"} <= set(deciding(own()))

    def test_a_test_set_that_overlaps_the_training_set_is_counted(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        images, labels = shades()
        config = as_npz(
            tmp_path, train_images=images, train_labels=labels,
            test_images=np.concatenate([images[:7], 255 - images[:2]]), test_labels=labels[:9],
        )  # fmt: skip
        with caplog.at_level(logging.WARNING):
            load(config)
        (record,) = caplog.records
        assert record.args is not None
        assert record.args[:2] == (7, 9)  # type: ignore[index]


IMAGES, LABELS = shades()
HALVES: Arrays = {"train_images": IMAGES[:30], "train_labels": LABELS[:30]}


@pytest.mark.parametrize(
    ("arrays", "rule", "got"),
    [
        ({"pixels": IMAGES}, "hold images and labels", "pixels"),
        ({"images": IMAGES}, "hold images and labels", "images"),
        ({**HALVES, "test_images": IMAGES}, "hold images and labels", "test_images"),
        ({**HALVES, "valid_images": IMAGES}, "have no parts but train, val, test", "valid_images"),
        ({"images": IMAGES, "labels": LABELS[:-1]}, "have a label per image", "59 labels of 60"),
        ({"images": IMAGES, "labels": LABELS * 0}, "have two classes or more", "1: 0"),
        ({"images": IMAGES, "labels": np.eye(3)[LABELS]}, "have one label per image", "(60, 3)"),
        ({"images": IMAGES, "labels": LABELS / 2}, "have a name or a whole number", "20 without"),
        (
            {"images": IMAGES, "labels": np.where(LABELS, "a", "")},
            "have a name or a whole number", "20 without",
        ),
        (
            {"images": IMAGES, "labels": LABELS, "class_names": np.array(list("abcd"))},
            "have images of each class", "none of d",
        ),
        (
            {"images": IMAGES, "labels": LABELS, "class_names": np.array(["a", "b"])},
            "have labels that are names among", "2",
        ),
        ({"images": IMAGES.reshape(60, -1), "labels": LABELS}, "have images of shape", "(60, 90)"),
        (
            {"images": IMAGES.transpose(0, 3, 1, 2), "labels": LABELS},
            "have images of shape", "(60, 3, 6, 5)",
        ),
        ({"images": IMAGES * 2.0 * np.nan, "labels": LABELS}, "have finite images", "5400 values"),
        ({"images": IMAGES.astype(int) * 9, "labels": LABELS}, "have images from 0 to 255", " to "),
        ({"images": IMAGES.astype(str), "labels": LABELS}, "have numbers as images", "<U"),
        (
            {**HALVES, "test_images": IMAGES[:, 1:], "test_labels": LABELS},
            "have images of one size", "(5, 5, 3, 'uint8')",
        ),
    ],
)  # fmt: skip
def test_bad_arrays(arrays: Arrays, rule: str, got: str, tmp_path: Path) -> None:
    key, found_rule, found = refused(as_npz(tmp_path, **arrays))
    assert key == "data.path"
    assert found_rule.startswith(rule)
    assert got in found
    assert str(tmp_path) in found


def torn(folder: Path) -> None:
    (folder / "1" / "torn.png").write_bytes(b"\x89PNG")


def larger(folder: Path) -> None:
    Image.new("RGB", (7, 7)).save(folder / "1" / "larger.png")


def empty(folder: Path) -> None:
    (folder / "none").mkdir()


@pytest.mark.parametrize(
    ("spoil", "rule", "got"),
    [
        (torn, "hold image files alone", "torn.png"),
        (larger, "hold images of one size", "5x6 and 7x7"),
        (empty, "have images of each class", "none of none"),
    ],
)
def test_bad_folders(spoil: Callable[[Path], None], rule: str, got: str, tmp_path: Path) -> None:
    as_folder(tmp_path, IMAGES, [str(label) for label in LABELS])
    spoil(tmp_path)
    key, found_rule, found = refused(own(path=str(tmp_path)))
    assert (key, found_rule) == ("data.path", rule)
    assert got in found


def test_a_part_of_another_name(tmp_path: Path) -> None:
    for part in ("train", "validation"):
        as_folder(tmp_path / part, IMAGES[:6], [str(label) for label in LABELS[:6]])
    key, rule, got = refused(own(path=str(tmp_path)))
    assert (key, rule) == ("data.path", "have no parts but train, val, test")
    assert "validation_images" in got


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
def test_bad_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(content)
    for name in ("bad.npz", "absent.npz"):
        key, _, got = refused(own(path=str(tmp_path / name)))
        assert key == "data.path"
        assert name in got


def fails() -> None:
    raise OSError("no network")


def nothing() -> None:
    """Returns no arrays."""


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (own(), "data.path"),
        (own(_target_=f"{__name__}.absent"), "data._target_"),
        (own(_target_=f"{__name__}.fails"), "data._target_"),
        (own(_target_=f"{__name__}.nothing"), "data._target_"),
        (own(_target_=f"{__name__}.shades", val_size=0.0), "data.val_size"),
        (own(_target_=f"{__name__}.shades", val_size=48), "data.val_size"),
        (own(_target_=f"{__name__}.shades", test_size=1.5), "data.test_size"),
        (own(_target_=f"{__name__}.shades", train_size=100), "data.train_size"),
        (own(_target_=f"{__name__}.shades", split="first", train_size=1), "data.split"),
    ],
)
def test_bad_requests(config: DataConfig, key: str) -> None:
    assert refused(config)[0] == key


def test_a_home_that_is_unknown_is_a_file_that_is_not_there() -> None:
    config = DataConfig("images", path="~no-such-user/digits.npz")
    with pytest.raises(RequestError, check=lambda error: error.key == "data.path"):
        load(config)
