"""Observer that writes the plan of a sweep before its first trial."""

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fmnist_lab import data
from fmnist_lab.config import config_files
from fmnist_lab.data import DataConfig
from fmnist_lab.results import manifest
from fmnist_lab.sweeper.observers import SweepInfo
from fmnist_lab.sweeper.sweep_end import TrialEnd
from fmnist_lab.training import environment


class Registration:
    """Writes the plan of a search; see `results.manifest`."""

    def __init__(self, kind: str) -> None:
        """Takes what the stage trains: replicates are in the plan of the search they belong to."""
        self._kind = kind

    def on_start(self, sweep: SweepInfo, earlier: Sequence[TrialEnd]) -> None:
        """Writes the plan, unless a trial has ended: then it would come too late."""
        if self._kind != "trial" or earlier:
            return
        folder = Path(sweep.folder)
        config = OmegaConf.create(manifest.configuration(folder))
        images: Any = OmegaConf.to_container(config.data, resolve=True)
        checksum, test_checksum = data.checksums(DataConfig(**images))
        name = config.hydra.runtime.choices.get("sweeps")
        manifest.begin(
            folder,
            sweep=name,
            question=_question(name),
            data=checksum,
            test_images=test_checksum,
            versions=environment.describe(),
        )


def _question(sweep: str | None) -> str:
    """Returns the comment at the head of a sweep's file."""
    path = config_files.files("sweeps").get(sweep or "")
    lines = path.read_text(encoding="utf-8").splitlines() if path else []
    head = takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.lstrip("# ") for line in head if line != config_files.HEADER)
