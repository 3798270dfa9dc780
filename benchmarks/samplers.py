"""What a suggestion costs, by the number of trials that its study has already.

Trials are invented and kept in memory, so that it is the sampler alone which is timed.

    python -m benchmarks.samplers
"""

import random
import statistics
import time
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import create_trial

from fmnist_lab.sweeper.samplers import build_sampler
from fmnist_lab.sweeper.space import Searched, Space
from hydra_plugins.fmnist_lab_sweeper import sweeper_options as samplers

SAMPLERS: dict[str, Any] = {
    "sobol": samplers.SAMPLERS["qmc"] | {"scramble": True, "seed": 0},
    "random": samplers.SAMPLERS["random"],
    "tpe": samplers.SAMPLERS["tpe"],
}
SIZES, ROUNDS = (100, 300, 1_000, 3_000, 10_000), 7
RATE = FloatDistribution(1e-5, 1e-1, log=True)
DECAY, THRESHOLD = FloatDistribution(1, 20), FloatDistribution(1e-2, 1e2, log=True)
SEARCHED: dict[str, BaseDistribution] = {
    "optimizer.learning_rate": RATE,
    "scheduler.decay_epochs": DECAY,
    "clipping.threshold": THRESHOLD,
}


def study_of(trials: int) -> optuna.Study:
    """A study of so many complete trials."""
    numbers = random.Random(0)
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        create_trial(
            params={
                "optimizer.learning_rate": 10 ** numbers.uniform(-5, -1),
                "scheduler.decay_epochs": numbers.uniform(1, 20),
                "clipping.threshold": 10 ** numbers.uniform(-2, 2),
            },
            distributions=SEARCHED,
            value=numbers.random(),
        )
        for _ in range(trials)
    )
    return study


def milliseconds(study: optuna.Study, name: str) -> float:
    """Processor time of a suggestion with two trials side by side, the median of a few."""
    space = Space({key: Searched(distribution) for key, distribution in SEARCHED.items()}, {})
    known = len(study.get_trials(deepcopy=False))
    study.sampler = build_sampler(SAMPLERS[name], space, known, 2)
    spent = []
    for _ in range(ROUNDS):
        start = time.process_time()
        trial = study.ask(SEARCHED)
        spent.append(time.process_time() - start)
        study.tell(trial, 0.5)
    return 1000 * statistics.median(spent)


def main() -> None:
    """Runs the benchmark from the command line."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print("trials  " + "".join(f"{name:>10}" for name in SAMPLERS) + "   ms of processor time")
    for size in SIZES:
        study = study_of(size)
        row = [milliseconds(study, name) for name in SAMPLERS]
        print(f"{size:6}  " + "".join(f"{value:10.1f}" for value in row), flush=True)


if __name__ == "__main__":
    main()
