"""What both engines share: their contract, the batch order, the decision to stop, the state.

An engine trains one trial to its end. The same trial and dataset give the same curve bit for bit on
one machine. `on_epoch` is called once per epoch, in order, with every metric in `metrics.METRICS`,
of which `time/epoch_seconds` alone varies; after it returns False or a loss is no longer finite no
further epoch is trained. The epochs of the checkpoint's curve are not trained again: a training
that goes on from them ends as if it had never stopped, bit for bit. The checkpoint is offered the
state after each epoch but the last: the variables of `model` and `optimizer`, the `average` if
there is one, and the weights of the `best` epoch so far where that one's are delivered. An
architecture, optimizer or scheduler that cannot be built as asked is a RequestError.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_lab.data import Dataset
from fmnist_lab.metrics import Metrics
from fmnist_lab.training.checkpoint import Checkpoint, State
from fmnist_lab.training.early_stopping import diverged
from fmnist_lab.trial import StopReason, Trial

OnEpoch = Callable[[int, Metrics], bool]  # after each epoch (0-based); False: the study prunes


@dataclass(frozen=True)
class Outcome:
    """How a training ended, and the weights that it delivers."""

    stop_reason: StopReason
    delivered_epoch: int  # 0-based, whose weights these are: the last one's, or the best one's
    weights: list[NDArray[Any]]  # as `model.get_weights()`


Engine = Callable[[Trial, Dataset, OnEpoch, Checkpoint], Outcome]


def batch_order(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    """Returns the order in which an epoch visits the training images, shape (size,).

    It depends on the seed and the epoch alone, so that a trial can continue at any epoch.
    """
    return np.random.default_rng([seed, epoch]).permutation(size)


def steps_per_epoch(size: int, batch_size: int) -> int:
    """Returns the number of updates in one epoch; the last one may see a smaller batch."""
    return -(-size // batch_size)


def stop_reason(
    trial: Trial, epoch: int, metrics: Metrics, *, pruned: bool, early: bool
) -> StopReason | None:
    """Returns why training ends after this epoch, the first reason that holds; None to go on."""
    if diverged(metrics):
        return StopReason.DIVERGED
    if pruned:
        return StopReason.PRUNED
    if epoch + 1 >= trial.training.epochs:
        return StopReason.COMPLETED
    return StopReason.EARLY_STOPPED if early else None


def copy_state(model: Any, optimizer: Any) -> dict[str, Sequence[NDArray[Any]]]:
    """Copies all that a training changes: weights, statistics, random generators, slots."""
    # Not `keras.ops.convert_to_numpy`: NumPy warns of how that one asks.
    return {
        "model": [variable.value.numpy() for variable in model.variables],
        "optimizer": [variable.value.numpy() for variable in optimizer.variables],
    }


def restore_state(state: State, model: Any, optimizer: Any) -> None:
    """Puts the values back into variables of the same shapes, in the same order."""
    for owner, values in ((model, state["model"]), (optimizer, state["optimizer"])):
        for variable, value in zip(owner.variables, values, strict=True):
            variable.assign(value)
