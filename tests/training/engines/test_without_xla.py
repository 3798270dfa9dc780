"""Architectures that XLA cannot compile, and outputs that are no probabilities."""

import logging

import pytest

from fmnist_lab.errors import RequestError
from fmnist_lab.training.engines.building import count_parameters
from fmnist_lab.trial import TrainingConfig
from tests.support.engines import a_trial, train, without_time

MODELS = "tests.support.without_xla"  # a name: it imports TensorFlow


@pytest.mark.slow
@pytest.mark.parametrize("inner", ["translation", "zoom", "numpy", "python", "text"])
def test_they_train_in_both_engines_and_the_log_says_how(
    inner: str, caplog: pytest.LogCaptureFixture
) -> None:
    architecture = {"_target_": f"{MODELS}.augmented", "inner": inner}
    trial = a_trial(architecture=architecture, training=TrainingConfig(epochs=2))
    curves = []
    for engine in ("compiled", "keras"):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "fmnist_lab"):
            curves.append(train(trial, engine)[1])
        assert len([record for record in caplog.records if "XLA" in record.message]) == 1
    for mine, theirs in zip(*map(without_time, curves), strict=True):
        assert mine == pytest.approx(theirs, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh", "exponential"])
def test_what_is_no_probability_is_refused(activation: str | None) -> None:
    architecture = {"_target_": f"{MODELS}.with_logits", "activation": activation}
    with pytest.raises(RequestError, check=lambda error: error.key == "architecture._target_"):
        count_parameters(a_trial(architecture=architecture))
