"""What an engine asks for the learning rate of every update, made from a schedule."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.foundation.instantiate import create, explain, locate, parameters
from fmnist_lab.foundation.validate import (
    require_choice,
    require_non_negative,
    require_number,
    require_positive,
)
from fmnist_lab.schedules.formulas import require_increasing
from fmnist_lab.schedules.schedule import SAME_EPOCH, Schedule, as_schedule, warmup

Update = Literal["epoch", "step"]
_SHARED_KEYS = ("epochs", "update", "warmup_epochs")


@runtime_checkable
class Scheduler(Protocol):
    """Gives the rates of an epoch before it is trained and receives its metrics after."""

    def learning_rates(self, epoch: int, steps: int) -> NDArray[np.float32]:
        """Returns the rate of each of the epoch's updates, (steps,)."""

    def observe(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Takes in the metrics measured at the end of the epoch, named as in `val/loss`."""


@dataclass(frozen=True)
class Scheduled:
    """Follows a schedule and ignores the metrics.

    `update` is `epoch`, one rate per epoch, read at its start, or `step`, a rate per update.
    `counts_steps` is for schedules of Keras's kind, functions of the update's number; `is_plain`
    marks what `build` has made of a function of the user's that is no `Schedule` itself.
    """

    schedule: Schedule
    update: Update = "step"
    warmup_epochs: float = 0.0
    counts_steps: bool = False
    is_plain: bool = False

    def __post_init__(self) -> None:
        require_timing(self.update, self.warmup_epochs)

    def learning_rates(self, epoch: int, steps: int, epochs: int = 1) -> NDArray[np.float32]:
        """Returns the rate of each update of so many epochs from this one, (epochs * steps,)."""

        def schedule(epoch: ArrayLike) -> NDArray[np.float64]:
            numbers = np.asarray(epoch, dtype=np.float64)
            return self.schedule(np.rint(numbers * steps) if self.counts_steps else numbers)

        found = positions(epoch, steps, self.update, epochs)
        rates = warmed_up(schedule, self.update, self.warmup_epochs)(found)
        return np.broadcast_to(np.asarray(rates), found.shape).astype(np.float32)

    def observe(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Does nothing."""


def arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the node with which `build` calls `_target_`.

    It is without shared keys that the function does not take, and `epochs` is less the warm-up.

    Raises:
        RequestError: There is no such function, or `epochs` is not positive.

    Example:
        >>> node = {"_target_": "fmnist_lab.schedules.linear", "initial_learning_rate": 1}
        >>> arguments(node | {"epochs": 20, "warmup_epochs": 2, "update": "step"})["epochs"]
        18
    """
    taken = parameters("scheduler", locate("scheduler", config))
    node = {key: value for key, value in config.items() if key in taken or key not in _SHARED_KEYS}
    if "epochs" in node and "warmup_epochs" not in taken:
        require_positive("scheduler", epochs=node["epochs"])
        node["epochs"] -= config.get("warmup_epochs", 0.0)
    return node


def build(config: Mapping[str, Any]) -> Scheduler:
    """Builds the scheduler that a resolved `conf/scheduler` node describes.

    `_target_` is the dotted path of a function that returns a schedule or a scheduler; the node's
    other keys are its arguments. A function with a parameter `epoch` or `step` is a schedule
    itself. Keras's schedules, and those with a parameter `step`, count updates, others epochs.

    Three keys the node of any schedule may have: `update` and `warmup_epochs` are applied here,
    and `epochs`, the length of the training, is passed on less the warm-up. A function that has
    one of these as a parameter gets it unchanged. A scheduler applies what it takes, and no more.

    Raises:
        RequestError: A key is unknown, missing or has a value that is not allowed.

    Example:
        >>> node = {"_target_": "fmnist_lab.schedules.linear", "initial_learning_rate": 1}
        >>> build(node | {"epochs": 2}).learning_rates(epoch=1, steps=2)
        array([0.5 , 0.25], dtype=float32)
    """
    update, warmup_epochs = config.get("update", "step"), config.get("warmup_epochs", 0.0)
    require_timing(update, warmup_epochs, config.get("epochs"))
    taken, node = parameters("scheduler", locate("scheduler", config)), arguments(config)
    target = ("scheduler._target_", config["_target_"])
    position = next((name for name in ("epoch", "step") if name in taken.keys() - node), None)
    try:
        made: Any = _itself(node, position) if position else create("scheduler", node)
    except RequestError:
        raise
    except Exception as error:
        rule = "name a function that takes these keys"
        raise RequestError(target[0], rule, target[1], explain(error)) from error
    if isinstance(made, Scheduler):
        for key, value, neutral in ("update", update, "step"), ("warmup_epochs", warmup_epochs, 0):
            if key not in taken and value != neutral:
                rule = f"be {neutral} where {config['_target_']} does not take it"
                raise RequestError(f"scheduler.{key}", rule, value)
        return made
    if not callable(made):
        rule = "name a function that returns a schedule"
        raise RequestError(target[0], rule, target[1], f"it returns {made!r}")
    schedule = _over_arrays(made)
    return Scheduled(
        schedule,
        update,
        warmup_epochs,
        counts_steps=position == "step" or _counts_steps(made),
        is_plain=position is not None or schedule is not made,
    )


def sequential(
    schedules: Sequence[Mapping[str, Any]],
    boundaries: Sequence[float],
    epochs: float,
    update: Update = "step",
) -> Schedule:
    """Joins schedules: each counts from the epoch at which it begins, and runs to the next one's.

    Source: optax's `join_schedules`; PyTorch's `SequentialLR`. A position on a boundary has the new
    schedule.

    Args:
        schedules: Nodes as `build` takes them, with a rate each. `epochs`, where it is not given,
            is the length of the part.
        boundaries: In epochs, increasing; one fewer than schedules.
        epochs: The length of the training.
        update: Of the whole, and so of each part.

    Raises:
        RequestError: A part is no schedule of epochs, has another `update`, or is not as `build`
            takes it.

    Example:
        >>> flat = {"_target_": "fmnist_lab.schedules.constant", "initial_learning_rate": 1}
        >>> fall = {"_target_": "fmnist_lab.schedules.linear", "initial_learning_rate": 1}
        >>> sequential([flat, fall], boundaries=[2], epochs=6)([0, 2, 4, 6])
        array([1. , 1. , 0.5, 0. ])
    """
    require_increasing(boundaries=boundaries)
    require_positive("scheduler", epochs=epochs)
    nodes = list(schedules) if isinstance(schedules, Sequence) else []
    if len(nodes) != len(boundaries) + 1 or not all(isinstance(node, Mapping) for node in nodes):
        rule = f"be a list of {len(boundaries) + 1} nodes, one more than `scheduler.boundaries`"
        raise RequestError("scheduler.schedules", rule, schedules)
    edges = np.asarray([0.0, *boundaries, epochs])
    lengths = np.maximum(np.diff(edges), SAME_EPOCH)  # a warm-up may leave nothing for the last
    parts = []
    for node, length in zip(nodes, lengths, strict=True):
        made = build({"epochs": float(length), "update": update, **node})
        if not isinstance(made, Scheduled) or made.counts_steps:
            got = Phrase(node["_target_"])
            raise RequestError("scheduler.schedules", "be schedules that count epochs", got)
        if made.update != update:
            rule = f"have the update of the whole, {update}"
            raise RequestError("scheduler.schedules", rule, made.update)
        parts.append(warmed_up(made.schedule, update, made.warmup_epochs))

    def formula(epoch: NDArray[np.float64]) -> Any:
        part = np.searchsorted(boundaries, epoch + SAME_EPOCH, side="right")
        rates = [
            schedule(np.maximum(epoch - start, 0.0))
            for schedule, start in zip(parts, edges, strict=False)
        ]
        return np.select([part == number for number in range(len(parts))], rates)

    return as_schedule(formula)


def _counts_steps(schedule: Callable[[Any], Any]) -> bool:
    keras = sys.modules.get("keras")  # a schedule of Keras has imported it
    is_keras = keras and isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule)
    return bool(is_keras) or "step" in parameters("scheduler", schedule)


def _itself(node: Mapping[str, Any], position: str) -> Callable[[Any], Any]:
    return lambda value: create("scheduler", node, **{position: value})


def _over_arrays(schedule: Callable[[Any], Any]) -> Schedule:
    """Has a function of a single number, such as one with an `if`, take arrays as well."""
    try:
        schedule(np.array([0.0, 1.0]))
    except RequestError:
        raise
    except Exception:  # a function of the user's own may raise anything

        def of_one(position: float) -> float:
            return float(schedule(int(position) if position.is_integer() else position))

        return np.vectorize(of_one, otypes=[np.float64])
    return schedule


def positions(epoch: int, steps: int, update: Update, epochs: int = 1) -> NDArray[np.float64]:
    """Returns where the updates of epochs read the schedule, (epochs * steps,), in epochs."""
    # One division of whole numbers: exact on epoch boundaries, and no drift over a training.
    found = (epoch * steps + np.arange(epochs * steps)) / steps
    return np.floor(found) if update == "epoch" else found


def warmed_up(schedule: Schedule, update: Update, warmup_epochs: float) -> Schedule:
    """Returns the schedule with its warm-up, if it has one, before it."""
    if warmup_epochs == 0:
        return schedule
    return warmup(schedule, warmup_epochs, per_epoch=update == "epoch")


def require_timing(update: object, warmup_epochs: Any, epochs: Any = None) -> None:
    """Checks both settings, and that the warm-up is shorter than the training."""
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
