"""Shifted and mirrored images: what is drawn, and what becomes of the pixels."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fmnist_lab.errors import RequestError
from fmnist_lab.training import augmentation
from fmnist_lab.trial import AugmentationConfig

BOTH = AugmentationConfig("shift_flip", shift=2, flip=True)


def drawn(config: AugmentationConfig, seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    """What is drawn, where something is."""
    found = augmentation.draw(config, seed, epoch, size)
    assert found is not None
    return found


class TestDraw:
    """What happens to the images of an epoch."""

    def test_every_change_is_about_as_frequent(self) -> None:
        kinds, counts = np.unique(drawn(BOTH, 3, 1, 50_000), axis=0, return_counts=True)
        assert len(kinds) == 5 * 5 * 2
        assert abs(counts - 1000).max() < 5 * np.sqrt(1000)

    def test_seed_and_epoch_decide(self) -> None:
        first, again, other, later = (
            drawn(BOTH, *place, size=100) for place in ((3, 1), (3, 1), (4, 1), (3, 2))
        )
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
        assert not np.array_equal(first, later)

    @pytest.mark.parametrize(("shift", "flip"), [(0, True), (3, False)])
    def test_what_is_off_stays_off(self, shift: int, flip: bool) -> None:
        changes = drawn(AugmentationConfig("shift_flip", shift, flip), 0, 0, 1000)
        assert [*abs(changes).max(axis=0)] == [shift, shift, int(flip)]

    def test_none_draws_nothing(self) -> None:
        assert augmentation.draw(AugmentationConfig(), 0, 0, 10) is None
        images = np.ones((10, 3, 3), np.uint8)
        assert augmentation.apply(images, None) is images


@given(
    seed=st.integers(0, 2**32 - 1),
    shift=st.integers(0, augmentation.MOST_SHIFT),
    shape=st.sampled_from([(1, 1), (5, 9), (9, 5, 3), (28, 28)]),
    dtype=st.sampled_from([np.uint8, np.float32]),
)
def test_an_image_is_mirrored_and_moved(
    seed: int, shift: int, shape: tuple[int, ...], dtype: type
) -> None:
    pixels = np.random.default_rng(seed).integers(1, 255, (6, *shape))
    images: NDArray[Any] = pixels.astype(dtype)
    changes = drawn(AugmentationConfig("shift_flip", shift, True), seed, 0, 6)
    moved = augmentation.apply(images, changes)
    assert moved.dtype == images.dtype
    edge = augmentation.MOST_SHIFT
    for image, (down, right, mirrored), found in zip(images, changes, moved, strict=True):
        padding = [(edge, edge)] * 2 + [(0, 0)] * (image.ndim - 2)
        wide = np.pad(image[:, ::-1] if mirrored else image, padding)
        wanted = np.roll(wide, (down, right), axis=(0, 1))[edge:-edge, edge:-edge]
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (AugmentationConfig("mixup"), "augmentation.name"),
        (AugmentationConfig("none", shift=1), "augmentation.shift"),
        (AugmentationConfig("none", flip=True), "augmentation.flip"),
        (AugmentationConfig("shift_flip"), "augmentation.shift"),
        (AugmentationConfig("shift_flip", shift=-1), "augmentation.shift"),
        (AugmentationConfig("shift_flip", shift=9), "augmentation.shift"),
    ],
)
def test_what_is_refused(config: AugmentationConfig, key: str) -> None:
    with pytest.raises(RequestError) as refused:
        augmentation.validate(config)
    assert refused.value.key in (key, "augmentation")
