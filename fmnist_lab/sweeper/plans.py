"""The studies of a sweep, one for everything or one for each strategy: planned, then opened."""

import functools
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, flag_override
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    check_distribution_compatibility,
)
from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from fmnist_lab.errors import Phrase
from fmnist_lab.foundation import instantiate
from fmnist_lab.foundation.nested import flatten
from fmnist_lab.foundation.secrets import mask
from fmnist_lab.sweeper import samplers
from fmnist_lab.sweeper.settings import (
    ChangedSweepError,
    Settings,
    SweepRequestError,
    plain,
    sweep_request,
)
from fmnist_lab.sweeper.space import Space, bare_key, collect, described, parse

log = logging.getLogger(__name__)

# User attributes of studies.
SPACE = "sweep:space"
FIXED = "sweep:fixed"
CONFIGURATION = "sweep:configuration"
STRATEGIES = "sweep:strategies"
POINTS = "sweep:points"  # how the study uses the sequence that all strategies share
_ADVICE = "take another hydra.sweeper.study_name and folder"


@dataclass(frozen=True)
class Plan:
    """One study: its name, what is searched, and the configuration around that."""

    study_name: str
    strategy: str | None
    space: Space  # which the study began with, and by which it is known
    configuration: Mapping[str, Any] = field(default_factory=dict)  # dotted keys; must not change
    recentred: Mapping[str, Sequence[float]] = field(default_factory=dict)  # ends by key

    @property
    def searched(self) -> Space:
        """Where new trials are searched."""
        return self.space.within(self.recentred)


def study_names(settings: Settings, name: str) -> dict[str | None, str]:
    """Returns the studies by strategy, in the order in which they take trial numbers."""
    # Sorted, so that a file may list its strategies in another order the next day.
    return {strategy: f"{name}/{strategy}" for strategy in sorted(settings.strategies or {})} or {
        None: name
    }


