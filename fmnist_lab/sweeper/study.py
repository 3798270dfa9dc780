"""The studies of a sweep, created or continued."""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from fmnist_lab.errors import Phrase
from fmnist_lab.foundation.secrets import mask
from fmnist_lab.sweeper import samplers
from fmnist_lab.sweeper.plans import Plan
from fmnist_lab.sweeper.settings import ChangedSweepError, Settings

log = logging.getLogger(__name__)

SPACE = "sweep:space"
FIXED = "sweep:fixed"
CONFIGURATION = "sweep:configuration"
STRATEGIES = "sweep:strategies"
_ADVICE = "take another hydra.sweeper.study_name and folder"


def open_studies(
    storage: BaseStorage, plans: Sequence[Plan], settings: Settings
) -> list[optuna.Study]:
    """Creates the studies of a sweep, or opens them as they are.

    Raises:
        SweepRequestError: What exists has other strategies or directions.
    """
    _compare_strategies(storage, plans)
    return [_open(storage, plan, settings) for plan in plans]


def take_up(
    studies: Sequence[optuna.Study], plans: Sequence[Plan], settings: Settings, at_once: int
) -> None:
    """Stores the requests of the studies and gives them their samplers.

    Call it when there is no other controller.

    Raises:
        SweepRequestError: They began with something else.
    """
    for study, plan in zip(studies, plans, strict=True):
        _compare(study, plan, settings)
        stored_trials = len(study.get_trials(deepcopy=False))
        study.sampler = samplers.build_sampler(settings.sampler, plan.space, stored_trials, at_once)
    strategies = _strategies(plans)
    for study in studies:  # when all are as they should be, so that a refusal changes nothing
        if strategies and study.user_attrs.get(STRATEGIES) != strategies:
            study.set_user_attr(STRATEGIES, strategies)


def _strategies(plans: Sequence[Plan]) -> list[str]:
    return [plan.strategy for plan in plans if plan.strategy]


def _compare_strategies(storage: BaseStorage, plans: Sequence[Plan]) -> None:
    if not (strategies := _strategies(plans)):
        return
    family = plans[0].study_name.removesuffix(strategies[0])
    for name in optuna.get_all_study_names(storage):
        if not name.startswith(family):
            continue
        study = optuna.load_study(study_name=name, storage=storage)
        began = study.user_attrs.get(STRATEGIES, strategies)  # killed before it could say so
        if began != strategies:
            rule = f"stay those that the sweep began with ({', '.join(began)})"
            got = Phrase(", ".join(strategies))
            raise ChangedSweepError("hydra.sweeper.strategies", rule, got, _ADVICE)


def _open(storage: BaseStorage, plan: Plan, settings: Settings) -> optuna.Study:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # the sweep logs the rest itself
    try:
        study = optuna.create_study(
            study_name=plan.study_name,
            storage=storage,
            directions=[StudyDirection[name.upper()] for name in settings.directions],
            load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(),  # until `take_up`
            pruner=samplers.build_pruner(settings.pruner),
        )
    finally:
        optuna.logging.set_verbosity(verbosity)
    stored = [direction.name.lower() for direction in study.directions]
    if stored != settings.directions:
        rule = f"stay {', '.join(stored)} in the study {plan.study_name!r}"
        got = Phrase(", ".join(settings.directions))
        raise ChangedSweepError("hydra.sweeper.direction", rule, got, _ADVICE)
    return study


def _compare(study: optuna.Study, plan: Plan, settings: Settings) -> None:
    """Stores the request of the study; refuses it where the study began with another one."""
    # What may change between one start and the next makes no other trials.
    free = tuple(settings.may_change or ())
    fixed = {k: mask(v) for k, v in plan.space.fixed.items() if k not in free}
    space = {"searched": plan.space.describe(), "custom": settings.custom_search_space}
    asked: dict[str, Any] = {SPACE: space, FIXED: fixed, CONFIGURATION: plan.configuration}
    asked = json.loads(json.dumps(asked))
    stored = {key: study.user_attrs.get(key, asked[key]) for key in asked}
    if settings.changed_space == "refuse":
        _refuse_change(study.study_name, stored, asked)
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
        # As many keys as a line can hold: a sweep may have begun with another version.
        more = f"; and for {', '.join(others[:3])}" if others else ""
        more += f" and {len(others) - 3} more" if len(others) > 3 else ""
        rule = f"stay {began.get(first)!r}, which the sweep began with"
        raise ChangedSweepError(first, rule, Phrase(f"{now.get(first)!r}{more}"), hint)


def _changed(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    return [key for key in sorted({**stored, **asked}) if stored.get(key) != asked.get(key)]
