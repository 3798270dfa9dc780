"""The first layers compute what Keras's do, with the gradients that Keras's have."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_lab import architectures
from fmnist_lab.training.engines.backend import import_tensorflow
from fmnist_lab.training.engines.input_layers import normalized_dense, training_call

pytestmark = pytest.mark.slow

Maker = Callable[[], Any]


def network(*middle: Any, **settings: Any) -> Any:
    """Images of 3 x 2 pixels, two units behind the dense layer, and what else there is."""
    from keras import Input, Sequential, layers

    first = [layers.Flatten(), layers.BatchNormalization(**settings)]
    stack = [Input((3, 2)), *first, *(middle or [layers.Dense(4, activation="elu")])]
    return Sequential([*stack, layers.Dense(2, activation="softmax")])


class TestNormalizedDense:
    """Against differentiation by rules, in double precision."""

    @settings(max_examples=40)
    @given(
        seed=st.integers(0, 2**32 - 1),
        batch=st.integers(1, 40),
        units=st.integers(1, 5),
        scale=st.sampled_from([0.0, 1e-6, 0.3, -2.0, 1e4]),
        spread=st.sampled_from([0.0, 1e-3, 1.0, 100.0]),
    )
    def test_has_its_gradients(
        self, seed: int, batch: int, units: int, scale: float, spread: float
    ) -> None:
        tf = import_tensorflow()
        draw = np.random.default_rng(seed)
        images = tf.constant(draw.normal(size=(batch, 6)) * spread)
        shapes = [(6,), (6,), (6, units), (units,)]
        weights = [tf.constant(draw.normal(size=shape)) for shape in shapes]
        weights[0] *= scale
        upstream = tf.constant(draw.normal(size=(batch, units)))

        def by_rules(gamma: Any, beta: Any, kernel: Any, bias: Any) -> Any:
            mean, variance = tf.nn.moments(images, axes=[0])
            scaled = tf.nn.batch_normalization(images, mean, variance, beta, gamma, 1e-3)
            return tf.matmul(scaled, kernel) + bias, mean, variance

        found = []
        for call in (by_rules, lambda g, b, w, c: normalized_dense(images, g, b, w, c, 1e-3)):
            with tf.GradientTape() as tape:
                tape.watch(weights)
                outputs = call(*weights)
                loss = tf.reduce_sum(outputs[0] * upstream)
            found.append([*outputs, *tape.gradient(loss, weights)])
        for theirs, ours in zip(*found, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9 * (1 + abs(scale)))


class TestTrainingCall:
    """Against the same model, called by Keras."""

    def test_values_gradients_and_averages_are_those_of_keras(self) -> None:
        tf = import_tensorflow()
        model = network(momentum=0.9, epsilon=0.01)
        draw = np.random.default_rng(0)
        start = [draw.uniform(0.5, 2, weight.shape).astype(np.float32) for weight in model.weights]
        images = tf.constant(draw.normal(size=(9, 3, 2)), tf.float32)
        targets = tf.constant(draw.normal(size=(9, 2)), tf.float32)
        found = []
        calls: list[Maker] = [lambda: model(images, training=True)]
        calls.append(lambda: training_call(model)(images))
        for call in calls:
            model.set_weights(start)
            with tf.GradientTape() as tape:
                outputs = call()
                loss = tf.reduce_sum(outputs * targets)
            weights = [variable.value for variable in model.trainable_variables]
            found.append([outputs, *tape.gradient(loss, weights), *model.get_weights()])
        for theirs, ours in zip(*found, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)

    def test_nan_reaches_every_weight_that_it_should(self) -> None:
        tf = import_tensorflow()
        model = network()
        images = np.ones((5, 3, 2), np.float32)
        images[2, 1, 1] = np.nan
        assert np.isnan(training_call(model)(tf.constant(images))).all()
        assert (
            np.isnan(model.layers[1].moving_mean.numpy()).tolist()
            == [False] * 3 + [True] + [False] * 2
        )

    def test_one_dense_layer_may_be_all(self) -> None:
        tf = import_tensorflow()
        from keras import Input, Sequential, layers

        model = Sequential(
            [Input((3, 2)), layers.Flatten(), layers.BatchNormalization(), layers.Dense(2)]
        )
        images = tf.constant(np.random.default_rng(0).normal(size=(4, 3, 2)), tf.float32)
        np.testing.assert_allclose(
            training_call(model)(images), model(images, training=True), rtol=1e-5, atol=1e-6
        )


def _frozen() -> Any:
    model = network()
    model.layers[1].trainable = False
    return model


def _half() -> Any:
    from keras import layers

    return network(layers.Dense(4, dtype="mixed_float16"))


def _adapted() -> Any:
    model = network()
    model.layers[2].enable_lora(2)
    return model


def _penalised() -> Any:
    from keras import layers

    return network(layers.Dense(4, activity_regularizer="l2"))


def _derived() -> Any:
    from keras import layers

    class Mine(layers.Dense):  # type: ignore[misc]
        """A layer that may compute anything."""

    return network(Mine(4))


def _functional() -> Any:
    import keras

    first = keras.Input((3, 2))
    outputs = first
    for layer in network().layers:
        outputs = layer(outputs)
    return keras.Model(first, outputs)


def _without_bias() -> Any:
    from keras import layers

    return network(layers.Dense(4, use_bias=False))


@pytest.mark.parametrize(
    ("maker", "is_known"),
    [
        (network, True),
        (architectures.notebook, True),
        (lambda: architectures.mlp(normalization="input", dropout=0.2, l2=1e-3), True),
        (architectures.mlp, False),
        (architectures.cnn, False),
        (lambda: network(scale=False), False),
        (lambda: network(center=False), False),
        *((maker, False) for maker in (_frozen, _half, _adapted, _penalised, _derived)),
        *((maker, False) for maker in (_functional, _without_bias)),
    ],
)
def test_only_what_is_known_to_be_the_same_leaves_keras(
    maker: Maker, is_known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    import_tensorflow()
    caplog.set_level(logging.INFO, "fmnist_lab")
    training_call(maker())
    (record,) = caplog.records
    assert ("product" in record.getMessage()) == is_known
