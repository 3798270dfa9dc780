"""What the scripts of all peers share: the data, a study, and a run in MLflow for each trial.

The scripts run in environments without fmnist_lab.
"""

import argparse
import time
from collections.abc import Callable, Iterable
from typing import Any

import mlflow
import numpy as np
import optuna
from mlflow.entities import Metric, Param
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

EXPERIMENT = "peers"
NAMES = ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "opt/learning_rate")
Arrays = dict[str, np.ndarray]
Curve = Iterable[tuple[float, ...]]  # the values of NAMES after each epoch


def main(
    train: Callable[[Any, int, int, float, float], Curve],
    convert: Callable[[Arrays], Any] = lambda data: data,
) -> None:
    """Trains this process's share of the trials.

    Args:
        train: Of data, batch size, epochs, initial rate, and epochs in which the rate falls to a
            tenth.
        convert: What the data become once.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--study")
    parser.add_argument("--mlflow")
    for number in ("--batch", "--epochs", "--trials", "--seed"):
        parser.add_argument(number, type=int)
    asked = parser.parse_args()
    client = mlflow.MlflowClient(asked.mlflow)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    data = convert(dict(np.load(asked.data)))

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("learning_rate", 3e-5, 3e-2, log=True)
        decay = trial.suggest_float(
            "decay_epochs", 0.3 * asked.epochs, 5.0 * asked.epochs, log=True
        )
        run = client.create_run(experiment).info.run_id
        client.log_batch(run, params=[Param(key, str(v)) for key, v in trial.params.items()])
        for epoch, values in enumerate(train(data, asked.batch, asked.epochs, rate, decay)):
            now = int(time.time() * 1000)
            news = dict(zip(NAMES, values, strict=True))
            client.log_batch(run, [Metric(key, news[key], now, epoch) for key in NAMES])
        client.set_terminated(run)
        return news["val/accuracy"]

    study = optuna.create_study(
        study_name="peers",
        storage=JournalStorage(JournalFileBackend(asked.study)),
        sampler=optuna.samplers.TPESampler(seed=asked.seed),
        direction="maximize",
        load_if_exists=True,
    )
    study.optimize(objective, n_trials=asked.trials)
