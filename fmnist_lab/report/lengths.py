"""The length of the training: what early stopping saved or cut short, who trained longer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fmnist_lab import schedules, statistics
from fmnist_lab.errors import RequestError
from fmnist_lab.report.evidence import Evidence, ran_to_the_end
from fmnist_lab.results import layout

_EPOCHS, _METRIC = "training.epochs", "val/accuracy"


def savings(evidence: Evidence) -> pd.DataFrame:
    """`statistics.saved_epochs` of trials and replicates together.

    The best strategy first; nothing where the horizon is not known.
    """
    runs = pd.concat([evidence.trials, evidence.replicates], ignore_index=True)
    common = evidence.setup.config.get("training", {}).get("epochs", np.nan)
    fixed = {name: group_of(evidence, name, "training").get("epochs", common)
             for name in runs["strategy"].unique()}  # fmt: skip
    own = pd.to_numeric(runs.get(_EPOCHS, pd.Series(np.nan, runs.index)), errors="coerce")
    runs["horizon"] = own.fillna(runs["strategy"].map(fixed))
    return _best_first(evidence, statistics.saved_epochs(runs.dropna(subset="horizon")))


def spent(evidence: Evidence) -> pd.DataFrame:
    """What tuning took of each strategy, the best first: trials, epochs and seconds in all."""
    groups = evidence.trials.groupby("strategy", sort=False)
    columns = {"epochs": ("epochs_trained", "sum"), "seconds": ("seconds", "sum")}
    return _best_first(evidence, groups.agg(trials=("trial", "size"), **columns).reset_index())


def speed(evidence: Evidence) -> tuple[float, pd.DataFrame] | None:
    """Returns how soon replicates are as good as the baseline's are in the end.

    Returns:
        The target, the median of the baseline's last validation accuracies, and
        `statistics.epochs_to_target`, the best strategy first; None where it has none.
    """
    curves, runs = evidence.replicate_curves, evidence.replicates
    whole = runs[(runs["strategy"] == evidence.baseline) & ran_to_the_end(runs)]
    own = curves.merge(whole[["strategy", "search", "seed"]])
    target = own.groupby(["search", "seed"])[_METRIC].last().median()
    if np.isnan(target):
        return None
    frame = statistics.epochs_to_target(curves, runs, float(target), _METRIC)
    return float(target), _best_first(evidence, frame)


def cut_short(evidence: Evidence) -> list[str]:
    """The strategies whose schedule is laid over the whole training, and that were stopped."""
    stopped = savings(evidence).query("early_stopped > 0")["strategy"]
    return [name for name in stopped if follows_horizon(group_of(evidence, name, "scheduler"))]


def lengths_and_batches(evidence: Evidence) -> dict[str, list[int]]:
    """Returns the epochs and batch sizes in which strategies differ that were not searched."""
    found: dict[str, set[int]] = {_EPOCHS: set(), "training.batch_size": set()}
    for strategy in evidence.strategies:
        node, space = group_of(evidence, strategy, "training"), evidence.setup.space(strategy)
        for key in found.keys() - space.keys():
            found[key] |= {value for name, value in node.items() if key == f"training.{name}"}
    return {key: sorted(values) for key, values in found.items() if len(values) > 1}


def _best_first(evidence: Evidence, frame: pd.DataFrame) -> pd.DataFrame:
    place = evidence.strategies.index
    return frame.sort_values("strategy", key=lambda names: names.map(place), ignore_index=True)


def group_of(evidence: Evidence, strategy: str, group: str) -> dict[str, Any]:
    """A group of a strategy's first trial, resolved; empty where its folder does not say."""
    folders = evidence.trials.loc[evidence.trials["strategy"] == strategy, "folder"]
    if folders.empty:
        return {}
    try:
        cfg = OmegaConf.load(Path(folders.iloc[0]) / layout.HYDRA / layout.CONFIG)
        node = OmegaConf.select(cfg, group)
        if not OmegaConf.is_dict(node):
            return {}
        node.pop("space", None)  # is computed with what only composing knows
        resolved: Any = OmegaConf.to_container(node, resolve=True)
        return dict(resolved)
    except (OSError, ValueError, OmegaConfBaseException):  # elsewhere, or of another application
        return {}


def follows_horizon(node: Mapping[str, Any]) -> bool:
    """Whether a scheduler gives other rates, in the same epochs, where training is longer."""
    if not (epochs := node.get("epochs")):
        return False
    try:
        now, longer = (schedules.build({**node, "epochs": n}) for n in (epochs, 2 * epochs))
    except RequestError:  # a schedule of the user's that is not here
        return False
    return any(
        not np.allclose(now.learning_rates(epoch, 4), longer.learning_rates(epoch, 4))
        for epoch in range(int(epochs))
    )
