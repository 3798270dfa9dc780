"""Loading and splitting. Real images come from wherever this machine can get them."""

import hashlib
import os
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from omegaconf import OmegaConf

from fmnist_lab.data import CLASS_NAMES, DataConfig, Dataset, deciding, load
from fmnist_lab.errors import DataUnavailableError, RequestError

CONF = Path(__file__).parents[2] / "conf" / "data"


def synthetic(**changes: Any) -> DataConfig:
    """A small data set: 100 images validate, 300 others train."""
    return DataConfig(**{"name": "synthetic", "val_size": 100, "train_size": 300, **changes})


@pytest.fixture(scope="session")
def real() -> Dataset:
    try:
        return load(DataConfig())
    except DataUnavailableError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(str(error))


def prints(images: NDArray[np.uint8]) -> Counter[bytes]:
    """How often each image occurs."""
    return Counter(hashlib.sha256(image.tobytes()).digest() for image in images)


class TestFashionMnist:
    """The real images, as published and as the notebook splits them."""

    def test_default_split_is_the_notebooks(self, real: Dataset) -> None:
        assert real.train_images.shape == (55_000, 28, 28)
        assert real.val_images.shape == (5_000, 28, 28)
        assert real.test_images.shape == (10_000, 28, 28)
        counts = np.bincount(real.val_labels).tolist()
        assert counts == [457, 556, 504, 501, 488, 493, 493, 512, 490, 506]

    @pytest.mark.slow
    def test_published_facts_hold(self, real: Dataset) -> None:
        assert real.test_labels[:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
        pixels = np.concatenate([real.val_images, real.train_images]) / np.float32(255)
        assert pixels.mean(dtype=np.float64) == pytest.approx(0.28604, abs=5e-6)
        assert pixels.std(dtype=np.float64) == pytest.approx(0.35302, abs=5e-6)
        assert np.bincount(real.test_labels).tolist() == [1_000] * 10

    def test_says_what_it_is(self, real: Dataset) -> None:
        assert real.name == "fashion_mnist"
        assert "(" in real.source
        assert real.class_names == CLASS_NAMES
        assert real.checksum == ("cbbc62305f206252ada11bcaa59c3c58d0ff168ef30329f9a6d640e2c84003ee")

    def test_every_split_uses_each_image_once(self, real: Dataset) -> None:
        everything = prints(real.val_images) + prints(real.train_images)
        for config in (DataConfig(split="last"), DataConfig(split="random", split_seed=3)):
            other = load(config)
            assert prints(other.val_images) + prints(other.train_images) == everything
            assert other.val_images.shape == (5_000, 28, 28)
            assert other.checksum != real.checksum

    def test_the_number_that_trains_does_not_decide_which_validate(self, real: Dataset) -> None:
        for config in (DataConfig(), DataConfig(split="last"), DataConfig(split="random")):
            few, more = (load(replace(config, train_size=size)) for size in (100, 101))
            np.testing.assert_array_equal(few.val_images, more.val_images)
            assert "train_size" not in deciding(config)

    def test_last_split_validates_with_the_end_of_the_training_images(self, real: Dataset) -> None:
        last = load(DataConfig(split="last"))
        np.testing.assert_array_equal(last.val_images, real.train_images[-5_000:])
        np.testing.assert_array_equal(last.train_labels[:5_000], real.val_labels)

    def test_subset_is_the_beginning_of_the_training_part(self, real: Dataset) -> None:
        subset = load(DataConfig(train_size=1_000))
        np.testing.assert_array_equal(subset.train_images, real.train_images[:1_000])
        np.testing.assert_array_equal(subset.train_labels, real.train_labels[:1_000])
        np.testing.assert_array_equal(subset.val_images, real.val_images)


class TestSplit:
    """Which images validate."""

    @pytest.mark.parametrize("split", ["first", "last", "random"])
    def test_parts_are_disjoint_and_labels_go_along(self, split: str) -> None:
        whole = load(synthetic(val_size=1, train_size=399))
        images = np.concatenate([whole.val_images, whole.train_images])
        labels = np.concatenate([whole.val_labels, whole.train_labels])
        label_of = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
        parts = load(synthetic(split=split))
        seen = np.concatenate([parts.val_images, parts.train_images])
        labels = np.concatenate([parts.val_labels, parts.train_labels])
        assert (len(parts.val_images), len(parts.train_images)) == (100, 300)
        assert prints(seen) == prints(images)
        assert [label_of[image.tobytes()] for image in seen] == labels.tolist()

    @pytest.mark.parametrize("changes", [{"train_size": 299}, {"split_seed": 1}, {"val_size": 99}])
    @pytest.mark.parametrize("split", ["first", "last", "random"])
    def test_what_decides_which_images_validate(self, split: str, changes: dict[str, int]) -> None:
        before, after = load(synthetic(split=split)), load(synthetic(split=split, **changes))
        differ = not np.array_equal(before.val_images, after.val_images)
        assert differ == bool(changes.keys() & set(deciding(synthetic(split=split))))

    def test_seed_decides_the_random_split(self) -> None:
        first, again, other = (
            load(synthetic(split="random", split_seed=seed)).val_images for seed in (0, 0, 1)
        )
        np.testing.assert_array_equal(first, again)
        assert prints(first) != prints(other)


class TestSynthetic:
    """The stand-in, through `load`."""

    def test_has_the_sizes_of_the_real_set(self) -> None:
        drawn = load(DataConfig(name="synthetic"))
        assert drawn.train_images.shape == (55_000, 28, 28)
        assert drawn.val_images.shape == (5_000, 28, 28)
        assert drawn.test_images.shape == (10_000, 28, 28)

    def test_needs_no_source(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FMNIST_LAB_DATA_DIR", "/nowhere")
        drawn = load(synthetic())
        assert drawn.name == "synthetic"
        assert "drawn" in drawn.source
        assert drawn.class_names[3] == "Class 3"


class TestDataset:
    """What every data set promises."""

    def test_arrays_cannot_be_changed_by_accident(self) -> None:
        loaded = load(synthetic())
        arrays = [getattr(loaded, field.name) for field in fields(loaded)]
        arrays = [array for array in arrays if isinstance(array, np.ndarray)]
        assert len(arrays) == 6
        assert not any(array.flags.writeable for array in arrays)

    def test_types_are_what_a_loss_expects(self) -> None:
        loaded = load(synthetic())
        assert {part.dtype.name for part in (loaded.train_images, loaded.val_images)} == {"uint8"}
        assert {part.dtype.name for part in (loaded.train_labels, loaded.test_labels)} == {"int32"}

    def test_stays_in_memory(self) -> None:
        assert load(synthetic()) is load(synthetic())

    def test_checksum_knows_the_images(self) -> None:
        checksums = {
            load(config).checksum
            for config in (synthetic(), synthetic(train_size=299), synthetic(split="last"))
        }
        assert len(checksums) == 3

    def test_pixels_are_left_alone_by_default(self) -> None:
        loaded = load(synthetic())
        assert (loaded.mean, loaded.std) == (0.0, 1.0)

    def test_statistics_come_from_the_training_part_only(self) -> None:
        loaded = load(synthetic(standardize=True))
        inputs = (loaded.train_images / 255 - loaded.mean) / loaded.std
        assert inputs.mean() == pytest.approx(0, abs=1e-9)
        assert inputs.std() == pytest.approx(1, abs=1e-9)


class TestRequest:
    """Wrong requests are named, with the key and the value."""

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("name", "mnist"),
            ("split", "middle"),
            ("split_seed", -1),
            ("val_size", 0),
            ("val_size", 60_000),
            ("train_size", 0),
            ("train_size", 59_901),
        ],
    )
    def test_wrong_values_are_named(self, key: str, value: Any) -> None:
        with pytest.raises(RequestError) as caught:
            load(synthetic(**{key: value}))
        assert (caught.value.key, caught.value.got) == (f"data.{key}", repr(value))

    @pytest.mark.parametrize("by_variable", [False, True])
    def test_a_named_folder_is_never_passed_over(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_variable: bool
    ) -> None:
        folder = str(tmp_path / "typo")
        if by_variable:
            monkeypatch.setenv("FMNIST_LAB_DATA_DIR", folder)
        with pytest.raises(RequestError) as caught:
            load(DataConfig(dir=None if by_variable else folder))
        assert (caught.value.key, caught.value.got) == ("data.dir", repr(folder))


@pytest.mark.parametrize("name", ["fashion_mnist", "synthetic"])
def test_config_file_spells_out_every_default(name: str) -> None:
    text = (CONF / f"{name}.yaml").read_text()
    assert text.startswith("# Choose")
    chosen = OmegaConf.merge(OmegaConf.structured(DataConfig), yaml.safe_load(text))
    assert OmegaConf.to_object(chosen) == DataConfig(name=name)
    own = {"path", "_target_", "test_size"}  # of images of the user's own
    assert list(yaml.safe_load(text)) == [f.name for f in fields(DataConfig) if f.name not in own]
