"""A trial: what goes into one training, and what comes out of it.

`Trial` is both the schema of the configuration and the value that engines, runner and
tracking share. Nodes of open families (architecture, optimizer, scheduler) stay plain
mappings with a `_target_`, because anybody may add a member.
"""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from fmnist_lab.clipping import ClippingConfig
from fmnist_lab.data import DataConfig
from fmnist_lab.stopping import StoppingConfig


class StopReason(StrEnum):
    """Why a trial trains no longer."""

    COMPLETED = "completed"  # all epochs trained
    EARLY_STOPPED = "early_stopped"  # stopped by its own curve
    PRUNED = "pruned"  # stopped by the study, in comparison with others
    DIVERGED = "diverged"  # a loss is no longer finite
    FAILED = "failed"  # an error; the log has it
    INTERRUPTED = "interrupted"  # Ctrl-C, SIGTERM or a lost worker


@dataclass(frozen=True)
class TrainingConfig:
    """How long, in which batches, by which engine, against which labels."""

    epochs: int = 20
    batch_size: int = 32
    engine: str = "compiled"  # compiled | keras
    labels: str = "integer"  # integer: sparse cross-entropy | one_hot: categorical cross-entropy
    label_smoothing: float = 0.0  # in [0, 1); needs one_hot labels


@dataclass(frozen=True)
class ObjectiveConfig:
    """The one number that a study sees, measured on the weights that the trial delivers."""

    metric: str = "val/accuracy"  # val/accuracy, maximised | val/loss, minimised


@dataclass(frozen=True)
class Trial:
    """One training: one configuration, one seed."""

    seed: int = 42
    data: DataConfig = field(default_factory=DataConfig)
    architecture: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    scheduler: dict[str, Any] = field(default_factory=dict)
    clipping: ClippingConfig = field(default_factory=ClippingConfig)
    stopping: StoppingConfig = field(default_factory=StoppingConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)

    def as_dict(self) -> dict[str, Any]:
        """The configuration as nested plain values."""
        return asdict(self)


@dataclass(frozen=True)
class TrialResult:
    """What a trial leaves behind; `result.json` holds the same keys.

    `best_epoch` (0-based) is where the monitored metric was best: early stopping's monitor
    where there is one, else the objective's metric. `delivered_epoch` is the epoch whose
    weights the trial delivers: the best one's if `stopping.restore_best`, else the last.
    Values that do not exist (no epoch trained, a diverged objective) are NaN or None.
    """

    objective: float
    stop_reason: StopReason
    epochs_trained: int
    best_epoch: int | None
    delivered_epoch: int | None
    best_val_loss: float
    best_val_accuracy: float
    parameters: int  # of the model, trainable or not
    seconds: float  # wall clock, training and validation
    mlflow_run_id: str | None = None
