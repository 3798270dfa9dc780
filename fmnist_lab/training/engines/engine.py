"""What both engines share: their contract, the batch order, the decision to stop, the state."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fmnist_lab.data import Dataset
from fmnist_lab.metrics import Metrics
from fmnist_lab.trial import StopReason, Trial

OnEpoch = Callable[[int, Metrics], bool]  # after each epoch (0-based); False: the study prunes
State = Mapping[str, Sequence[NDArray[Any]]]  # variables' values, of `model`, `optimizer`, `best`


@dataclass(frozen=True)
class Outcome:
    """How a training ended, and the weights that it delivers."""

    stop_reason: StopReason
    delivered_epoch: int  # 0-based, whose weights these are: the last one's, or the best one's
    weights: list[NDArray[Any]]  # as `model.get_weights()`


class Keeper(Protocol):
    """Keeps the state of a training, so that another attempt can continue a killed one."""

    @property
    def curve(self) -> Sequence[Metrics]:
        """The epochs so far: at first those of earlier attempts, which are not trained again."""

    @property
    def state(self) -> State:
        """The state after the last of these; empty if there are none."""

    def offer(self, state: Callable[[], State]) -> None:
        """Takes the state after each epoch but the last, if it is time.

        Args:
            state: Copies the state: the `model`'s variables, the `optimizer`'s, and the weights
                of the `best` epoch so far where that one's are delivered.
        """


class NoKeeper:
    """Keeps nothing."""

    curve: Sequence[Metrics] = ()
    state: State = MappingProxyType({})

    def offer(self, state: Callable[[], State]) -> None:
        """Takes nothing."""


NOT_KEPT = NoKeeper()


class Engine(Protocol):
    """Trains one trial.

    Contract: the same trial and dataset give the same curve bit for bit on one machine;
    `on_epoch` is called once per epoch, in order, with every metric of DESIGN's contract
    but `time/epoch_seconds`, which is there too and alone varies; after it returns False
    or a loss is no longer finite no further epoch is trained. One that goes on from what a
    keeper has ends as if it had never stopped, bit for bit.

    Raises:
        RequestError: The architecture, optimizer or scheduler cannot be built as asked.
    """

    def __call__(
        self, trial: Trial, dataset: Dataset, on_epoch: OnEpoch, keeper: Keeper = NOT_KEPT
    ) -> Outcome:
        """Trains the trial to its end."""


def batch_order(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    """Returns the order in which an epoch visits the training images, shape (size,).

    It depends on the seed and the epoch alone, so that a trial can continue at any epoch.
    """
    return np.random.default_rng([seed, epoch]).permutation(size)


def steps_per_epoch(size: int, batch_size: int) -> int:
    """Returns the number of updates in one epoch; the last one may see a smaller batch."""
    return -(-size // batch_size)


def stop_reason(
    *, diverged: bool, pruned: bool, early: bool, epoch: int, epochs: int
) -> StopReason | None:
    """Returns why training ends after this epoch, the first reason that holds; None to go on."""
    if diverged:
        return StopReason.DIVERGED
    if pruned:
        return StopReason.PRUNED
    if epoch + 1 >= epochs:
        return StopReason.COMPLETED
    return StopReason.EARLY_STOPPED if early else None


def copy_state(model: Iterable[Any], optimizer: Iterable[Any]) -> dict[str, Sequence[NDArray[Any]]]:
    """Copies the values of Keras's variables: weights, statistics, generators, slots."""
    # Not `keras.ops.convert_to_numpy`: NumPy warns of how that one asks.
    return {
        "model": [variable.value.numpy() for variable in model],
        "optimizer": [variable.value.numpy() for variable in optimizer],
    }


def restore_state(state: State, model: Iterable[Any], optimizer: Iterable[Any]) -> None:
    """Puts the values back into variables of the same shapes, in the same order."""
    for variables, values in ((model, state["model"]), (optimizer, state["optimizer"])):
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
