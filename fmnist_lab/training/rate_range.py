"""A rate-range test: the loss of a short training whose learning rate rises with every update.

Source: Smith, Cyclical Learning Rates (2017); `lr_find` of fastai, for how the loss is smoothed,
when it has diverged, and for what is suggested.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fmnist_lab.data import Dataset
from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.trial import AveragingConfig, Trial

_KEPT = 0.98  # of the smoothed loss, in each update
_DIVERGED = 4.0  # times the smallest smoothed loss so far
_UNSETTLED = 10  # the first tenth of the rates suggests nothing


@dataclass(frozen=True)
class RateRange:
    """What a rate-range test has measured, (updates,) each, and what follows from it."""

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]  # of each update's batch, before the update
    smoothed: NDArray[np.float64]
    valley: float  # the rate in the middle of the longest fall of the smoothed loss
    steepest: float  # where it falls fastest with the logarithm of the rate
    lowest: float  # where it is smallest: beyond that the rate does harm
    diverged: float  # the last rate, if the loss has diverged there; else NaN


def measure(trial: Trial, dataset: Dataset, rates: NDArray[np.float64]) -> RateRange:
    """Trains one update at each rate, or fewer once the loss diverges, as `compiled` trains.

    Args:
        trial: Its architecture, optimizer, clipping, batch size, labels and seed count; its
            schedule, averaging, augmentation and epochs do not.
        dataset: Its data. The batches are those that the trial begins with.
        rates: Rising, (updates,).

    Raises:
        RequestError: Something cannot be built as asked, the loss diverges before anything can be
            read from it, or it never falls.
    """
    from fmnist_lab.training import engines

    engines.get("compiled")  # imports TensorFlow as an engine does
    from fmnist_lab.training.engines import building, compiled

    building.count_parameters(trial, dataset)
    program = compiled.program_for(replace(trial, averaging=AveragingConfig()), dataset)
    size = len(dataset.train_labels)
    steps = max(1, size // trial.training.batch_size)  # a smaller batch would be another program
    losses: list[float] = []
    for update, rate in enumerate(rates):
        epoch, step = divmod(update, steps)
        start = step * trial.training.batch_size
        batch = engines.batch_order(trial.seed, epoch, size)[start:][: trial.training.batch_size]
        one = np.asarray([rate], np.float32)
        found = program.train_epoch(dataset.train_images, dataset.train_labels, batch, one)
        losses.append(found["train/loss"])
        if has_diverged(losses):
            break
    return read(rates[: len(losses)], np.asarray(losses))


def read(rates: NDArray[np.float64], losses: NDArray[np.float64]) -> RateRange:
    """Reads off what the losses of a test say.

    Args:
        rates: Rising, (updates,).
        losses: (updates,); where they have diverged, in the last update.

    Raises:
        RequestError: There are too few, or they never fall.

    Example:
        >>> rates = np.geomspace(1e-4, 1, 41)
        >>> found = read(rates, 2 + np.abs(np.log10(rates) + 2))
        >>> round(found.lowest, 3) >= round(found.valley, 3), found.diverged
        (True, nan)
    """
    smoothed, diverged = smooth(losses), has_diverged(losses)
    settled = slice(len(rates) // _UNSETTLED, len(rates) - diverged)
    known, logs = smoothed[settled], np.log(rates[settled])
    if len(known) < 2:
        rule, got = "be a rate at which the loss does not diverge at once", Phrase(f"{rates[0]:g}")
        raise RequestError("--low", rule, got)
    start, end = longest_fall(known)
    if start == end:
        rule, got = "be a rate at which the loss falls", Phrase(f"{rates[-1]:g}")
        raise RequestError("--high", rule, got, "or give more --updates")
    at = (start + end) // 2, int(np.gradient(known, logs).argmin()), int(known.argmin())
    valley, steepest, lowest = (float(rates[settled][index]) for index in at)
    last = float(rates[-1]) if diverged else np.nan
    return RateRange(rates, losses, smoothed, valley, steepest, lowest, last)


def smooth(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the exponential mean of the losses so far, each 0.98 of the one after it.

    Example:
        >>> smooth(np.array([2.0, 2.0, 1.0])).round(3)
        array([2.  , 2.  , 1.66])
    """
    weights = _KEPT ** -np.arange(len(losses), dtype=np.float64)
    return np.asarray(np.cumsum(weights * losses) / np.cumsum(weights))


def has_diverged(losses: "NDArray[np.float64] | list[float]") -> bool:
    """Returns whether the last smoothed loss is above 4 times the smallest one, or no number."""
    smoothed = smooth(np.asarray(losses))
    return not smoothed[-1] <= _DIVERGED * smoothed.min()  # of NaN nothing is true


def longest_fall(values: NDArray[np.float64]) -> tuple[int, int]:
    """Returns first and last index of the longest valley, as fastai counts it.

    The last one ends the longest falling subsequence, the first is as far before it as that is
    long. Without a fall they are equal.

    Example:
        >>> longest_fall(np.array([1.0, 5.0, 4.0, 3.0, 6.0]))
        (1, 3)
    """
    lengths = np.ones(len(values), np.int64)
    for index in range(1, len(values)):
        above = lengths[:index][values[:index] > values[index]]
        lengths[index] += above.max(initial=0)
    end = int(lengths.argmax())
    return end - int(lengths[end]) + 1, end
