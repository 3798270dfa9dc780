"""Reads what trials left behind, as tidy pandas frames; the place to start in a notebook.

    from fmnist_lab import results

    trials = results.trials("demo")                         # a row per tuning trial
    curves = results.curves(trials[trials.objective > 0.9])  # a row per trial and epoch
    replicates = results.replicates("demo")                 # a row per retrained winner and seed

Every function takes the name of a sweep or multirun (None: the latest) or trial folders. A sweep
that still runs gives the trials that have ended so far. Frames of nothing have all their columns.
"""

from typing import TYPE_CHECKING, Any

from fmnist_lab.results.layout import ROOT

if TYPE_CHECKING:
    from fmnist_lab.results.frames import (
        curves,
        ended,
        environments,
        find,
        folders,
        replicates,
        trials,
    )

__all__ = ["ROOT", "curves", "ended", "environments", "find", "folders", "replicates", "trials"]


def __getattr__(name: str) -> Any:
    """Imports pandas with the first frame: every command imports this package."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fmnist_lab.results import frames

    return getattr(frames, name)
