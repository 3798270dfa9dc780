"""The drawn images: the same everywhere and always, learnable, and never perfectly."""

import hashlib

import numpy as np

from fmnist_lab.data.synthetic import draw


def test_images_look_like_those_of_the_real_set() -> None:
    images, labels = draw(2_500, seed=1)
    assert images.shape == (2_500, 28, 28)
    assert labels.shape == (2_500,)
    assert images.dtype == labels.dtype == np.dtype(np.uint8)
    assert np.bincount(labels, minlength=10).min() > 200
    assert (images.min(), images.max()) == (0, 255)


def test_every_machine_draws_the_same_bytes() -> None:
    images, labels = draw(1_000, seed=1)
    assert (
        hashlib.sha256(images.tobytes()).hexdigest()
        == "c9bd7e56983cebcaea36d5b98e6a77b948f3720cd59a9c78a204854beb3a5f8b"
    )
    assert labels[:10].tolist() == [9, 8, 1, 4, 9, 7, 0, 5, 3, 6]


def test_few_images_are_the_first_of_many() -> None:
    few, many = draw(300, seed=1), draw(2_300, seed=1)
    np.testing.assert_array_equal(few[0], many[0][:300])
    np.testing.assert_array_equal(few[1], many[1][:300])


def test_chunks_and_seeds_differ() -> None:
    images, _ = draw(2_000, seed=1)
    others, _ = draw(1_000, seed=2)
    everything = np.concatenate([images, others]).reshape(3_000, -1)
    assert len(np.unique(everything, axis=0)) == 3_000


def test_similar_images_mostly_share_their_class() -> None:
    images, labels = draw(6_000, seed=1)
    pixels = images.reshape(len(images), -1).astype(np.float32) / 255
    known, asked = pixels[:5_500], pixels[5_500:]
    distances = (known**2).sum(1) - 2 * asked @ known.T
    accuracy = np.mean(labels[distances.argmin(1)] == labels[5_500:])
    assert 0.5 < accuracy < 0.95
