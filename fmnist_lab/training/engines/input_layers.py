"""The first layers in training, where batch normalisation of the images feeds a dense layer."""

import logging
from collections.abc import Callable
from typing import Any

from fmnist_lab.training.clipping import sum_rows

log = logging.getLogger(__name__)

Call = Callable[[Any], Any]  # images, scaled, (batch, height, width) -> probabilities


def training_call(model: Any) -> Call:
    """Returns what a training step calls: the model, or the same with a product less.

    A `Sequential` of Keras's own Flatten, BatchNormalization, Dense and anything behind them takes
    `normalized_dense` for these; every other model is called as it is, and the log says which.
    """
    import keras

    layers = model.layers
    is_known = (
        type(model) is keras.Sequential
        and [type(layer) for layer in layers[:3]]
        == [keras.layers.Flatten, keras.layers.BatchNormalization, keras.layers.Dense]
        and _is_plain(*layers[1:3])
    )
    if not is_known:
        log.info("Every layer of the model is called by Keras: it is not of a known kind.")
        return lambda images: model(images, training=True)
    log.info("The first layers are known, and train with a matrix product less.")
    flatten, normalization, dense, *others = layers
    rest = keras.Sequential([keras.Input(dense.output.shape[1:]), *others]) if others else None

    def call(images: Any) -> Any:
        outputs = _call_first(normalization, dense, flatten(images))
        return rest(outputs, training=True) if rest else outputs

    return call


def _is_plain(normalization: Any, dense: Any) -> bool:
    """Returns whether the two layers compute what `normalized_dense` does, and nothing else."""
    return (
        normalization.center
        and normalization.scale
        and not normalization.synchronized
        and dense.use_bias
        and len(dense.weights) == len(dense.trainable_weights) == 2  # not quantized, no LoRA
        and len(normalization.trainable_weights) == 2
        and all(
            layer.activity_regularizer is None
            and layer.compute_dtype == layer.variable_dtype == "float32"
            for layer in (normalization, dense)
        )
    )


def _call_first(normalization: Any, dense: Any, images: Any) -> Any:
    """Calls both layers, and moves the averages that the first one keeps, as Keras does."""
    import tensorflow as tf

    weights = (normalization.gamma, normalization.beta, dense.kernel, dense.bias)
    gamma, beta, kernel, bias = (tf.convert_to_tensor(weight.value) for weight in weights)
    outputs, mean, variance = normalized_dense(
        images, gamma, beta, kernel, bias, normalization.epsilon
    )
    kept = normalization.momentum
    for moving, new in (
        (normalization.moving_mean, mean),
        (normalization.moving_variance, variance),
    ):
        moving.assign(moving * kept + new * (1.0 - kept))
    return dense.activation(outputs)


def normalized_dense(
    images: Any, gamma: Any, beta: Any, kernel: Any, bias: Any, epsilon: float
) -> tuple[Any, Any, Any]:
    """Normalises a batch and multiplies it by a kernel, with gradients for the weights alone.

    `y = (x' gamma + beta) W + b` with `x' = (x - mean) / sqrt(variance + epsilon)`. Differentiation
    by rules multiplies `G = dL/dy` by W to get a gradient for each pixel, and adds these up. Pixels
    need none, and with `A = x'^T G` and `s`, the sum of G's rows,

        dL/dW = gamma A + beta s^T        dL/dgamma_i = sum_j W_ij A_ij
        dL/db = s                         dL/dbeta = W s

    which takes two products as large as W in place of three.

    Args:
        images: Floats, (batch, pixels); they get no gradient.
        gamma: Scale, (pixels,).
        beta: Offset, (pixels,).
        kernel: W, (pixels, units).
        bias: b, (units,).
        epsilon: Added to the variance.

    Returns:
        y, (batch, units); and mean and variance of the batch, (pixels,), without gradients.
    """
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def normalize_and_multiply(gamma: Any, beta: Any, kernel: Any, bias: Any) -> Any:
        mean = tf.reduce_mean(images, axis=0)
        centred = images - mean
        variance = tf.reduce_mean(tf.square(centred), axis=0)
        inverse = tf.math.rsqrt(variance + epsilon)
        outputs = tf.matmul(centred * (inverse * gamma) + beta, kernel) + bias

        def gradients(upstream: Any, *_: Any) -> Any:
            total = tf.reduce_sum(upstream, axis=0)
            products = tf.matmul(centred, upstream, transpose_a=True) * inverse[:, None]
            return (
                sum_rows(kernel * products),
                tf.linalg.matvec(kernel, total),
                gamma[:, None] * products + beta[:, None] * total,
                total,
            )

        return (outputs, mean, variance), gradients

    outputs, mean, variance = normalize_and_multiply(gamma, beta, kernel, bias)
    return outputs, tf.stop_gradient(mean), tf.stop_gradient(variance)
