"""Hydra's Optuna sweeper and its joblib launcher with Keras: workers, and their model, are kept."""

import sys

import common
import hydra
from omegaconf import DictConfig

asked = common.arguments()


@hydra.main(version_base=None)
def main(config: DictConfig) -> float:
    """Trains a trial in a worker."""
    import keras_network

    params = {str(key): float(value) for key, value in config.items()}
    *_, accuracy = common.trial(asked, keras_network.to_tensors, keras_network.train, params)
    return accuracy


if __name__ == "__main__":
    spaces = {"learning_rate": common.RATES, "decay_epochs": common.decays(asked.epochs)}
    sys.argv[1:] = [
        "--multirun",
        "hydra/sweeper=optuna",
        "hydra/sweeper/sampler=tpe",
        "hydra.sweeper.sampler.seed=42",
        "hydra.sweeper.direction=maximize",
        f"hydra.sweeper.n_trials={asked.trials}",
        f"hydra.sweeper.n_jobs={asked.workers}",
        "hydra/launcher=joblib",
        f"hydra.launcher.n_jobs={asked.workers}",
        *(f"+{key}=tag(log, interval({low}, {high}))" for key, (low, high) in spaces.items()),
    ]
    main()
