"""Records trials and sweeps in MLflow, which is imported when a run starts: it takes about 2 s.

A trial is a run with its curve; a sweep is the parent run of its trials. No other part of this
package uses MLflow.
"""

from fmnist_lab.results.layout import ROOT
from fmnist_lab.tracking.sender import Outcome, sync
from fmnist_lab.tracking.store import (
    artifacts,
    attach,
    database,
    open_experiment,
    open_store,
    store_uri,
)
from fmnist_lab.tracking.sweep_run import SweepRun
from fmnist_lab.tracking.trial_run import MlflowTracker
from fmnist_lab.tracking.views import runs_page, write_views

__all__ = ["ROOT", "MlflowTracker", "Outcome", "SweepRun", "artifacts", "attach", "database",
           "open_experiment", "open_store", "runs_page", "store_uri", "sync",
           "write_views"]  # fmt: skip
