"""What a sweep leaves in its folder: `multirun.yaml`, the search spaces, the best so far."""

import copy
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from fmnist_lab.foundation.files import whole_file, write_json
from fmnist_lab.foundation.secrets import mask, masked_config
from fmnist_lab.sweeper.plans import Plan
from fmnist_lab.sweeper.repeats import LOST, SUPERSEDED
from fmnist_lab.sweeper.sweep_end import SweepEnd
from fmnist_lab.sweeper.trials import Trials, folder_of

_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

RESULTS, SPACES = "optimization_results.yaml", "spaces.json"
_BEST = ("best_params", "best_value", "best_trial", "best_dir", "best_overrides")


def write_multirun(config: DictConfig, folder: Path) -> None:
    """Writes the configuration of the sweep, as Hydra's own sweeper does."""
    with whole_file(folder / "multirun.yaml") as file:
        OmegaConf.save(masked_config(config), file)


def write_spaces(plans: Sequence[Plan], folder: Path) -> None:
    """Writes where each strategy is searched: dotted key -> low, high, log, or choices.

    The only study of a sweep without strategies is written under an empty name.
    """
    spaces = {
        plan.strategy or "": {
            key.lstrip("+"): _interval(distribution)
            for key, distribution in plan.space.distributions.items()
        }
        for plan in plans
    }
    write_json(folder / SPACES, spaces)


def _interval(distribution: BaseDistribution) -> dict[str, Any]:
    if isinstance(distribution, CategoricalDistribution):
        return {"choices": list(distribution.choices)}
    # All others have these.
    return {name: getattr(distribution, name) for name in ("low", "high", "log")}


def write_results(
    studies: Sequence[Trials], folder: Path, storage: str, end: SweepEnd | None
) -> None:
    """Writes the best so far, under the official keys and some more.

    Args:
        studies: The trials of each study.
        folder: The sweep's folder.
        storage: The studies' storage, without a password.
        end: Why the sweep ended; None while it runs.
    """
    summaries = {trials.strategy: _summary(trials) for trials in studies}
    content: dict[str, Any] = {"name": "optuna"} | _overall(summaries)
    content |= {"storage": storage, "ended": end.as_dict() if end else None}
    if None not in summaries:
        content["strategies"] = summaries
    with whole_file(folder / RESULTS) as file:
        # OmegaConf would take ten times as long, after every trial.
        file.write_text(yaml.dump(content, Dumper=_Dumper, sort_keys=False), encoding="utf-8")


def _overall(summaries: dict[str | None, dict[str, Any]]) -> dict[str, Any]:
    """The summary of the only study, or of the strategy with the best trial."""
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


def _summary(trials: Trials) -> dict[str, Any]:
    study = trials.study
    stored = study.get_trials(deepcopy=False)
    best = (
        _best(trials, stored)
        if len(study.directions) == 1
        else {"solutions": [_solution(trials, trial) for trial in study.best_trials]}
    )
    return best | {
        "study_name": study.study_name,
        "directions": [direction.name.lower() for direction in study.directions],
        "trials": dict(Counter(_state(trial) for trial in stored)),
    }


def _best(trials: Trials, stored: list[FrozenTrial]) -> dict[str, Any]:
    if not any(trial.state == TrialState.COMPLETE for trial in stored):
        return dict.fromkeys(_BEST)
    best = trials.study.best_trial
    return {
        "best_params": trials.space.values(best.params),
        "best_value": best.value,
        "best_trial": trials.number(best),
        "best_dir": folder_of(best),
        "best_overrides": list(map(mask, trials.space.overrides(best.params))),
    }


def _solution(trials: Trials, trial: FrozenTrial) -> dict[str, Any]:
    return {
        "params": trials.space.values(trial.params),
        "values": trial.values,
        "trial": trials.number(trial),
        "dir": folder_of(trial),
    }


def _state(trial: FrozenTrial) -> str:
    how = "lost" if LOST in trial.user_attrs else trial.state.name.lower()
    return str(trial.user_attrs.get(SUPERSEDED, how))
