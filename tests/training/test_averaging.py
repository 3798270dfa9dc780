"""Averages of weights by hand, by Keras's own optimizers, and what is refused."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fmnist_lab.errors import RequestError
from fmnist_lab.training.averaging import Average, decays, validate
from fmnist_lab.training.engines.backend import import_tensorflow
from fmnist_lab.trial import AveragingConfig

EMA, SWA = AveragingConfig("ema", 0.9), AveragingConfig("swa", start_from_epoch=1.7)
STEPS = 3


def averaged(config: AveragingConfig, weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """The average after each update of a weight that takes these values, (epochs, STEPS)."""
    found, average = [], float(weights[0, 0])
    for epoch, row in enumerate(weights):
        for decay, weight in zip(decays(config, epoch, STEPS), row, strict=True):
            average = decay * average + (1 - decay) * weight
            found.append(average)
    return np.reshape(found, weights.shape)


class TestDecays:
    """What the average is made of."""

    weights = np.random.default_rng(0).normal(size=(5, STEPS)).astype(np.float32)

    def test_swa_is_the_mean_over_ends_of_epochs_from_the_first_one(self) -> None:
        found = averaged(SWA, self.weights)[:, -1]
        assert found[0] == self.weights[0, -1]
        for last in range(1, 5):
            mean = self.weights[1 : last + 1, -1].astype(float).mean()
            assert found[last] == pytest.approx(mean, rel=1e-6)

    def test_ema_begins_with_the_first_update_of_its_first_epoch(self) -> None:
        late = averaged(AveragingConfig("ema", 0.9, 2), self.weights)
        np.testing.assert_array_equal(late[:2], self.weights[:2])
        np.testing.assert_allclose(late[2:], averaged(EMA, self.weights[2:]), rtol=1e-6)
        assert late[2, 0] == self.weights[2, 0]

    def test_without_averaging_the_weights_are_kept_as_they_are(self) -> None:
        assert averaged(AveragingConfig(), self.weights)[0, 0] == self.weights[0, 0]


@pytest.mark.slow
class TestKeras:
    """`use_ema` of Keras's optimizers, and which weights take part."""

    def model(self) -> Any:
        import_tensorflow()
        import keras

        keras.utils.set_random_seed(3)
        layers = [
            keras.layers.Input((4,)),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(2),
        ]
        return keras.Sequential(layers)

    def test_its_optimizer_averages_the_same(self) -> None:
        model = self.model()
        import keras

        optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9)
        optimizer.build(model.trainable_variables)
        average, draw = Average("ema", model), np.random.default_rng(0)
        for epoch in range(2):
            for decay in decays(EMA, epoch, STEPS):
                shapes = [variable.shape for variable in model.trainable_variables]
                optimizer.apply([draw.normal(size=shape).astype("float32") for shape in shapes])
                average.update(decay)
        names = [weight.path for weight in model.weights]
        ours = dict(zip(names, average.state()["average"], strict=True))
        theirs = optimizer._model_variables_moving_average
        assert len(theirs) == 4
        for variable, mean in zip(model.trainable_variables, theirs, strict=True):
            np.testing.assert_allclose(ours[variable.path], mean.value.numpy(), rtol=1e-6)
            assert (ours[variable.path] != variable.value.numpy()).any()

    def test_statistics_take_part_and_generators_do_not(self) -> None:
        model = self.model()
        average, before = Average("swa", model), model.get_weights()
        for weight in model.weights:
            weight.assign(weight.value + 1)
        average.update(np.float32(0.5))
        drawn = [v.value.numpy() for v in model.variables if v.dtype == "uint32"]
        with average.swapped():
            assert len(before) == 6
            for now, once in zip(model.get_weights(), before, strict=True):
                np.testing.assert_allclose(now, once + 0.5, rtol=1e-6)
            again = [v.value.numpy() for v in model.variables if v.dtype == "uint32"]
        np.testing.assert_array_equal(drawn, again)
        for now, once in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(now, once + 1)

    def test_without_a_name_there_is_none(self) -> None:
        model = self.model()
        average = Average("none", model)
        before = model.get_weights()
        average.update(np.float32(0.5))
        with average.swapped():
            for now, once in zip(model.get_weights(), before, strict=True):
                np.testing.assert_array_equal(now, once)
        assert average.state() == {}


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"name": "mean"}, "averaging.name"),
        ({"name": "ema"}, "averaging.decay"),
        ({"name": "ema", "decay": 1.0}, "averaging.decay"),
        ({"name": "ema", "decay": 0.0}, "averaging.decay"),
        ({"name": "swa", "decay": 0.9}, "averaging.decay"),
        ({"name": "none", "decay": 0.9}, "averaging.decay"),
        ({"name": "none", "start_from_epoch": 1.0}, "averaging.start_from_epoch"),
        ({"name": "swa", "start_from_epoch": 20.0}, "averaging.start_from_epoch"),
        ({"name": "swa", "start_from_epoch": -1.0}, "averaging.start_from_epoch"),
        ({"name": "swa", "start_from_epoch": float("nan")}, "averaging.start_from_epoch"),
    ],
)
def test_what_is_refused(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(RequestError) as error:
        validate(AveragingConfig(**settings), epochs=20)
    assert error.value.key == key
