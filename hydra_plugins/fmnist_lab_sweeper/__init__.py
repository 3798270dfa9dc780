"""A Hydra sweeper on Optuna 5: pruning, resuming, budgets, trials that stream."""
