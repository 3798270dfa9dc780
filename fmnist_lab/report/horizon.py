"""Early stopping against the horizon: what it saved, and which schedules it cut short."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fmnist_lab import comparison, scheduling
from fmnist_lab.errors import RequestError
from fmnist_lab.report.evidence import Evidence

_EPOCHS = "training.epochs"


def savings(evidence: Evidence) -> pd.DataFrame:
    """`comparison.saved_epochs` of trials and replicates together.

    The best strategy first; nothing where nobody knows the horizon.
    """
    runs = pd.concat([evidence.trials, evidence.replicates], ignore_index=True)
    common = evidence.setup.config.get("training", {}).get("epochs")
    own = runs[_EPOCHS] if _EPOCHS in runs else pd.Series(np.nan, index=runs.index)
    runs["horizon"] = pd.to_numeric(own, errors="coerce").fillna(common or np.nan)
    frame = comparison.saved_epochs(runs.dropna(subset="horizon"))
    order = {name: place for place, name in enumerate(evidence.strategies)}
    return frame.sort_values("strategy", key=lambda names: names.map(order), ignore_index=True)


def cut_short(evidence: Evidence) -> list[str]:
    """The strategies whose schedule is laid over the whole training, and that were stopped."""
    frame = savings(evidence)
    stopped = frame.loc[frame["early_stopped"] > 0, "strategy"]
    return [name for name in stopped if _follows_horizon(evidence, name)]


def _follows_horizon(evidence: Evidence, strategy: str) -> bool:
    own = evidence.trials[evidence.trials["strategy"] == strategy]
    return any(follows_horizon(node) for folder in own["folder"].head(1) if (node := _node(folder)))


def _node(folder: str) -> dict[str, Any] | None:
    """The scheduler of a trial, resolved; None where its folder does not say."""
    try:
        cfg = OmegaConf.load(Path(folder) / ".hydra" / "config.yaml")
        node = OmegaConf.to_container(OmegaConf.select(cfg, "scheduler"), resolve=True)
    except (OSError, ValueError, OmegaConfBaseException):  # elsewhere, or of another application
        return None
    return {str(key): value for key, value in node.items() if key != "space"}  # type: ignore[union-attr]


def follows_horizon(node: dict[str, Any]) -> bool:
    """Whether a scheduler gives other rates, in the same epochs, where training is longer."""
    epochs = node.get("epochs")
    if not epochs:
        return False
    try:
        now, longer = (scheduling.build(node | {"epochs": n}) for n in (epochs, 2 * epochs))
    except RequestError:  # a schedule of the user's that is not here
        return False
    return any(
        not np.allclose(now.learning_rates(epoch, 4), longer.learning_rates(epoch, 4))
        for epoch in range(int(epochs))
    )
