"""The second stage of a sweep: each strategy's winner again, with fresh seeds and the test set.

Tuning picks the luckiest of many trials, so its best value is too high. What a winner is worth is
told by replicates, which share nothing with the tuning but the configuration, and pair up across
strategies by their seed. Only they see the test set, and each time it is opened that is written
into `manifest.json`.
"""

import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fmnist_lab import config, data, environment
from fmnist_lab.files import write_json
from fmnist_lab.search.results import RESULTS
from fmnist_lab.search.spelling import spell

FOLDER, MANIFEST = "replicates", "manifest.json"
_KEPT = (
    "hydra/launcher",
    "hydra.launcher",
    "hydra.sweeper.storage",
    "hydra.sweeper.strategies",  # which the user has left out or added
    "hydra.verbose",
)
_SEEDS = "seed=range(0, 4294967296)"  # as many as NumPy has; those to train come from `enqueue`
_OFF = ("timeout", "max_epochs", "target", "plateau", "custom_search_space", "params")


@dataclass(frozen=True)
class Confirmation:
    """What the second stage trains."""

    name: str  # of the sweep's folder
    winners: Mapping[str, Mapping[str, Any]]  # strategy: trial, value, overrides
    seeds: Sequence[int]
    arguments: Sequence[str]  # the user's overrides, as far as they hold for replicates too

    def overrides(self, folder: Path) -> list[str]:
        """The command line of the sweep over seeds, with its results in `folder`."""
        enqueue = ", ".join(f"{{seed: {seed}}}" for seed in self.seeds)
        strategies = [
            f"hydra.sweeper.strategies.{name}=[{', '.join(map(_quote, winner['overrides']))}]"
            for name, winner in self.winners.items()
        ]
        return [
            *self.arguments,
            *strategies,
            "kind=replicate",
            _SEEDS,
            f"hydra.sweep.dir={folder}",
            "hydra.sweep.subdir=${hydra.job.num}",
            f"hydra.sweeper.study_name={self.name}-{FOLDER}",
            f"hydra.sweeper.n_trials={len(self.seeds)}",
            f"hydra.sweeper.enqueue=[{enqueue}]",
            "hydra.sweeper.spaces=[]",
            "hydra/sweeper/pruner=none",
            *(f"hydra.sweeper.{key}=null" for key in _OFF),
        ]


def plan(sweep: str, folder: Path, arguments: Sequence[str]) -> Confirmation | None:
    """What to train, once every strategy is tuned; None if that is not so, or not wanted.

    Args:
        sweep: The file in `sweeps/`.
        folder: The sweep's folder.
        arguments: The user's overrides.
    """
    if not (folder / RESULTS).exists():  # the command showed its configuration, say
        return None
    tuned = yaml.safe_load((folder / RESULTS).read_text(encoding="utf-8"))
    strategies = tuned.get("strategies", {})
    is_whole = all(found.get("best_overrides") for found in strategies.values())
    if not strategies or not is_whole or str(tuned["ended"]).startswith(("timeout", "interrupted")):
        return None
    searched = {key for found in strategies.values() for key in found["best_params"]}
    task = [item for item in arguments if not _key(item).startswith(("hydra", "-"))]
    fixed = [item for item in task if _key(item) not in searched]
    cfg = config.compose([f"sweeps={sweep}", *fixed])
    if not cfg.replicates:
        return None
    given = {_key(item) for item in fixed} | {"sweeps", "strategy"}
    winners = {
        name: {
            "trial": found["best_trial"],
            "value": found["best_value"],
            "overrides": [item for item in found["best_overrides"] if _key(item) not in given],
        }
        for name, found in strategies.items()
    }
    kept = [item for item in arguments if _key(item).startswith(_KEPT)]
    seeds = range(cfg.seed + 1, cfg.seed + 1 + cfg.replicates)
    return Confirmation(folder.name, winners, list(seeds), [f"sweeps={sweep}", *fixed, *kept])


def prepare(planned: Confirmation, folder: Path) -> Path:
    """Writes down that the test set is opened, and for what; returns the folder of replicates.

    Replicates of other winners are moved out of the way: they answer another question.
    """
    cfg = config.compose([item for item in planned.arguments if not item.startswith("hydra")])
    content = {
        "winners": dict(planned.winners),
        "seeds": list(planned.seeds),
        "data": data.load(config.to_trial(cfg).data).checksum,
        "versions": environment.describe(),
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path, replicates = folder / MANIFEST, folder / FOLDER
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    openings = before.get("openings", [])
    if before.get("hash") != digest:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        openings = [*openings, {"opened": now, "hash": digest}]
    if before and before["winners"] != content["winners"] and replicates.exists():
        replicates.rename(folder / f"{FOLDER}-{before['hash'][:8]}")
    write_json(path, {"hash": digest, "openings": openings} | content)
    return replicates


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _quote(override: str) -> str:
    """The override as an element of a list, whatever characters it has."""
    return spell(override)
