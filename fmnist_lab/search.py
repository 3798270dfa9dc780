"""The path of `current_trial` in applications written for earlier versions."""

from fmnist_lab.sweeper import CurrentTrial, current_trial

__all__ = ["CurrentTrial", "current_trial"]
