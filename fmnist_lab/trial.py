"""A trial: the configuration of one training, its labels and its result.

`Trial` is both the schema of the configuration and the value that engines, runner and
tracking share. Nodes of open families (architecture, optimizer, scheduler) stay plain
mappings with a `_target_`, because users may add members. Values are checked elsewhere,
in `config.validation`.
"""

import math
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from fmnist_lab.data import OWN, DataConfig
from fmnist_lab.metrics import BY_CLASS


class StopReason(StrEnum):
    """Why the training of a trial ended."""

    COMPLETED = "completed"  # all epochs trained
    EARLY_STOPPED = "early_stopped"  # stopped by its own curve
    PRUNED = "pruned"  # stopped by the study, in comparison with others
    DIVERGED = "diverged"  # a loss is no longer finite
    FAILED = "failed"  # an error; the log has it
    INTERRUPTED = "interrupted"  # Ctrl-C, SIGTERM or a lost worker


WHOLE = (StopReason.COMPLETED, StopReason.EARLY_STOPPED)  # trained to their own end
LOST = (StopReason.DIVERGED, StopReason.FAILED)  # ended without an objective
REPEATED = (StopReason.INTERRUPTED, StopReason.FAILED)  # may be tried again, with another number


@dataclass(frozen=True)
class ClippingConfig:
    """Gradient clipping: what is limited (`none`, `value`, `norm`, `global_norm`), and to what."""

    name: str = "none"
    threshold: float | None = None


@dataclass(frozen=True)
class AugmentationConfig:
    """How the training images of each epoch are changed by chance."""

    name: str = "none"  # none | shift_flip
    shift: int = 0  # pixels at most, in each direction
    flip: bool = False  # whether half of them are mirrored from left to right


@dataclass(frozen=True)
class AveragingConfig:
    """Averages of the weights over the training, which are delivered instead of the last ones."""

    name: str = "none"  # none | ema: over updates | swa: over ends of epochs | schedule_free
    decay: float | None = None  # of ema: the part of the average that an update keeps
    start_from_epoch: float = 0.0  # the first epoch that is averaged; a fraction is rounded down
    beta: float | None = None  # of schedule_free: the average's part in where gradients are taken


@dataclass(frozen=True)
class StoppingConfig:
    """Early stopping, with Keras's meanings; durations in epochs.

    With the name `none` training runs its full length; the best epoch is still known.
    """

    name: str = "none"  # none | patience
    monitor: str = "val/loss"
    mode: str = "auto"  # auto | min | max
    min_delta: float = 0.0
    patience: int = 5
    restore_best: bool = False
    start_from_epoch: int = 0


@dataclass(frozen=True)
class TrainingConfig:
    """The length of the training, its batches, its engine and its labels."""

    epochs: int = 20
    batch_size: int = 32
    engine: str = "compiled"  # compiled | keras
    labels: str = "integer"  # integer: sparse cross-entropy | one_hot: categorical cross-entropy
    label_smoothing: float = 0.0  # in [0, 1); needs one_hot labels


@dataclass(frozen=True)
class ObjectiveConfig:
    """The number that a study optimises, measured on the weights that the trial delivers."""

    metric: str = "val/accuracy"  # one of metrics.OBJECTIVES


@dataclass(frozen=True)
class Trial:
    """One training: one configuration, one seed."""

    seed: int = 42
    data: DataConfig = field(default_factory=DataConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    architecture: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    scheduler: dict[str, Any] = field(default_factory=dict)
    clipping: ClippingConfig = field(default_factory=ClippingConfig)
    averaging: AveragingConfig = field(default_factory=AveragingConfig)
    stopping: StoppingConfig = field(default_factory=StoppingConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)

    @property
    def counts_classes(self) -> bool:
        """Whether the metrics by class are measured."""
        return self.data.name == OWN or self.objective.metric in BY_CLASS

    def as_dict(self) -> dict[str, Any]:
        """Returns the configuration as nested plain values, as earlier versions recorded it."""
        return without_new(asdict(self))


# Keys that earlier versions lack, and the values with which all is as it was there. A scheduler's
# option has these values in its file, so that no override is lost.
ADDED: dict[str, dict[str, Any]] = {
    "augmentation": asdict(AugmentationConfig()),
    "averaging": asdict(AveragingConfig()),
    "scheduler": {
        "annealing": "linear",
        "pct_start": None,
        "decay_type": "linear",
        "hold_fraction": 0.0,
        "floor": 0.0,
        "threshold_mode": "abs",
    },
}


def without_new(settings: dict[str, Any]) -> dict[str, Any]:
    """Drops what earlier versions lack, where it is as if it were not there."""
    kept = dict(settings)
    for group in ("augmentation", "averaging"):
        if kept.get(group) == ADDED[group]:
            del kept[group]
    if kept.get("averaging", {}).get("beta", 0) is None:
        kept["averaging"] = {k: v for k, v in kept["averaging"].items() if k != "beta"}
    node = kept.get("scheduler", {})
    if str(node.get("_target_")).startswith("fmnist_lab."):  # own ones may mean something else
        kept["scheduler"] = {
            key: value
            for key, value in node.items()
            if key not in ADDED["scheduler"] or value != ADDED["scheduler"][key]
        }
    return kept


@dataclass(frozen=True)
class Labels:
    """The names of a run: its tags in MLflow, the first columns of every table."""

    kind: str  # trial | replicate | sweep
    sweep: str | None  # the sweep or multirun that it belongs to
    strategy: str  # the set of choices under comparison
    trial: int  # number within its sweep
    seed: int
    architecture: str
    scheduler: str
    clipping: str
    optimizer: str
    dataset: str
    engine: str
    search: int | None = None  # which of a sweep's searches; None for the first, often the only one
    averaging: str = "none"


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial; `result.json` holds these keys, the labels and the overrides.

    Epochs are 0-based. Values that do not exist (nothing trained, diverged) are NaN or None.
    """

    objective: float  # `objective_metric` at `delivered_epoch`
    objective_metric: str
    stop_reason: StopReason
    epochs_trained: int
    best_epoch: int | None  # where `stopping.monitor` was best
    best_val_loss: float  # at `best_epoch`
    best_val_accuracy: float  # at `best_epoch`
    delivered_epoch: int | None  # whose weights the trial delivers: the best or the last one's
    parameters: int  # of the model, trainable or not
    seconds: float  # wall clock, training and validation
    test_loss: float = math.nan  # of a replicate's delivered weights; the test set is closed else
    test_accuracy: float = math.nan
    mlflow_run_id: str | None = None
