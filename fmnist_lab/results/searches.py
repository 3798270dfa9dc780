"""Folders of the searches of a sweep.

Search 0 is the sweep itself. Search k has the same layout below `searches/<k>`: studies, trials
numbered from 0, replicates.
"""

from pathlib import Path

from fmnist_lab.foundation.files import listed
from fmnist_lab.results.layout import SEARCHES


def folder_of(sweep: Path, number: int) -> Path:
    """Returns the folder of a search."""
    return sweep / SEARCHES / str(number) if number else sweep


def split(folder: Path, kind: str = "trial") -> tuple[Path, int]:
    """Returns the sweep's folder and the search's number, from that of the search's runs.

    Args:
        folder: The folder of the search, or for the kind `replicate` that of its replicates.
        kind: The kind of its runs.
    """
    folder = folder.parent if kind == "replicate" else folder
    if folder.parent.name == SEARCHES and folder.name.isdigit():
        return folder.parent.parent, int(folder.name)
    return folder, 0


def name_of(folder: Path) -> str:
    """Returns the name of a search's studies and run: the sweep's name, `demo-search-1`, ..."""
    sweep, number = split(folder)
    return f"{sweep.name}-search-{number}" if number else sweep.name


def folders(sweep: Path) -> list[Path]:
    """Lists the folders of the searches that have begun, the sweep's own first."""
    begun = [path for path in listed(sweep / SEARCHES) if path.name.isdigit()]
    return [sweep, *sorted(begun, key=lambda path: int(path.name))]
