"""A stand-in for Fashion-MNIST that the program draws itself: ten kinds of blobs, 28x28.

Only whole numbers are added and multiplied, so every machine draws the same bytes.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from fmnist_lab.data.fashion_mnist import Labelled

CLASSES = 10
VARIANTS = 4  # shapes per class: one weight matrix cannot separate them, a hidden layer can
REACH = 3  # pixels by which a shape may be shifted in each direction
CHUNK = 1_000  # drawn at once, each chunk from its own seed: few images are a prefix of many


def draw(count: int, seed: int) -> Labelled:
    """Draws `count` images (count, 28, 28) and labels (count,); another seed draws others."""
    chunks = [_draw_chunk(seed, number) for number in range(-(-count // CHUNK))]
    images = np.concatenate([images for images, _ in chunks])
    labels = np.concatenate([labels for _, labels in chunks])
    return images[:count], labels[:count]


def _draw_chunk(seed: int, number: int) -> Labelled:
    """Returns a shape of the labelled class, blended with one of any class, and grain.

    Now and then the other shape is the stronger one, so that no model can be perfect.
    """
    rng = np.random.default_rng([seed, number])
    shapes = _shapes()
    labels = rng.integers(CLASSES, size=CHUNK, dtype=np.uint8)
    others = rng.integers(CLASSES, size=CHUNK, dtype=np.uint8)
    variants, shifts = (rng.integers(n, size=(2, CHUNK)) for n in shapes.shape[1:3])
    weights = rng.integers(14, 33, size=(CHUNK, 1, 1), dtype=np.int16)  # of 32: the label's part
    grain = rng.integers(-64, 65, size=(CHUNK, 28, 28), dtype=np.int16)
    own = shapes[labels, variants[0], shifts[0]]
    other = shapes[others, variants[1], shifts[1]]
    pixels = (weights * own + (32 - weights) * other) // 32 + grain
    return pixels.clip(0, 255).astype(np.uint8), labels


@cache
def _shapes() -> NDArray[np.int16]:
    """Returns every shape at every shift: (10, variants, shifts, 28, 28), from 0 to 255."""
    coarse = np.random.default_rng(0).integers(-256, 256, size=(CLASSES, VARIANTS, 7, 7))
    smooth = _enlarge(coarse).clip(0, 255)
    steps = range(-REACH, REACH + 1)
    shifted = [np.roll(smooth, (down, right), (2, 3)) for down in steps for right in steps]
    return np.stack(shifted, axis=2).astype(np.int16)


def _enlarge(coarse: NDArray[np.int64]) -> NDArray[np.int64]:
    """Linear interpolation from (..., 7, 7) to (..., 28, 28), in eighths so that it stays exact."""
    position = np.arange(28) * 2 + 1  # pixel centres in eighths of a coarse cell
    cells = np.arange(7) * 8 + 4
    eighths = (8 - np.abs(position[:, None] - cells)).clip(0)
    enlarged: NDArray[np.int64] = eighths @ coarse @ eighths.T * 3 // 64  # tripled: more contrast
    return enlarged
