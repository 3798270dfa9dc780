"""The manifest of a search: its plan, and each opening of the test set for it.

`manifest.json` stands in the search's folder. The plan is written before the first trial and stays
as it is; so does its hash. Openings stand beside it. The hash of an opening covers the strategies,
their spaces and winners, the seeds, the data and the versions. Another hash is another opening,
which says what had changed: replicates of before and after it differ in more than their seeds.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from fmnist_lab.foundation.files import write_json
from fmnist_lab.foundation.nested import differences
from fmnist_lab.results import ledger, schema, searches
from fmnist_lab.results.layout import MANIFEST, SPACES, SWEEP_CONFIG, SWEEP_RESULTS

BASELINE = "constant"
RULES = ("baseline", "margin", "alpha", "cells")  # by which verdicts are found
_SETTINGS = (*RULES, "searches", "replicates", "seed")
_FIXED = ("objective", "training", "stopping", "recentre")  # which stay as they began
_BUDGETS = ("n_trials", "timeout", "max_epochs", "target", "plateau")
CHANGEABLE = (*_SETTINGS, *_BUDGETS)  # while a sweep goes on


def read(folder: Path) -> dict[str, Any]:
    """Returns the manifest of a search; empty where there is none.

    Raises:
        RequestError: It has another shape: its warnings would be lost.
    """
    path, remedy = folder / MANIFEST, "bring it back: it says how often the test set was opened"
    return dict(schema.read_if_there(path, schema.Manifest, "its sweep", remedy))


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a configuration says of `CHANGEABLE`."""
    sweeper = config.get("hydra", {}).get("sweeper", {})
    given = {key: config[key] for key in _SETTINGS if key in config}
    return given | {key: sweeper[key] for key in _BUDGETS if sweeper.get(key) is not None}


def begin(folder: Path, **plan: Any) -> None:
    """Writes the plan of a search, unless it has one or has opened its test set already.

    Args:
        folder: Of the search, with what its sweeper has left there.
        **plan: Further entries beside the search's strategies, spaces and settings.
    """
    if read(folder):
        return
    config = configuration(folder)
    trial = {key: config[key] for key in _FIXED if key in config}
    content = {**plan, **asked(folder), **trial, **settings(config)}
    write_json(folder / MANIFEST, {"begun": ledger.now(), "hash": _hash(content), "plan": content})


def add(folder: Path, **content: Any) -> None:
    """Writes something beside what the manifest says."""
    write_json(folder / MANIFEST, read(folder) | content)


def asked(folder: Path) -> dict[str, Any]:
    """Returns what a search was asked: its number, its strategies, and where each is searched."""
    return {
        "search": searches.split(folder)[1],
        "strategies": configuration(folder)["hydra"]["sweeper"]["strategies"],
        "spaces": json.loads((folder / SPACES).read_text(encoding="utf-8")),
    }


def configuration(folder: Path) -> dict[str, Any]:
    """Returns the composed configuration of a search, as its sweeper has left it."""
    return dict(yaml.safe_load((folder / SWEEP_CONFIG).read_text(encoding="utf-8")))


def tuned(folder: Path) -> dict[str, Any]:
    """Returns what the sweeper of a search has found, as it has left it."""
    return dict(yaml.safe_load((folder / SWEEP_RESULTS).read_text(encoding="utf-8")))


def baseline(
    config: Mapping[str, Any], names: Collection[str], within: Mapping[str, str] | None = None
) -> str:
    """Returns what the others are compared with: as asked, `constant`, or the first of the file.

    Args:
        config: The composed configuration of the sweep; may be empty.
        names: The strategies that there are.
        within: The name of each strategy in a cell, where that is another.
    """
    strategies = config.get("hydra", {}).get("sweeper", {}).get("strategies") or {}
    wished = [config.get("baseline"), BASELINE, *strategies, *names]
    known = ((within or {}).get(str(name), str(name)) for name in wished)
    return next((name for name in known if name in names), BASELINE)


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def changes(content: Mapping[str, Any], folder: Path) -> list[str]:
    """Returns the dotted keys whose values have changed since the test set was opened last.

    What an older manifest does not say has not changed.
    """
    before = read(folder)
    shared = content.keys() & before.keys()
    known, now = ({name: side[name] for name in shared} for side in (before, content))
    return [key for key, *_ in differences(known, now)]


def has_other_winners(changed: Iterable[str]) -> bool:
    """Whether an opening with these changes is for other winners."""
    return any(key.startswith("winners") for key in changed)


def has_other_runs(changed: Iterable[str]) -> bool:
    """Whether these changes ask for other replicates: other winners, seeds or looks."""
    return has_other_winners(changed) or not {"seeds", "looks"}.isdisjoint(changed)


def open_test_set(content: dict[str, Any], images: str, folder: Path) -> None:
    """Writes the manifest, and that the test set is opened unless it was for the very same.

    The project's ledger then has all openings of the manifest, those of earlier versions too.

    Args:
        content: What the opening is for.
        images: The checksum of the test images.
        folder: Of the search.
    """
    before, digest = read(folder), _hash(content)
    openings, changed = before.get("openings", []), changes(content, folder)
    if changed or not openings:
        runs, number = len(content["winners"]) * len(content["seeds"]), len(ledger.read(images)) + 1
        new = schema.Opening(
            opened=ledger.now(), hash=digest, changed=changed, runs=runs, number=number
        )
        openings = [*openings, new]
    kept = ("begun", "hash", "plan", "recentred") if "plan" in before else ("recentred",)
    began = {key: before[key] for key in kept if key in before}
    content = {"hash": digest, **began, "openings": openings, "test_images": images, **content}
    write_json(folder / MANIFEST, content)
    sweep, search = searches.split(folder)
    entries = [
        ledger.Entry(opened=opening["opened"], images=images, command=ledger.Command.SWEEP,
                     subject=sweep.name, search=search, manifest=opening.get("hash", ""),
                     runs=opening.get("runs"))
        for opening in openings
    ]  # fmt: skip
    ledger.record(*entries)


def add_looks(
    folder: Path, looks: Sequence[Mapping[str, Any]], wanted: Mapping[str, int]
) -> list[Mapping[str, Any]]:
    """Records looks at the replicates, with the time, beside the opening that they belong to.

    Args:
        folder: Of a search with a manifest.
        looks: All that were made: pairs, and verdicts by strategy.
        wanted: Up to how many seeds each strategy is trained next.

    Returns:
        Those that were not recorded yet.
    """
    openings = read(folder)["openings"]
    known = [(k["pairs"], k["verdicts"]) for opening in openings for k in opening.get("looks", [])]
    new = [look for look in looks if (look["pairs"], look["verdicts"]) not in known]
    made = [{"made": ledger.now(), **look} for look in new]
    if made:
        openings[-1]["looks"] = [*openings[-1].get("looks", []), *made]
    add(folder, openings=openings, wanted=dict(wanted))
    return new
