"""Augmentation: each epoch sees its training images shifted and mirrored by chance.

What is drawn depends on the seed and the epoch alone: both engines see the same images, and a
trial that continues at any epoch sees those that it would have seen.
"""

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.validate import require_choice
from fmnist_lab.trial import AugmentationConfig

MOST_SHIFT = 8  # pixels; more cuts objects off
_STREAM = 1  # of random numbers, beside those of the order of the images


def validate(config: AugmentationConfig) -> None:
    """Checks that something is changed exactly where an augmentation is chosen.

    Raises:
        RequestError: It is not so, the name is unknown, or the shift is out of range.
    """
    require_choice("augmentation", ("none", "shift_flip"), name=config.name)
    name, shift, flip = config.name, config.shift, config.flip
    if not 0 <= shift <= MOST_SHIFT:
        raise RequestError("augmentation.shift", f"be from 0 to {MOST_SHIFT}", shift)
    if name == "none" and shift:
        raise RequestError("augmentation.shift", "be 0 with augmentation=none", shift)
    if name == "none" and flip:
        raise RequestError("augmentation.flip", "be false with augmentation=none", flip)
    if name != "none" and not (shift or flip):
        rule = f"be positive, or augmentation.flip true, with augmentation={name}"
        raise RequestError("augmentation.shift", rule, shift)


def draw(config: AugmentationConfig, seed: int, epoch: int, size: int) -> NDArray[np.int64] | None:
    """Draws what happens to each image of an epoch, in the order of the visits; None: nothing.

    Returns:
        Rows and columns by which an image moves down and right, each uniform from -shift to shift,
        and whether it is mirrored (0 or 1, equally likely), (size, 3).

    Example:
        >>> draw(AugmentationConfig("shift_flip", shift=1, flip=True), 0, 0, 3)
        array([[ 1,  0,  0],
               [ 0,  1,  1],
               [ 0, -1,  1]])
    """
    if config.name == "none":
        return None
    generator = np.random.default_rng([seed, epoch, _STREAM])
    ends = [config.shift + 1, config.shift + 1, 1 + config.flip]
    return generator.integers([-config.shift, -config.shift, 0], ends, (size, 3))


def apply(images: NDArray[Any], drawn: NDArray[np.int64] | None) -> NDArray[Any]:
    """Returns images that are mirrored from left to right, then moved; what comes in is 0.

    Args:
        images: (n, height, width) or (n, height, width, channels).
        drawn: Of `draw`, for these images, (n, 3).

    Example:
        >>> apply(np.array([[[1, 2, 3]]]), np.array([[0, 1, 1]]))
        array([[[0, 3, 2]]])
    """
    if drawn is None:
        return images
    height, width = images.shape[1:3]
    moved = np.zeros_like(images)
    kinds = [np.unique(column) for column in drawn.T]
    for kind in product(*kinds):
        rows = np.flatnonzero((drawn == kind).all(axis=1))
        own = images[rows][:, :, :: -1 if kind[2] else 1]
        (to_rows, from_rows), (to_columns, from_columns) = map(_ends, kind[:2], (height, width))
        moved[rows, to_rows, to_columns] = own[:, from_rows, from_columns]
    return moved


def _ends(shift: int, size: int) -> tuple[slice, slice]:
    """Returns where pixels come to lie along an axis, and where they come from."""
    left = max(size - abs(shift), 0)  # a small image may leave its frame
    to, origin = max(shift, 0), max(-shift, 0)
    return slice(to, to + left), slice(origin, origin + left)
