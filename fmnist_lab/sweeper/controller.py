"""A sweep from the sweeper's configuration to its results."""

import copy
import functools
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import optuna
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial

from fmnist_lab.foundation.secrets import masked_config, masked_overrides
from fmnist_lab.launcher.streaming import StreamingLauncher
from fmnist_lab.sweeper import samplers, sweep_files
from fmnist_lab.sweeper.job import Channel, RecordedTask, left_in
from fmnist_lab.sweeper.lease import one_controller
from fmnist_lab.sweeper.limits import Budget
from fmnist_lab.sweeper.loop import Loop
from fmnist_lab.sweeper.numbering import Place
from fmnist_lab.sweeper.observers import Observers, SweepInfo
from fmnist_lab.sweeper.plans import Plan, Planner, study_names
from fmnist_lab.sweeper.settings import Settings, SweepRequestError
from fmnist_lab.sweeper.signals import Signals
from fmnist_lab.sweeper.storage import StorageAddress, locate, open_storage, reaching
from fmnist_lab.sweeper.strategies import Strategies, Strategy
from fmnist_lab.sweeper.study import open_studies, take_up
from fmnist_lab.sweeper.sweep_end import EndReason, SweepEnd
from fmnist_lab.sweeper.trials import Trials

log = logging.getLogger(__name__)

_WRITE_SECONDS = 5.0  # the results file grows with the number of strategies


