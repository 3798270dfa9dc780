"""Clipping by hand, by Keras's own optimizers, and by its properties."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from fmnist_lab.errors import RequestError
from fmnist_lab.training.clipping import KERAS_ARGUMENTS, clip, sum_of_squares, validate
from fmnist_lab.training.engines.backend import import_tensorflow
from fmnist_lab.trial import ClippingConfig

Gradient = NDArray[np.float32]
KINDS = sorted(KERAS_ARGUMENTS)


def clipped(
    kind: str, gradients: Sequence[Any], threshold: float
) -> tuple[list[Gradient], float, float]:
    """`clip` from arrays to arrays."""
    tf = import_tensorflow()
    tensors = [tf.constant(gradient, tf.float32) for gradient in gradients]
    limited, norm, fraction = clip(kind, tensors, tf.constant(threshold, tf.float32))
    return [gradient.numpy() for gradient in limited], float(norm), float(fraction)


# Two variables with the norms 5 and 12, 13 together.
GRADIENTS = ([[3.0, 0.0], [0.0, -4.0]], [12.0, 0.0])


class TestByHand:
    """Gradients with round norms."""

    @pytest.mark.parametrize(
        ("kind", "threshold", "expected", "fraction"),
        [
            ("none", 1.0, GRADIENTS, 0.0),
            ("value", 3.5, ([[3.0, 0.0], [0.0, -3.5]], [3.5, 0.0]), 2 / 6),
            ("value", 12.0, GRADIENTS, 0.0),
            ("norm", 6.0, ([[3.0, 0.0], [0.0, -4.0]], [6.0, 0.0]), 1 / 2),
            ("norm", 2.5, ([[1.5, 0.0], [0.0, -2.0]], [2.5, 0.0]), 1.0),
            ("norm", 12.0, GRADIENTS, 0.0),
            ("global_norm", 6.5, ([[1.5, 0.0], [0.0, -2.0]], [6.0, 0.0]), 1.0),
            ("global_norm", 13.0, GRADIENTS, 0.0),
        ],
    )
    def test_gradients_norm_and_fraction(
        self, kind: str, threshold: float, expected: Sequence[Any], fraction: float
    ) -> None:
        limited, norm, share = clipped(kind, GRADIENTS, threshold)
        for got, wanted in zip(limited, expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-6)
        assert norm == pytest.approx(13.0)
        assert share == pytest.approx(fraction)

    @pytest.mark.parametrize("kind", KINDS)
    def test_gradients_of_zero_stay(self, kind: str) -> None:
        limited, norm, fraction = clipped(kind, [np.zeros((2, 3)), np.zeros(3)], 0.5)
        assert all((gradient == 0).all() for gradient in limited)
        assert (norm, fraction) == (0.0, 0.0)

    @pytest.mark.parametrize("kind", [*KINDS, "none"])
    def test_nan_stays_nan(self, kind: str) -> None:
        limited, norm, _ = clipped(kind, [[[math.nan, 1.0]], [2.0]], 0.5)
        assert math.isnan(limited[0][0, 0])
        assert math.isnan(norm)


class TestKeras:
    """The update of SGD at rate 1 is the clipped gradient."""

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("threshold", [0.05, 1.0, 1000.0])
    def test_its_optimizers_clip_the_same(self, kind: str, threshold: float) -> None:
        tf = import_tensorflow()
        import keras

        rng = np.random.default_rng(1)
        shapes = [(5, 4), (4,), (2, 3, 3, 1), ()]
        gradients = [np.float32(rng.normal(size=shape)) for shape in shapes]
        variables = [keras.Variable(np.zeros(shape, np.float32)) for shape in shapes]
        optimizer = keras.optimizers.SGD(1.0, **{KERAS_ARGUMENTS[kind]: threshold})
        optimizer.apply([tf.constant(gradient) for gradient in gradients], variables)
        limited, _, fraction = clipped(kind, gradients, threshold)
        for variable, gradient in zip(variables, limited, strict=True):
            np.testing.assert_allclose(-variable.numpy(), gradient, rtol=2e-6, atol=1e-8)
        assert (fraction > 0) == (threshold < 3)  # the higher thresholds limit nothing


ELEMENTS = st.floats(-1000, 1000, width=32, allow_subnormal=False)
ANY_GRADIENTS = st.lists(
    arrays(np.float32, array_shapes(max_dims=3, max_side=4), elements=ELEMENTS),
    min_size=1,
    max_size=3,
)
THRESHOLDS = st.floats(0.015625, 4096, width=32)


def norm_of(gradients: Sequence[Gradient]) -> float:
    return math.sqrt(sum(float(np.square(g, dtype=np.float64).sum()) for g in gradients))


@settings(max_examples=60)
@given(kind=st.sampled_from(KINDS), gradients=ANY_GRADIENTS, threshold=THRESHOLDS)
def test_properties(kind: str, gradients: list[Gradient], threshold: float) -> None:
    limited, norm, fraction = clipped(kind, gradients, threshold)
    assert norm == pytest.approx(norm_of(gradients), rel=1e-5, abs=1e-15)
    assert 0 <= fraction <= 1
    parts = [limited] if kind == "global_norm" else [[gradient] for gradient in limited]
    for part in parts:
        size = max(abs(g).max() for g in part) if kind == "value" else norm_of(part)
        assert size <= threshold * (1 + 1e-5)
    for before, after in zip(gradients, limited, strict=True):
        if fraction == 0:
            np.testing.assert_array_equal(after, before, strict=True)
        assert (abs(after) <= abs(before)).all()
        assert (np.sign(after) * np.sign(before) >= 0).all()
        if kind != "value":  # a positive multiple of the gradient
            scale = norm_of([after]) / (norm_of([before]) or 1.0)
            np.testing.assert_allclose(after, before * scale, rtol=1e-4, atol=1e-6)


class TestSumOfSquares:
    """In the compiled program and outside of it."""

    @pytest.mark.parametrize("compiled", [False, True])
    @pytest.mark.parametrize("shape", [(), (7,), (784, 300), (3, 3, 4, 8)])
    def test_equals_numpy(self, shape: tuple[int, ...], compiled: bool) -> None:
        tf = import_tensorflow()
        function = tf.function(sum_of_squares, jit_compile=True) if compiled else sum_of_squares
        values = np.float32(np.random.default_rng(0).normal(size=shape))
        wanted = np.square(values, dtype=np.float64).sum()
        assert float(function(tf.constant(values))) == pytest.approx(wanted, rel=1e-5)

    @pytest.mark.parametrize("compiled", [False, True])
    @pytest.mark.parametrize("broken", [math.nan, math.inf])
    def test_keeps_what_is_not_finite(self, broken: float, compiled: bool) -> None:
        tf = import_tensorflow()
        function = tf.function(sum_of_squares, jit_compile=True) if compiled else sum_of_squares
        values = np.ones((8, 5), np.float32)
        values[3, 2] = broken
        np.testing.assert_equal(float(function(tf.constant(values))), broken)


class TestConfig:
    """The threshold is there exactly when it is needed."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_positive_threshold_is_fine(self, kind: str) -> None:
        validate(ClippingConfig(kind, 0.001))

    def test_none_needs_none(self) -> None:
        validate(ClippingConfig())
        with pytest.raises(RequestError, check=lambda error: error.got == "1.0"):
            validate(ClippingConfig("none", 1.0))

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("threshold", [0.0, -1.0, math.nan, math.inf, None])
    def test_every_other_threshold_is_refused(self, kind: str, threshold: float | None) -> None:
        with pytest.raises(RequestError) as refused:
            validate(ClippingConfig(kind, threshold))
        assert (refused.value.key, refused.value.got) == ("clipping.threshold", repr(threshold))

    def test_an_unknown_kind_is_refused(self) -> None:
        with pytest.raises(RequestError, check=lambda error: error.got == "'adaptive'"):
            validate(ClippingConfig("adaptive", 1.0))
