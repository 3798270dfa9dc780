"""Learning-rate schedules, functions from epoch to learning rate, and the schedulers that use them.

Epochs count from 0 and may be fractional (2.5 is halfway through the third), so one schedule
serves updates per epoch and per step. Every duration is in epochs; other arguments have Keras's
names and meanings. A schedule laid over the whole training takes its length as `epochs` and holds
its last value after it. A wrong argument is a RequestError.
"""

from fmnist_lab.schedules.formulas import (
    constant,
    cosine,
    cosine_restarts,
    exponential,
    linear,
    multi_step,
    notebook_linear,
    one_cycle,
    piecewise,
    polynomial,
    power,
    shape,
    triangular,
    wsd,
)
from fmnist_lab.schedules.plateau import Performance
from fmnist_lab.schedules.schedule import Schedule, warmup
from fmnist_lab.schedules.scheduler import Scheduled, Scheduler, arguments, build, sequential

__all__ = ["Performance", "Schedule", "Scheduled", "Scheduler", "arguments", "build", "constant",
           "cosine", "cosine_restarts", "exponential", "linear", "multi_step", "notebook_linear",
           "one_cycle", "piecewise", "polynomial", "power", "sequential", "shape", "triangular",
           "warmup", "wsd"]  # fmt: skip
