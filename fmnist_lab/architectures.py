"""Architectures: functions that return an uncompiled Keras model.

Each takes images of shape (batch, *image_shape), scaled to floats, and returns class
probabilities of shape (batch, classes). A function of your own works the same way: name it
in `architecture._target_` and list its arguments beside it. The arguments `image_shape` and
`classes`, where it has them, follow from the data.
"""

from collections.abc import Sequence
from typing import Any

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.validate import require_share

IMAGE_SHAPE = (28, 28)
CLASSES = 10
MOST_UNITS = 65_536  # of a layer: more is a slip of the keyboard, and more memory than there is
NORMALIZATION = ("none", "before", "after", "input")


def notebook(*, image_shape: Sequence[int] = IMAGE_SHAPE, classes: int = CLASSES) -> Any:
    """Returns the network that the project began with: 271,346 parameters, 268,978 trainable.

    Batch normalisation on the input, before the first activation and after the second.

    Args:
        image_shape: Height and width, or with channels a third number; from the data.
        classes: How many; from the data.
    """
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input(image_shape),
            layers.Flatten(),
            layers.BatchNormalization(),
            layers.Dense(300, kernel_initializer="he_normal"),
            layers.BatchNormalization(),
            layers.Activation("elu"),
            layers.Dense(100, kernel_initializer="he_normal"),
            layers.Activation("elu"),
            layers.BatchNormalization(),
            layers.Dense(classes, activation="softmax"),
        ]
    )


def mlp(  # noqa: PLR0913 - the options, and two that the data decide
    hidden_sizes: Sequence[int] = (300, 100),
    activation: str = "relu",
    normalization: str = "none",
    dropout: float = 0.0,
    kernel_initializer: str = "he_normal",
    l2: float = 0.0,
    *,
    image_shape: Sequence[int] = IMAGE_SHAPE,
    classes: int = CLASSES,
) -> Any:
    """Builds fully connected layers.

    Args:
        hidden_sizes: Units of each hidden layer, positive.
        activation: Any activation that Keras knows by name.
        normalization: Batch normalisation: `none`, `before` or `after` each activation,
            or on the `input` alone.
        dropout: Fraction of each hidden layer's outputs that is dropped, in [0, 1).
        kernel_initializer: Any initializer that Keras knows by name.
        l2: Factor of the kernels' squared L2 norm in the loss, at least 0.
        image_shape: Height and width, or with channels a third number; from the data.
        classes: How many; from the data.

    Raises:
        RequestError: A value is outside what is listed above.
    """
    from keras import Input, Sequential, layers, regularizers

    _check_mlp(hidden_sizes, normalization, dropout, l2)
    penalty = regularizers.L2(l2) if l2 else None
    stack: list[Any] = [Input(image_shape), layers.Flatten()]
    if normalization == "input":
        stack.append(layers.BatchNormalization())
    for size in hidden_sizes:
        stack.append(
            layers.Dense(size, kernel_initializer=kernel_initializer, kernel_regularizer=penalty)
        )
        if normalization == "before":
            stack.append(layers.BatchNormalization())
        stack.append(layers.Activation(activation))
        if normalization == "after":
            stack.append(layers.BatchNormalization())
        if dropout:
            stack.append(layers.Dropout(dropout))
    stack.append(layers.Dense(classes, activation="softmax", kernel_regularizer=penalty))
    return Sequential(stack)


def cnn(  # noqa: PLR0913 - the options, and two that the data decide
    filters: Sequence[int] = (32, 64),
    kernel_size: int = 3,
    dense: int = 128,
    activation: str = "relu",
    dropout: float = 0.0,
    *,
    image_shape: Sequence[int] = IMAGE_SHAPE,
    classes: int = CLASSES,
) -> Any:
    """Builds two convolutions, each followed by 2x2 max pooling, and one dense layer.

    Args:
        filters: Output channels of the two convolutions, positive.
        kernel_size: Height and width of the convolutions' kernels, in pixels, 1 to 7.
        dense: Units of the dense layer, positive.
        activation: Any activation that Keras knows by name.
        dropout: Fraction of the dense layer's outputs that is dropped, in [0, 1).
        image_shape: Height and width, or with channels a third number; from the data.
        classes: How many; from the data.

    Raises:
        RequestError: A value is outside what is listed above.
    """
    from keras import Input, Sequential, layers

    if len(filters) != 2 or min(filters) < 1 or max(filters) > MOST_UNITS:
        rule = f"be two positive numbers, at most {MOST_UNITS}"
        raise RequestError("architecture.filters", rule, list(filters))
    if not 1 <= kernel_size <= 7:
        raise RequestError("architecture.kernel_size", "be from 1 to 7", kernel_size)
    if not 1 <= dense <= MOST_UNITS:
        raise RequestError("architecture.dense", f"be from 1 to {MOST_UNITS}", dense)
    require_share("architecture", dropout=dropout)
    stack: list[Any] = [Input(image_shape)]
    if len(image_shape) == 2:
        stack.append(layers.Reshape((*image_shape, 1)))
    for channels in filters:
        stack.append(
            layers.Conv2D(
                channels,
                kernel_size,
                padding="same",
                activation=activation,
                kernel_initializer="he_normal",
            )
        )
        stack.append(layers.MaxPooling2D())
    stack += [
        layers.Flatten(),
        layers.Dense(dense, activation=activation, kernel_initializer="he_normal"),
    ]
    if dropout:
        stack.append(layers.Dropout(dropout))
    stack.append(layers.Dense(classes, activation="softmax"))
    return Sequential(stack)


def _check_mlp(hidden_sizes: Sequence[int], normalization: str, dropout: float, l2: float) -> None:
    if not hidden_sizes or min(hidden_sizes) < 1 or max(hidden_sizes) > MOST_UNITS:
        rule = f"be positive numbers, at most {MOST_UNITS}"
        raise RequestError("architecture.hidden_sizes", rule, list(hidden_sizes))
    if normalization not in NORMALIZATION:
        rule = f"be one of {', '.join(NORMALIZATION)}"
        raise RequestError("architecture.normalization", rule, normalization)
    require_share("architecture", dropout=dropout)
    if not 0 <= l2 < float("inf"):
        raise RequestError("architecture.l2", "be at least 0 and finite", l2)
