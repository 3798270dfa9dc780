"""A second stage of tuning, where the first has found its best at an end of what it tried.

A better value may then lie beyond (the tuning playbook's advice: recentre and search again). All
strategies of the search get it alike: as many trials again, in ranges as wide as before that have
the strategy's best value at their centre. Each search decides by itself, so that searches stay
independent of one another. The manifest has the ranges before the first trial in them.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from fmnist_lab import config
from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.spelling import spell
from fmnist_lab.protocol import stages
from fmnist_lab.results import layout, ledger, manifest, schema, searches

Ranges = Mapping[str, Mapping[str, Sequence[float]]]  # strategy: key: low and high
_DIGITS = 4  # of an end
_HALVINGS = 6  # of what lies between an end that is allowed and one that is not


def as_begun(folder: Path, arguments: Sequence[str], cfg: DictConfig) -> list[str]:
    """Returns the overrides with which a sweep goes on as it began; one of the user's holds.

    Args:
        folder: The sweep's.
        arguments: The user's overrides.
        cfg: What they compose.
    """
    begun = schema.read_if_there(folder / layout.SWEEP_CONFIG, schema.SweepConfig)
    was = begun.get("recentre", False)  # a sweep of an earlier version has no second stage
    if not begun or was == cfg.recentre or "recentre" in map(stages.key_of, arguments):
        return list(arguments)
    return stages.together([f"recentre={spell(was)}"], arguments)


def begun(folder: Path) -> Ranges | None:
    """Returns the ranges of a second stage that has begun; it goes on in them, whatever comes."""
    ranges: Ranges | None = manifest.read(folder).get("recentred", {}).get("ranges")
    return ranges


def begin(sweep: str, folder: Path) -> Ranges | None:
    """Returns where the second stage of a search is, and writes that down; None where none is due.

    None is due where `recentre` is false, after the test set was opened for the search, and where
    `target` or `plateau` end the tuning of a strategy: budgets would not be equal.

    Args:
        sweep: The file in `sweeps/`.
        folder: Of the search, in which all strategies are tuned.
    """
    cfg = manifest.configuration(folder)
    ends = {key: cfg["hydra"]["sweeper"].get(key) for key in ("target", "plateau")}
    is_equal = not any(end is not None for end in ends.values())
    if not (cfg.get("recentre") and is_equal) or manifest.read(folder).get("openings"):
        return None
    from fmnist_lab import results, statistics  # and pandas, which a sweep does not need to start

    trials = results.trials(results.ended(folder))
    number = searches.split(folder)[1]
    trials = trials[~trials["superseded"] & (trials["search"] == number)]
    tuned = manifest.tuned(folder)["strategies"]
    stated = manifest.asked(folder)["spaces"]
    spaces = {
        name: {
            key: (stated[name][key]["low"], stated[name][key]["high"], stated[name][key]["log"])
            for key in tuned[name].get("intervals", [])
            if key in trials
        }
        for name in trials["strategy"].unique()
    }
    edges = statistics.at_edge(trials, spaces).dropna(subset="value")
    at_edge = edges[edges["at_edge"].fillna(False)]
    if at_edge.empty:
        return None
    found = {}
    for name, rows in edges.groupby("strategy", sort=False):
        own, best = spaces[str(name)], dict(zip(rows["parameter"], rows["value"], strict=True))
        old = {key: own[key][:2] for key in best}
        new = {key: _around(value, *own[key]) for key, value in best.items()}
        overrides = [f"sweeps={sweep}", *tuned[str(name)]["best_overrides"]]
        found[str(name)] = _allowed(config.compose(overrides), old, new)
    stage = {
        "begun": ledger.now(),
        "at_edge": at_edge.groupby("strategy")["parameter"].agg(list).to_dict(),
        "winners": statistics.winners(trials).set_index("strategy")["trial"].to_dict(),
        "ranges": found,
    }
    manifest.add(folder, recentred=stage)
    names = ", ".join(map(str, stage["at_edge"]))
    print(
        f"\nThe best value of {names} is an end of what was tried. All strategies are tuned with "
        "as many trials again, in ranges around their best."
    )
    return found


def override(found: Ranges) -> str:
    """Returns the override with which the sweeper tunes in these ranges."""
    inner = (
        f"{name}: {{{', '.join(f'{key}: {list(ends)}' for key, ends in own.items())}}}"
        for name, own in found.items()
    )
    return f"+hydra.sweeper.recentred={{{', '.join(inner)}}}"


def _around(value: float, low: float, high: float, log: bool) -> tuple[float, float]:
    """Returns a range as wide as before, on its search's scale, centred on the best value."""
    scale, back = (math.log, math.exp) if log else (float, float)
    half = (scale(high) - scale(low)) / 2
    first, last = (_like(low, back(scale(value) + sign * half)) for sign in (-1, 1))
    return max(first, _like(low, 1)) if log and isinstance(low, int) else first, last


def _like(end: float, value: float) -> float:
    """Returns a whole number where the end is one, else one of few digits."""
    return round(value) if isinstance(end, int) else float(f"{value:.{_DIGITS}g}")


def _allowed(
    best: DictConfig,
    old: Mapping[str, tuple[float, float]],
    new: Mapping[str, tuple[float, float]],
) -> dict[str, list[float]]:
    """Returns the new ranges, each end cut to where every combination of ends can be trained."""
    box = {key: list(ends) for key, ends in old.items()}
    for key, ends in new.items():
        for side, wanted in enumerate(ends):
            good, bad = box[key][side], wanted
            if old[key][0] <= wanted <= old[key][1] or _fits(best, box | {key: [wanted]}):
                good = wanted
            for _ in range(_HALVINGS if good != wanted else 0):
                middle = _like(wanted, (good + bad) / 2)
                fits = _fits(best, box | {key: [middle]})
                good, bad = (middle, bad) if fits else (good, middle)
            box[key][side] = good
    return box


def _fits(best: DictConfig, box: Mapping[str, Sequence[float]]) -> bool:
    """Returns whether the best trial may have each combination of these values instead."""
    try:
        for values in product(*box.values()):
            cfg = copy.deepcopy(best)
            for key, value in zip(box, values, strict=True):
                OmegaConf.update(cfg, key, value, force_add=True)
            config.to_trial(cfg)
    except RequestError:
        return False
    return True
