"""The files in a sweep's folder: the search spaces, the best so far."""

import copy
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from fmnist_lab.foundation.files import whole_file, write_json
from fmnist_lab.foundation.secrets import mask
from fmnist_lab.sweeper.plans import POINTS, Plan
from fmnist_lab.sweeper.strategy import LOST, SUPERSEDED, Strategy
from fmnist_lab.sweeper.sweep_end import SweepEnd

_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

RESULTS, SPACES = "optimization_results.yaml", "spaces.json"
_BEST = ("best_params", "best_value", "best_trial", "best_dir", "best_overrides")


def write_spaces(plans: Sequence[Plan], folder: Path) -> None:
    """Writes where each strategy is searched: dotted key -> low, high, log, or choices.

    The only study of a sweep without strategies is written under an empty name.
    """
    spaces: dict[str, dict[str, Any]] = {}
    for plan in plans:
        found = spaces[plan.strategy or ""] = {}
        for key, distribution in plan.space.distributions.items():
            is_choice = isinstance(distribution, CategoricalDistribution)
            # All others have low, high and log.
            names = ("choices",) if is_choice else ("low", "high", "log")
            found[key.lstrip("+")] = {name: getattr(distribution, name) for name in names}
    write_json(folder / SPACES, spaces)


def write_results(
    strategies: Sequence[Strategy], folder: Path, storage: str, end: SweepEnd | None = None
) -> None:
    """Writes the best so far, under the official keys and some more.

    Args:
        strategies: The studies.
        folder: The sweep's folder.
        storage: The studies' storage, without a password.
        end: Why the sweep ended; None while it runs.
    """
    summaries = {strategy.name: _summary(strategy) for strategy in strategies}
    content: dict[str, Any] = {"name": "optuna"} | _overall(summaries)
    content |= {"storage": storage, "ended": end.as_dict() if end else None}
    if None not in summaries:
        content["strategies"] = summaries
    with whole_file(folder / RESULTS) as file:
        # OmegaConf would take ten times as long, after every trial.
        file.write_text(yaml.dump(content, Dumper=_Dumper, sort_keys=False), encoding="utf-8")


def _overall(summaries: dict[str | None, dict[str, Any]]) -> dict[str, Any]:
    """Returns the summary of the only study, or of the strategy with the best trial."""
    if None in summaries:
        return summaries[None]
    first = next(iter(summaries.values()))
    if "best_value" not in first:  # several directions have no best
        return {}
    found = {name: item for name, item in summaries.items() if item["best_value"] is not None}
    if not found:
        return {"best_strategy": None} | dict.fromkeys(_BEST)
    choose = max if first["directions"] == ["maximize"] else min
    name = choose(found, key=lambda name: float(found[name]["best_value"]))
    return {"best_strategy": name} | copy.deepcopy({key: found[name][key] for key in _BEST})


def _summary(strategy: Strategy) -> dict[str, Any]:
    study, space = strategy.study, strategy.space
    trials = study.get_trials(deepcopy=False)
    summary: dict[str, Any] = dict.fromkeys(_BEST)
    if len(study.directions) > 1:
        best = [_found(strategy, trial) | {"values": trial.values} for trial in study.best_trials]
        summary = {"solutions": best}
    elif any(trial.state == TrialState.COMPLETE for trial in trials):
        trial = study.best_trial
        overrides = list(map(mask, space.overrides(trial.params)))
        found = _found(strategy, trial) | {"value": trial.value, "overrides": overrides}
        summary |= {f"best_{name}": value for name, value in found.items()}
    return summary | {
        "study_name": study.study_name,
        "directions": [direction.name.lower() for direction in study.directions],
        "trials": dict(Counter(map(_state, trials))),
        "intervals": [key.lstrip("+") for key, item in space.searched.items() if item.is_interval],
        "points": study.user_attrs.get(POINTS),  # null: a sequence of this strategy's own
    }


def _found(strategy: Strategy, trial: FrozenTrial) -> dict[str, Any]:
    end = strategy.end_of(trial)
    return {"params": end.params, "trial": end.number, "dir": end.folder}


def _state(trial: FrozenTrial) -> str:
    how = "lost" if LOST in trial.user_attrs else trial.state.name.lower()
    return str(trial.user_attrs.get(SUPERSEDED, how))
