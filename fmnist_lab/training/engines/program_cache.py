"""Keeps XLA's compiled programs on disk, so that the next process need not compile them again.

TensorFlow itself writes and reads the programs (`--tf_xla_persistent_cache_directory`) and compares
each one's code with what it is about to run. This module adds what TensorFlow leaves to its user:

* A folder for each kind of machine code: programs of another processor or version are never seen.
* A process has a private folder of hard links. What it compiles is shared once it is complete, with
  its checksum in its name; a program that is torn or not ours is deleted instead of linked.
* A bound on the size of all: the oldest are deleted. So is what killed processes have left.

`FMNIST_LAB_PROGRAM_CACHE` names another folder, or is `off`. It is a variable rather than a key of
a trial because it belongs to the machine and changes no bit of a result.
"""

import atexit
import functools
import hashlib
import logging
import os
import platform
import shutil
import tempfile
import time
from contextlib import ExitStack, suppress
from importlib import metadata
from pathlib import Path

from platformdirs import user_cache_path

import fmnist_lab
from fmnist_lab.foundation.files import FolderHeldError, held
from fmnist_lab.foundation.threads import threads

VARIABLE = "FMNIST_LAB_PROGRAM_CACHE"
OFF = "off"
MOST_BYTES = 128_000_000  # the notebook's two programs take 1.7 MB
_PRIVATE, _PROGRAMS = ".process-", "*.pb.*"
_NEW = 60.0  # seconds: the process of a folder that was just made may not hold it yet
_FLAG = "--tf_xla_persistent_cache_directory="

log = logging.getLogger(__name__)


class ProgramCache:
    """A shared folder of programs, and the private one that TensorFlow uses in this process."""

    def __init__(self, root: Path, kind: str) -> None:
        """Links the shared programs of a kind into a new private folder.

        Raises:
            OSError: The folder cannot be written, or its file system has no hard links.
        """
        self._shared = root / kind
        self._shared.mkdir(parents=True, exist_ok=True, mode=0o700)
        _delete_leftovers(root)
        self.folder = Path(tempfile.mkdtemp(prefix=_PRIVATE, dir=self._shared))
        with ExitStack() as life:
            life.callback(shutil.rmtree, self.folder, ignore_errors=True)
            life.enter_context(held(self.folder))
            for path in self._shared.glob(_PROGRAMS):
                # Another process has deleted it, or two have compiled it at the same time.
                with suppress(FileNotFoundError, FileExistsError):
                    if path.suffix == _checksum(path):
                        os.link(path, self.folder / path.stem)
                    else:
                        path.unlink()
            self._life = life.pop_all()

    def publish(self) -> None:
        """Shares the programs that this process has compiled, each whole and under its checksum."""
        known = {path.stem for path in self._shared.glob(_PROGRAMS)}
        for path in self.folder.glob("*.pb"):
            if path.name not in known:
                with suppress(FileExistsError):  # another process was faster
                    os.link(path, self._shared / f"{path.name}{_checksum(path)}")

    def close(self) -> None:
        """Deletes the private folder; the shared one stays."""
        self._life.close()


def _delete_leftovers(root: Path) -> None:
    """Deletes the oldest programs beyond the bound, and folders of processes that were killed."""
    found: list[tuple[float, int, Path]] = []
    for path in root.glob(f"*/{_PROGRAMS}"):
        with suppress(FileNotFoundError):  # another process has deleted it, as below
            found.append((path.stat().st_mtime, path.stat().st_size, path))
    size = 0
    for _, bytes_, path in sorted(found, reverse=True):
        size += bytes_
        if size > MOST_BYTES:
            path.unlink(missing_ok=True)
    for folder in root.glob(f"*/{_PRIVATE}*"):
        with suppress(FolderHeldError, FileNotFoundError):
            if time.time() - folder.stat().st_mtime > _NEW:
                with held(folder):
                    shutil.rmtree(folder)


def start() -> ProgramCache | None:
    """Has TensorFlow, which must not have compiled anything yet, use the cache in this process.

    A process that is forked from one with TensorFlow imported calls it again.

    Returns:
        None where there is none: it is off, the user has one of their own, or it cannot be written.
    """
    return _start(os.getpid())


@functools.cache
def _start(process: int) -> ProgramCache | None:
    chosen = os.environ.get(VARIABLE, "")
    given = os.environ.get("TF_XLA_FLAGS", "").split()
    root = Path(chosen) if chosen else user_cache_path("fmnist_lab") / "programs"
    # The folder of the process that started this one is not ours, also where the cache is off.
    flags = [flag for flag in given if not (flag.startswith(_FLAG) and f"/{_PRIVATE}" in flag)]
    os.environ["TF_XLA_FLAGS"] = " ".join(flags)
    if chosen == OFF or any(flag.startswith(_FLAG) for flag in flags):
        return None
    try:
        cache = ProgramCache(root, _kind_of_code(flags))
    except OSError as error:
        log.debug("Compiled programs are not kept: %s", error)
        return None
    atexit.register(cache.close)
    os.environ["TF_XLA_FLAGS"] = " ".join([*flags, f"{_FLAG}{cache.folder}"])
    return cache


def publish() -> None:
    """Shares what has been compiled here, if there is a cache; a full disk is no reason to stop."""
    if cache := start():
        try:
            cache.publish()
        except OSError as error:
            log.debug("Compiled programs are not kept: %s", error)


def _kind_of_code(flags: list[str]) -> str:
    """Names everything but the program itself that machine code depends on."""
    parts = [
        platform.machine(),
        _processor(),
        metadata.version("tensorflow"),
        fmnist_lab.__version__,  # also in a checkout that is not installed
        os.environ.get("XLA_FLAGS", ""),
        *flags,
        str(threads()),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    """Returns the processor's model and features, where the system has them in a file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(line for line in lines if line.startswith(("model name", "flags", "Features")))


def _checksum(path: Path) -> str:
    """Returns the suffix that a shared program has."""
    return f".{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