@dataclass(frozen=True)
class Planner:
    """Makes plans from the sweeper's settings and the command line."""

    settings: Settings
    loader: ConfigLoader
    config: DictConfig

    def plans(self, name: str, arguments: Sequence[str]) -> list[Plan]:
        """Returns one plan for each study.

        Raises:
            SweepRequestError: Something cannot be searched.
        """
        names = study_names(self.settings, name)
        return [self._plan(study, strategy, arguments) for strategy, study in names.items()]

    def validate(self, plans: Sequence[Plan], job_overrides: Sequence[str]) -> None:
        """Composes and checks jobs of each plan, before there is a trial or a folder.

        One job for each option of each searched group, and one for each type of a key's other
        choices: a word among numbers is a slip.
        """
        self.custom_space()
        for observer in self.settings.observers or []:
            if OmegaConf.is_dict(observer) and "_target_" in observer:
                with sweep_request():
                    instantiate.locate("hydra.sweeper.observers", observer)
        self._function("recall", "folder", "since")
        check = self._function("check", "cfg")
        check_together = self._function("check_together", "cfgs", "choices", "directions")
        jobs = []
        choices: dict[str, list[Any]] = {}
        for plan in plans:
            for params in self._attempts(plan.searched):
                overrides = [*plan.space.overrides(params), *job_overrides]
                job = self.loader.load_sweep_config(self.config, overrides)
                with flag_override(job, ["struct", "readonly"], False):
                    del job["hydra"]
                jobs.append(job)
            for key, distribution in plan.space.distributions.items():
                choices.setdefault(key.lstrip("+"), []).extend(_shown_values(distribution))
        if check_together:
            check_together(jobs, choices, self.settings.directions)
        for job in jobs if check else ():
            check(job)

    def custom_space(self) -> Any:
        """Returns the user's function that extends each suggestion, if there is one.

        Raises:
            SweepRequestError: There is none of that name, or it takes other arguments.
        """
        custom = self._function("custom_search_space", "cfg", "trial")
        return custom and functools.partial(custom, self.config)

    def _plan(self, study: str, strategy: str | None, arguments: Sequence[str]) -> Plan:
        given = [f"{key}={value}" for key, value in (self.settings.params or {}).items()]
        known = described(self.settings.search_space)
        if strategy is None:
            return Plan(study, None, parse([*given, *arguments], self.loader, known))
        own = self._own_overrides(strategy)
        self._refuse_overlap(own, arguments)
        # What is searched may depend on what is chosen, so that has to be composed first.
        chosen = parse([*given, *own, *arguments], self.loader)
        composed = self.loader.load_sweep_config(self.config, chosen.overrides({}))
        nodes = self.settings.spaces or []
        stated = [f"{key}={value}" for key, value in collect(composed, nodes).items()]
        space = parse([*stated, *given, *own, *arguments], self.loader, known)
        for key in space.searched:
            if any(key.lstrip("+").startswith(f"{node}.space.") for node in nodes):
                raise SweepRequestError(
                    key,
                    f"be put in quotes twice, as in \"{key}='interval(0, 1)'\"",
                    Phrase("a search of the space itself"),
                    "it says what to search and is not searched",
                )
        ends = self.settings.recentred.get(strategy, {})
        return Plan(study, strategy, space, self._configuration(composed), plain(ends))

    def _own_overrides(self, strategy: str) -> list[str]:
        stated = (self.settings.strategies or {})[strategy]
        if OmegaConf.is_list(stated):
            stated = OmegaConf.to_container(stated)
        stated = [stated] if isinstance(stated, str) else stated
        if not isinstance(stated, list) or not all(isinstance(item, str) for item in stated):
            rule = "be an override or a list of overrides"
            raise SweepRequestError(f"hydra.sweeper.strategies.{strategy}", rule, stated)
        label = self.settings.label
        return [*stated, f"{label}={strategy}"] if label else stated

    def _refuse_overlap(self, own: Sequence[str], arguments: Sequence[str]) -> None:
        parser = OverridesParser.create(config_loader=self.loader)
        keys = set(map(bare_key, parser.parse_overrides(list(own))))
        for override in parser.parse_overrides(list(arguments)):
            if (key := bare_key(override)) in keys:
                rule = "be left to the strategies of this sweep"
                raise SweepRequestError(key, rule, Phrase(override.input_line))

    def _configuration(self, composed: DictConfig) -> dict[str, Any]:
        """Returns the trial's configuration as plain values, less the keys that may change."""
        free = ["hydra", *(self.settings.may_change or [])]
        free += [f"{node}.space" for node in self.settings.spaces or []]
        # Unresolved: what is computed from other keys changes with these.
        plain = flatten(OmegaConf.to_container(composed, resolve=False))
        return {
            key: mask(value) if isinstance(value, str) else value
            for key, value in plain.items()
            if not any(f"{key}.".startswith(f"{prefix}.") for prefix in free)
        }

    def _attempts(self, space: Space) -> list[dict[str, Any]]:
        first = {name: _shown_values(item)[0] for name, item in space.distributions.items()}
        attempts = [first]
        for name, distribution in space.distributions.items():
            if not isinstance(distribution, CategoricalDistribution):
                continue
            others: Sequence[Any] = distribution.choices[1:]
            if not self.loader.get_group_options(name.lstrip("+").partition("@")[0]):
                # The first of each other type; a dictionary keeps the last that it is given.
                by_type = {type(choice): choice for choice in reversed(others)}
                by_type.pop(type(first[name]), None)
                others = list(by_type.values())
            attempts += [first | {name: choice} for choice in others]
        return attempts

    def _function(self, key: str, *arguments: str) -> Any:
        """Returns the function that a setting names, None where it names none."""
        if (path := getattr(self.settings, key)) is None:
            return None
        with sweep_request():
            function = instantiate.function_at(f"hydra.sweeper.{key}", path)
            instantiate.require_arguments(f"hydra.sweeper.{key}", function, *arguments)
        return function


