"""Gradient clipping with the semantics of Keras's optimizers, thresholds as inputs.

Keras bakes its thresholds into the compiled step as constants. Here the threshold is a
tensor, so that another threshold is another input of the same XLA program.
"""

import math
from collections.abc import Sequence
from typing import Any

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.validate import require_choice
from fmnist_lab.trial import ClippingConfig

# Clipping option -> the argument of a Keras optimizer that does the same.
KERAS_ARGUMENTS = {"value": "clipvalue", "norm": "clipnorm", "global_norm": "global_clipnorm"}


def validate(config: ClippingConfig) -> None:
    """Checks that the threshold is given exactly when it is needed.

    Raises:
        RequestError: It is not, or the name is unknown.
    """
    name, threshold = config.name, config.threshold
    require_choice("clipping", ("none", *KERAS_ARGUMENTS), name=name)
    if name == "none":
        if threshold is not None:
            raise RequestError("clipping.threshold", "be null with clipping=none", threshold)
    # Keras takes 0 for "off"; here off is called none.
    elif threshold is None or not (0 < threshold < math.inf):
        raise RequestError("clipping.threshold", "be a positive number", threshold)


def clip(name: str, gradients: Sequence[Any], threshold: Any) -> tuple[list[Any], Any, Any]:
    """Clips gradients and measures them.

    Formulas: `value` limits every element to [-t, t]; `norm` scales each variable's
    gradient g by t / max(|g|, t), as Keras's `clipnorm`; `global_norm` scales all by
    t / max(G, t), G the norm over all variables, as Keras's `global_clipnorm`. A
    gradient within the limit is returned bit for bit.

    Args:
        name: `none`, `value`, `norm` or `global_norm`.
        gradients: Float32 tensors of any shapes.
        threshold: Float32 scalar tensor; not read for `none`.

    Returns:
        The clipped gradients; their global norm before clipping, a scalar; and which
        fraction of what is limited exceeded the threshold (elements, variables, or the
        one whole gradient), a scalar in [0, 1].
    """
    import tensorflow as tf

    squares = [sum_of_squares(gradient) for gradient in gradients]
    total_norm = tf.sqrt(tf.add_n(squares))
    if name == "value":
        exceeding = [tf.reduce_sum(_indicator(tf.abs(g) > threshold)) for g in gradients]
        elements = float(sum(math.prod(g.shape) for g in gradients))
        clipped = [tf.clip_by_value(g, -threshold, threshold) for g in gradients]
        return clipped, total_norm, tf.add_n(exceeding) / elements
    if name == "norm":
        norms = [tf.sqrt(square) for square in squares]
        fraction = tf.add_n([_indicator(norm > threshold) for norm in norms]) / float(len(norms))
        clipped = [
            g * (threshold / tf.maximum(norm, threshold))
            for g, norm in zip(gradients, norms, strict=True)
        ]
        return clipped, total_norm, fraction
    if name == "global_norm":
        scale = threshold / tf.maximum(total_norm, threshold)
        return [g * scale for g in gradients], total_norm, _indicator(total_norm > threshold)
    return list(gradients), total_norm, tf.constant(0.0)


def sum_of_squares(tensor: Any) -> Any:
    """Returns the sum of a tensor's squared elements, a scalar; those of a matrix by rows first."""
    import tensorflow as tf

    squares = tf.square(tensor)
    if tensor.shape.rank > 1:
        squares = sum_rows(tf.reshape(squares, [-1, tensor.shape[-1]]))
    return tf.reduce_sum(squares)


def sum_rows(matrix: Any) -> Any:
    """Adds up each row, as a product with ones.

    XLA's CPU compiler writes a matrix down before it adds up its rows; a product takes it as it is
    computed (for the first kernel of the notebook's network 33 instead of 133 microseconds).
    """
    import tensorflow as tf

    return tf.linalg.matvec(matrix, tf.ones([matrix.shape[-1]], matrix.dtype))


def _indicator(condition: Any) -> Any:
    import tensorflow as tf

    return tf.cast(condition, tf.float32)
