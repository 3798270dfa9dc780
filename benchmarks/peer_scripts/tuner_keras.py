"""Keras Tuner's Bayesian optimization: a chief, and on each core a tuner that keeps its model.

To override `run_trial` is its documented way to a training of one's own. It also leaves out a
checkpoint per best epoch, which no other script writes.
"""

import os
import threading
import time
from typing import Any

import common
import keras_tuner

PORT = "8017"


class Tuner(keras_tuner.Tuner):
    """Trains one model again for each trial."""

    def run_trial(self, trial: Any, asked: Any) -> dict[str, float]:
        """Trains and records a trial."""
        import keras_network

        params = trial.hyperparameters.values
        *_, accuracy = common.trial(asked, keras_network.to_tensors, keras_network.train, params)
        return {"accuracy": accuracy}


def main() -> None:
    """Answers as chief, or trains until no trial is left."""
    asked = common.arguments()
    chief = asked.process == asked.workers
    os.environ["KERASTUNER_TUNER_ID"] = "chief" if chief else f"tuner{asked.process}"
    os.environ |= {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": PORT}
    space = keras_tuner.HyperParameters()
    space.Float("learning_rate", *common.RATES, sampling="log")
    space.Float("decay_epochs", *common.decays(asked.epochs), sampling="log")
    oracle = keras_tuner.oracles.BayesianOptimizationOracle(
        objective=keras_tuner.Objective("accuracy", "max"),
        max_trials=asked.trials,
        hyperparameters=space,
        tune_new_entries=False,
        seed=42,
    )
    tuner = Tuner(oracle, directory=asked.folder)
    if not chief:
        tuner.search(asked)
        return
    # A chief looks every 20 seconds whether all tuners have ended; that wait does not count.
    threading.Thread(target=tuner.search, daemon=True).start()
    while len(oracle.end_order) < asked.trials or oracle.tuner_ids:
        time.sleep(0.1)


if __name__ == "__main__":
    main()
