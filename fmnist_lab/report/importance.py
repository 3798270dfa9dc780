"""Which searched parameters mattered, by Optuna's own estimate: PED-ANOVA."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

MIN_TRIALS = 10  # the estimate looks at the best tenth
Space = Mapping[str, Mapping[str, Any]]


def importances(
    params: Sequence[Mapping[str, Any]], objectives: Sequence[float], space: Space, maximise: bool
) -> dict[str, float]:
    """The share of each parameter in what makes the best tenth of the trials good; they sum to 1.

    A share says where to search on, not which value is good; of few trials it is a rough guess.
    Watanabe et al. 2023, arXiv 2304.10255, as in `optuna.importance.get_param_importances`.

    Args:
        params: Of each trial, by dotted key.
        objectives: Of each trial; those that are not finite are left out.
        space: As in `spaces.json`: dotted key -> low, high, log, or choices.
        maximise: Whether more is better.

    Returns:
        Shares by key, the largest first; empty for fewer than 10 trials or two parameters.
    """
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

    known = [pair for pair in zip(params, objectives, strict=True) if math.isfinite(pair[1])]
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
        for given, value in known:
            shown = {key: given[key] for key in space}
            study.add_trial(
                optuna.trial.create_trial(params=shown, distributions=distributions, value=value)
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.importance.get_param_importances(study)
    finally:
        optuna.logging.set_verbosity(verbosity)
