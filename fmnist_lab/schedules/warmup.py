"""A linear warm-up in front of any schedule."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_lab.foundation.validate import require_positive
from fmnist_lab.schedules.schedule import Schedule, as_schedule


def warmup(schedule: Schedule, warmup_epochs: float, per_epoch: bool = False) -> Schedule:
    """Rises linearly from 0 to the schedule's start, then runs the schedule.

    The schedule's own epochs count from the end of the warm-up, as in Keras's `CosineDecay`,
    whose `decay_steps` exclude its `warmup_steps`. With one rate per epoch the ramp is read
    in the middle of each epoch: the epoch's mean on the ramp, and the first is not spent at 0.
    """
    require_positive("scheduler", warmup_epochs=warmup_epochs)
    start = schedule(0.0)

    def formula(epoch: NDArray[np.float64]) -> Any:
        ramp = (np.floor(epoch) + 0.5 if per_epoch else epoch) / warmup_epochs
        after = schedule(np.maximum(epoch - warmup_epochs, 0.0))
        return np.where(epoch < warmup_epochs, start * np.minimum(ramp, 1.0), after)

    return as_schedule(formula)
