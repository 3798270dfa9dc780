"""The class that Hydra finds; the work is done in `fmnist_lab.sweeper`."""

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class FmnistLabSweeper(Sweeper):
    """Searches with Optuna: `hydra/sweeper=fmnist_lab`."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings  # checked in `setup`, where an error needs no wrapping

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Prepares the study's storage and the launcher."""
        from fmnist_lab.sweeper.controller import Sweep

        self.hydra_context = hydra_context
        self.config = config
        self._sweep = Sweep(self._settings, hydra_context, task_function, config)
        self.launcher = self._sweep.launcher

    def sweep(self, arguments: list[str]) -> None:
        """Runs trials until the total or a budget is reached; results are in the sweep's folder."""
        self._sweep.run(arguments)
