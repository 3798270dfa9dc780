"""The studies that a sweep will run: one for everything, or one for each strategy."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, flag_override
from optuna.distributions import BaseDistribution, CategoricalDistribution

from fmnist_lab.errors import Phrase
from fmnist_lab.foundation import instantiate
from fmnist_lab.foundation.secrets import mask
from fmnist_lab.sweeper.settings import Settings, SweepRequestError, sweep_request
from fmnist_lab.sweeper.space import Space, collect, described, parse


@dataclass(frozen=True)
class Plan:
    """One study: its name, what is searched, and the configuration around that."""

    study_name: str
    strategy: str | None
    space: Space
    configuration: Mapping[str, Any] = field(default_factory=dict)  # dotted keys; must not change


def study_names(settings: Settings, name: str) -> dict[str | None, str]:
    """Returns the studies by strategy, in the order in which they take trial numbers."""
    # Sorted, so that a file may list its strategies in another order the next day.
    return {strategy: f"{name}/{strategy}" for strategy in sorted(settings.strategies or {})} or {
        None: name
    }


class Planner:
    """Makes plans from the sweeper's settings and the command line."""

    def __init__(self, settings: Settings, loader: ConfigLoader, config: DictConfig) -> None:
        self._settings = settings
        self._loader = loader
        self._config = config

    def plans(self, name: str, arguments: Sequence[str]) -> list[Plan]:
        """Returns one plan for each study.

        Raises:
            SweepRequestError: Something cannot be searched.
        """
        names = study_names(self._settings, name)
        return [self._plan(study, strategy, arguments) for strategy, study in names.items()]

    def validate(self, plans: Sequence[Plan], job_overrides: Sequence[str]) -> None:
        """Composes and checks jobs of each plan, before there is a trial or a folder.

        One job for each option of each searched group, and one for each type of a key's other
        choices: a word among numbers is a slip.
        """
        self.custom_space()
        for observer in self._settings.observers or []:
            if OmegaConf.is_dict(observer) and "_target_" in observer:
                self._function("observers._target_", observer["_target_"])
        self._setting("recall", "folder", "since")
        check = self._setting("check", "cfg")
        check_together = self._setting("check_together", "cfgs", "choices", "directions")
        jobs = []
        choices: dict[str, list[Any]] = {}
        for plan in plans:
            for params in self._attempts(plan.space):
                overrides = [*plan.space.overrides(params), *job_overrides]
                job = self._loader.load_sweep_config(self._config, overrides)
                with flag_override(job, ["struct", "readonly"], False):
                    del job["hydra"]
                jobs.append(job)
            for key, distribution in plan.space.distributions.items():
                choices.setdefault(key.lstrip("+"), []).extend(_ends(distribution))
        if check_together:
            check_together(jobs, choices, self._settings.directions)
        for job in jobs if check else ():
            check(job)

    def custom_space(self) -> Any:
        """Returns the user's function that extends each suggestion, if there is one.

        Raises:
            SweepRequestError: There is none of that name, or it takes other arguments.
        """
        custom = self._setting("custom_search_space", "cfg", "trial")
        return custom and functools.partial(custom, self._config)

    def _plan(self, study: str, strategy: str | None, arguments: Sequence[str]) -> Plan:
        given = [f"{key}={value}" for key, value in (self._settings.params or {}).items()]
        known = described(self._settings.search_space)
        if strategy is None:
            return Plan(study, None, parse([*given, *arguments], self._loader, known))
        own = self._own_overrides(strategy)
        self._refuse_overlap(own, arguments)
        # What is searched may depend on what is chosen, so that has to be composed first.
        chosen = parse([*given, *own, *arguments], self._loader)
        composed = self._loader.load_sweep_config(self._config, chosen.overrides({}))
        nodes = self._settings.spaces or []
        stated = [f"{key}={value}" for key, value in collect(composed, nodes).items()]
        space = parse([*stated, *given, *own, *arguments], self._loader, known)
        for key in space.searched:
            if any(key.lstrip("+").startswith(f"{node}.space.") for node in nodes):
                raise SweepRequestError(
                    key,
                    f"be put in quotes twice, as in \"{key}='interval(0, 1)'\"",
                    Phrase("a search of the space itself"),
                    "it says what to search and is not searched",
                )
        return Plan(study, strategy, space, self._configuration(composed))

    def _own_overrides(self, strategy: str) -> list[str]:
        stated = (self._settings.strategies or {})[strategy]
        if OmegaConf.is_list(stated):
            stated = OmegaConf.to_container(stated)
        stated = [stated] if isinstance(stated, str) else stated
        if not isinstance(stated, list) or not all(isinstance(item, str) for item in stated):
            rule = "be an override or a list of overrides"
            raise SweepRequestError(f"hydra.sweeper.strategies.{strategy}", rule, stated)
        label = self._settings.label
        return [*stated, f"{label}={strategy}"] if label else stated

    def _refuse_overlap(self, own: Sequence[str], arguments: Sequence[str]) -> None:
        parser = OverridesParser.create(config_loader=self._loader)
        keys = {override.get_key_element() for override in parser.parse_overrides(list(own))}
        for override in parser.parse_overrides(list(arguments)):
            if (key := override.get_key_element()) in keys:
                rule = "be left to the strategies of this sweep"
                raise SweepRequestError(key, rule, Phrase(override.input_line))

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

    def _attempts(self, space: Space) -> list[dict[str, Any]]:
        first = {name: _ends(item)[0] for name, item in space.distributions.items()}
        attempts = [first]
        for name, distribution in space.distributions.items():
            if not isinstance(distribution, CategoricalDistribution):
                continue
            others: Sequence[Any] = distribution.choices[1:]
            if not self._loader.get_group_options(name.lstrip("+").partition("@")[0]):
                # The first of each other type; a dictionary keeps the last that it is given.
                by_type = {type(choice): choice for choice in reversed(others)}
                by_type.pop(type(first[name]), None)
                others = list(by_type.values())
            attempts += [first | {name: choice} for choice in others]
        return attempts

    def _setting(self, key: str, *arguments: str) -> Any:
        """The function that a setting names, None where it names none."""
        path = getattr(self._settings, key)
        return None if path is None else self._function(key, path, *arguments)

    def _function(self, key: str, path: Any, *arguments: str) -> Any:
        with sweep_request():
            function = instantiate.function_at(f"hydra.sweeper.{key}", path)
            if arguments:
                instantiate.require_arguments(f"hydra.sweeper.{key}", function, *arguments)
        return function


def _ends(distribution: BaseDistribution) -> Sequence[Any]:
    """All choices, or the ends of an interval."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    return [getattr(distribution, end) for end in ("low", "high")]  # which all others have


def _flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= _flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
