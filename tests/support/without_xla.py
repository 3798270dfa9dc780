"""Models that XLA cannot compile; imports TensorFlow, and only when one is built."""

from typing import Any

from fmnist_lab.training.engines.backend import import_tensorflow

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


LAYERS = {
    "translation": lambda: layers.RandomTranslation(0.1, 0.1, seed=1),
    "numpy": lambda: same_shape(through_numpy),
    "python": lambda: same_shape(through_python),
    "text": lambda: same_shape(through_text),
}


def augmented(inner: str) -> Any:
    return classifier(LAYERS[inner]())


def with_logits(activation: str | None) -> Any:
    return classifier(activation=activation)
