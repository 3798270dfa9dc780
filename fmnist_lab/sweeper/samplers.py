"""Samplers and pruners, built from their configuration for the study at hand."""

import logging
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from math import prod
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import OmegaConf
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, GridSampler

from fmnist_lab.sweeper.ranges import grid
from fmnist_lab.sweeper.settings import SweepRequestError
from fmnist_lab.sweeper.space import Space

log = logging.getLogger(__name__)

# They go through a sequence by the number of trials: another seed would be another sequence.
_SEQUENCES = ("GridSampler", "QMCSampler")
# Optuna imports these when the first trials are done: too late to say that they are missing.
_NEEDED = {"CmaEsSampler": "cmaes", "GPSampler": "torch"}


def build_sampler(config: Any, space: Space, stored_trials: int, at_once: int) -> BaseSampler:
    """The sampler that continues a study.

    Args:
        config: The group `hydra/sweeper/sampler`, or a sampler.
        space: The search space, which a grid needs.
        stored_trials: How many trials the study holds. A new study takes the seed as it is;
            one that continues must not repeat what the seed has suggested already.
        at_once: How many trials run side by side.

    Raises:
        SweepRequestError: The sampler does not exist or does not fit.
    """
    if isinstance(config, BaseSampler):
        return config
    settings = _plain(config)
    target = str(settings.get("_target_", "optuna.samplers.TPESampler"))
    _require_available(target)
    if stored_trials and not target.endswith(_SEQUENCES):
        settings["seed"] = _next_seed(settings.get("seed"), stored_trials)
    # Null is every sampler's own default, and some keys will go with Optuna 6.
    settings = {key: value for key, value in settings.items() if value is not None}
    if target.endswith("TPESampler"):
        settings.setdefault("constant_liar", at_once > 1)
    if target.endswith("QMCSampler"):
        settings["_target_"] = "fmnist_lab.sweeper.quasi_random.SequenceSampler"
    sampler: BaseSampler = _build("sampler", BaseSampler, settings, _extra(settings, target, space))
    return sampler


def _require_available(target: str) -> None:
    if target.endswith("MOTPESampler") or "motpe" in target:
        raise SweepRequestError(
            "`hydra/sweeper/sampler` must be one that Optuna has, got motpe: "
            "use hydra/sweeper/sampler=tpe, which handles several objectives."
        )
    package = _NEEDED.get(target.rpartition(".")[2])
    if package and not find_spec(package):
        raise SweepRequestError(
            f"`hydra/sweeper/sampler` must be one whose packages are installed, got {target}: "
            f"pip install {package}"
        )


def _extra(settings: dict[str, Any], target: str, space: Space) -> dict[str, Any]:
    """Arguments that no configuration file can hold; takes their keys out of the settings."""
    extra: dict[str, Any] = {}
    if target.endswith("GridSampler"):
        settings.pop("_partial_", None)
        extra["search_space"] = _grid_space(space)
    if target.endswith("QMCSampler"):
        extra["space"] = space.distributions
    if "reference_points" in settings:
        extra["reference_points"] = np.asarray(settings.pop("reference_points"), dtype=float)
    return extra


def build_pruner(config: Any) -> BasePruner:
    """The pruner of the group `hydra/sweeper/pruner`; null prunes nothing."""
    if isinstance(config, BasePruner):
        return config
    return _build("pruner", BasePruner, _plain(config), {}) if config else NopPruner()


def grid_size(space: Space) -> int:
    """How many points a grid has."""
    return prod(len(values) for values in _grid_space(space).values())


def is_grid(config: Any) -> bool:
    """Whether this configures Optuna's grid sampler."""
    if isinstance(config, BaseSampler):
        return isinstance(config, GridSampler)
    return str(_plain(config).get("_target_")).endswith("GridSampler")


def _build(kind: str, base: type[Any], settings: dict[str, Any], extra: dict[str, Any]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # choosing it is consent
            built = instantiate(settings, **extra, _convert_="all")
    except Exception as error:
        cause = error.__cause__ or error
        raise SweepRequestError(
            f"`hydra/sweeper/{kind}` must be one that can be built, got "
            f"{settings.get('_target_')}: {cause}"
        ) from error
    if not isinstance(built, base):
        raise SweepRequestError(
            f"`hydra/sweeper/{kind}` must be an Optuna {kind}, got {type(built).__name__}."
        )
    return built


def _plain(config: Any) -> dict[str, Any]:
    if config is None:
        return {}
    if OmegaConf.is_config(config):
        config = OmegaConf.to_container(config, resolve=True)
    if not isinstance(config, Mapping):
        raise SweepRequestError(
            f"`hydra.sweeper.sampler` and `pruner` must be configured by groups, got {config!r}."
        )
    return {str(key): value for key, value in config.items()}


def _grid_space(space: Space) -> dict[str, list[Any]]:
    values: dict[str, list[Any]] = {}
    for name, distribution in space.distributions.items():
        try:
            values[name] = grid(distribution)
        except ValueError:
            raise SweepRequestError(
                f"`{name}` must be a choice or a range with the grid sampler, got {distribution}."
            ) from None
    return values


def _next_seed(seed: int | None, stored_trials: int) -> int | None:
    if seed is None:
        return None
    return int(np.random.SeedSequence([abs(seed), stored_trials]).generate_state(1)[0])
