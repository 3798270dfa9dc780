"""Samplers and pruners, built from their configuration for the study at hand."""

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.util import find_spec
from inspect import Parameter
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from hydra.utils import instantiate
from optuna import Study
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    GridSampler,
    QMCSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial

from fmnist_lab.errors import Phrase
from fmnist_lab.foundation.instantiate import locate, parameters
from fmnist_lab.sweeper.settings import SweepRequestError, plain, sweep_request
from fmnist_lab.sweeper.space import Space, grid

_DEFAULT = {"_target_": "optuna.samplers.TPESampler"}
_UNIT = FloatDistribution(0, 1)
_NO_PRUNER = {"_target_": "optuna.pruners.NopPruner"}
_REMOVED = "optuna.samplers.MOTPESampler"  # of Optuna 3, which the 1.3 plugin offers as motpe
# Optuna imports these packages when the first trials are done: too late to say what is missing.
_PACKAGES: dict[Any, str] = {CmaEsSampler: "cmaes", GPSampler: "torch"}


class SequenceSampler(QMCSampler):
    """A quasi-random sequence whose first n points do not depend on interruptions.

    Optuna's sampler learns the space from trials that exist, so its first trial is a random one.
    It spends a point on a trial whose parameters are fixed, such as one that is repeated. And it
    counts a point as spent before a trial has it, so that a kill in between skips the point.
    Here the search space is known beforehand and points are counted on the trials.

    Scrambling depends on the number of columns, so strategies share a sequence of one width and
    use columns of it: `columns` by key. By default there are as many as keys, in their order.
    """

    def __init__(
        self,
        search_space: Mapping[str, BaseDistribution],
        width: int | None = None,
        columns: Mapping[str, int] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self._space = dict(search_space)
        self._width = width or len(self._space)
        own = columns or {key: column for column, key in enumerate(self._space)}
        self._columns = [own[key] for key in self._space]
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

    def _sample_qmc(
        self, study: Study, search_space: dict[str, BaseDistribution]
    ) -> npt.NDArray[np.float64]:
        point = super()._sample_qmc(study, dict.fromkeys(map(str, range(self._width)), _UNIT))
        return np.asarray(point[:, self._columns])

    def _has_point(self, trial: FrozenTrial) -> bool:
        return self._space.keys() <= trial.params.keys() and not self._is_fixed(trial)

    def _is_fixed(self, trial: FrozenTrial) -> bool:
        fixed: dict[str, Any] = trial.system_attrs.get("fixed_params", {})
        return self._space.keys() <= fixed.keys()


def common_points(strategies: Sequence[Collection[str]]) -> list[dict[str, Any]]:
    """Returns how strategies share one sequence, which is as wide as the widest of them.

    The keys that most of them search come first, among these the learning rate: a key that all
    of them search has one column, and so the same values in all.

    Args:
        strategies: The searched keys of each.

    Returns:
        For each `width`, and `columns` by key, which are arguments of `SequenceSampler`.

    Example:
        >>> common_points([["optimizer.learning_rate"], ["decay", "optimizer.learning_rate"]])[1]
        {'width': 2, 'columns': {'optimizer.learning_rate': 0, 'decay': 1}}
    """
    counts = Counter(key.lstrip("+") for keys in strategies for key in keys)
    places = {key: place for place, key in enumerate(counts)}  # one order for all strategies

    def first(key: str) -> tuple[int, bool, int]:
        key = key.lstrip("+")
        return -counts[key], not key.endswith("learning_rate"), places[key]

    return [
        {
            "width": max(map(len, strategies)),
            "columns": {key: column for column, key in enumerate(sorted(keys, key=first))},
        }
        for keys in strategies
    ]


def build_sampler(
    config: Any,
    space: Space,
    stored_trials: int,
    at_once: int,
    points: Mapping[str, Any] | None = None,
) -> BaseSampler:
    """Builds the sampler that continues a study.

    Args:
        config: The group `hydra/sweeper/sampler`; null is Optuna's default sampler.
        space: The search space.
        stored_trials: How many trials the study holds. A new study takes the seed as it is;
            one that continues must not repeat the suggestions that the seed has given.
        at_once: How many trials run side by side.
        points: Of `common_points`; null: a sequence of its own.

    Raises:
        SweepRequestError: The sampler does not exist or does not fit.
    """
    kind, settings = _read("sampler", config or _DEFAULT)
    extra: dict[str, Any] = {}
    if kind is QMCSampler:
        kind, extra = SequenceSampler, {"search_space": space.distributions, **(points or {})}
    elif kind is GridSampler:
        extra = {"search_space": _grid_space(space)}
    elif stored_trials and "seed" in settings:
        # Sequences and grids go on by the number of trials; any other must not start again.
        sequence = np.random.SeedSequence([abs(settings["seed"]), stored_trials])
        settings["seed"] = int(sequence.generate_state(1)[0])
    if kind is TPESampler:
        settings.setdefault("constant_liar", at_once > 1)
        if config:
            settings.setdefault("multivariate", False)
    sampler: BaseSampler = _build("sampler", BaseSampler, kind, settings, extra)
    return sampler


def build_pruner(config: Any) -> BasePruner:
    """Builds the pruner of the group `hydra/sweeper/pruner`; null prunes nothing."""
    pruner: BasePruner = _build("pruner", BasePruner, *_read("pruner", config or _NO_PRUNER))
    return pruner


def grid_size(config: Any, space: Space) -> int | None:
    """Returns how many points the grid of a configured sampler has; None if it has no grid."""
    if _read("sampler", config or _DEFAULT)[0] is not GridSampler:
        return None
    return prod(map(len, _grid_space(space).values()))


def off_grid(trials: Sequence[FrozenTrial], space: Space) -> int:
    """Counts trials that the grid sampler does not take for points of this grid."""
    grid_space = _grid_space(space)
    marks = [trial.system_attrs for trial in trials]
    return sum("fixed_params" not in m and m.get("search_space") != grid_space for m in marks)


def _read(group: str, config: Any) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Returns the class that a node names, and the arguments that it sets.

    Raises:
        SweepRequestError: There is no such class or argument, or a package is missing.
    """
    option, key = f"hydra/sweeper/{group}", f"hydra.sweeper.{group}"
    node = plain(config)
    if not isinstance(node, Mapping):
        raise SweepRequestError(option, "be a group", node)
    target = node.get("_target_")
    if target == _REMOVED:
        hint = "hydra/sweeper/sampler=tpe handles several objectives"
        raise SweepRequestError(option, "be a sampler that Optuna has", Phrase("motpe"), hint)
    with sweep_request():
        kind = locate(key, node)
        taken = parameters(key, kind)
    if (package := _PACKAGES.get(kind)) and not find_spec(package):
        hint = f"pip install {package}"
        raise SweepRequestError(option, "be one whose packages are installed", target, hint)
    settings = {}
    for name, value in node.items():
        default = taken[name].default if name in taken else None
        # Null is every argument's default; arguments that Optuna has dropped may be null, too.
        if name.startswith("_") or (value is None and default is not Parameter.empty):
            continue
        if name not in taken:
            hint = f"allowed keys: {', '.join(taken)}"
            raise SweepRequestError(f"{key}.{name}", "be an argument of its class", value, hint)
        if isinstance(default, int | float) and not isinstance(value, int | float):
            raise SweepRequestError(f"{key}.{name}", f"be a number such as {default}", value)
        settings[name] = value
    return kind, settings


def _build(
    group: str,
    base: type[Any],
    kind: Callable[..., Any],
    settings: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
) -> Any:
    option = f"hydra/sweeper/{group}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # choosing it is consent
            # Arguments may be nodes; the search space's `${key}` is the job's to resolve.
            built = kind(**instantiate(settings, _convert_="all"), **(extra or {}))
    except Exception as error:
        rule, got = "be one that can be built", Phrase(getattr(kind, "__name__", kind))
        raise SweepRequestError(option, rule, got, str(error.__cause__ or error)) from error
    if not isinstance(built, base):
        raise SweepRequestError(option, f"be an Optuna {group}", Phrase(type(built).__name__))
    return built


def _grid_space(space: Space) -> dict[str, list[Any]]:
    values: dict[str, list[Any]] = {}
    for name, distribution in space.distributions.items():
        try:
            values[name] = grid(distribution)
        except ValueError:
            rule = "be a choice or a range with the grid sampler"
            raise SweepRequestError(name, rule, distribution) from None
    return values
