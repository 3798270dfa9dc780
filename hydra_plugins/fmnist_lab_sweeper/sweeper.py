"""The class that Hydra finds; the work is done in `fmnist_lab.sweeper`."""

import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

import hydra_plugins
from fmnist_lab.foundation.installed import beside, installed_first, require_versions
from fmnist_lab.sweeper.settings import sweep_request


class FmnistLabSweeper(Sweeper):
    """Searches with Optuna: `hydra/sweeper=fmnist_lab`."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings  # checked in `setup`, where an error needs no wrapping

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Prepares the study's storage and the launcher."""
        try:
            with installed_first(beside()):
                from fmnist_lab.sweeper.controller import Sweep
        except ImportError:
            with sweep_request():
                require_versions()
            raise

        self.hydra_context = hydra_context
        self.config = config
        self._sweep = Sweep(self._settings, hydra_context, task_function, config)
        self.launcher = self._sweep.launcher

    def sweep(self, arguments: list[str]) -> None:
        """Runs trials until the total or a budget is reached; results are in the sweep's folder."""
        self._sweep.run(arguments)


_OFFICIAL = "hydra_plugins.hydra_optuna_sweeper"

# Else the name is the official plugin's. Not `find_spec`, which finds the modules below.
if not PathFinder.find_spec(_OFFICIAL, hydra_plugins.__path__):

    class OptunaSweeper(FmnistLabSweeper):
        """The same under the dotted path that configurations of others name in `_target_`."""

    OptunaSweeper.__module__ = f"{_OFFICIAL}.optuna_sweeper"
    for _name in (_OFFICIAL, OptunaSweeper.__module__):
        sys.modules[_name] = module_from_spec(ModuleSpec(_name, None))
    vars(sys.modules[OptunaSweeper.__module__])["OptunaSweeper"] = OptunaSweeper
