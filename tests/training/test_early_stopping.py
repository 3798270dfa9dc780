"""Decisions against Keras's own EarlyStopping, and tables of curve and expected epoch."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_lab.errors import RequestError
from fmnist_lab.training.early_stopping import EarlyStopping, diverged
from fmnist_lab.trial import StoppingConfig

NAN = float("nan")


def stop_epoch(values: list[float], stopper: EarlyStopping) -> int | None:
    """The epoch after which training stops, if it does."""
    for epoch, value in enumerate(values):
        if stopper.observe(epoch, {stopper.config.monitor: value}):
            return epoch
    return None


class KerasModel(SimpleNamespace):
    """What EarlyStopping needs of a model: its weights are the number of the epoch."""

    stop_training = False
    weights: int | None = None

    def get_weights(self) -> int | None:
        return self.weights

    def set_weights(self, weights: int | None) -> None:
        self.weights = weights


def keras_stop_epoch(values: list[float], **settings: Any) -> tuple[int | None, int | None]:
    """The epoch after which Keras stops, and the one whose weights it restores."""
    import keras

    callback = keras.callbacks.EarlyStopping(monitor="any", restore_best_weights=True, **settings)
    model = KerasModel()
    callback.set_model(model)
    callback.on_train_begin()
    stopped = None
    for epoch, value in enumerate(values):
        model.weights = epoch
        callback.on_epoch_end(epoch, {"any": value})
        if model.stop_training:
            stopped = epoch
            break
    return stopped, callback.best_weights


curves = st.lists(
    st.one_of(
        st.sampled_from([0.5, 0.5 + 1e-8, 0.5 - 1e-8, 0.4, 0.3, NAN, math.inf]),
        st.floats(-2.0, 2.0, width=32, allow_subnormal=False),
    ),
    min_size=1,
    max_size=20,
)


class TestAgainstKeras:
    """The same decisions on any curve."""

    @settings(max_examples=150)
    @given(
        curves,
        st.fixed_dictionaries(
            {
                "patience": st.integers(0, 4),
                "min_delta": st.sampled_from([0.0, 1e-9, 1e-3, 0.1]),
                "mode": st.sampled_from(["min", "max"]),
                "start_from_epoch": st.integers(0, 4),
            }
        ),
    )
    def test_keras_decides_the_same(self, values: list[float], chosen: dict[str, Any]) -> None:
        stopper = EarlyStopping(StoppingConfig(name="patience", monitor="any", **chosen))
        stopped, restored = keras_stop_epoch(values, **chosen)
        assert stop_epoch(values, stopper) == stopped
        assert stopper.best_epoch == restored


class TestEarlyStopping:
    """Curve, patience and expected epochs."""

    @pytest.mark.parametrize(
        ("values", "patience", "min_delta", "expected", "best_epoch"),
        [
            ([0.9, 0.8, 0.7, 0.8, 0.8], 2, 0.0, 4, 2),
            ([0.9, 0.8, 0.7, 0.8, 0.8], 3, 0.0, None, 2),
            ([0.5, 0.5], 1, 0.0, 1, 0),  # an equal value is no improvement
            ([0.5, 0.6], 0, 0.0, 1, 0),  # patience 0 equals 1
            ([0.5], 0, 0.0, None, 0),  # never in epoch 0
            ([0.5, 0.45, 0.35], 1, 0.1, 1, 0),  # 0.05 is not enough
            ([0.5, 0.35, 0.2], 1, 0.1, None, 2),
            ([0.5, 0.5 - 1e-9], 1, 0.0, 1, 0),  # equal in single precision
            ([NAN, 0.5, 0.4], 2, 0.0, 2, 0),  # a first NaN is a best that nothing beats
            ([0.5, NAN, 0.4], 2, 0.0, None, 2),
            ([1e300, 0.5], 1, 0.0, None, 1),  # infinite in single precision
            ([5 - epoch for epoch in range(6)] + 10 * [1.0], 10, 0.0, 15, 5),
        ],
    )
    def test_table(
        self,
        values: list[float],
        patience: int,
        min_delta: float,
        expected: int | None,
        best_epoch: int,
    ) -> None:
        stopper = EarlyStopping(
            StoppingConfig(name="patience", patience=patience, min_delta=min_delta)
        )
        assert stop_epoch(values, stopper) == expected
        assert stopper.best_epoch == best_epoch

    def test_accuracy_is_better_when_higher(self) -> None:
        stopper = EarlyStopping(StoppingConfig(name="patience", monitor="val/accuracy", patience=1))
        assert stop_epoch([0.1, 0.2, 0.3, 0.2], stopper) == 3
        assert stopper.best_epoch == 2

    def test_none_never_stops_and_still_knows_the_best_epoch(self) -> None:
        stopper = EarlyStopping(StoppingConfig())
        assert stop_epoch([0.5, 0.4, *50 * [0.6]], stopper) is None
        assert stopper.best_epoch == 1

    def test_before_it_starts_there_is_no_best(self) -> None:
        stopper = EarlyStopping(StoppingConfig(name="patience", start_from_epoch=2))
        assert stop_epoch([0.1, 0.1], stopper) is None
        assert stopper.best_epoch is None

    def test_a_metric_that_is_not_measured(self) -> None:
        stopper = EarlyStopping(StoppingConfig(monitor="val/los", mode="min"))
        with pytest.raises(RequestError, check=lambda error: error.key == "stopping.monitor"):
            stopper.observe(0, {"val/loss": 0.1})

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("name", "early"),
            ("mode", "down"),
            ("patience", -1),
            ("min_delta", -0.1),
            ("start_from_epoch", -1),
        ],
    )
    def test_a_mistake_is_named(self, key: str, value: Any) -> None:
        with pytest.raises(RequestError) as refused:
            EarlyStopping(StoppingConfig(**{key: value}))
        assert (refused.value.key, refused.value.got) == (f"stopping.{key}", repr(value))


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"train/loss": 0.5, "val/loss": 0.4}, False),
        ({"train/loss": NAN, "val/loss": 0.4}, True),
        ({"train/loss": 0.5, "val/loss": math.inf}, True),
        ({"train/loss": 0.5, "val/loss": 0.4, "opt/grad_norm": NAN}, False),
    ],
)
def test_diverged(metrics: dict[str, float], expected: bool) -> None:
    assert diverged(metrics) is expected
