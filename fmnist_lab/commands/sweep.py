"""The Hydra application behind `fmnist-lab sweep`: a question from `sweeps/`, on every core."""

import functools
import re
import shlex
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from fmnist_lab import config, data
from fmnist_lab.commands import train
from fmnist_lab.data import DataConfig
from fmnist_lab.errors import RequestError
from fmnist_lab.foundation import secrets
from fmnist_lab.foundation.files import require_writable
from fmnist_lab.foundation.validate import require_name
from fmnist_lab.hydra_app import leftovers
from fmnist_lab.protocol import confirm
from fmnist_lab.results import searches
from fmnist_lab.sweeper.settings import ChangedSweepError, SecondControllerError

ROOT = Path("mlruns/sweeps")
_command: list[str] = []  # what the user has typed, without passwords


def load() -> None:
    """Imports what takes long."""
    import fmnist_lab.sweeper.controller  # noqa: F401


def main(name: str, arguments: list[str], new: bool = False) -> None:
    """Starts a sweep, or continues it where it stopped.

    Args:
        name: A file in `sweeps/`, ours or the user's, without its ending.
        arguments: Overrides, for Hydra.
        new: Start afresh, beside what exists.

    Raises:
        RequestError: Hydra, the sweeper or a check refused the request.
    """
    known = config.options("sweeps")
    if name not in known:
        raise RequestError(f"`NAME` must be one of {', '.join(known)}, got {name!r}.")
    require_name("NAME", name)
    folder = next_folder(name) if new else latest_folder(name)
    arguments = secrets.into_environment(arguments)
    _command[:] = ["fmnist-lab", "sweep", name, *arguments]
    OmegaConf.register_new_resolver("fmnist_lab.sweep_name", lambda: folder.name, replace=True)
    overrides = searches.together([f"sweeps={name}", f"hydra.sweep.dir={folder}"], arguments)
    if train.looks(arguments):
        train.run(_application, f"fmnist-lab sweep {name}", overrides)
        return
    require_writable(ROOT)
    is_new = not folder.exists()
    try:
        tuned = _tune(name, folder, arguments, overrides)
        for search, given in tuned.items():
            if planned := confirm.plan(name, search, given):
                if len(tuned) > 1:
                    print(f"\nReplicates of search {searches.split(search)[1] + 1}")
                _run(name, planned.overrides(confirm.prepare(planned, search)))
    except ChangedSweepError as error:
        raise RequestError(
            f"{error.fact} To start afresh beside {folder}: fmnist-lab sweep {name} --new"
        ) from error
    except SecondControllerError:  # then the folder is the first one's
        raise
    except RequestError:
        if is_new:
            leftovers.discard_sweep(folder)
        raise


def command() -> str:
    """The command line that continues the sweep.

    Not a resolver: OmegaConf would look up what it returns, and `${oc.env:...}` is a secret.
    """
    return secrets.mask(shlex.join(_command))


def _tune(
    name: str, folder: Path, arguments: list[str], overrides: list[str]
) -> dict[Path, list[str]]:
    """Runs every search of a sweep; `overrides` are those of the first.

    Returns:
        Folder and overrides of each search; nothing unless all of them are whole, because the
        test set stays closed until then.
    """
    count, tuned, given = _searches(name, arguments), {}, arguments
    for number in range(count):
        if number:
            given = searches.again(folder, number, arguments)
            overrides = searches.together([f"sweeps={name}"], given)
        if count > 1:
            print(f"\nSearch {number + 1} of {count}")
        _run(name, overrides)
        search = searches.folder_of(folder, number)
        if not confirm.is_tuned(search):
            return {}
        tuned[search] = given
    return tuned


def _searches(name: str, arguments: list[str]) -> int:
    """How many searches are asked for."""
    own = [item for item in arguments if confirm.key_of(item) in ("searches", "replicates")]
    cfg = config.compose([f"sweeps={name}", *own])
    searches.validate(cfg.replicates, cfg.searches)
    for item in arguments:
        if cfg.searches > 1 and confirm.key_of(item) == "seed" and not item[5:].isdigit():
            raise RequestError(f"`seed` must be a number with several searches, got {item[5:]}.")
    return int(cfg.searches)


def _run(name: str, overrides: list[str]) -> None:
    train.run(_application, f"fmnist-lab sweep {name}", ["--multirun", *overrides])


@hydra.main(version_base="1.3", config_path=config.config_dir(), config_name="sweep")
def _application(cfg: DictConfig) -> float:
    return train.job(cfg)


def check(cfg: DictConfig) -> None:
    """Refuses a trial that cannot run, and gets its data, before anything is started.

    Raises:
        RequestError: A value is not allowed.
        DataUnavailableError: No source has the data.
    """
    trial = config.to_trial(cfg)
    config.to_tracking(cfg)
    config.refuse_password(cfg)
    _get(trial.data)


@functools.cache  # a check for each strategy, but they have their data in common
def _get(wanted: DataConfig) -> None:
    data.load(wanted)


def latest_folder(name: str, root: Path = ROOT) -> Path:
    """Where the sweep was started last; `root/name` if it never was."""
    return max(_series(name, root), default=(1, root / name))[1]


def next_folder(name: str, root: Path = ROOT) -> Path:
    """Where the sweep starts afresh: `root/name`, and `root/name-2` beside it, and so on."""
    started = _series(name, root)
    return root / f"{name}-{max(started)[0] + 1}" if started else root / name


def _series(name: str, root: Path) -> list[tuple[int, Path]]:
    found = (
        (re.fullmatch(rf"{re.escape(name)}(?:-(\d+))?", path.name), path) for path in root.glob("*")
    )
    return [(int(match[1] or 1), path) for match, path in found if match and path.is_dir()]
