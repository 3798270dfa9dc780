"""Several searches in one sweep: the whole tuning again, with other trials and other seeds.

The first, search 0, is the sweep itself. Search k is laid out alike in a folder of its own in the
sweep's, `searches/<k>`, with its studies, its trials and its replicates: so it is continued, and
its trials are numbered, as a sweep's are.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.files import listed

FOLDER = "searches"
STRIDE = 1000  # from one search's seed to the next one's: room for the seeds of its replicates


def validate(replicates: int, searches: int) -> None:
    """Raises `RequestError` for stages that no sweep could have."""
    if not 0 <= replicates < STRIDE:  # the next search's seeds begin there
        raise RequestError(
            f"`replicates` must be zero or more and below {STRIDE}, got {replicates}."
        )
    if not 1 <= searches <= STRIDE:
        raise RequestError(f"`searches` must be from 1 to {STRIDE}, got {searches}.")


def folder_of(sweep: Path, number: int) -> Path:
    """The folder of a search."""
    return sweep / FOLDER / str(number) if number else sweep


def split(folder: Path) -> tuple[Path, int]:
    """The sweep's folder and the search's number, from the search's folder."""
    if folder.parent.name == FOLDER and folder.name.isdigit():
        return folder.parent.parent, int(folder.name)
    return folder, 0


def name_of(folder: Path) -> str:
    """What a search's studies and its run are called: the sweep's name, `demo-search-1`, ..."""
    sweep, number = split(folder)
    return f"{sweep.name}-search-{number}" if number else sweep.name


def folders(sweep: Path) -> list[Path]:
    """The folders of the searches that have begun, in order; the sweep's own comes first."""
    begun = [path for path in listed(sweep / FOLDER) if path.name.isdigit()]
    return [sweep, *sorted(begun, key=lambda path: int(path.name))]


def again(sweep: Path, number: int, arguments: Sequence[str]) -> list[str]:
    """The user's overrides, changed so that they make search `number` of a sweep.

    Every trial has another seed, and the sampler goes another way: one without a seed does so by
    itself, and a grid has only one. A Sobol sequence is scrambled, whatever the first one was.

    Args:
        sweep: The sweep's folder, with the `multirun.yaml` of search 0.
        number: From 1.
        arguments: Of search 0.
    """
    config = yaml.safe_load((sweep / "multirun.yaml").read_text(encoding="utf-8"))
    sampler: Mapping[str, Any] = config["hydra"]["sweeper"].get("sampler") or {}
    more = [f"seed={config['seed'] + number * STRIDE}"]
    if sampler.get("seed") is not None:
        more.append(f"hydra.sweeper.sampler.seed={sampler['seed'] + number}")
    if sampler.get("scramble") is False:
        more.append("hydra.sweeper.sampler.scramble=true")
    folder = folder_of(sweep, number)
    more += [f"hydra.sweeper.study_name={name_of(folder)}", f"hydra.sweep.dir={folder}"]
    changed = {item.partition("=")[0] for item in more}
    kept = [item for item in arguments if item.partition("=")[0].lstrip("+") not in changed]
    return together(more, kept)


def together(ours: Sequence[str], users: Sequence[str]) -> list[str]:
    """All overrides in one place, before Hydra's flags or behind them, as its parser wants them."""
    flags_first = bool(users) and users[0].startswith("-")
    return [*users, *ours] if flags_first else [*ours, *users]
