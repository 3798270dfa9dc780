"""Writes that are whole or absent."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fmnist_lab.errors import RequestError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`, which takes its place once the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)  # mkstemp's files are for the owner alone
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Writes one JSON document; NaN stays NaN, as Python and pandas read it."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def require_writable(folder: Path) -> None:
    """Raises `RequestError` unless the folder, which need not exist, can take results."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise RequestError(f"`{folder}` must be a folder for results, got the file {there}.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise RequestError(
            f"`{folder}` must be a folder that can be written, got {there}, which this user may "
            "only read."
        )
