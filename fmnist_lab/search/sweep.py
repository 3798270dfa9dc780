"""A sweep from the sweeper's configuration to its results."""

import functools
import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import CategoricalDistribution

from fmnist_lab.search import results, samplers, space
from fmnist_lab.search.budget import Budget
from fmnist_lab.search.controller import one_controller
from fmnist_lab.search.job import Channel, RecordedTask
from fmnist_lab.search.loop import Loop
from fmnist_lab.search.observers import Observers, SweepInfo
from fmnist_lab.search.secrets import masked_config, masked_overrides
from fmnist_lab.search.settings import Settings, SweepRequestError
from fmnist_lab.search.signals import Signals
from fmnist_lab.search.storage import StorageAddress, locate, open_storage
from fmnist_lab.search.study import open_study
from fmnist_lab.search.trials import Trials
from fmnist_lab.streaming import StreamingLauncher

log = logging.getLogger(__name__)


class Sweep:
    """One sweep of one study."""

    def __init__(
        self,
        settings: Settings,
        hydra_context: HydraContext,
        config: DictConfig,
        address: StorageAddress,
        study_name: str,
    ) -> None:
        self._settings = settings
        self._hydra_context = hydra_context
        self._config = config
        self._address = address
        self._study_name = study_name
        self._folder = Path(config.hydra.sweep.dir)
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
        recorded = RecordedTask(task, Channel(address, name, pruner))
        sweep.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=recorded, config=masked_config(config)
        )
        if not isinstance(sweep.launcher, StreamingLauncher):
            # Hydra's launchers start local children or write the task to a file.
            recorded.channel = Channel(address.through_environment(), name, pruner)
        return sweep

    def run(self, arguments: list[str]) -> None:
        """Runs the sweep.

        Raises:
            SweepRequestError: What was asked cannot be searched, or is searched by somebody else.
        """
        searched = self._read_space(arguments)
        self._validate(searched)
        samplers.build_sampler(self._settings.sampler, searched, 0, 1)  # or is refused now
        results.write_multirun(self._config, self._folder)
        with one_controller(self._address, self._study_name, self._folder) as hold, Signals() as on:
            storage = open_storage(self._address)
            study = open_study(storage, self._study_name, self._settings, searched, self._slots())
            hold(study)
            custom = self._custom_space()
            trials = Trials(study, searched, self._settings.retries, custom)
            self._run(trials, on)

    def _run(self, trials: Trials, signals: Signals) -> None:
        settings = self._limit_to_grid(trials.space)
        budget, observers = Budget(settings), Observers(instantiate(settings.observers) or [])
        trials.reap()
        trials.enqueue(_mappings(settings.enqueue))
        earlier = trials.ended()
        for trial in earlier:
            budget.observe(trial)
        info = self._describe(settings, budget.done)
        _log_start(info, trials.study)
        observers.tell("on_start", info, earlier)
        loop = Loop(trials, self.launcher, settings, budget, observers, self._job_overrides())
        loop.on_told = functools.partial(self._write, trials, None)
        with self._reporting(trials, observers) as ending:
            ending.append(loop.run(signals))

    @contextmanager
    def _reporting(self, trials: Trials, observers: Observers) -> Iterator[list[str]]:
        """Writes the results and tells the observers, however the sweep ends."""
        ending: list[str] = []
        try:
            yield ending
        except (KeyboardInterrupt, SystemExit):
            ending.append("interrupted")
            raise
        except BaseException as error:
            ending.append(f"failed: {type(error).__name__}")
            raise
        finally:
            self._write(trials, ending[-1])
            log.info("The sweep ended: %s.", ending[-1])
            log.info("Results: %s", self._folder / results.RESULTS)
            if ending[-1] == "interrupted":
                log.info("To continue, give the same command and hydra.sweep.dir=%s", self._folder)
            observers.tell("on_end", ending[-1])

    def _write(self, trials: Trials, ended: str | None) -> None:
        results.write_results(trials.study, trials.space, self._folder, self._address.shown, ended)

    def _read_space(self, arguments: list[str]) -> space.Space:
        params = [f"{key}={value}" for key, value in (self._settings.params or {}).items()]
        described = space.described(self._settings.search_space)
        loader = self._hydra_context.config_loader
        return space.parse([*params, *arguments], loader, described)

    def _validate(self, searched: space.Space) -> None:
        """Composes a job's configuration, and one for each option of each searched group.

        A mistyped key is found here, before there is a trial or a folder.
        """
        first = {name: _first(item) for name, item in searched.distributions.items()}
        attempts = [first]
        loader = self._hydra_context.config_loader
        for name, distribution in searched.distributions.items():
            if not isinstance(distribution, CategoricalDistribution):
                continue
            if loader.get_group_options(name.lstrip("+").partition("@")[0]):
                attempts += [first | {name: choice} for choice in distribution.choices[1:]]
        for params in attempts:
            overrides = [*searched.overrides(params), *self._job_overrides()]
            loader.load_sweep_config(self._config, overrides)

    def _custom_space(self) -> Any:
        if not self._settings.custom_search_space:
            return None
        try:
            custom = get_method(self._settings.custom_search_space)
        except Exception as error:
            raise SweepRequestError(
                "`hydra.sweeper.custom_search_space` must be the dotted path of a function, "
                f"got {self._settings.custom_search_space!r}: {error}"
            ) from error
        return functools.partial(custom, self._config)

    def _limit_to_grid(self, searched: space.Space) -> Settings:
        if not samplers.is_grid(self._settings.sampler):
            return self._settings
        return self._settings.at_most(samplers.grid_size(searched))

    def _slots(self) -> int:
        streams = isinstance(self.launcher, StreamingLauncher)
        return self.launcher.slots if streams else self._settings.n_jobs

    def _job_overrides(self) -> list[str]:
        return masked_overrides(self._config)

    def _describe(self, settings: Settings, done: int) -> SweepInfo:
        return SweepInfo(
            study_name=self._study_name,
            storage=self._address.shown,
            folder=str(self._folder),
            directions=settings.directions,
            strategies=[],
            n_trials=settings.n_trials,
            done=done,
            slots=self._slots(),
        )


def _first(distribution: optuna.distributions.BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    return getattr(distribution, "low")  # noqa: B009 - all others have an interval


def _mappings(enqueue: Any) -> list[Any]:
    if OmegaConf.is_config(enqueue):
        enqueue = OmegaConf.to_container(enqueue, resolve=True)
    for params in enqueue or []:
        if not isinstance(params, dict):
            raise SweepRequestError(
                f"`hydra.sweeper.enqueue` must be a list of mappings, got {params!r} in it."
            )
    return enqueue or []


def _log_start(info: SweepInfo, study: optuna.Study) -> None:
    log.info("Study %s in %s", info.study_name, info.storage)
    log.info(
        "%d of %d trials are done; %d at once, %s, %s",
        info.done,
        info.n_trials,
        info.slots,
        type(study.sampler).__name__,
        type(study.pruner).__name__,
    )
