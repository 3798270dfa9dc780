"""TensorFlow as the engines import it."""

from typing import Any

import numpy as np
import pytest

from fmnist_lab.training.engines.backend import import_tensorflow


@pytest.mark.parametrize("seed", [0, 42, 10**9])
def test_dropout_has_the_masks_that_tensorflow_would_draw(seed: int) -> None:
    """A compiled step of plain Keras, without this package, drops the same units."""
    tf = import_tensorflow()
    from keras import layers

    drop, ones = layers.Dropout(0.3, seed=seed), tf.ones((8, 50))

    def selected(x: Any, state: Any) -> Any:
        original = tf.nn.experimental.stateless_dropout.func
        return original(x, 0.3, tf.cast(state, tf.int32), rng_alg="auto_select")

    state = tf.identity(drop.seed_generator.state.value)
    expected = tf.function(selected, jit_compile=True)(ones, state).numpy()
    got = tf.function(drop, jit_compile=True)(ones, training=True).numpy()
    assert 0.1 < np.mean(got == 0) < 0.5
    np.testing.assert_array_equal(got, expected)
