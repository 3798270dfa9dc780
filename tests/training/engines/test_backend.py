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
import json, os, sys
import tensorflow  # which takes seconds and reads none of these settings, once for all
from fmnist_lab.training.engines.backend import import_tensorflow
for home, variables in json.loads(sys.argv[1]).items():
    if os.fork() == 0:
        os.environ |= {"KERAS_HOME": home} | variables
        import_tensorflow()
        import keras
        config = keras.config
        print(json.dumps([config.backend(), config.floatx(), config.image_data_format(),
            config.epsilon(), config.max_epochs(), config.dtype_policy().name]))
        break
    os.wait()
"""
USERS: dict[str, dict[str, str]] = {  # variables by the content of `keras.json`
    '{"floatx": "float64", "image_data_format": "channels_first"}': {},
    '{"floatx": "decimal", "epsilon": 1}': {"KERAS_BACKEND": "jax"},
    '["no mapping"]': {"KERAS_BACKEND": "", "KERAS_MAX_EPOCHS": "1"},
    "no JSON": {"KERAS_MAX_STEPS_PER_EPOCH": "2", "KERAS_BACKEND": "torch"},
    '{"backend": "numpy"}': {"KERAS_NNX_ENABLED": "true"},
}


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
def test_the_users_settings_of_keras_do_not_count(tmp_path: Path) -> None:
    homes = {str(tmp_path / f"{number}"): content for number, content in enumerate(USERS)}
    for home, content in homes.items():
        Path(home).mkdir()
        (Path(home) / "keras.json").write_text(content)
    variables = json.dumps({home: USERS[content] for home, content in homes.items()})
    command = [sys.executable, "-c", SETTINGS, variables]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    expected = ["tensorflow", "float32", "channels_last", 1e-7, None, "float32"]
    assert list(map(json.loads, done.stdout.splitlines())) == [expected] * len(USERS), done.stderr
    for home, content in homes.items():
        assert (Path(home) / "keras.json").read_text() == content
