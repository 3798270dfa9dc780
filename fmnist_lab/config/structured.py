"""The schema of the configuration."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from fmnist_lab.trial import ClippingConfig, Trial

HEADER = "# @package _global_"  # the first line of a file that is laid over the whole configuration


class Tracking(StrEnum):
    """Where runs are recorded."""

    LOCAL = "local"  # in the store under `mlruns/`
    SERVER = "server"
    NONE = "none"


@dataclass(frozen=True)
class TrackingConfig:
    """Where runs are recorded: in the store under `mlruns/`, on a server, or nowhere."""

    name: str = Tracking.LOCAL
    uri: str | None = None  # of an MLflow server or database; null: mlruns/mlflow.db
    experiment: str = "fmnist-lab"
    parent: str | None = None  # MLflow run id of the sweep's run; set by the sweep


@dataclass(frozen=True)
class SearchableClipping(ClippingConfig):
    """Clipping, and what a sweep may suggest for it."""

    space: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Config(Trial):
    """The root of the configuration: a trial, how it is recorded, and what may be searched.

    A node of an open family (architecture, optimizer, scheduler) may hold a `space`, too.
    """

    clipping: SearchableClipping = field(default_factory=SearchableClipping)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    strategy: str | None = None  # a name for these choices in comparisons; null: the scheduler's
    kind: str = "trial"  # trial | replicate: one whose delivered weights see the test set
    replicates: int = 8  # of each strategy's winner, with fresh seeds, when a sweep has been tuned
    checkpoint_seconds: float | None = 30.0  # at least, between two; 0: every epoch; None: never
    searches: int = 1  # how often a sweep is tuned, each time with other trials and other seeds
