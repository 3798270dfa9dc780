"""A sweep from the sweeper's configuration to its results."""

import copy
import functools
import logging
import uuid
from collections.abc import Mapping
from contextlib import closing, nullcontext, suppress
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

from fmnist_lab.foundation.files import whole_file
from fmnist_lab.foundation.secrets import masked_config, masked_overrides
from fmnist_lab.launcher.streaming import streams
from fmnist_lab.sweeper import samplers, sweep_files
from fmnist_lab.sweeper.job import Channel, RecordedTask, left_in
from fmnist_lab.sweeper.loop import Loop, Signals
from fmnist_lab.sweeper.observers import Observers, SweepInfo
from fmnist_lab.sweeper.plans import Plan, Planner, open_studies, study_names, take_up
from fmnist_lab.sweeper.settings import Settings, plain
from fmnist_lab.sweeper.storage import RequireHeld, locate, one_controller, open_storage, reaching
from fmnist_lab.sweeper.strategy import SUPERSEDED, Strategy
from fmnist_lab.sweeper.sweep_end import EndReason, SweepEnd

log = logging.getLogger(__name__)


class Sweep:
    """One sweep, of one study or of a study for each strategy."""

    def __init__(
        self,
        given: Mapping[str, Any],
        hydra_context: HydraContext,
        task: TaskFunction,
        config: DictConfig,
    ) -> None:
        """Checks the settings and builds the launcher around the user's task.

        Raises:
            SweepRequestError: A setting is not allowed.
        """
        settings = self._settings = Settings(**given)
        self._config = config
        self._folder = Path(config.hydra.sweep.dir)
        self._address = locate(settings.storage, self._folder / "study.journal")
        self._name = settings.study_name or (
            # The official plugin starts a new study in a database that holds many.
            str(config.hydra.job.name) if self._address.journal else f"no-name-{uuid.uuid4()}"
        )
        self._planner = Planner(settings, hydra_context.config_loader, config)
        samplers.build_pruner(settings.pruner)  # a wrong one is refused now, not in a job
        studies = list(study_names(settings, self._name).values())
        channel = Channel(self._address, studies, plain(settings.pruner), settings.recall)
        recorded = RecordedTask(task, channel)
        self.launcher: Any = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=recorded, config=masked_config(config)
        )
        self._streams = streams(self.launcher)
        if not self._streams:
            # Hydra's launchers start local children or write the task to a file.
            storage = self._address.through_environment()
            recorded.channel = replace(recorded.channel, storage=storage)

    def run(self, arguments: list[str]) -> None:
        """Plans the studies of the command line, opens or continues them, and runs their trials.

        Raises:
            SweepRequestError: The request cannot be searched, or another process runs the sweep.
        """
        # From here on: imports may swallow a KeyboardInterrupt, OmegaConf may disguise it.
        ending = closing(self.launcher) if self._streams else nullcontext()
        with Signals() as signals, ending:
            if self._streams and not self._folder.exists():  # a sweep that goes on may be done
                self.launcher.prepare()  # workers start while it is planned and checked
            plans = self._planner.plans(self._name, arguments)
            with signals.waiting():  # for data, perhaps
                self._planner.validate(plans, masked_overrides(self._config))
            for plan in plans:
                samplers.build_sampler(self._settings.sampler, plan.space, 0, 1)  # or refused now
            if OmegaConf.select(self._config, "hydra.launcher.address"):
                self._slots()  # connects: without a scheduler there no folder is made
            with one_controller(self._address, self._name, self._folder) as hold:
                studies = open_studies(open_storage(self._address), plans, self._settings)
                require_held = hold(studies[0])
                take_up(studies, plans, self._settings, self._slots())
                with whole_file(self._folder / "multirun.yaml") as file:  # as Hydra's own sweeper
                    OmegaConf.save(masked_config(self._config), file)
                sweep_files.write_spaces(plans, self._folder)
                each = zip(plans, studies, range(len(plans)), strict=True)
                with ending:  # before another controller may go on
                    strategies = [self._strategy(*found, len(plans)) for found in each]
                    self._run(strategies, signals, require_held)

    def _strategy(self, plan: Plan, study: optuna.Study, index: int, count: int) -> Strategy:
        settings = self._settings.whole
        if points := samplers.grid_size(settings.sampler, plan.space):
            # A study that began with another space or sampler holds others, too.
            known = [t for t in study.get_trials(deepcopy=False) if SUPERSEDED not in t.user_attrs]
            settings = settings.at_most(points + samplers.off_grid(known, plan.space))
        elif plan.strategy and not plan.space.searched and not settings.custom_search_space:
            settings = settings.at_most(1)  # all others would be the same
        settings = settings.at_most(settings.limits.get(str(plan.strategy), settings.n_trials))
        custom = self._planner.custom_space()
        folder = self._folder.absolute()
        return Strategy(study, plan, settings, index, count, custom, self._recall, folder)

    def _recall(self, number: int, trial: FrozenTrial) -> Mapping[str, Any] | None:
        """Returns the result that the job of a trial left in its folder alone, if it had ended."""
        config = copy.deepcopy(self._config)
        with open_dict(config):
            config.hydra.job.num, config.hydra.job.id = number, str(number)
        try:
            folder = Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir
        except OmegaConfBaseException:  # the name depends on values that only the job has
            return None
        return left_in(folder, trial, self._settings.recall)

    def _run(self, strategies: list[Strategy], signals: Signals, require_held: RequireHeld) -> None:
        observers = Observers(instantiate(self._settings.observers) or [])
        earlier = chain.from_iterable(strategy.resume() for strategy in strategies)
        in_order = sorted(earlier, key=lambda trial: trial.number)
        shares = {strategy.name or "": strategy.settings.n_trials for strategy in strategies}
        info = SweepInfo(
            study_name=self._name,
            storage=self._address.shown,
            folder=str(self._folder),
            directions=self._settings.directions,
            # In the user's order; empty without strategies.
            strategies={str(name): shares[str(name)] for name in self._settings.strategies or {}},
            n_trials=sum(shares.values()),
            done=sum(strategy.budget.done for strategy in strategies),
            slots=self._slots(),
        )
        log.info("Study %s in %s", info.study_name, info.storage)
        log.info("%d of %d trials are done; %d at once", info.done, info.n_trials, info.slots)
        if self._streams and info.done < info.n_trials:
            self.launcher.prepare()  # workers start while observers open their stores
        added = observers.tell("on_start", info, in_order)
        overrides = [*masked_overrides(self._config), *chain.from_iterable(filter(None, added))]
        write = functools.partial(
            sweep_files.write_results, strategies, self._folder, self._address.shown
        )
        loop = Loop(strategies, self.launcher, observers, overrides, write, require_held)
        end = None
        try:
            with reaching(self._address):
                end = loop.run(signals)
        except (KeyboardInterrupt, SystemExit):
            end = SweepEnd(EndReason.INTERRUPTED, loop.done, loop.n_trials)
            raise
        except BaseException as error:
            cause = type(error.__cause__ or error).__name__
            end = SweepEnd(EndReason.FAILED, loop.done, loop.n_trials, error=cause)
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

    def _slots(self) -> int:
        return self.launcher.slots if self._streams else self._settings.n_jobs
