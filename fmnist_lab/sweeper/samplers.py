"""Samplers and pruners, built from their configuration for the study at hand."""

import inspect
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from math import prod
from typing import Any

import numpy as np
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, GridSampler, QMCSampler
from optuna.trial import FrozenTrial

from fmnist_lab.errors import Phrase
from fmnist_lab.sweeper.settings import SweepRequestError
from fmnist_lab.sweeper.space import Space, grid

_DEFAULT = {"_target_": "optuna.samplers.TPESampler"}
_REMOVED = "optuna.samplers.MOTPESampler"  # of Optuna 3, which the 1.3 plugin offers as motpe
# Optuna imports these packages when the first trials are done: too late to say what is missing.
_PACKAGES: dict[type[BaseSampler], str] = {CmaEsSampler: "cmaes", GPSampler: "torch"}


class SequenceSampler(QMCSampler):
    """A quasi-random sequence whose first n points do not depend on interruptions.

    Optuna's sampler learns the space from trials that exist, so its first trial is a random one.
    It spends a point on a trial whose parameters are fixed, such as one that is repeated. And it
    counts a point as spent before a trial has it, so that a kill in between skips the point.
    Here the search space is known beforehand and points are counted on the trials.
    """

    def __init__(self, search_space: Mapping[str, BaseDistribution], **settings: Any) -> None:
        super().__init__(**settings)
        self._space = dict(search_space)
        self._counted = 0  # trials that have ended before any that has not: they stay as they are
        self._spent = 0  # points that those have

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Returns the whole space; nothing where all parameters are fixed."""
        return {} if self._is_fixed(trial) else self._space

    def _find_sample_id(self, study: Study, search_space: dict[str, BaseDistribution]) -> int:
        trials = study.get_trials(deepcopy=False)
        while self._counted < len(trials) and trials[self._counted].state.is_finished():
            self._spent += self._has_point(trials[self._counted])
            self._counted += 1
        return self._spent + sum(map(self._has_point, trials[self._counted :]))

    def _has_point(self, trial: FrozenTrial) -> bool:
        return self._space.keys() <= trial.params.keys() and not self._is_fixed(trial)

    def _is_fixed(self, trial: FrozenTrial) -> bool:
        fixed: dict[str, Any] = trial.system_attrs.get("fixed_params", {})
        return self._space.keys() <= fixed.keys()


def build_sampler(config: Any, space: Space, stored_trials: int, at_once: int) -> BaseSampler:
    """Builds the sampler that continues a study.

    Args:
        config: The group `hydra/sweeper/sampler`, or a sampler.
        space: The search space.
        stored_trials: How many trials the study holds. A new study takes the seed as it is;
            one that continues must not repeat the suggestions that the seed has given.
        at_once: How many trials run side by side.

    Raises:
        SweepRequestError: The sampler does not exist or does not fit.
    """
    if isinstance(config, BaseSampler):
        return config
    # Null is every sampler's own default; keys that Optuna has dropped may be null, too.
    settings = {key: value for key, value in _plain(config).items() if value is not None}
    settings = settings or dict(_DEFAULT)
    settings.pop("_partial_", None)
    kind = _kind(settings)
    if kind is QMCSampler:
        settings["_target_"] = f"{__name__}.{SequenceSampler.__name__}"
        settings["search_space"] = space.distributions
    elif issubclass(kind, GridSampler):
        settings["search_space"] = _grid_space(space)
    elif stored_trials and "seed" in settings:
        # Sequences and grids go on by the number of trials; any other must not start again.
        sequence = np.random.SeedSequence([abs(settings["seed"]), stored_trials])
        settings["seed"] = int(sequence.generate_state(1)[0])
    if "constant_liar" in inspect.signature(kind).parameters:
        settings.setdefault("constant_liar", at_once > 1)
    sampler: BaseSampler = _build("sampler", BaseSampler, settings)
    return sampler


def build_pruner(config: Any) -> BasePruner:
    """Builds the pruner of the group `hydra/sweeper/pruner`; null prunes nothing."""
    if isinstance(config, BasePruner):
        return config
    pruner: BasePruner = _build("pruner", BasePruner, _plain(config)) if config else NopPruner()
    return pruner


def is_grid(config: Any) -> bool:
    """Whether this configures Optuna's grid sampler."""
    if isinstance(config, BaseSampler):
        return isinstance(config, GridSampler)
    return issubclass(_kind(_plain(config) or _DEFAULT), GridSampler)


def grid_size(space: Space) -> int:
    """How many points a grid has."""
    return prod(len(values) for values in _grid_space(space).values())


def _kind(settings: Mapping[str, Any]) -> type:
    """The sampler's class; `object` for a function that makes one.

    Raises:
        SweepRequestError: There is none of that name, or a package that it needs is missing.
    """
    key, target = "hydra/sweeper/sampler", settings.get("_target_")
    if target == _REMOVED:
        hint = "hydra/sweeper/sampler=tpe handles several objectives"
        raise SweepRequestError(key, "be a sampler that Optuna has", Phrase("motpe"), hint)
    try:
        found = get_object(str(target))
    except Exception as error:
        raise SweepRequestError(f"{key}._target_", "be importable", target, str(error)) from error
    kind = found if isinstance(found, type) else object
    for needy, package in _PACKAGES.items():
        if issubclass(kind, needy) and not find_spec(package):
            raise SweepRequestError(
                key, "be one whose packages are installed", target, f"pip install {package}"
            )
    return kind


def _build(kind: str, base: type[Any], settings: dict[str, Any]) -> Any:
    key, target = f"hydra/sweeper/{kind}", settings.get("_target_")
    search_space = settings.pop("search_space", None)  # OmegaConf cannot hold distributions
    extra = {} if search_space is None else {"search_space": search_space}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # choosing it is consent
            built = instantiate(settings, **extra, _convert_="all")
    except Exception as error:
        cause = str(error.__cause__ or error)
        raise SweepRequestError(key, "be one that can be built", target, cause) from error
    if not isinstance(built, base):
        raise SweepRequestError(key, f"be an Optuna {kind}", Phrase(type(built).__name__))
    return built


def _plain(config: Any) -> dict[str, Any]:
    if OmegaConf.is_config(config):
        config = OmegaConf.to_container(config, resolve=True)
    if not isinstance(config or {}, Mapping):
        raise SweepRequestError("hydra/sweeper/sampler and pruner", "be groups", config)
    return {str(key): value for key, value in (config or {}).items()}


def _grid_space(space: Space) -> dict[str, list[Any]]:
    values: dict[str, list[Any]] = {}
    for name, distribution in space.distributions.items():
        try:
            values[name] = grid(distribution)
        except ValueError:
            rule = "be a choice or a range with the grid sampler"
            raise SweepRequestError(name, rule, distribution) from None
    return values
