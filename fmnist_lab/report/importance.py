"""Which searched parameters mattered, by Optuna's own estimate: PED-ANOVA."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from fmnist_lab.foundation.spelling import spell

MIN_TRIALS = 10  # the estimate looks at the best tenth
Space = Mapping[str, Mapping[str, Any]]


def importances(
    params: Sequence[Mapping[str, Any]], objectives: Sequence[float], space: Space, maximise: bool
) -> dict[str, float]:
    """The share of each parameter in what makes the best tenth of the trials good; they sum to 1.

    A share says where to search on, not which value is good; of few trials it is a rough guess.
    Watanabe et al. 2023, arXiv 2304.10255, as in `optuna.importance.get_param_importances`.

    Args:
        params: Of each trial, by dotted key, as `overrides.read` gives them.
        objectives: Of each trial; those that are not finite are left out, and those of trials
            that are outside of `space`, which may have become narrower.
        space: As in `spaces.json`: dotted key -> low, high, log, or choices.
        maximise: Whether more is better.

    Returns:
        Shares by key, the largest first; empty for fewer than 10 trials or two parameters.
    """
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

    space = {key: _by_label(entry) for key, entry in space.items()}
    known = []
    for given, value in zip(params, objectives, strict=True):
        shown = {key: _label(given[key]) if "choices" in entry else given[key]
                 for key, entry in space.items()}  # fmt: skip
        if math.isfinite(value) and all(_is_in(shown[key], space[key]) for key in space):
            known.append((shown, value))
    if len(known) < MIN_TRIALS or len(space) < 2:
        return {}
    distributions: dict[str, BaseDistribution] = {
        key: (CategoricalDistribution if "choices" in entry else FloatDistribution)(**entry)
        for key, entry in space.items()
    }
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize" if maximise else "minimize")
        for shown, value in known:
            study.add_trial(
                optuna.trial.create_trial(params=shown, distributions=distributions, value=value)
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.importance.get_param_importances(study)
    finally:
        optuna.logging.set_verbosity(verbosity)


def _by_label(entry: Mapping[str, Any]) -> dict[str, Any]:
    if "choices" not in entry:
        return dict(entry)
    return {"choices": list(dict.fromkeys(map(_label, entry["choices"])))}


def _label(choice: Any) -> str:
    """The same text for a choice and for its override, which has `true` for True, 32.0 for 32."""
    if isinstance(choice, str):
        return choice
    is_number = isinstance(choice, int | float) and not isinstance(choice, bool)
    return spell(float(choice) if is_number else choice)


def _is_in(value: Any, entry: Mapping[str, Any]) -> bool:
    if "choices" in entry:
        return value in entry["choices"]
    return isinstance(value, float) and bool(entry["low"] <= value <= entry["high"])
