"""Early stopping, as Keras decides it, and divergence."""

import math
from collections.abc import Sequence

from fmnist_lab.foundation.validate import require_choice, require_whole
from fmnist_lab.metrics import Metrics, Monitor
from fmnist_lab.trial import StoppingConfig


class EarlyStopping:
    """Watches one trial, epoch by epoch. Source: `keras.callbacks.EarlyStopping`.

    Raises:
        RequestError: A setting is not allowed, or the monitored metric is not measured.
    """

    def __init__(self, config: StoppingConfig) -> None:
        require_choice("stopping", ("none", "patience"), name=config.name)
        require_whole(
            "stopping", patience=config.patience, start_from_epoch=config.start_from_epoch
        )
        self.config = config
        self.best_epoch: int | None = None
        self._monitor = Monitor("stopping", config.monitor, config.mode, config.min_delta)
        self._wait = 0

    @property
    def restores(self) -> bool:
        """Returns whether the best epoch's weights are delivered in the end."""
        return self.config.name == "patience" and self.config.restore_best

    def observe(self, epoch: int, metrics: Metrics) -> bool:
        """Takes in the metrics of an epoch (from 0) and returns whether to stop now."""
        value = self._monitor.read(metrics)
        if epoch < self.config.start_from_epoch:
            return False
        if self._monitor.improved(value):
            self.best_epoch = epoch
            self._wait = 0
            return False
        self._wait += 1
        # Keras never stops in epoch 0, which cannot come here: the first value improves.
        return self.config.name == "patience" and self._wait >= self.config.patience


def best_epoch(config: StoppingConfig, curve: Sequence[Metrics]) -> int | None:
    """Returns where the monitored metric is best in a curve; None before the first observed one."""
    stopping = EarlyStopping(config)
    for epoch, metrics in enumerate(curve):
        stopping.observe(epoch, metrics)
    return stopping.best_epoch


def diverged(metrics: Metrics) -> bool:
    """Returns whether a loss is no longer a finite number."""
    return any(
        not math.isfinite(metrics[name]) for name in ("train/loss", "val/loss") if name in metrics
    )
