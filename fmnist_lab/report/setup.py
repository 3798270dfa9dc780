"""How a sweep was asked for and how it ended, from the files that it keeps beside its trials."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# These choose a trial without looking at the results of others.
_INDEPENDENT = ("QMCSampler", "RandomSampler", "GridSampler", "BruteForceSampler")


@dataclass(frozen=True)
class Setup:
    """What is known beside the trials; everything may be missing, as for a plain multirun."""

    config: Mapping[str, Any] = field(default_factory=dict)  # the composed configuration
    spaces: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by strategy
    manifest: Mapping[str, Any] = field(default_factory=dict)  # of the second stage
    environment: Mapping[str, Any] = field(default_factory=dict)  # of the first trial
    ended: str | None = None  # why the sweep ended; None while it runs, or after a kill
    unended: int = 0  # trials with a folder and no result: they run, or their worker died

    @staticmethod
    def read(place: Path, trial_folders: Sequence[Path]) -> "Setup":
        """Reads the folder of a sweep or multirun."""
        first = trial_folders[0] if trial_folders else place
        below = place / "trials"
        numbered = (below if below.is_dir() else place).glob("[0-9]*")
        return Setup(
            config=_yaml(place / "multirun.yaml"),
            spaces=_json(place / "spaces.json"),
            manifest=_json(place / "manifest.json"),
            environment=_json(first / "environment.json"),
            ended=_yaml(place / "optimization_results.yaml").get("ended"),
            unended=sum(path.is_dir() for path in numbered) - len(trial_folders),
        )

    @property
    def sweeper(self) -> Mapping[str, Any]:
        """The configuration of our sweeper; empty for a plain multirun."""
        sweeper: Mapping[str, Any] = self.config.get("hydra", {}).get("sweeper", {})
        return sweeper if "n_trials" in sweeper else {}

    @property
    def strategies(self) -> list[str]:
        """Their names, in the order of the sweep's file."""
        return list(self.sweeper.get("strategies") or {})

    @property
    def planned(self) -> int | None:
        """How many trials the sweep will have; None where nobody has said."""
        shares = max(1, len(self.strategies))
        return int(self.sweeper["n_trials"]) * shares if self.sweeper else None

    @property
    def planned_replicates(self) -> int | None:
        """How many replicates there will be; None where nobody has said."""
        if not {"winners", "seeds"} <= self.manifest.keys():
            return None
        return len(self.manifest["winners"]) * len(self.manifest["seeds"])

    @property
    def command(self) -> str | None:
        """The command that continues the sweep; None for a multirun."""
        name = self.config.get("hydra", {}).get("runtime", {}).get("choices", {}).get("sweeps")
        return f"fmnist-lab sweep {name}" if name and self.sweeper else None

    @property
    def sampler(self) -> str | None:
        """The name of the sampler's class."""
        target = (self.sweeper.get("sampler") or {}).get("_target_")
        return str(target).rpartition(".")[2] if target else None

    @property
    def is_independent(self) -> bool:
        """Whether no trial learned from others, as far as anybody knows."""
        return not self.sweeper or self.sampler in _INDEPENDENT

    def space(self, strategy: str) -> Mapping[str, Any]:
        """Where a strategy is searched, by dotted key; empty if that was not kept."""
        return self.spaces.get(strategy, self.spaces.get("", {}))


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # cut off by a kill
        return {}
    return content if isinstance(content, dict) else {}


def _yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (FileNotFoundError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}
