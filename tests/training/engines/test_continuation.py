"""A training that was cut off and goes on ends like one that never stopped, bit for bit."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from fmnist_lab import data
from fmnist_lab.training import engines
from fmnist_lab.training.checkpoint import Checkpoint, State
from fmnist_lab.training.engines import Metrics, Outcome
from fmnist_lab.trial import (
    AugmentationConfig,
    AveragingConfig,
    StoppingConfig,
    StopReason,
    TrainingConfig,
    Trial,
)
from tests.support.engines import ADAM, CONSTANT, SCHEDULERS, SGD, a_trial, without_time

pytestmark = pytest.mark.slow

EPOCHS = 9
CUTS = {"compiled": (1, 3, 5), "keras": (4,)}  # each of Keras's trainings compiles for seconds
MLP = {"_target_": "fmnist_lab.architectures.mlp", "hidden_sizes": [16]}
ONE_OF_EACH: dict[str, dict[str, Any]] = {  # what keeps a state, each once, in few trainings
    # Cuts after every second epoch, two of them before it is cut off; stops by itself, later.
    "plateau, patience, momentum": {
        "architecture": MLP | {"normalization": "before"},
        "optimizer": SGD | {"momentum": 0.9},
        "scheduler": SCHEDULERS["performance"] | {"patience": 2, "factor": 0.5, "cooldown": 1},
        "stopping": StoppingConfig("patience", min_delta=0.3, patience=6, restore_best=True),
    },
    "steps, dropout, adam, averages of steps": {
        "architecture": MLP | {"dropout": 0.2, "normalization": "before"},
        "averaging": AveragingConfig("ema", 0.8, 2),
        "optimizer": ADAM,
        "scheduler": SCHEDULERS["per step"] | {"epochs": EPOCHS, "warmup_epochs": 1},
        "stopping": StoppingConfig("patience", patience=8, restore_best=True),
    },
    "schedule-free": {
        "architecture": MLP | {"normalization": "before"},
        "averaging": AveragingConfig("schedule_free", beta=0.9),
        "optimizer": ADAM,
        "scheduler": CONSTANT | {"warmup_epochs": 1.5},
        "stopping": StoppingConfig("patience", patience=8, restore_best=True),
    },
    "relative, changed images, averages of epochs": {
        "augmentation": AugmentationConfig("shift_flip", shift=1, flip=True),
        "averaging": AveragingConfig("swa", start_from_epoch=2),
        "scheduler": SCHEDULERS["relative"],
        "stopping": StoppingConfig("patience", patience=8, restore_best=True),
    },
}


@dataclass
class Memory(Checkpoint):
    """Keeps the state after some epochs, as a file would."""

    curve: list[Metrics] = field(default_factory=list)
    state: State = field(default_factory=dict)
    later: dict[int, State] = field(default_factory=dict)  # by how many epochs were trained

    def offer(self, state: Callable[[], State]) -> None:
        self.later[len(self.curve)] = {
            name: [np.array(item) for item in value] for name, value in state().items()
        }

    def cut(self, epochs: int) -> "Memory":
        """What a process would find that was killed after so many epochs."""
        return Memory(self.curve[:epochs], self.later[epochs])


def train(trial: Trial, keeper: Memory) -> Outcome:
    def on_epoch(epoch: int, metrics: Metrics) -> bool:
        assert epoch == len(keeper.curve)
        keeper.curve.append(metrics)
        return True

    return engines.get(trial.training.engine)(trial, data.load(trial.data), on_epoch, keeper)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("engine", engines.ENGINES)
@pytest.mark.parametrize("choices", ONE_OF_EACH.values(), ids=ONE_OF_EACH)
def test_it_ends_as_if_it_had_never_stopped(choices: dict[str, Any], engine: str) -> None:
    trial = a_trial(training=TrainingConfig(EPOCHS, engine=engine), **choices)
    whole = Memory()
    expected = train(trial, whole)
    if "momentum" in choices.get("optimizer", {}):
        assert_worth_it(whole.curve, expected)
    for epochs in CUTS[engine]:
        parts = whole.cut(epochs)
        outcome = train(trial, parts)
        assert without_time(parts.curve) == without_time(whole.curve)
        assert outcome.stop_reason is expected.stop_reason
        assert outcome.delivered_epoch == expected.delivered_epoch
        for ours, theirs in zip(outcome.weights, expected.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def assert_worth_it(curve: list[Metrics], outcome: Outcome) -> None:
    """Rates were cut before and after it was cut off; it stopped by itself, for an early epoch."""
    rates = [line["opt/learning_rate"] for line in curve]
    assert outcome.stop_reason is StopReason.EARLY_STOPPED
    assert rates[3] > rates[4] > rates[-1]
    assert outcome.delivered_epoch < 3
