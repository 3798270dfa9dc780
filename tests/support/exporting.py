"""Exported files without a training: folders of trials as Hydra leaves them, and a document."""

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fmnist_lab import config
from fmnist_lab.config.config_files import Document
from fmnist_lab.export import choosing
from fmnist_lab.export import document as recipe
from fmnist_lab.foundation.files import write_json
from fmnist_lab.foundation.threads import threads
from fmnist_lab.training import environment
from tests.conftest import TINY
from tests.support.folders import leave_run


def leave_trial(place: Path, number: int, *overrides: str, **result: Any) -> Path:
    """A trial's folder in a multirun; the tiny trial, after these overrides."""
    words = [*TINY, *overrides]
    cfg = config.compose(words)
    chosen = _chosen(words)
    folder = leave_run(
        place / str(number),
        **{"trial": number, "sweep": place.name, "dataset": "synthetic", "epochs_trained": 3,
           "delivered_epoch": 2, "strategy": chosen["scheduler"], "overrides": words} | result,
    )  # fmt: skip
    leave_hydra(folder, cfg, words)
    facts = {"threads": threads(), "data_checksum": "a" * 64}
    write_json(folder / "environment.json", environment.describe() | facts)
    return folder


def document(place: Path) -> Document:
    """What is exported of the only multirun in `mlruns`."""
    return recipe.build(choosing.choose(place.name))


def copied(content: Document) -> Document:
    """A copy, to be changed."""
    copy: Document = json.loads(json.dumps(content))
    return copy


_DEFAULTS = {"data": "fashion_mnist", "architecture": "notebook", "optimizer": "adam",
             "scheduler": "constant", "clipping": "none", "stopping": "none",
             "training": "default", "averaging": "none",
             "augmentation": "none"}  # fmt: skip


def leave_hydra(folder: Path, cfg: DictConfig, words: list[str]) -> None:
    """The files that Hydra writes into a job's folder."""
    (folder / ".hydra").mkdir(parents=True)
    OmegaConf.save(cfg, folder / ".hydra/config.yaml")
    hydra = {"runtime": {"choices": _chosen(words)}, "overrides": {"task": words}}
    OmegaConf.save({"hydra": hydra}, folder / ".hydra/hydra.yaml")


def _chosen(words: list[str]) -> dict[str, str]:
    given = {word.partition("=")[0]: word.partition("=")[2] for word in words}
    return {group: given.get(group, default) for group, default in _DEFAULTS.items()}
