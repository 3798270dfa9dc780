"""What a sweep will try: one plan for everything, or one for each strategy."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, flag_override
from optuna.distributions import BaseDistribution, CategoricalDistribution

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation import instantiate
from fmnist_lab.foundation.secrets import mask
from fmnist_lab.sweeper import space
from fmnist_lab.sweeper import spaces as beside
from fmnist_lab.sweeper.settings import Settings, SweepRequestError
from fmnist_lab.sweeper.space import Space


@dataclass(frozen=True)
class Plan:
    """One study: its name, what is searched, and the configuration around that."""

    study_name: str
    strategy: str | None
    space: Space
    configuration: Mapping[str, Any] = field(default_factory=dict)  # dotted keys; must not change


def study_names(settings: Settings, name: str) -> dict[str | None, str]:
    """The studies by strategy, in the order in which they take trial numbers."""
    # Sorted, so that a file may list its strategies in another order the next day.
    return {strategy: f"{name}/{strategy}" for strategy in sorted(settings.strategies or {})} or {
        None: name
    }


class Planner:
    """Reads the sweeper's settings and the command line."""

    def __init__(self, settings: Settings, loader: ConfigLoader, config: DictConfig) -> None:
        self._settings = settings
        self._loader = loader
        self._config = config

    def plans(self, name: str, arguments: Sequence[str]) -> list[Plan]:
        """One plan for each study.

        Raises:
            SweepRequestError: Something cannot be searched.
        """
        given = [f"{key}={value}" for key, value in (self._settings.params or {}).items()]
        described = space.described(self._settings.search_space)
        names = study_names(self._settings, name)
        if None in names:
            searched = space.parse([*given, *arguments], self._loader, described)
            return [Plan(name, None, searched)]
        return [
            self._plan(study, str(strategy), given, arguments, described)
            for strategy, study in names.items()
        ]

    def validate(self, plans: Sequence[Plan], job_overrides: Sequence[str]) -> None:
        """Composes a job of each plan, and one for each option of each searched group.

        And one for each type of a key's choices: a word among numbers is a slip.

        A mistake is found here, before there is a trial or a folder.
        """
        self.custom_space()
        self._require_observers()
        self._method("recall", "folder", "since")
        check = self._method("check", "cfg")
        check_together = self._method("check_together", "cfgs", "choices", "directions")
        jobs = [
            self._job([*plan.space.overrides(params), *job_overrides])
            for plan in plans
            for params in self._attempts(plan.space)
        ]
        check_together(jobs, _choices(plans), self._settings.directions)
        for job in jobs:
            check(job)

    def _job(self, overrides: list[str]) -> DictConfig:
        """The configuration that a job would get."""
        composed = self._loader.load_sweep_config(self._config, overrides)
        with flag_override(composed, ["struct", "readonly"], False):
            del composed["hydra"]
        return composed

    def custom_space(self) -> Any:
        """The user's function that extends each suggestion, if there is one.

        Raises:
            SweepRequestError: There is none of that name, or it takes other arguments.
        """
        if not self._settings.custom_search_space:
            return None
        return functools.partial(self._method("custom_search_space", "cfg", "trial"), self._config)

    def _plan(
        self,
        study: str,
        strategy: str,
        given: Sequence[str],
        arguments: Sequence[str],
        described: Mapping[str, space.Searched],
    ) -> Plan:
        own = self._own_overrides(strategy)
        self._refuse_overlap(own, arguments)
        # What is searched may depend on what is chosen, so that has to be composed first.
        chosen = space.parse([*given, *own, *arguments], self._loader)
        composed = self._loader.load_sweep_config(self._config, chosen.overrides({}))
        spaces_of = self._settings.spaces or []
        spaces = beside.collect(composed, spaces_of)
        stated = [f"{key}={value}" for key, value in spaces.items()]
        searched = space.parse([*stated, *given, *own, *arguments], self._loader, described)
        for key in searched.searched:
            if any(key.lstrip("+").startswith(f"{node}.space.") for node in spaces_of):
                raise SweepRequestError(
                    f"`{key}` must be put in quotes twice, as in \"{key}='interval(0, 1)'\": it "
                    "says what to search and is not searched itself."
                )
        return Plan(study, strategy, searched, self._configuration(composed))

    def _own_overrides(self, strategy: str) -> list[str]:
        stated = (self._settings.strategies or {})[strategy]
        if OmegaConf.is_list(stated):
            stated = OmegaConf.to_container(stated)
        stated = [stated] if isinstance(stated, str) else stated
        if not isinstance(stated, list) or not all(isinstance(item, str) for item in stated):
            raise SweepRequestError(
                f"`hydra.sweeper.strategies.{strategy}` must be an override or a list of "
                f"overrides, got {stated!r}."
            )
        label = self._settings.label
        return [*stated, f"{label}={strategy}"] if label else stated

    def _refuse_overlap(self, own: Sequence[str], arguments: Sequence[str]) -> None:
        parser = OverridesParser.create(config_loader=self._loader)
        keys = {override.get_key_element() for override in parser.parse_overrides(list(own))}
        for argument, override in zip(
            arguments, parser.parse_overrides(list(arguments)), strict=True
        ):
            if override.get_key_element() in keys:
                raise SweepRequestError(
                    f"`{override.get_key_element()}` must be left to the strategies of this "
                    f"sweep, got {argument}."
                )

    def _configuration(self, composed: DictConfig) -> dict[str, Any]:
        """The trial's configuration as plain values, less the keys that may change."""
        free = ["hydra", *(self._settings.may_change or [])]
        free += [f"{node}.space" for node in self._settings.spaces or []]
        # Unresolved: what is computed from other keys changes with these.
        plain = _flatten(OmegaConf.to_container(composed, resolve=False))
        return {
            key: mask(value) if isinstance(value, str) else value
            for key, value in plain.items()
            if not any(f"{key}.".startswith(f"{prefix}.") for prefix in free)
        }

    def _attempts(self, searched: Space) -> list[dict[str, Any]]:
        first = {name: _first(item) for name, item in searched.distributions.items()}
        attempts = [first]
        for name, distribution in searched.distributions.items():
            if not isinstance(distribution, CategoricalDistribution):
                continue
            is_group = self._loader.get_group_options(name.lstrip("+").partition("@")[0])
            others = distribution.choices if is_group else _of_each_type(distribution.choices)
            attempts += [first | {name: choice} for choice in others[1:]]
        return attempts

    def _require_observers(self) -> None:
        for observer in self._settings.observers or []:
            if OmegaConf.is_dict(observer) and "_target_" in observer:
                self._function("observers._target_", observer["_target_"])

    def _method(self, key: str, *arguments: str) -> Any:
        path = getattr(self._settings, key)
        return (lambda *_: None) if path is None else self._function(key, path, *arguments)

    def _function(self, key: str, path: Any, *arguments: str) -> Any:
        key = f"hydra.sweeper.{key}"
        try:
            function = instantiate.function_at(key, path)
            if arguments:
                instantiate.require_arguments(key, function, *arguments)
        except RequestError as error:
            raise SweepRequestError(f"{error}") from error
        return function


def _choices(plans: Sequence[Plan]) -> dict[str, list[Any]]:
    """What any plan chooses from, by key; of a range its ends."""
    found: dict[str, list[Any]] = {}
    for plan in plans:
        for name, distribution in plan.space.distributions.items():
            found.setdefault(name.lstrip("+"), []).extend(_ends(distribution))
    return found


def _first(distribution: BaseDistribution) -> Any:
    return _ends(distribution)[0]


def _ends(distribution: BaseDistribution) -> Sequence[Any]:
    """All choices, or the ends of an interval, which all others have."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    return [getattr(distribution, end) for end in ("low", "high")]


def _of_each_type(choices: Sequence[Any]) -> list[Any]:
    """The first choice, and the first of every other type."""
    found: dict[type, Any] = {}
    for choice in choices:
        found.setdefault(type(choice), choice)
    return list(found.values())


def _flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= _flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
