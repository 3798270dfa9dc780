"""Multiruns of other Hydra applications, as a tidy frame: a row per job that returned a number.

Nothing is known of such an application but its overrides and the `returned.json` of each job. Some
of the keys that differ between jobs name the strategies, one is the seed. Jobs of different
strategies are a pair where their seed, and all other keys that differ, are equal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.foundation.spelling import spell
from fmnist_lab.launcher.returned import RETURNED
from fmnist_lab.metrics import COST, SCORE
from fmnist_lab.results import overrides, schema
from fmnist_lab.results.layout import HYDRA, SPACES, SWEEP_CONFIG, SWEEP_RESULTS
from fmnist_lab.trial import StopReason

_REMEDY = (
    "run it with hydra/sweeper=fmnist_lab, hydra/launcher=dask or, with any others, "
    "hydra/callbacks=record_returns"
)


@dataclass(frozen=True)
class Multirun:
    """The jobs of another application, and what their overrides mean."""

    folder: Path
    jobs: pd.DataFrame  # see `read`
    strategies: Sequence[str]  # the keys whose values name a strategy
    seed: str | None  # the key of the seed; None: no such key differs
    blocks: Sequence[str]  # further keys that have to be equal in a pair
    config: dict[str, Any]  # `hydra` of its `multirun.yaml`
    spaces: dict[str, Any]  # where our sweeper has searched, by strategy and key

    @property
    def pair(self) -> str:
        """What a pair is called: a seed, or a block, which has more in common."""
        return "block" if self.blocks or self.seed is None else "seed"

    @property
    def first(self) -> str:
        """The strategy of the first choices that our sweeper was given; "" if it is not known."""
        given = [self.spaces.get("", {}).get(key, {}).get("choices") for key in self.strategies]
        pairs = zip(self.strategies, given, strict=True)
        return _name({key: spell(choices[0]) for key, choices in pairs if choices})

    @property
    def is_paired(self) -> bool:
        """Whether any pair has two strategies, each of them once."""
        jobs = self.jobs[~self.jobs["superseded"]]
        is_once = not jobs.duplicated(["strategy", "block"]).any()
        return is_once and bool((jobs.groupby(self.pair)["strategy"].nunique() > 1).any())


def read(
    place: Path,
    strategies: Sequence[str] | None = None,
    seed: str | None = None,
    maximised: bool | None = None,
) -> Multirun:
    """Reads the folder of a multirun.

    Args:
        place: The folder, `hydra.sweep.dir`.
        strategies: Keys whose values name a strategy. None: that of the sweeper's `label`, or all
            keys that differ between jobs, without the seed and what was searched in a range.
        seed: The key of the seed. None: `seed`, or one that ends in `.seed`.
        maximised: Whether more is better; None: as the sweeper's `direction` says.

    Returns:
        The multirun. Its jobs have the columns of `results.trials` that are known: kind (job),
        sweep, strategy, trial, seed, search (0), objective (float64, NaN: failed), objective_metric
        (`metrics.SCORE` or `COST`), stop_reason, superseded (an attempt that was repeated),
        folder; block (str); and a column for every other key that differs.

    Raises:
        RequestError: No job left what it returned, or none returned one number; a key does not
            differ; which way is better is not known; a file has another shape.
    """
    files = sorted(place.rglob(RETURNED))
    if not files:
        begun = len(list(place.rglob(f"*/{HYDRA}")))
        rule = f"hold jobs that left {RETURNED}, which says what they returned"
        got = Phrase(f"{begun} folders of jobs without it" if begun else "no job's folder")
        raise RequestError(str(place), rule, got, _REMEDY)
    config = dict(schema.read_if_there(place / SWEEP_CONFIG, schema.ForeignConfig)).get("hydra", {})
    sweeper = config.get("sweeper", {})
    found = [schema.read(file, schema.Returned, "a job") for file in files]
    if not any(len(job.get("values") or ()) == 1 for job in found):
        got = Phrase(f"{len(found)} that failed, or returned several numbers or something else")
        raise RequestError(str(place), "hold a job that returned one number", got)
    rows = [_row(place, file, job) for file, job in zip(files, found, strict=True)]
    given = [overrides.read(job["overrides"], ()) for job in found]
    typed = [overrides.typed(job["overrides"]) for job in found]
    jobs = pd.DataFrame(rows).assign(objective_metric=_metric(sweeper, maximised))
    keys = list(dict.fromkeys(key for row in given for key in row))
    values = pd.DataFrame(given, columns=keys, index=jobs.index)
    differ = [key for key in keys if len({row.get(key) for row in typed}) > 1]
    if seed is not None:
        _require("--seed", differ, [seed])
    else:
        seeds = [key for key in ("seed", *differ) if key in differ and key.split(".")[-1] == "seed"]
        seed = next(iter(seeds), None)
    spaces = schema.read_if_there(place / SPACES, schema.Spaces)
    named = strategies or [key for key in [sweeper.get("label")] if key in differ]
    if strategies:
        _require("--strategy", [key for key in differ if key != seed], strategies)
    elif not named:
        free = [key for key in differ if key not in (seed, *_intervals(place))]
        ranges = {key for space in spaces.values() for key in space if "low" in space[key]}
        named = [key for key in free if key not in ranges] or free
    jobs["strategy"] = [
        _name({key: row[key] for key in named if key in row}) or place.name for row in typed
    ]
    jobs["seed"] = values[seed] if seed else 0.0
    own = values.groupby(jobs["strategy"])
    rest = [key for key in differ if key not in (*named, seed)]
    blocks = [key for key in rest if (own[key].nunique(dropna=False) > 1).any()]
    jobs["block"] = [_name({key: row.get(key) for key in (*blocks, seed) if key}) for row in typed]
    if all(isinstance(value, float) and value.is_integer() for value in jobs["seed"]):
        jobs["seed"] = jobs["seed"].astype("int64")
    jobs = pd.concat([jobs, values[[key for key in rest if key not in jobs]]], axis=1)
    jobs = jobs.sort_values("trial", kind="stable", ignore_index=True)
    jobs["superseded"] = jobs.duplicated(["strategy", "block"], keep="last")
    if seed is None:  # then jobs with equal overrides are draws of their own
        jobs["superseded"] &= jobs["objective"].isna()
    return Multirun(place, jobs, named, seed, blocks, config, spaces)


def _name(values: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in values.items())


def _row(place: Path, file: Path, job: dict[str, Any]) -> dict[str, Any]:
    values = job.get("values") or []
    value = float(values[0]) if len(values) == 1 and np.isfinite(values[0]) else np.nan
    reason = StopReason.FAILED if np.isnan(value) else StopReason.COMPLETED
    return {
        "kind": "job",
        "sweep": place.name,
        "trial": job["number"],
        "search": 0,
        "objective": np.nan if job["pruned"] else value,
        "stop_reason": str(StopReason.PRUNED if job["pruned"] else reason),
        "folder": str(file.parent),
    }


def _metric(sweeper: dict[str, Any], maximised: bool | None) -> str:
    direction = sweeper.get("direction")
    one = direction[0] if isinstance(direction, list) and len(direction) == 1 else direction
    if maximised is None and one not in ("minimize", "maximize"):
        rule = "be given, or --minimize, where the sweeper has no direction"
        raise RequestError("--maximize", rule, Phrase("neither" if one is None else str(one)))
    is_maximised = one == "maximize" if maximised is None else maximised
    return SCORE if is_maximised else COST


def _intervals(place: Path) -> list[str]:
    """Returns the keys of ranges that have a number of their own for each job."""
    found = schema.read_if_there(place / SWEEP_RESULTS, dict[str, Any])
    parts = [found, *(found.get("strategies") or {}).values()]
    return [key for part in parts for key in part.get("intervals") or ()]


def _require(option: str, differ: Sequence[str], asked: Sequence[str]) -> None:
    rule = f"be a key that differs between jobs ({', '.join(differ) or 'there is none'})"
    for key in asked:
        if key not in differ:
            raise RequestError(option, rule, key)
