"""A training that was cut off and goes on ends like one that never stopped, bit for bit."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from fmnist_lab import data, engines
from fmnist_lab.engines import Metrics, Outcome, State
from fmnist_lab.stopping import StoppingConfig
from fmnist_lab.trial import StopReason, TrainingConfig, Trial
from tests.test_engines import ADAM, ARCHITECTURES, SCHEDULERS, SGD, a_trial, without_time

EPOCHS = 9
ONE_OF_EACH: dict[str, dict[str, Any]] = {
    # Cuts after every second epoch, two of them before it is cut off; stops by itself, later.
    "plateau, patience, momentum": {
        "architecture": ARCHITECTURES["notebook"],
        "optimizer": SGD | {"momentum": 0.9},
        "scheduler": SCHEDULERS["performance"] | {"patience": 2, "factor": 0.5, "cooldown": 1},
        "stopping": StoppingConfig("patience", min_delta=0.3, patience=4, restore_best=True),
    },
    "steps, dropout, adam": {
        "architecture": ARCHITECTURES["mlp"],
        "optimizer": ADAM,
        "scheduler": SCHEDULERS["per step"] | {"epochs": EPOCHS, "warmup_epochs": 1},
        "stopping": StoppingConfig("patience", patience=8, restore_best=True),
    },
}


@dataclass
class Memory:
    """Keeps the state after every epoch, as a file would."""

    curve: list[Metrics] = field(default_factory=list)
    state: State = field(default_factory=dict)

    def offer(self, state: Callable[[], State]) -> None:
        self.state = {name: [np.array(item) for item in value] for name, value in state().items()}


def train(trial: Trial, keeper: Memory, until: int = 99) -> Outcome:
    """Trains it, and cuts it off once `until` epochs have been kept and another is trained."""

    def on_epoch(epoch: int, metrics: Metrics) -> bool:
        assert epoch == len(keeper.curve)
        if epoch == until:
            raise KeyboardInterrupt
        keeper.curve.append(metrics)
        return True

    return engines.get(trial.training.engine)(trial, data.load(trial.data), on_epoch, keeper)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("engine", engines.ENGINES)
@pytest.mark.parametrize("choices", ONE_OF_EACH.values(), ids=ONE_OF_EACH)
def test_it_ends_as_if_it_had_never_stopped(choices: dict[str, Any], engine: str) -> None:
    trial = a_trial(training=TrainingConfig(epochs=EPOCHS, engine=engine), **choices)
    whole, parts = Memory(), Memory()
    expected = train(trial, whole)
    for until in (3, 5):
        with pytest.raises(KeyboardInterrupt):
            train(trial, parts, until)
    outcome = train(trial, parts)
    assert without_time(parts.curve) == without_time(whole.curve)
    assert outcome.stop_reason is expected.stop_reason
    assert outcome.delivered_epoch == expected.delivered_epoch
    for ours, theirs in zip(outcome.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("engine", engines.ENGINES)
def test_what_it_is_compared_with_is_worth_it(engine: str) -> None:
    """The plateau cuts before and after, the trial stops by itself and delivers an early epoch."""
    choices = ONE_OF_EACH["plateau, patience, momentum"]
    trial = a_trial(training=TrainingConfig(epochs=EPOCHS, engine=engine), **choices)
    memory = Memory()
    outcome = train(trial, memory)
    rates = [line["opt/learning_rate"] for line in memory.curve]
    print(rates, [line["val/loss"] for line in memory.curve], outcome.delivered_epoch)
    assert outcome.stop_reason is StopReason.EARLY_STOPPED
    assert len(set(rates[:5])) > 1
    assert len(set(rates[5:])) > 1
    assert outcome.delivered_epoch < 5
