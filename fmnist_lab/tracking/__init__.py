"""Records trials and sweeps in MLflow, which is imported when a run starts: it takes about 2 s.

A trial is a run with its curve, a sweep is the run that its trials are nested under. Nobody
else in this package writes to MLflow.
"""

from fmnist_lab.tracking.attachments import attach
from fmnist_lab.tracking.resend import Outcome, sync
from fmnist_lab.tracking.run_end import STATUS
from fmnist_lab.tracking.sender import SEND_SECONDS
from fmnist_lab.tracking.store import ROOT, artifacts, database, open_experiment, store_uri
from fmnist_lab.tracking.sweep_run import SweepRun
from fmnist_lab.tracking.trial_run import MlflowTracker, NoTracker, Tracker, flatten
from fmnist_lab.tracking.views import runs_page, write_views

__all__ = [
    "ROOT",
    "SEND_SECONDS",
    "STATUS",
    "MlflowTracker",
    "NoTracker",
    "Outcome",
    "SweepRun",
    "Tracker",
    "artifacts",
    "attach",
    "database",
    "flatten",
    "open_experiment",
    "runs_page",
    "store_uri",
    "sync",
    "write_views",
]
