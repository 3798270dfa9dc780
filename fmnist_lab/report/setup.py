"""How a sweep was asked for and how it ended, from the files that it keeps beside its trials."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fmnist_lab.results import manifest, schema, searches
from fmnist_lab.sweeper.sweep_files import RESULTS, SPACES

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
    has_ended: bool = False  # false while the sweep runs, and after a kill
    unended: int = 0  # trials with a folder and no result: they run, or their worker died
    damaged: Sequence[str] = ()  # a sentence for each file that nothing could be read from

    @staticmethod
    def read(place: Path, trial_folders: Sequence[Path]) -> "Setup":
        """Reads the folder of a sweep or multirun.

        Raises:
            RequestError: A manifest or the environment is not as it was written.
        """
        first = trial_folders[0] if trial_folders else place
        begun = searches.folders(place)
        damaged: list[str] = []
        tuned = [_read(folder / RESULTS, _is_mapping, damaged) for folder in begun]
        config = _read(place / "multirun.yaml", _is_configuration, damaged)
        is_whole = all(found.get("ended") for found in tuned)
        return Setup(
            config=config,
            spaces=_read(place / SPACES, _are_spaces, damaged),
            manifests=[found for found in map(manifest.read, begun) if found],
            environment=schema.environment(first),
            has_ended=is_whole and len(begun) >= config.get("searches", 1),
            unended=sum(map(_begun, begun)) - len(trial_folders),
            damaged=damaged,
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


def _read(path: Path, is_whole: Callable[[Any], bool], damaged: list[str]) -> dict[str, Any]:
    """What a file of YAML or JSON says; nothing, and a sentence more, where it is not as it was."""
    try:
        text = path.read_bytes()  # YAML takes the 1e-05 of JSON for a word
        is_json = path.suffix == ".json"
        content = json.loads(text) if is_json else yaml.load(text, Loader=_Loader)
    except FileNotFoundError:
        return {}
    except (yaml.YAMLError, ValueError, RecursionError):
        content = None
    if is_whole(content):
        return dict(content)
    damaged.append(
        f"{path.name} is not as the sweep has left it: what it says, and what follows from that, "
        "is missing here."
    )
    return {}


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_configuration(value: Any) -> bool:
    """Whether it has the shape of `multirun.yaml`, as far as that is looked at here."""
    if not _is_mapping(value):
        return False
    hydra = value.get("hydra", {})
    if not _is_mapping(hydra) or not _is_mapping(sweeper := hydra.get("sweeper", {})):
        return False
    groups = [value.get(key, {}) for key in ("training", "data", "stopping")]
    groups += [hydra.get(key, {}) for key in ("runtime", "overrides")]
    groups += [sweeper.get(key) or {} for key in ("strategies", "sampler", "pruner")]
    counts = [value.get(key, 1) for key in ("searches", "replicates")]
    return all(map(_is_mapping, groups)) and all(
        map(schema.is_whole, [*counts, sweeper.get("n_trials") or 0])
    )


def _are_spaces(value: Any) -> bool:
    """Whether it has the shape of `spaces.json`: an entry by strategy and dotted key."""
    return _is_mapping(value) and all(
        _is_mapping(space) and all(map(_is_entry, space.values())) for space in value.values()
    )


def _is_entry(value: Any) -> bool:
    if not _is_mapping(value):
        return False
    ends = [value.get(end) for end in ("low", "high")]
    return "low" not in value or ("log" in value and all(map(schema.is_number, ends)))
