"""What a sweep leaves in its folder: `multirun.yaml` and `optimization_results.yaml`."""

from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import yaml
from omegaconf import DictConfig, OmegaConf
from optuna.trial import FrozenTrial, TrialState

from fmnist_lab.files import whole_file
from fmnist_lab.search.secrets import masked_config
from fmnist_lab.search.space import Space
from fmnist_lab.search.trials import SUPERSEDED, folder_of

_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

RESULTS = "optimization_results.yaml"


def write_multirun(config: DictConfig, folder: Path) -> None:
    """Writes the configuration of the sweep, as Hydra's own sweeper does."""
    with whole_file(folder / "multirun.yaml") as file:
        OmegaConf.save(masked_config(config), file)


def write_results(
    study: optuna.Study, space: Space, folder: Path, storage: str, ended: str | None
) -> None:
    """Writes the best so far, under the official keys and some more.

    Args:
        study: The study.
        space: The search space, which knows exact values.
        folder: The sweep's folder.
        storage: The study's storage, without a password.
        ended: Why the sweep ended; None while it runs.
    """
    trials = study.get_trials(deepcopy=False)
    content: dict[str, Any] = {"name": "optuna"}
    if len(study.directions) == 1:
        content |= _best(study, space, trials)
    else:
        content["solutions"] = [_solution(trial, space) for trial in study.best_trials]
    content |= {
        "study_name": study.study_name,
        "storage": storage,
        "directions": [direction.name.lower() for direction in study.directions],
        "trials": dict(Counter(_state(trial) for trial in trials)),
        "ended": ended,
    }
    with whole_file(folder / RESULTS) as file:
        # OmegaConf would take ten times as long, after every trial.
        file.write_text(yaml.dump(content, Dumper=_Dumper, sort_keys=False), encoding="utf-8")


def _best(study: optuna.Study, space: Space, trials: list[FrozenTrial]) -> dict[str, Any]:
    if not any(trial.state == TrialState.COMPLETE for trial in trials):
        names = ("best_params", "best_value", "best_trial", "best_dir")
        return dict.fromkeys(names)
    best = study.best_trial
    return {
        "best_params": space.values(best.params),
        "best_value": best.value,
        "best_trial": best.number,
        "best_dir": folder_of(best),
    }


def _solution(trial: FrozenTrial, space: Space) -> dict[str, Any]:
    return {
        "params": space.values(trial.params),
        "values": trial.values,
        "trial": trial.number,
        "dir": folder_of(trial),
    }


def _state(trial: FrozenTrial) -> str:
    return str(trial.user_attrs.get(SUPERSEDED, trial.state.name.lower()))
