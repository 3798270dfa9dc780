"""Folders as sweeps leave them, written in a moment instead of trained."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fmnist_lab.data import CLASS_NAMES, TEST_IMAGES
from fmnist_lab.foundation.files import write_json
from fmnist_lab.sweeper.sweep_end import EndReason, SweepEnd
from fmnist_lab.training import weights

RESULT: dict[str, Any] = {
    "objective": 0.5,
    "objective_metric": "val/accuracy",
    "stop_reason": "completed",
    "epochs_trained": 2,
    "best_epoch": 1,
    "best_val_loss": 1.25,
    "best_val_accuracy": 0.5,
    "delivered_epoch": 1,
    "parameters": 100,
    "seconds": 3.21,
    "mlflow_run_id": None,
    "kind": "trial",
    "sweep": "night",
    "strategy": "constant",
    "trial": 0,
    "seed": 42,
    "search": 0,
    "architecture": "notebook",
    "scheduler": "constant",
    "clipping": "none",
    "averaging": "none",
    "optimizer": "adam",
    "dataset": "fashion_mnist",
    "engine": "compiled",
    "stopping": "none",
    "overrides": [],
}
TRUTH = np.arange(TEST_IMAGES, dtype=np.int32) % 10  # the labels of test images
SPACE = {"optimizer.learning_rate": {"low": 1e-5, "high": 1e-1, "log": True}}


def leave_run(folder: Path, **changes: Any) -> Path:
    """The folder of a run with its result, and a curve up to its objective."""
    folder.mkdir(parents=True)
    result = RESULT | changes
    write_json(folder / "result.json", result)
    lines = list(_curve(result))
    (folder / "curves.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def leave_sweep(
    root: Path,
    rates: Mapping[str, Sequence[float]],
    levels: Mapping[str, float],
    name: str = "night",
    sampler: str = "optuna.samplers.QMCSampler",
) -> Path:
    """A sweep over learning rates whose objective falls with the distance from 1e-3.

    Args:
        root: The folder `mlruns`.
        rates: Of each strategy's trials.
        levels: Each strategy's best objective.
        name: Of the sweep.
        sampler: What chose the rates.
    """
    place = root / "sweeps" / name
    for index, (strategy, tried) in enumerate(rates.items()):
        for position, rate in enumerate(tried):
            number = position * len(rates) + index
            leave_run(
                place / "trials" / str(number),
                objective=levels[strategy] - 0.02 * abs(math.log10(rate) + 3),
                epochs_trained=5, strategy=strategy, scheduler=strategy, trial=number, sweep=name,
                overrides=[f"optimizer.learning_rate={rate}", f"strategy={strategy}"],
            )  # fmt: skip
    strategies = {strategy: f"scheduler={strategy}" for strategy in rates}
    sweeper = {
        "n_trials": max(map(len, rates.values())),
        "strategies": strategies,
        "sampler": {"_target_": sampler},
        "pruner": {"_target_": "optuna.pruners.NopPruner"},
    }
    hydra = {"sweeper": sweeper, "runtime": {"choices": {"sweeps": "night"}}}
    config = {"hydra": hydra, "training": {"epochs": 5, "batch_size": 32},
              "data": {"split": "first", "val_size": 5000}}  # fmt: skip
    (place / "multirun.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    count = sum(map(len, rates.values()))
    end = SweepEnd(EndReason.N_TRIALS, count, count).as_dict()
    (place / "optimization_results.yaml").write_text(yaml.safe_dump({"ended": end}))
    write_json(place / "spaces.json", dict.fromkeys(rates, SPACE))
    return place


def leave_replicates(
    place: Path, accuracies: Mapping[str, Sequence[float]], first: int = 0, **changes: Any
) -> Path:
    """Replicates of a sweep's strategies: test accuracies by seed, NaN where diverged.

    Args:
        place: The sweep's folder.
        accuracies: Of each strategy.
        first: The number of the first replicate.
        changes: In every result.
    """
    number = first
    for strategy, values in accuracies.items():
        for position, accuracy in enumerate(values):
            lost = (
                {"stop_reason": "diverged", "objective": math.nan} if math.isnan(accuracy) else {}
            )
            leave_run(
                place / "replicates" / str(number),
                **{"kind": "replicate", "strategy": strategy, "scheduler": strategy,
                   "trial": number, "seed": 1000 + position, "objective": accuracy + 0.004,
                   "epochs_trained": 5, "test_accuracy": accuracy, "test_loss": 1 - accuracy}
                | lost | changes,
            )  # fmt: skip
            number += 1
    return place


def leave_correct(place: Path) -> Path:
    """Which images the replicates in a sweep's folder, or a search's, got right.

    As many as their test accuracy says, most of them the same: some images are easy, for all
    strategies or for one. All others are taken for the next class.
    """
    easy = np.random.default_rng(1).normal(0, 1, TEST_IMAGES)
    for folder in (place / "replicates").iterdir():
        result = json.loads((folder / "result.json").read_text())
        if result["stop_reason"] == "completed":
            rng = np.random.default_rng(result["trial"])
            own = np.random.default_rng([*result["strategy"].encode()]).normal(0, 0.3, TEST_IMAGES)
            right = round(TEST_IMAGES * result["test_accuracy"])
            order = np.argsort(easy + own + rng.normal(0, 0.5, TEST_IMAGES))
            wrong = ~np.isin(np.arange(TEST_IMAGES), order[:right])
            weights.keep(folder, [], (TRUTH + wrong) % 10, TRUTH, CLASS_NAMES)
    return place


def paired(level: float, seeds: int, gain: float = 0.0, spread: float = 0.002) -> list[float]:
    """Test accuracies that share the noise of their seeds."""
    common = np.random.default_rng(0).normal(0, 0.003, seeds)
    own = np.random.default_rng(abs(round(1e6 * gain)) + 1).normal(0, spread, seeds)
    shift = level + gain - (own.mean() if seeds else 0)
    return [float(value) for value in shift + common + own]


def _curve(result: Mapping[str, Any]) -> Any:
    epochs = result["epochs_trained"]
    for epoch in range(epochs):
        share = (epoch + 1) / epochs
        accuracy = result["objective"] - 0.1 * (1 - share)
        yield {
            "epoch": epoch, "train/loss": 1.2 - accuracy, "train/accuracy": accuracy,
            "opt/grad_norm": 1.0, "opt/clipped_fraction": 0.0, "val/loss": 1.2 - accuracy,
            "val/accuracy": accuracy, "opt/learning_rate": 1e-3 * (1.1 - share),
            "time/epoch_seconds": 1.0,
        }  # fmt: skip
