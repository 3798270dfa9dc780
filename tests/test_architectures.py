"""Layers, parameters and shapes of the architectures, and what they refuse."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fmnist_lab import architectures
from fmnist_lab.errors import RequestError
from fmnist_lab.training.engines import building
from fmnist_lab.training.engines.backend import import_tensorflow
from fmnist_lab.trial import Trial


@pytest.fixture(scope="module", autouse=True)
def _backend() -> None:
    import_tensorflow()


def kinds(model: Any) -> list[str]:
    """The classes of the model's layers, in order."""
    return [type(layer).__name__ for layer in model.layers]


def predict(model: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    images = np.random.default_rng(0).random((3, 28, 28), dtype=np.float32)
    return np.asarray(model(images, training=False))


@pytest.mark.parametrize("name", ["notebook", "mlp", "cnn"])
def test_gives_a_distribution_over_ten_classes(name: str) -> None:
    probabilities = predict(getattr(architectures, name)())
    assert probabilities.shape == (3, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    assert (probabilities >= 0).all()


class TestNotebook:
    """The network that the project began with."""

    def test_parameters(self) -> None:
        model = architectures.notebook()
        assert model.count_params() == 271_346
        assert sum(weight.shape.num_elements() for weight in model.trainable_weights) == 268_978

    def test_layers(self) -> None:
        model = architectures.notebook()
        assert kinds(model) == [
            "Flatten", "BatchNormalization", "Dense", "BatchNormalization", "Activation",
            "Dense", "Activation", "BatchNormalization", "Dense",
        ]  # fmt: skip
        dense = [layer for layer in model.layers if hasattr(layer, "units")]
        assert [layer.units for layer in dense] == [300, 100, 10]
        assert [type(layer.kernel_initializer).__name__ for layer in dense[:2]] == ["HeNormal"] * 2
        named = [
            layer.activation.__name__ for layer in model.layers if hasattr(layer, "activation")
        ]
        assert [name for name in named if name != "linear"] == ["elu", "elu", "softmax"]


class TestMlp:
    """Every option shows in the layers."""

    @pytest.mark.parametrize(
        ("normalization", "layers"),
        [
            ("none", ["Flatten", "Dense", "Activation", "Dense"]),
            ("input", ["Flatten", "BatchNormalization", "Dense", "Activation", "Dense"]),
            ("before", ["Flatten", "Dense", "BatchNormalization", "Activation", "Dense"]),
            ("after", ["Flatten", "Dense", "Activation", "BatchNormalization", "Dense"]),
        ],
    )
    def test_normalization(self, normalization: str, layers: list[str]) -> None:
        model = architectures.mlp([8], normalization=normalization)
        assert kinds(model) == layers

    def test_normalization_is_in_every_hidden_layer_or_on_the_input_alone(self) -> None:
        for place, count in (("before", 3), ("after", 3), ("input", 1)):
            model = architectures.mlp([8, 8, 8], normalization=place)
            assert kinds(model).count("BatchNormalization") == count

    def test_sizes(self) -> None:
        model = architectures.mlp([20, 30])
        assert model.count_params() == 784 * 20 + 20 + 20 * 30 + 30 + 30 * 10 + 10

    def test_dropout_follows_every_hidden_layer(self) -> None:
        model = architectures.mlp([8, 8], dropout=0.25)
        layers = ["Dense", "Activation", "Dropout"]
        assert kinds(model) == ["Flatten", *layers, *layers, "Dense"]
        assert {layer.rate for layer in model.layers if hasattr(layer, "rate")} == {0.25}
        assert "Dropout" not in kinds(architectures.mlp([8]))

    def test_activation_and_initializer(self) -> None:
        model = architectures.mlp([8], activation="tanh", kernel_initializer="zeros")
        assert model.layers[2].activation.__name__ == "tanh"
        np.testing.assert_allclose(predict(model).std(axis=0), 0.0, atol=1e-7)

    def test_l2_adds_the_kernels_squares_to_the_loss(self) -> None:
        model = architectures.mlp([8, 8], l2=0.5)
        kernels = [layer.kernel.numpy() for layer in model.layers if hasattr(layer, "kernel")]
        wanted = sum(0.5 * np.square(kernel).sum() for kernel in kernels)
        assert len(kernels) == 3
        assert float(sum(map(float, model.losses))) == pytest.approx(wanted, rel=1e-5)
        assert architectures.mlp([8]).losses == []


class TestCnn:
    """Two convolutions with pooling."""

    def test_layers_and_parameters(self) -> None:
        model = architectures.cnn([4, 6], kernel_size=5, dense=12)
        assert kinds(model) == [
            "Reshape", "Conv2D", "MaxPooling2D", "Conv2D", "MaxPooling2D", "Flatten",
            "Dense", "Dense",
        ]  # fmt: skip
        first, second, flat = 5 * 5 * 4 + 4, 5 * 5 * 4 * 6 + 6, 7 * 7 * 6
        assert model.count_params() == first + second + flat * 12 + 12 + 12 * 10 + 10

    def test_dropout_and_activation(self) -> None:
        model = architectures.cnn([2, 2], dense=4, activation="tanh", dropout=0.5)
        assert kinds(model)[-3:] == ["Dense", "Dropout", "Dense"]
        assert model.layers[1].activation.__name__ == "tanh"


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [
        ("mlp", "hidden_sizes", []),
        ("mlp", "hidden_sizes", [5, 0]),
        ("mlp", "normalization", "batch"),
        ("mlp", "dropout", 1.0),
        ("mlp", "dropout", -0.1),
        ("mlp", "l2", -1.0),
        ("mlp", "l2", float("nan")),
        ("cnn", "filters", [8]),
        ("cnn", "filters", [8, 0]),
        ("cnn", "kernel_size", 0),
        ("cnn", "kernel_size", 8),
        ("cnn", "dense", 0),
        ("cnn", "dropout", 1.5),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, argument: str, value: Any) -> None:
    with pytest.raises(RequestError) as refused:
        getattr(architectures, name)(**{argument: value})
    assert (refused.value.key, refused.value.got) == (f"architecture.{argument}", repr(value))


def own_model(units: int = 10) -> Any:
    from keras import Input, Sequential, layers

    return Sequential([Input((28, 28)), layers.Flatten(), layers.Dense(units, "softmax")])


def no_model() -> str:
    return "a model"


class TestOwnFunction:
    """A function of the user's, by `_target_`."""

    def trial(self, node: dict[str, Any]) -> Trial:
        adam = {"_target_": "keras.optimizers.Adam", "learning_rate": 0.001}
        return replace(Trial(), architecture=node, optimizer=adam)

    def test_is_built_and_counted(self) -> None:
        trial = self.trial({"_target_": f"{__name__}.own_model"})
        assert building.count_parameters(trial) == 7850

    def test_the_seed_decides_the_weights(self) -> None:
        trial = self.trial({"_target_": f"{__name__}.own_model"})
        first, same, other = (
            building.build_model(replace(trial, seed=seed)).get_weights()[0] for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(first, same)
        assert not np.array_equal(first, other)

    @pytest.mark.parametrize(
        ("node", "key", "got"),
        [
            ({"_target_": f"{__name__}.own_model", "units": 9}, "_target_", "9"),
            ({"_target_": f"{__name__}.no_model"}, "_target_", "a model"),
            ({"_target_": f"{__name__}.own_model", "size": 9}, "size", "9"),
            ({"_target_": "fmnist_lab.architectures.mlp", "activation": "spiky"}, "", "spiky"),
            ({"_target_": "fmnist_lab.architectures.mlp", "hidden_sizes": 5}, "", "5"),
            ({"_target_": "fmnist_lab.architectures.cnn", "kernel_size": "x"}, "", "x"),
        ],
    )
    def test_what_cannot_be_trained_is_refused(
        self, node: dict[str, Any], key: str, got: str
    ) -> None:
        with pytest.raises(RequestError) as refused:
            building.count_parameters(self.trial(node))
        assert refused.value.key == f"architecture.{key}".rstrip(".")
        assert got in refused.value.got
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize(
        ("extra", "key", "got"),
        [
            ({"clipnorm": 1.0}, "optimizer.clipnorm", "1.0"),
            ({"use_ema": True}, "optimizer.use_ema", "True"),
            ({"nope": 1}, "optimizer", "'nope': 1"),
            ({"_target_": "keras.optimizers.Addam"}, "optimizer._target_", "Addam"),
        ],
    )
    def test_an_optimizers_mistakes_too(self, extra: dict[str, Any], key: str, got: str) -> None:
        trial = self.trial({"_target_": f"{__name__}.own_model"})
        trial = replace(trial, optimizer=trial.optimizer | extra)
        with pytest.raises(RequestError) as refused:
            building.count_parameters(trial)
        assert refused.value.key == key
        assert got in refused.value.got