def _shown_values(distribution: BaseDistribution) -> Sequence[Any]:
    """Returns all choices, or the ends of an interval."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    return [getattr(distribution, end) for end in ("low", "high")]  # which all others have


def open_studies(
    storage: BaseStorage, plans: Sequence[Plan], settings: Settings
) -> list[optuna.Study]:
    """Creates the studies of a sweep, or opens them as they are.

    Raises:
        SweepRequestError: What exists has other strategies or directions.
    """
    strategies = [plan.strategy for plan in plans if plan.strategy]
    for known in optuna.get_all_study_summaries(storage, False) if strategies else ():
        family = plans[0].study_name.removesuffix(strategies[0])
        began = known.user_attrs.get(STRATEGIES, strategies)  # killed before it could say so
        if known.study_name.startswith(family) and began != strategies:
            rule = f"stay those that the sweep began with ({', '.join(began)})"
            got = Phrase(", ".join(strategies))
            raise ChangedSweepError("hydra.sweeper.strategies", rule, got, _ADVICE)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # the sweep logs the rest itself
    try:
        return [_open(storage, plan.study_name, settings) for plan in plans]
    finally:
        optuna.logging.set_verbosity(verbosity)


def take_up(
    studies: Sequence[optuna.Study], plans: Sequence[Plan], settings: Settings, at_once: int
) -> None:
    """Stores the requests of the studies and gives them their samplers.

    Call it when there is no other controller.

    Raises:
        SweepRequestError: They began with something else.
    """
    strategies = [plan.strategy for plan in plans if plan.strategy]
    stored = [len(study.get_trials(deepcopy=False)) for study in studies]
    # Sweeps of earlier versions go on with a sequence for each strategy.
    is_old = any(
        n and POINTS not in study.user_attrs for study, n in zip(studies, stored, strict=True)
    )
    common = samplers.common_points([list(plan.space.searched) for plan in plans])
    for study, plan, n, points in zip(studies, plans, stored, common, strict=True):
        _compare(study, plan, settings, strategies)
        used = study.user_attrs.get(POINTS)
        if not is_old and (used is None or used["columns"].keys() != points["columns"].keys()):
            study.set_user_attr(POINTS, used := points)
        study.sampler = samplers.build_sampler(settings.sampler, plan.searched, n, at_once, used)


def _open(storage: BaseStorage, name: str, settings: Settings) -> optuna.Study:
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        directions=[StudyDirection[direction.upper()] for direction in settings.directions],
        load_if_exists=True,
        sampler=optuna.samplers.RandomSampler(),  # until `take_up`
        pruner=samplers.build_pruner(settings.pruner),
    )
    stored = [direction.name.lower() for direction in study.directions]
    if stored != settings.directions:
        rule = f"stay {', '.join(stored)} in the study {name!r}"
        got = Phrase(", ".join(settings.directions))
        raise ChangedSweepError("hydra.sweeper.direction", rule, got, _ADVICE)
    return study


def _require_compatible(study: optuna.Study, plan: Plan) -> None:
    """Refuses what Optuna would refuse at the first trial: a parameter is of one kind for ever."""
    asked = plan.searched.distributions
    for trial in study.get_trials(deepcopy=False):
        for key, began in trial.distributions.items():
            now = asked.get(key, began)
            try:
                check_distribution_compatibility(began, now)
            except ValueError:
                rule = f"stay {began} in the study {study.study_name!r}"
                raise ChangedSweepError(key, rule, Phrase(f"{now}"), _ADVICE) from None


def _compare(
    study: optuna.Study, plan: Plan, settings: Settings, strategies: Sequence[str]
) -> None:
    """Stores the request of the study; refuses it where the study began with another one."""
    # What may change between one start and the next makes no other trials.
    free = tuple(settings.may_change or ())
    fixed = {k: mask(v) for k, v in plan.space.fixed.items() if k not in free}
    space = {"searched": plan.space.describe(), "custom": settings.custom_search_space}
    asked: dict[str, Any] = {SPACE: space, FIXED: fixed, CONFIGURATION: plan.configuration}
    asked |= {STRATEGIES: strategies} if strategies else {}
    asked = json.loads(json.dumps(asked))
    stored = {key: study.user_attrs.get(key, asked[key]) for key in asked}
    if settings.changed_space == "refuse":
        added = plain(settings.added or {}).items()
        began = {key: value for key, value in added if key in plan.configuration}
        began |= stored[CONFIGURATION]
        _refuse_change(study.study_name, stored | {CONFIGURATION: began}, asked)
    _require_compatible(study, plan)
    if {k: v for k, v in stored[FIXED].items() if k not in free} != asked[FIXED]:
        log.warning("Trials of this study ran with other overrides: %s", stored[FIXED])
    for key, value in asked.items():
        if study.user_attrs.get(key) != value:
            study.set_user_attr(key, value)


def _refuse_change(name: str, stored: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    hint = f"{_ADVICE}, or hydra.sweeper.changed_space=allow"
    if stored[SPACE] != asked[SPACE]:
        keys = _changed(stored[SPACE]["searched"], asked[SPACE]["searched"])
        key = "`, `".join(keys) or "hydra.sweeper.custom_search_space"
        rule = f"be searched as the study {name!r} began"
        raise ChangedSweepError(key, rule, Phrase("another search space"), hint)
    began, now = stored[CONFIGURATION], asked[CONFIGURATION]
    if keys := _changed(began, now):
        first, others = keys[0], keys[1:]
        more = f"; and for {', '.join(others)}" if others else ""
        rule = f"stay {began.get(first)!r}, which the sweep began with"
        raise ChangedSweepError(first, rule, Phrase(f"{now.get(first)!r}{more}"), hint)


def _changed(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    return [key for key in sorted({**stored, **asked}) if stored.get(key) != asked.get(key)]
