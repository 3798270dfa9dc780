"""Architectures that XLA cannot compile, and outputs that are no probabilities."""

import logging

import pytest

from fmnist_lab.errors import RequestError
from fmnist_lab.training.engines.building import count_parameters
from fmnist_lab.trial import TrainingConfig
from tests.support.engines import a_trial, train, without_time

MODELS = "tests.support.without_xla"  # a name: it imports TensorFlow


@pytest.mark.slow
@pytest.mark.parametrize(
    "layers", [["translation"], ["numpy", "python", "text"]], ids=["declared", "refused by XLA"]
)
def test_they_train_as_keras_trains_the_first_and_the_log_says_how(
    layers: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    def curve(inner: str, engine: str) -> list[dict[str, float]]:
        caplog.clear()
        architecture = {"_target_": f"{MODELS}.augmented", "inner": inner}
        trial = a_trial(architecture=architecture, training=TrainingConfig(epochs=2))
        with caplog.at_level(logging.WARNING, "fmnist_lab"):
            found = train(trial, engine)[1]
        assert len([record for record in caplog.records if "XLA" in record.message]) == 1
        return without_time(found)

    reference = curve(layers[0], "keras")  # the layers of one list compute the same
    for inner in layers:
        for mine, theirs in zip(curve(inner, "compiled"), reference, strict=True):
            assert mine == pytest.approx(theirs, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh", "exponential"])
def test_what_is_no_probability_is_refused(activation: str | None) -> None:
    architecture = {"_target_": f"{MODELS}.with_logits", "activation": activation}
    with pytest.raises(RequestError, check=lambda error: error.key == "architecture._target_"):
        count_parameters(a_trial(architecture=architecture))
