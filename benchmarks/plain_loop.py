"""What one would write without this project: Optuna, `model.fit` and MLflow's Keras callback.

    python -m benchmarks.plain_loop STUDY_JOURNAL MLFLOW_URI [--epochs 5] [--trials 16]

It trains trials that wait in the study `plain`.
"""

import argparse
import functools
from pathlib import Path

import keras
import mlflow
import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from fmnist_lab import data
from fmnist_lab.architectures import notebook

BATCH = 32
Arrays = tuple[np.ndarray, np.ndarray]


def objective(
    trial: optuna.Trial, train: Arrays, validation: Arrays, epochs: int, experiment: str
) -> float:
    """The validation accuracy after the last epoch."""
    rate = trial.suggest_float("learning_rate", 3e-5, 3e-2, log=True)
    decay_epochs = trial.suggest_float("decay_epochs", 0.3 * epochs, 5 * epochs, log=True)
    steps = decay_epochs * np.ceil(len(train[0]) / BATCH)
    keras.utils.set_random_seed(42)
    model = notebook()
    schedule = keras.optimizers.schedules.ExponentialDecay(rate, int(steps), 0.1)
    model.compile(
        keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    with mlflow.start_run(experiment_id=experiment) as run:
        mlflow.log_params(trial.params)
        history = model.fit(
            *train,
            batch_size=BATCH,
            epochs=epochs,
            validation_data=validation,
            verbose=0,
            callbacks=[mlflow.keras.MlflowCallback(run)],
        )
    return float(history.history["val_accuracy"][-1])


def main() -> None:
    """Trains this process's share of the waiting trials."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("journal", type=Path)
    parser.add_argument("uri")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--trials", type=int, default=16)
    asked = parser.parse_args()
    mlflow.set_tracking_uri(asked.uri)
    experiment = mlflow.set_experiment("plain").experiment_id
    dataset = data.load(data.DataConfig())
    train = dataset.train_images.astype(np.float32) / 255, dataset.train_labels
    validation = dataset.val_images.astype(np.float32) / 255, dataset.val_labels
    storage = JournalStorage(JournalFileBackend(str(asked.journal)))
    study = optuna.load_study(study_name="plain", storage=storage)
    arguments = {"train": train, "validation": validation, "experiment": experiment}
    study.optimize(
        functools.partial(objective, epochs=asked.epochs, **arguments), n_trials=asked.trials
    )


if __name__ == "__main__":
    main()
