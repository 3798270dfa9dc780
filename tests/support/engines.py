"""Small trials of every kind, and how an engine trains them."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from fmnist_lab import data
from fmnist_lab.data import DataConfig
from fmnist_lab.training import engines
from fmnist_lab.training.checkpoint import ONLY, Checkpoint
from fmnist_lab.training.engines import Metrics, Outcome
from fmnist_lab.trial import AveragingConfig, ClippingConfig, TrainingConfig, Trial

Node = dict[str, Any]
NOT_KEPT = Checkpoint(Path("absent"), {}, ONLY)
NAMES = {
    "train/loss", "train/accuracy", "val/loss", "val/accuracy",
    "opt/learning_rate", "opt/grad_norm", "opt/clipped_fraction", "time/epoch_seconds",
}  # fmt: skip
ARCHITECTURES: dict[str, Node] = {
    "notebook": {"_target_": "fmnist_lab.architectures.notebook"},
    "mlp": {
        "_target_": "fmnist_lab.architectures.mlp",
        "hidden_sizes": [24, 16],
        "activation": "gelu",
        "normalization": "after",
        "dropout": 0.2,
        "l2": 1e-3,
    },
    "cnn": {"_target_": "fmnist_lab.architectures.cnn", "filters": [4, 8], "dense": 16},
}
SCHEDULERS: dict[str, Node] = {
    "per epoch": {
        "_target_": "fmnist_lab.schedules.exponential",
        "initial_learning_rate": 0.01,
        "decay_epochs": 2,
        "update": "epoch",
    },
    "per step": {
        "_target_": "fmnist_lab.schedules.cosine",
        "initial_learning_rate": 0.01,
        "epochs": 3,
    },
    "performance": {
        "_target_": "fmnist_lab.scheduling.Performance",
        "initial_learning_rate": 0.01,
        "patience": 1,
        "min_delta": 10.0,  # nothing improves by so much: a cut after every epoch but the first
        "warmup_epochs": 0.5,
        "update": "step",
    },
    "relative": {  # no loss is that much smaller: a cut after every epoch but the first
        "_target_": "fmnist_lab.schedules.Performance",
        "initial_learning_rate": 0.01,
        "patience": 1,
        "min_delta": 0.99,
        "threshold_mode": "rel",
    },
}
CLIPPING = {
    "none": ClippingConfig(),
    "value": ClippingConfig("value", 0.01),
    "norm": ClippingConfig("norm", 0.3),
    "global_norm": ClippingConfig("global_norm", 0.5),
}
AVERAGING = {
    "ema": AveragingConfig("ema", 0.8),
    "swa": AveragingConfig("swa", start_from_epoch=1),
    "schedule_free": AveragingConfig("schedule_free", beta=0.9),
}
ADAM: Node = {"_target_": "keras.optimizers.Adam", "learning_rate": 0.01}
# A last batch that is smaller, of 8 images, costs each engine a second compilation.
SMALLER_LAST = DataConfig(name="synthetic", train_size=200, val_size=60)
SGD: Node = {"_target_": "keras.optimizers.SGD", "learning_rate": 0.01}
CONSTANT: Node = {"_target_": "fmnist_lab.schedules.constant", "initial_learning_rate": 0.01}


def a_trial(**changes: Any) -> Trial:
    """A small network, three epochs of 192 synthetic images: six batches of 32."""
    trial = Trial(
        seed=7,
        data=DataConfig(name="synthetic", train_size=192, val_size=60),
        architecture={"_target_": "fmnist_lab.architectures.mlp", "hidden_sizes": [16]},
        optimizer=SGD,
        scheduler=CONSTANT,
        training=TrainingConfig(epochs=3),
    )
    return replace(trial, **changes)


def train(trial: Trial, engine: str, prune_after: int = 99) -> tuple[Outcome, list[Metrics]]:
    curve: list[Metrics] = []

    def on_epoch(epoch: int, metrics: Metrics) -> bool:
        assert epoch == len(curve)
        curve.append(metrics)
        return epoch < prune_after

    outcome = engines.get(engine)(trial, data.load(trial.data), on_epoch, NOT_KEPT)
    return outcome, curve


def _compile_eagerly(model: Any, **settings: Any) -> None:
    model.compile(run_eagerly=True, jit_compile=False, **settings)


# A small model takes longer to compile than to train: for tests that compiling cannot change.
eager_keras = mock.patch("fmnist_lab.training.engines.keras_fit.compile_model", _compile_eagerly)


def without_time(curve: list[Metrics]) -> list[dict[str, float]]:
    return [{k: v for k, v in line.items() if k != "time/epoch_seconds"} for line in curve]
