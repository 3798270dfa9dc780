"""Architectures that XLA cannot compile, and outputs that are no probabilities."""

import logging
from typing import Any

import pytest

from fmnist_lab.errors import RequestError
from fmnist_lab.training.engines.backend import import_tensorflow
from fmnist_lab.training.engines.building import count_parameters
from fmnist_lab.trial import TrainingConfig
from tests.support.engines import a_trial, train, without_time

tf = import_tensorflow()
from keras import Input, Sequential, layers  # noqa: E402  # after its messages are silenced


def classifier(*inner: Any, activation: str | None = "softmax") -> Any:
    """A model of one dense layer, with others before it."""
    return Sequential(
        [
            Input((28, 28)),
            layers.Reshape((28, 28, 1)),
            *inner,
            layers.Flatten(),
            layers.Dense(10, activation),
        ]
    )


def same_shape(call: Any) -> Any:
    return layers.Lambda(call, output_shape=(28, 28, 1))


def through_numpy(images: Any) -> Any:
    passed = tf.numpy_function(lambda array: array, [tf.stop_gradient(images)], tf.float32)
    return images + 0 * tf.ensure_shape(passed, images.shape)


def through_python(images: Any) -> Any:
    passed = tf.py_function(lambda tensor: tensor, [tf.stop_gradient(images)], tf.float32)
    return images + 0 * tf.ensure_shape(passed, images.shape)


def through_text(images: Any) -> Any:
    passed = tf.strings.to_number(tf.strings.as_string(tf.stop_gradient(images)))
    return images + 0 * passed


INNER = {
    "translation": lambda: layers.RandomTranslation(0.1, 0.1, seed=1),
    "zoom": lambda: layers.RandomZoom(0.1, seed=1),
    "numpy": lambda: same_shape(through_numpy),
    "python": lambda: same_shape(through_python),
    "text": lambda: same_shape(through_text),
}


def augmented(inner: str) -> Any:
    return classifier(INNER[inner]())


def with_logits(activation: str | None) -> Any:
    return classifier(activation=activation)


@pytest.mark.slow
@pytest.mark.parametrize("inner", INNER)
def test_they_train_in_both_engines_and_the_log_says_how(
    inner: str, caplog: pytest.LogCaptureFixture
) -> None:
    architecture = {"_target_": f"{__name__}.augmented", "inner": inner}
    trial = a_trial(architecture=architecture, training=TrainingConfig(epochs=2))
    curves = []
    for engine in ("compiled", "keras"):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "fmnist_lab"):
            curves.append(train(trial, engine)[1])
        assert len([record for record in caplog.records if "XLA" in record.message]) == 1
    for mine, theirs in zip(*map(without_time, curves), strict=True):
        assert mine == pytest.approx(theirs, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh", "exponential"])
def test_what_is_no_probability_is_refused(activation: str | None) -> None:
    architecture = {"_target_": f"{__name__}.with_logits", "activation": activation}
    with pytest.raises(RequestError, match=r"architecture\._target_.*class probabilities"):
        count_parameters(a_trial(architecture=architecture))
