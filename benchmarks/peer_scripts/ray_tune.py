"""Ray Tune with Optuna's search and PyTorch: actors, and the model in each, are kept."""

import argparse

import common
import ray
from optuna.samplers import TPESampler
from ray import tune
from ray.tune.search.optuna import OptunaSearch


def objective(config: dict[str, float], asked: argparse.Namespace) -> None:
    """Trains a trial in an actor."""
    import torch_network

    for accuracy in common.trial(asked, torch_network.to_tensors, torch_network.train, config):
        tune.report({"accuracy": accuracy})


def main() -> None:
    """Trains all trials."""
    asked = common.arguments()
    ray.init(num_cpus=asked.workers, include_dashboard=False)
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(objective, asked=asked), {"cpu": 1}),
        param_space={
            "learning_rate": tune.loguniform(*common.RATES),
            "decay_epochs": tune.loguniform(*common.decays(asked.epochs)),
        },
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=asked.trials,
            max_concurrent_trials=asked.workers,
            search_alg=OptunaSearch(sampler=TPESampler(seed=42)),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(storage_path=asked.folder, verbose=0),
    )
    if tuner.fit().errors:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
