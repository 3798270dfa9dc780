"""`fmnist-lab sweep`: answers a question from `sweeps/`, on every core."""

import re
import shlex
from pathlib import Path

from omegaconf import OmegaConf

from fmnist_lab import config
from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.foundation import secrets
from fmnist_lab.foundation.files import require_writable
from fmnist_lab.foundation.validate import require_name
from fmnist_lab.hydra_app import run as hydra_run
from fmnist_lab.launcher.cluster import keep_workers
from fmnist_lab.protocol import recentre, stages
from fmnist_lab.results import layout, overrides, schema, searches
from fmnist_lab.sweeper.settings import ChangedSweepError

ROOT = Path("mlruns/sweeps")
_STAGES = ("searches", "replicates", "recentre", "cells")
_command: list[str] = []  # what the user has typed, without passwords


def load() -> None:
    """Imports what takes long."""
    import fmnist_lab.sweeper.controller  # noqa: F401


@keep_workers()
def main(name: str, arguments: list[str], new: bool = False) -> Path:
    """Starts a sweep, or continues it where it stopped, and returns its folder.

    Tunes every strategy in each search; if all searches reach their budgets, trains the replicates
    of each search, which open the test set.

    Args:
        name: A file in `sweeps/`, ours or the user's, without its ending.
        arguments: Overrides, for Hydra.
        new: Start afresh, beside what exists.

    Raises:
        RequestError: Hydra, the sweeper or a check refuses the request.
    """
    if name not in (known := config.options("sweeps")):
        raise RequestError("NAME", f"be one of {', '.join(known)}", name)
    require_name("NAME", name)
    folder = next_folder(name) if new else latest_folder(name)
    arguments = secrets.into_environment(arguments)
    _command[:] = ["fmnist-lab", "sweep", name, *arguments]
    OmegaConf.register_new_resolver("fmnist_lab.sweep_name", lambda: folder.name, replace=True)
    program = f"fmnist-lab sweep {name}"
    ours = [f"sweeps={name}", f"hydra.sweep.dir={folder}"]
    if hydra_run.shows(arguments):
        hydra_run.run(hydra_run.sweep, program, stages.together(ours, arguments))
        return folder
    require_writable(ROOT)
    typed = overrides.typed(arguments)
    own = [f"{key}={typed[key]}" for key in _STAGES if key in typed]
    # Which may have a split of its own; of several Hydra says itself what is wrong.
    own += [f"data={typed['data']}"] if typed.get("data", "").isidentifier() else []
    cfg = config.compose([f"sweeps={name}", *own])
    config.validate_stages(cfg.replicates, cfg.searches, cfg.cells)
    count = int(cfg.searches)
    arguments = stages.with_splits(folder, recentre.as_begun(folder, arguments, cfg), cfg)
    if (count > 1 or cfg.replicates) and not (seed := typed.get("seed", "0")).isdigit():
        why, hint = "several searches", ""
        if count == 1:
            why, hint = "replicates, whose seeds are fresh ones", "replicates=0 trains none"
        raise RequestError("seed", f"be a number with {why}", Phrase(seed), hint)
    tuned: dict[Path, list[str]] = {}  # folder of a search: its overrides
    try:
        for number in range(count):
            given = stages.again(folder, number, arguments) if number else arguments
            if count > 1:
                print(f"\nSearch {number + 1} of {count}")
            words = stages.together(ours[:1] if number else ours, given)
            search = searches.folder_of(folder, number)
            if not _tune(program, name, search, words):
                return folder
            tuned[search] = given
        for number, (search, given) in enumerate(tuned.items(), 1):
            planned = stages.plan(name, search, given)
            if planned is None:
                return folder
            if count > 1:
                print(f"\nReplicates of search {number}")
            replicates = stages.prepare(planned, search)
            for limits in stages.batches(planned, search):
                words = planned.overrides(replicates, limits)
                hydra_run.run(hydra_run.sweep, program, ["--multirun", *words], kind="replicate")
    except ChangedSweepError as error:
        raise RequestError(
            f"{error.fact} To start afresh beside {folder}: fmnist-lab sweep {name} --new"
        ) from error
    return folder


def _tune(program: str, name: str, search: Path, words: list[str]) -> bool:
    """Tunes the strategies of a search, in one stage or two; whether they all are."""
    found = recentre.begun(search)
    if not found:
        hydra_run.run(hydra_run.sweep, program, ["--multirun", *words])
        if not stages.is_tuned(search):
            return False
        found = recentre.begin(name, search)
    if found:
        again = stages.together([recentre.override(found)], words)
        hydra_run.run(hydra_run.sweep, program, ["--multirun", *again])
    return stages.is_tuned(search)


def command() -> str:
    """Returns the command line that continues the sweep.

    Not a resolver: OmegaConf would look up what it returns, and `${oc.env:...}` is a secret.
    """
    return secrets.mask(shlex.join(_command))


def latest_folder(name: str, root: Path = ROOT) -> Path:
    """Returns where the sweep was started last; where it starts if it never was."""
    started = _series(name, root)
    return max(started)[1] if started else next_folder(name, root)


def next_folder(name: str, root: Path = ROOT) -> Path:
    """Returns where the sweep starts afresh: `root/name`, then `root/name-2`, and so on.

    Names of other sweeps' files and folders are left to them.
    """
    number = max(_series(name, root), default=(0, root))[0] + 1
    others = set(config.options("sweeps")) - {name}
    while True:
        folder = root / (name if number == 1 else f"{name}-{number}")
        if not folder.exists() and folder.name not in others:
            return folder
        number += 1


def _series(name: str, root: Path) -> list[tuple[int, Path]]:
    found = (
        (re.fullmatch(rf"{re.escape(name)}(?:-(\d+))?", path.name), path) for path in root.glob("*")
    )
    return [
        (int(match[1] or 1), path)
        for match, path in found
        if match and path.is_dir() and _sweep_of(path) in (None, name)
    ]


def _sweep_of(folder: Path) -> str | None:
    """Returns the file that a folder's sweep is of; None where nothing says it."""
    try:
        found = schema.read_if_there(folder / layout.SWEEP_CONFIG, schema.SweepConfig)
    except RequestError:  # damaged, which does not keep the user from starting afresh
        found = {}
    choices = found.get("hydra", {}).get("runtime", {}).get("choices", {})
    by_name = folder.name if folder.name in config.options("sweeps") else None
    return choices.get("sweeps") or by_name
