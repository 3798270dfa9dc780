"""Searches with Optuna, behind a Hydra sweeper. Importing this does not import Optuna.

A task that wants to be pruned asks for its trial:

    trial = fmnist_lab.sweeper.current_trial()  # None outside a sweep
    for step in range(epochs):
        ...
        if trial:
            trial.report(value, step)
            if trial.should_prune():
                return value  # or raise optuna.TrialPruned
"""

from fmnist_lab.sweeper.job import CurrentTrial, current_trial

__all__ = ["CurrentTrial", "current_trial"]
