"""Writes that are whole or absent, and folders that one process alone writes to."""

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from fmnist_lab.errors import Phrase, RequestError

_LONGEST_NAME = 255  # bytes, in the file systems of Linux and macOS


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`, which takes its place once the block succeeds.

    A link stays one: what it leads to is replaced. A device or a pipe, such as `/dev/stdout`, which
    may itself lead to a file, is written as it is.
    """
    is_special = path.exists() and not (path.is_file() or path.is_dir())
    if is_special or path.is_relative_to("/dev") or path.is_relative_to("/proc"):
        yield path
        return
    path = Path(os.path.realpath(path))
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


@contextmanager
def asked_file(option: str, path: Path) -> Iterator[Path]:
    """Gives a temporary path, as `whole_file` does, for the file that an option names.

    Raises:
        RequestError: It cannot be written.
    """
    try:
        if path.is_dir():
            raise RequestError(option, "be a file", Phrase(f"the folder {path}"))
        with whole_file(path) as temporary:
            yield temporary
    except OSError as error:
        got = Phrase(f"{path}: {error.strerror or type(error).__name__}")
        raise RequestError(option, "be a file that can be written", got) from error


def write_json(path: Path, content: Any) -> None:
    """Writes one JSON document; NaN stays NaN, as Python and pandas read it."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def require_writable(folder: Path) -> None:
    """Raises `RequestError` unless the folder, which need not exist, can take results."""
    if any(len(os.fsencode(name)) > _LONGEST_NAME for name in folder.parts):
        rule = f"be a folder whose names have at most {_LONGEST_NAME} bytes"
        raise RequestError(f"{folder}", rule, Phrase("a longer one"))
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise RequestError(f"{folder}", "be a folder for results", Phrase(f"the file {there}"))
    if not os.access(there, os.W_OK | os.X_OK):
        got = Phrase(f"{there}, which this user may only read")
        raise RequestError(f"{folder}", "be a folder that can be written", got)


def listed(folder: Path) -> list[Path]:
    """Returns what is in a folder, nothing where there is none.

    Raises:
        PermissionError: This user may not look; `Path.glob` would find nothing, and not say so.
    """
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def append_line(path: Path, content: Any) -> None:
    """Adds a JSON document as a line, the whole of it or, where the disk is full, nothing."""
    with path.open("ab", buffering=0) as file:
        append_whole(file, json.dumps(content).encode() + b"\n")


def append_whole(file: FileIO, content: bytes) -> None:
    """Adds bytes to a file that is open without a buffer; nothing of them if they do not fit."""
    before = file.seek(0, os.SEEK_END)
    try:
        while content:
            content = content[file.write(content) or 0 :]
    except OSError:
        file.truncate(before)
        raise


class FolderHeldError(RuntimeError):
    """Another process holds the folder."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Holds a folder that exists; a process that is killed lets it go, and leaves nothing there.

    Raises:
        FolderHeldError: Another process holds it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderHeldError(folder) from None
        except OSError:  # some network file systems lock no folders
            pass
        yield
    finally:
        os.close(handle)
