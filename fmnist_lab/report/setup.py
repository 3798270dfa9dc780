"""How a sweep was asked for and how it ended, from the files that it keeps beside its trials."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fmnist_lab import searches

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# These choose a trial without looking at the results of others.
_INDEPENDENT = ("QMCSampler", "RandomSampler", "GridSampler", "BruteForceSampler")


@dataclass(frozen=True)
class Setup:
    """What is known beside the trials; everything may be missing, as for a plain multirun."""

    config: Mapping[str, Any] = field(default_factory=dict)  # the composed configuration
    spaces: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by strategy
    manifests: Sequence[Mapping[str, Any]] = ()  # of the second stage, one for each search
    environment: Mapping[str, Any] = field(default_factory=dict)  # of the first trial
    ended: str | None = None  # why the sweep ended; None while it runs, or after a kill
    unended: int = 0  # trials with a folder and no result: they run, or their worker died

    @staticmethod
    def read(place: Path, trial_folders: Sequence[Path]) -> "Setup":
        """Reads the folder of a sweep or multirun."""
        first = trial_folders[0] if trial_folders else place
        begun = searches.folders(place)
        manifests = [_json(folder / "manifest.json") for folder in begun]
        endings = [_yaml(folder / "optimization_results.yaml").get("ended") for folder in begun]
        config = _yaml(place / "multirun.yaml")
        is_whole = all(endings) and len(begun) >= config.get("searches", 1)
        return Setup(
            config=config,
            spaces=_json(place / "spaces.json"),
            manifests=[manifest for manifest in manifests if manifest],
            environment=_json(first / "environment.json"),
            ended=str(endings[-1]) if is_whole else None,
            unended=sum(map(_begun, begun)) - len(trial_folders),
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
    def searches(self) -> int:
        """How often the sweep is tuned."""
        return int(self.config.get("searches", 1))

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Of the first search; empty while the test set is closed."""
        return self.manifests[0] if self.manifests else {}

    @property
    def planned(self) -> int | None:
        """How many trials the sweep will have; None where nobody has said."""
        shares = max(1, len(self.strategies)) * self.searches
        return int(self.sweeper["n_trials"]) * shares if self.sweeper else None

    @property
    def replicates(self) -> int:
        """How often the sweep trains each winner again once it is tuned."""
        return int(self.config.get("replicates", 0))

    @property
    def planned_replicates(self) -> int | None:
        """How many replicates there will be; None where nobody has said."""
        if not {"winners", "seeds"} <= self.manifest.keys():
            return None
        return len(self.manifest["winners"]) * len(self.manifest["seeds"]) * self.searches

    def command(self, more: str) -> str | None:
        """The command that continues the sweep with one more override; None for a multirun."""
        hydra = self.config.get("hydra", {})
        name = hydra.get("runtime", {}).get("choices", {}).get("sweeps")
        if not name or not self.sweeper:
            return None
        given = [*hydra.get("overrides", {}).get("task", [])]
        given += hydra.get("overrides", {}).get("hydra", [])
        changed = ("sweeps", "hydra.mode", "hydra.sweep.dir", more.partition("=")[0])
        kept = [item for item in given if item.lstrip("+").partition("=")[0] not in changed]
        return shlex.join(["fmnist-lab", "sweep", name, *kept, more])

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


def _begun(folder: Path) -> int:
    """How many trials of a search have a folder."""
    below = folder / "trials"
    numbered = (below if below.is_dir() else folder).glob("[0-9]*")
    return sum(path.is_dir() for path in numbered)


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
