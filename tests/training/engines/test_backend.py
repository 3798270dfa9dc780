"""TensorFlow as the engines import it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist_lab.training.engines.backend import import_tensorflow
from tests.support.sweeping import ROOT

SETTINGS = """
import json
from fmnist_lab.training.engines.backend import import_tensorflow
import_tensorflow()
import keras
print(json.dumps([keras.config.backend(), keras.config.floatx(), keras.config.image_data_format(),
    keras.config.epsilon(), keras.config.max_epochs(), keras.config.dtype_policy().name]))
"""


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "variables"),
    [
        ('{"floatx": "float64", "image_data_format": "channels_first"}', {}),
        ('{"floatx": "decimal", "epsilon": 1}', {"KERAS_BACKEND": "jax"}),
        ('["no mapping"]', {"KERAS_BACKEND": "", "KERAS_MAX_EPOCHS": "1"}),
        ("no JSON", {"KERAS_MAX_STEPS_PER_EPOCH": "2", "KERAS_BACKEND": "torch"}),
        ('{"backend": "numpy"}', {"KERAS_NNX_ENABLED": "true"}),
    ],
)
def test_the_users_settings_of_keras_do_not_count(
    tmp_path: Path, content: str, variables: dict[str, str]
) -> None:
    (tmp_path / "keras.json").write_text(content)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "KERAS_HOME": str(tmp_path)} | variables
    command = [sys.executable, "-c", SETTINGS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = ["tensorflow", "float32", "channels_last", 1e-7, None, "float32"]
    assert json.loads(done.stdout) == expected
    assert (tmp_path / "keras.json").read_text() == content
