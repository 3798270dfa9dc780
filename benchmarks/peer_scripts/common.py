"""What the scripts of all peers share: arguments, data, a run in MLflow for each trial, a study.

The scripts run in environments without fmnist_lab. Their workers import these modules by name, so
what is cached here lives as long as a worker. Only processes that train import what takes seconds.
"""

import argparse
import functools
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

EXPERIMENT = "peers"
NAMES = ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "opt/learning_rate")
RATES = (3e-5, 3e-2)
Arrays = dict[str, np.ndarray]
Curve = Iterable[tuple[float, ...]]  # the values of NAMES after each epoch
Convert = Callable[[Arrays], Any]  # what a tool keeps the data as
Train = Callable[[Any, int, int, float, float], Curve]
"""Of data, batch size, epochs, initial rate, and epochs in which the rate falls to a tenth."""


def arguments() -> argparse.Namespace:
    """Parses what `benchmarks.peers` passes to every script."""
    parser = argparse.ArgumentParser()
    for text in ("--data", "--mlflow", "--folder"):
        parser.add_argument(text)
    for number in ("--batch", "--epochs", "--trials", "--workers", "--process"):
        parser.add_argument(number, type=int)
    return parser.parse_args()


def decays(epochs: int) -> tuple[float, float]:
    """The space of the epochs in which the rate falls to a tenth."""
    return 0.3 * epochs, 5.0 * epochs


@functools.cache
def load(path: str, convert: Convert) -> Any:
    """Reads and converts the data once in a process."""
    return convert(dict(np.load(path)))


@functools.cache
def connect(uri: str) -> tuple[Any, str]:
    """MLflow's client, and the experiment's id."""
    import mlflow

    client = mlflow.MlflowClient(uri)
    return client, client.get_experiment_by_name(EXPERIMENT).experiment_id


def trial(
    asked: argparse.Namespace, convert: Convert, train: Train, params: dict[str, float]
) -> Iterator[float]:
    """Trains a trial and records it as a run; yields the validation accuracy of each epoch."""
    from mlflow.entities import Metric, Param

    client, experiment = connect(asked.mlflow)
    run = client.create_run(experiment).info.run_id
    client.log_batch(run, params=[Param(key, str(value)) for key, value in params.items()])
    data = load(asked.data, convert)
    curve = train(data, asked.batch, asked.epochs, params["learning_rate"], params["decay_epochs"])
    for epoch, values in enumerate(curve):
        now = int(time.time() * 1000)
        news = dict(zip(NAMES, values, strict=True))
        client.log_batch(run, [Metric(key, news[key], now, epoch) for key in NAMES])
        yield news["val/accuracy"]
    client.set_terminated(run)


def search_with_optuna(convert: Convert, train: Train) -> None:
    """Trains this process's share of the trials of a study that the processes share."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    asked = arguments()

    def objective(suggested: optuna.Trial) -> float:
        suggested.suggest_float("learning_rate", *RATES, log=True)
        suggested.suggest_float("decay_epochs", *decays(asked.epochs), log=True)
        *_, accuracy = trial(asked, convert, train, suggested.params)
        return accuracy

    study = optuna.create_study(
        study_name="peers",
        storage=JournalStorage(JournalFileBackend(str(Path(asked.folder) / "study.journal"))),
        sampler=optuna.samplers.TPESampler(seed=asked.process),
        direction="maximize",
        load_if_exists=True,
    )
    study.optimize(objective, n_trials=asked.trials // asked.workers)
