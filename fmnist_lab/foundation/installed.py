"""What is installed: its versions, and imports past files of the same names beside a script."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path

from fmnist_lab.errors import Phrase, RequestError

_OURS = ("fmnist_lab", "hydra_plugins")


def beside() -> str:
    """Returns the folder that Python puts first in the path, the script's; empty if none is."""
    return "" if sys.flags.safe_path else str(Path(sys.path[0]).absolute())


@contextmanager
def installed_first(beside: str) -> Iterator[None]:
    """Makes imports in the block find installed packages, not a queue.py beside the script.

    Modules that the script has imported from there are back afterwards.
    """
    own = {name: sys.modules.pop(name) for name in shadowing(beside)}
    path = sys.path[:]
    sys.path[:] = installed_path(beside)
    try:
        yield
    finally:
        sys.path[:] = path
        sys.modules.update(own)


def installed_path(beside: str) -> list[str]:
    """Returns the path for imports with the script's folder as the last."""
    entries = [str(Path(entry).absolute()) for entry in sys.path]
    return sorted(entries, key=beside.__eq__)


def shadowing(beside: str) -> list[str]:
    """Lists loaded modules that come from the script's folder and hide installed ones."""
    others = [entry for entry in installed_path(beside) if entry != beside]
    own = {
        name
        for name, module in list(sys.modules.items())
        if "." not in name and name not in _OURS and beside and _folder(module) == beside
    }
    hiding = {name for name in own if PathFinder.find_spec(name, others)}
    return [name for name in sys.modules if name.partition(".")[0] in hiding]


def _folder(module: object) -> str | None:
    """Returns the folder that holds a module or package; None if that is unknown."""
    file = getattr(module, "__file__", None)
    if not file:
        return None
    path = Path(file).absolute()
    return str(path.parents[path.stem == "__init__"])


def require_versions() -> None:
    """Checks which packages are installed; to be called where an import has failed.

    Installing another package may have replaced a version by one that it needs itself.

    Raises:
        RequestError: A package is not there in a version that this one can work with.
    """
    # Not at the top: Hydra imports this module in every application, and these need much.
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement

    try:
        all_needed = requires("fmnist-lab") or []
    except PackageNotFoundError:  # it is not installed itself
        return
    for needed in map(Requirement, all_needed):
        if needed.marker and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(needed.name)
        except PackageNotFoundError:
            found = "none"
        if found == "none" or not needed.specifier.contains(found, prereleases=True):
            hint = f"pip install '{needed}'; `pip check` names packages that need another version"
            rule = f"be installed in a version {needed.specifier}"
            raise RequestError(needed.name, rule, Phrase(found), hint)
