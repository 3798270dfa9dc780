"""What an engine drives: the learning rate of every update, and the answer to a plateau."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.instantiate import create, explain, locate, parameters
from fmnist_lab.foundation.validate import (
    require_choice,
    require_non_negative,
    require_number,
    require_positive,
    require_whole,
)
from fmnist_lab.metrics import Monitor
from fmnist_lab.schedules import Schedule, constant, warmup

Update = Literal["epoch", "step"]
_SHARED_KEYS = ("epochs", "update", "warmup_epochs")


@runtime_checkable
class Scheduler(Protocol):
    """Gives the rates of an epoch before it is trained and hears of its metrics after."""

    def learning_rates(self, epoch: int, steps: int) -> NDArray[np.float32]:
        """The rate of each of the epoch's updates, (steps,)."""

    def observe(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Takes in the metrics measured at the end of the epoch, named as in `val/loss`."""


@dataclass(frozen=True)
class Scheduled:
    """Follows a schedule, whatever the metrics say.

    `update` is `epoch`, one rate per epoch, read at its start, or `step`, a rate per update.
    """

    schedule: Schedule
    update: Update = "step"
    warmup_epochs: float = 0.0

    def __post_init__(self) -> None:
        _require_timing(self.update, self.warmup_epochs)

    def learning_rates(self, epoch: int, steps: int) -> NDArray[np.float32]:
        """The rate of each of the epoch's updates, (steps,)."""
        schedule = _warmed_up(self.schedule, self.update, self.warmup_epochs)
        rates = np.asarray(schedule(_positions(epoch, steps, self.update)))
        return np.broadcast_to(rates, (steps,)).astype(np.float32)

    def all_learning_rates(self, epochs: int, steps: int) -> NDArray[np.float32]:
        """The rates of a whole training at once, (epochs * steps,)."""
        positions = np.arange(epochs * steps) / steps
        if self.update == "epoch":
            positions = np.floor(positions)
        schedule = _warmed_up(self.schedule, self.update, self.warmup_epochs)
        return np.broadcast_to(np.asarray(schedule(positions)), positions.shape).astype(np.float32)

    def observe(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Has no use for metrics."""


@dataclass
class Performance:
    """Cuts the rate by `factor` when the metric stops improving (Keras's ReduceLROnPlateau).

    Decisions and single-precision rates are Keras's; a new rate applies from the next epoch.
    The optional warm-up ramp comes first, and its epochs are not observed. `update` says how
    often the ramp rises; after it the rate changes between epochs only.

    Raises:
        RequestError: a setting is not allowed, or the monitored metric is not measured.
    """

    initial_learning_rate: float
    monitor: str = "val/loss"
    mode: str = "auto"
    factor: float = 0.1
    patience: int = 10
    min_delta: float = 1e-4
    cooldown: int = 0
    min_lr: float = 0.0
    update: Update = "epoch"
    warmup_epochs: float = 0.0
    learning_rate: np.float32 = field(init=False)

    def __post_init__(self) -> None:
        require_positive("scheduler", initial_learning_rate=self.initial_learning_rate)
        require_number(
            "scheduler",
            "above 0 and below 1",
            lambda value: 0 < value < 1,
            factor=self.factor,
        )
        require_whole("scheduler", patience=self.patience, cooldown=self.cooldown)
        require_non_negative("scheduler", min_lr=self.min_lr)
        _require_timing(self.update, self.warmup_epochs)
        with np.errstate(over="ignore"):  # infinite, which is refused as a rate
            self.learning_rate = np.float32(self.initial_learning_rate)
        self._watched = Monitor("scheduler", self.monitor, self.mode, self.min_delta)
        self._wait = 0
        self._cooldown_left = 0

    def learning_rates(self, epoch: int, steps: int) -> NDArray[np.float32]:
        """The rate of each of the epoch's updates, (steps,)."""
        ramp = _warmed_up(constant(1.0), self.update, self.warmup_epochs)
        shares = ramp(_positions(epoch, steps, self.update))
        return np.asarray(shares * float(self.learning_rate)).astype(np.float32)

    def observe(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Decides the next epoch's rate from the metrics at the end of this one."""
        value = self._watched.read(metrics)
        if epoch < self.warmup_epochs:
            return
        if self._cooldown_left > 0:
            self._cooldown_left -= 1
            self._wait = 0
        if self._watched.improved(value):
            self._wait = 0
        elif self._cooldown_left == 0:  # Keras: a cooldown of 1 is over at once, as is 0
            self._wait += 1
            if self._wait >= self.patience:
                self._cut()

    def _cut(self) -> None:
        """Multiplies the rate by the factor, unless it is at its minimum already."""
        if self.learning_rate > np.float32(self.min_lr):
            self.learning_rate = np.float32(
                max(float(self.learning_rate) * self.factor, self.min_lr)
            )
            self._cooldown_left = self.cooldown
            self._wait = 0


def build(config: Mapping[str, Any]) -> Scheduler:
    """The scheduler that a resolved `conf/scheduler` node describes.

    `_target_` is the dotted path of a schedule factory, or of a scheduler, yours or ours, and
    the node's other keys are its arguments. Three keys every node may have: `update` and
    `warmup_epochs` are applied here to a schedule, and `epochs`, the length of the training,
    reaches a factory that takes it less the warm-up. What names such a key itself gets it.

    Raises:
        RequestError: a key is unknown, missing or has a value that is not allowed.
    """
    update, warmup_epochs = config.get("update", "step"), config.get("warmup_epochs", 0.0)
    _require_timing(update, warmup_epochs, config.get("epochs"))
    taken = parameters("scheduler", locate("scheduler", config))
    node = {key: value for key, value in config.items() if key in taken or key not in _SHARED_KEYS}
    if "epochs" in node and "warmup_epochs" not in taken:
        require_positive("scheduler", epochs=node["epochs"])
        node["epochs"] -= warmup_epochs
    try:
        made = create("scheduler", node)
    except RequestError:
        raise
    except Exception as error:
        raise RequestError(
            f"`scheduler._target_` must name a function that takes these keys, got "
            f"{config['_target_']!r}: {explain(error)}."
        ) from error
    if isinstance(made, Scheduler):
        return made
    if not callable(made):
        raise RequestError(
            "`scheduler._target_` must name a function that returns a schedule, "
            f"got {config['_target_']!r}, which returns {made!r}."
        )
    return Scheduled(made, update, warmup_epochs)


def _positions(epoch: int, steps: int, update: Update) -> NDArray[np.float64]:
    """Where the epoch's updates read the schedule, (steps,), in epochs."""
    if update == "epoch":
        return np.full(steps, float(epoch))
    # One division of whole numbers: exact on epoch boundaries, and no drift over a training.
    return (epoch * steps + np.arange(steps)) / steps


def _warmed_up(schedule: Schedule, update: Update, warmup_epochs: float) -> Schedule:
    if warmup_epochs == 0:
        return schedule
    return warmup(schedule, warmup_epochs, per_epoch=update == "epoch")


def _require_timing(update: object, warmup_epochs: Any, epochs: Any = None) -> None:
    """Both settings are allowed, and the warm-up leaves something of the training."""
    require_choice("scheduler", ("epoch", "step"), update=update)
    require_non_negative("scheduler", warmup_epochs=warmup_epochs)
    if epochs is not None:
        require_positive("scheduler", epochs=epochs)
        require_number(
            "scheduler",
            f"shorter than the training of {epochs} epochs",
            lambda value: value < epochs,
            warmup_epochs=warmup_epochs,
        )