class Sweep:
    """One sweep, of one study or of a study for each strategy."""

    def __init__(
        self,
        settings: Settings,
        hydra_context: HydraContext,
        config: DictConfig,
        address: StorageAddress,
        name: str,
    ) -> None:
        self._settings = settings
        self._planner = Planner(settings, hydra_context.config_loader, config)
        self._config = config
        self._address = address
        self._name = name
        self._folder = Path(config.hydra.sweep.dir)
        self._written = 0.0
        self.launcher: Any = None

    @staticmethod
    def prepare(
        given: dict[str, Any], hydra_context: HydraContext, task: TaskFunction, config: DictConfig
    ) -> "Sweep":
        """Checks the settings and builds the launcher around the user's task.

        Raises:
            SweepRequestError: A setting is not allowed.
        """
        settings = Settings.read(given)
        address = locate(settings.storage, Path(config.hydra.sweep.dir) / "study.journal")
        name = settings.study_name or (
            # The official plugin starts a new study in a database that holds many.
            str(config.hydra.job.name) if address.journal else f"no-name-{uuid.uuid4()}"
        )
        sweep = Sweep(settings, hydra_context, config, address, name)
        samplers.build_pruner(settings.pruner)  # a wrong one is refused now, not in a job
        pruner = settings.pruner
        if OmegaConf.is_config(pruner):
            pruner = OmegaConf.to_container(pruner, resolve=True)
        studies = list(study_names(settings, name).values())
        recorded = RecordedTask(task, Channel(address, studies, pruner, settings.recall))
        sweep.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=recorded, config=masked_config(config)
        )
        if not isinstance(sweep.launcher, StreamingLauncher):
            # Hydra's launchers start local children or write the task to a file.
            recorded.channel = replace(recorded.channel, storage=address.through_environment())
        return sweep

    def run(self, arguments: list[str]) -> None:
        """Runs the sweep.

        Raises:
            SweepRequestError: What was asked cannot be searched, or is searched by somebody else.
        """
        # From here on: imports may swallow a KeyboardInterrupt, OmegaConf may disguise it.
        with Signals() as signals:
            plans = self._planner.plans(self._name, arguments)
            with signals.waiting():  # for data, perhaps
                self._planner.validate(plans, self._job_overrides())
            for plan in plans:
                samplers.build_sampler(self._settings.sampler, plan.space, 0, 1)  # or refused now
            if OmegaConf.select(self._config, "hydra.launcher.address"):
                self._slots()  # connects: where nobody answers no folder is made
            with one_controller(self._address, self._name, self._folder) as hold:
                studies = open_studies(open_storage(self._address), plans, self._settings)
                hold(studies[0])
                take_up(studies, plans, self._settings, self._slots())
                sweep_files.write_multirun(self._config, self._folder)
                sweep_files.write_spaces(plans, self._folder)
                self._run(Strategies(list(map(self._strategy, plans, studies))), signals)

    def _strategy(self, plan: Plan, study: optuna.Study) -> Strategy:
        settings = self._settings
        if samplers.is_grid(settings.sampler):
            settings = settings.at_most(samplers.grid_size(plan.space))
        elif plan.strategy and not plan.space.searched and not settings.custom_search_space:
            settings = settings.at_most(1)  # all others would be the same
        names = list(study_names(settings, self._name))
        place = Place(names.index(plan.strategy), len(names))
        custom = self._planner.custom_space()
        trials = Trials(study, plan.space, settings.retries, custom, place, plan.strategy)
        trials.recall = self._recall
        return Strategy(trials, settings, Budget(settings))

    def _recall(self, number: int, trial: FrozenTrial) -> Mapping[str, Any] | None:
        """What the job of a trial has left in its folder, if it ended and could not say so."""
        config = copy.deepcopy(self._config)
        with open_dict(config):
            config.hydra.job.num, config.hydra.job.id = number, str(number)
        try:
            folder = Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir
        except OmegaConfBaseException:  # it is called by what only the job knows
            return None
        left = left_in(folder, trial, self._settings.recall)
        return None if left is None else {**left, "dir": str(folder.absolute())}

    def _run(self, strategies: Strategies, signals: Signals) -> None:
        observers = Observers(instantiate(self._settings.observers) or [])
        earlier = strategies.resume(_mappings(self._settings.enqueue))
        info = self._describe(strategies)
        _log_start(info)
        added = observers.tell("on_start", info, earlier)
        overrides = [*self._job_overrides(), *chain.from_iterable(given or [] for given in added)]
        loop = Loop(strategies, self.launcher, self._settings.n_jobs, observers, overrides)
        write = functools.partial(self._write, strategies)
        loop.on_told = functools.partial(self._write_now_and_then, write)
        end = None
        try:
            with reaching(self._address):
                end = loop.run(signals)
        except (KeyboardInterrupt, SystemExit):
            end = SweepEnd(EndReason.INTERRUPTED, strategies.done, strategies.n_trials)
            raise
        except BaseException as error:
            cause = type(error.__cause__ or error).__name__
            end = SweepEnd(EndReason.FAILED, strategies.done, strategies.n_trials, error=cause)
            raise
        finally:
            assert end is not None
            with suppress(StorageInternalError):  # it is gone, as the error says
                write(end)
            log.info("%s.", end)
            log.info("Results: %s", self._folder / sweep_files.RESULTS)
            if end.reason == EndReason.INTERRUPTED:
                log.info("To continue, give the same command and hydra.sweep.dir=%s", self._folder)
            observers.tell("on_end", end)

    def _write(self, strategies: Strategies, end: SweepEnd | None = None) -> None:
        studies = [member.trials for member in strategies.members]
        sweep_files.write_results(studies, self._folder, self._address.shown, end)

    def _write_now_and_then(self, write: Callable[[], None]) -> None:
        if time.monotonic() - self._written > _WRITE_SECONDS:
            write()
            self._written = time.monotonic()

    def _slots(self) -> int:
        streams = isinstance(self.launcher, StreamingLauncher)
        return self.launcher.slots if streams else self._settings.n_jobs

    def _job_overrides(self) -> list[str]:
        return masked_overrides(self._config)

    def _shares(self, strategies: Strategies) -> dict[str, int]:
        """How many trials each strategy gets, in the user's order."""
        shares = {member.trials.strategy: member.settings.n_trials for member in strategies.members}
        return {str(name): shares[str(name)] for name in self._settings.strategies or {}}

    def _describe(self, strategies: Strategies) -> SweepInfo:
        return SweepInfo(
            study_name=self._name,
            storage=self._address.shown,
            folder=str(self._folder),
            directions=self._settings.directions,
            strategies=self._shares(strategies),
            n_trials=strategies.n_trials,
            done=strategies.done,
            slots=self._slots(),
        )


def _mappings(enqueue: Any) -> list[Any]:
    if OmegaConf.is_config(enqueue):
        enqueue = OmegaConf.to_container(enqueue, resolve=True)
    for params in enqueue or []:
        if not isinstance(params, dict):
            raise SweepRequestError(
                f"`hydra.sweeper.enqueue` must be a list of mappings, got {params!r} in it."
            )
    return enqueue or []


def _log_start(info: SweepInfo) -> None:
    log.info("Study %s in %s", info.study_name, info.storage)
    log.info("%d of %d trials are done; %d at once", info.done, info.n_trials, info.slots)
