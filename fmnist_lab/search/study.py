"""The study of a sweep, created or continued."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from fmnist_lab.search import samplers
from fmnist_lab.search.secrets import mask
from fmnist_lab.search.settings import Settings, SweepRequestError
from fmnist_lab.search.space import Space

log = logging.getLogger(__name__)

SPACE = "sweep:space"
FIXED = "sweep:fixed"


def open_study(
    storage: BaseStorage, name: str, settings: Settings, space: Space, at_once: int
) -> optuna.Study:
    """Creates a study, or continues it as it is.

    Raises:
        SweepRequestError: The study that exists asked something else.
    """
    with _quiet():  # what it would log, the sweep logs
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            directions=[StudyDirection[name.upper()] for name in settings.directions],
            load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(),
            pruner=samplers.build_pruner(settings.pruner),
        )
    stored_trials = len(study.get_trials(deepcopy=False))
    stored = [direction.name.lower() for direction in study.directions]
    if stored != settings.directions:
        raise SweepRequestError(
            f"`hydra.sweeper.direction` must stay {', '.join(stored)} in the study {name!r}, "
            f"got {', '.join(settings.directions)}; take another `hydra.sweeper.study_name`."
        )
    _compare_space(study, settings, space)
    study.sampler = samplers.build_sampler(settings.sampler, space, stored_trials, at_once)
    return study


def _compare_space(study: optuna.Study, settings: Settings, space: Space) -> None:
    asked = {"searched": space.describe(), "custom": settings.custom_search_space}
    fixed = {key: mask(value) for key, value in space.fixed.items()}
    if study.user_attrs.get(FIXED, fixed) != fixed:
        log.warning("Trials of this study ran with other overrides: %s", study.user_attrs[FIXED])
    if study.user_attrs.get(FIXED) != fixed:
        study.set_user_attr(FIXED, fixed)
    stored = study.user_attrs.get(SPACE)
    if stored == asked:
        return
    if stored is not None and settings.changed_space == "refuse":
        before, now = stored["searched"], asked["searched"]
        assert isinstance(now, dict)
        changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        raise SweepRequestError(
            f"The search space must stay what the study {study.study_name!r} began with, got "
            f"another for {_list(changed) or 'custom_search_space'}. Take another "
            "`hydra.sweeper.study_name` and folder, or hydra.sweeper.changed_space=allow."
        )
    study.set_user_attr(SPACE, json.loads(json.dumps(asked)))


@contextmanager
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _list(keys: list[str]) -> str:
    return ", ".join(f"`{key}`" for key in sorted(keys))
