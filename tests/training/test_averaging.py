"""Averages of weights by hand, by Keras's own optimizers, and what is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fmnist_lab.errors import RequestError
from fmnist_lab.training.averaging import Average, Decays, validate
from fmnist_lab.training.engines.backend import import_tensorflow
from fmnist_lab.trial import AveragingConfig

EMA, SWA = AveragingConfig("ema", 0.9), AveragingConfig("swa", start_from_epoch=1.7)
FREE = AveragingConfig("schedule_free", beta=0.9)
STEPS = 3
RATES = np.full(STEPS, 0.1, np.float32)


def averaged(config: AveragingConfig, weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """The average after each update of a weight that takes these values, (epochs, STEPS)."""
    found, average, decays = [], float(weights[0, 0]), Decays(config)
    for epoch, row in enumerate(weights):
        for decay, weight in zip(decays.of(epoch, RATES), row, strict=True):
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

    def test_schedule_free_is_the_mean_over_all_updates(self) -> None:
        means = self.weights.cumsum().reshape(5, STEPS) / np.arange(1, 16).reshape(5, STEPS)
        np.testing.assert_allclose(averaged(FREE, self.weights), means, atol=1e-6)
        late = averaged(replace(FREE, start_from_epoch=2.5), means.astype(np.float32))
        np.testing.assert_allclose(late[:2], means[:2], rtol=1e-6)
        np.testing.assert_allclose(late[4, -1], means[2:].mean(), rtol=1e-6)

    def test_schedule_free_counts_the_square_of_the_largest_rate_so_far(self) -> None:
        decays = Decays(FREE)
        epochs = [np.array(rates, np.float32) for rates in ([0, 1, 2], [4, 1])]
        found = [decay for epoch, rates in enumerate(epochs) for decay in decays.of(epoch, rates)]
        np.testing.assert_allclose(found, [1, 0, 1 / 5, 5 / 21, 21 / 37], rtol=1e-6)

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
        decays = Decays(EMA)
        for epoch in range(2):
            for decay in decays.of(epoch, RATES):
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


# What `schedulefree` 1.4.1 (PyTorch 2.13, in double precision) delivers after updates 1, 4, 8 and
# 12 of the weights START with the gradients SCALE * (w - GOAL), and a warm-up of 4 updates.
START, GOAL, SCALE = [0.5, 1.0, -1.0, 0.0], [1.0, -2.0, 0.5, 3.0], [1.0, 0.5, 2.0, 0.1]
DELIVERED: dict[str, list[list[float]]] = {
    # SGDScheduleFree(lr=0.2, momentum=0.8, warmup_steps=4)
    "SGD": [
        [0.525, 0.925, -0.85, 0.015],
        [0.66622112, 0.46785105, -0.12585486, 0.11205559],
        [0.79533244, -0.03123623, 0.31902633, 0.23318083],
        [0.87908234, -0.42874181, 0.48918503, 0.34494713],
    ],
    # AdamWScheduleFree(lr=0.1, betas=(0.9, 0.99), eps=1e-8, warmup_steps=4, weight_decay=0.1)
    "AdamW": [
        [0.52375, 0.9725, -0.9725, 0.025],
        [0.66547064, 0.79561779, -0.79808538, 0.18580601],
        [0.80615296, 0.57792453, -0.59086811, 0.383751],
        [0.90177969, 0.37937572, -0.40925185, 0.56436358],
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rate", "beta", "settings"),
    [
        ("SGD", 0.2, 0.8, {}),
        ("AdamW", 0.1, 0.9, {"beta_1": 0, "beta_2": 0.99, "epsilon": 1e-8, "weight_decay": 0.1}),
    ],
)
def test_schedule_free_is_that_of_its_authors(
    name: str, rate: float, beta: float, settings: dict[str, Any]
) -> None:
    import_tensorflow()
    import keras

    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1, use_bias=False)])
    weight = model.weights[0]
    weight.assign(np.reshape(START, (4, 1)))
    optimizer = getattr(keras.optimizers, name)(rate, **settings)
    optimizer.build(model.trainable_variables)
    average = Average("schedule_free", model)
    rates = (rate * np.minimum(np.arange(1, 13) / 4, 1)).astype(np.float32)
    decays, found = Decays(AveragingConfig("schedule_free", beta=beta)), []
    for step, decay in enumerate(decays.of(0, rates)):
        shifts = average.interpolate(np.float32(beta))
        gradient = np.reshape(SCALE, (4, 1)) * (weight.value.numpy() - np.reshape(GOAL, (4, 1)))
        optimizer.learning_rate.assign(rates[step])
        optimizer.apply([gradient.astype(np.float32)])
        average.undo(shifts)
        average.update(decay)
        found.append(average.state()["average"][0].ravel())
    np.testing.assert_allclose(np.array(found)[[0, 3, 7, 11]], DELIVERED[name], atol=2e-6)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"name": "mean"}, "averaging.name"),
        ({"name": "ema"}, "averaging.decay"),
        ({"name": "ema", "decay": 1.0}, "averaging.decay"),
        ({"name": "ema", "decay": 0.0}, "averaging.decay"),
        ({"name": "swa", "decay": 0.9}, "averaging.decay"),
        ({"name": "none", "decay": 0.9}, "averaging.decay"),
        ({"name": "schedule_free"}, "averaging.beta"),
        ({"name": "schedule_free", "beta": 1.01}, "averaging.beta"),
        ({"name": "schedule_free", "beta": -0.1}, "averaging.beta"),
        ({"name": "schedule_free", "beta": 0.9, "decay": 0.9}, "averaging.decay"),
        ({"name": "ema", "decay": 0.9, "beta": 0.9}, "averaging.beta"),
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
