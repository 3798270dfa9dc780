"""Where studies are stored, in a journal that survives kills or a database, and who writes there.

A sweep has one controller at a time: by a lock on this machine, by a lease in a database for all.
"""

import json
import logging
import os
import re
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
from filelock import FileLock, Timeout
from hydra.utils import instantiate
from omegaconf import OmegaConf
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock, get_lock_file

from fmnist_lab.errors import ConnectionLostError, Phrase
from fmnist_lab.foundation.installed import require_versions
from fmnist_lab.foundation.secrets import STORAGE, mask
from fmnist_lab.sweeper.settings import SecondControllerError, SweepRequestError, sweep_request

log = logging.getLogger(__name__)

_SCHEME = "journal://"
LEASE = "sweep:controller"
_BEAT = 20.0  # seconds between renewals
_STALE = 90.0  # a lease that was not renewed for so long has lost its owner


@dataclass(frozen=True)
class StorageAddress:
    """Where a study is stored; small and picklable, unlike an open storage."""

    # journal:///absolute/path, a database URL, or what to call an object
    text: str = field(repr=False)
    opened: BaseStorage | None = None  # of an object that the user configured

    @property
    def journal(self) -> Path | None:
        """The journal's file, if it is one."""
        return Path(self.text.removeprefix(_SCHEME)) if self.text.startswith(_SCHEME) else None

    @property
    def shown(self) -> str:
        """The address without a password; a journal has none, whatever its folder's name is."""
        return self.text if self.journal else mask(self.text)

    def through_environment(self) -> "StorageAddress":
        """Moves the password of a storage's address into the environment of child processes."""
        if self.shown == self.text:
            return self
        os.environ[STORAGE] = self.text
        return replace(self, text=self.shown)


def locate(storage: Any, default: Path) -> StorageAddress:
    """Reads `hydra.sweeper.storage`; null means the journal `default`."""
    if storage is None:
        return StorageAddress(f"{_SCHEME}{default.absolute()}")
    if isinstance(storage, str):
        if storage.startswith(_SCHEME):
            return StorageAddress(f"{_SCHEME}{Path(storage.removeprefix(_SCHEME)).absolute()}")
        if "://" in storage:
            return StorageAddress(_absolute(storage))
    elif OmegaConf.is_config(storage) or isinstance(storage, Mapping):
        opened = instantiate(storage)
        if isinstance(opened, BaseStorage):
            return StorageAddress(type(opened).__name__, opened)
    rule = "be journal:///path, a database URL or an Optuna storage"
    raise SweepRequestError("hydra.sweeper.storage", rule, mask(str(storage)))


def _absolute(url: str) -> str:
    """The URL with SQLite's file as an absolute path: jobs may run in folders of their own."""
    scheme, _, path = url.partition(":///")
    is_file = scheme.startswith("sqlite") and path and not path.startswith(("/", ":", "file:"))
    return f"{scheme}:///{quote(str(Path.cwd()))}/{path}" if is_file else url


def open_storage(address: StorageAddress) -> BaseStorage:
    """Opens or creates a storage, for the controller.

    Raises:
        SweepRequestError: It cannot be opened.
    """
    try:
        return _open(address)
    except ImportError as error:
        with sweep_request():
            require_versions()
        package = getattr(error.__cause__, "name", None) or "that is its driver"
        wanted = "'fmnist-lab[postgresql]'" if package == "psycopg" else package
        hint = f"it needs the package {package}: pip install {wanted}"
    except Exception as error:
        # The cause is left out: its text or its frames could hold the password.
        reason = mask(str(error)).splitlines()[0] if str(error) else ""
        hint = f"{type(error).__name__}: {reason}"
    rule, shown = "be a storage that can be opened", Phrase(address.shown)
    raise SweepRequestError("hydra.sweeper.storage", rule, shown, hint)


@lru_cache(maxsize=4)
def open_in_job(address: StorageAddress) -> BaseStorage:
    """Opens the storage of a study that exists; once for a worker process, which runs many jobs."""
    return _open(address, skip_compatibility_check=True, skip_table_creation=True)


def _open(address: StorageAddress, **options: Any) -> BaseStorage:
    if address.opened is not None:
        return get_storage(address.opened)
    if address.journal:
        return _open_journal(address.journal)
    known = os.environ.get(STORAGE, "")
    url = known if mask(known) == address.text else address.text
    # A server may have closed what idled while a trial trained.
    engine: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith("sqlite"):
        # Jobs write their result themselves, so SQLite's writers have to wait for one another.
        engine = {"connect_args": {"timeout": 60}}
    return get_storage(RDBStorage(url, engine_kwargs=engine, **options))


@contextmanager
def reaching(address: StorageAddress) -> Iterator[None]:
    """Turns the errors of a database that is gone into one sentence.

    Raises:
        ConnectionLostError: It is gone.
    """
    try:
        yield
    except StorageInternalError as error:
        cause = str(error.__cause__ or error).splitlines()[0]
        raise ConnectionLostError(
            f"The studies in {address.shown} are out of reach: {mask(cause)}"
        ) from None


class _ReleasedOnDeath(BaseJournalFileLock):
    """A file lock that ends with its process; Optuna's own then stalls the others for 30 s."""

    def __init__(self, journal: str) -> None:
        self._lock = FileLock(beside(Path(journal), "lock"), is_singleton=True)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


class _MendedJournal(JournalFileBackend):
    """A journal file in which a killed process leaves no half-written line behind."""

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        yield from super().read_logs(log_number_from)
        # Optuna goes on from the last line only, but keeps in mind where each line begins.
        last = next(reversed(self._log_number_offset))
        self._log_number_offset = {0: 0, last: self._log_number_offset[last]}

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        # Under the lock no other process writes, so a line without an end never gets one.
        with get_lock_file(self._lock):
            mend(Path(self._file_path))
            super().append_logs(logs)  # takes the lock again, which is re-entrant


def beside(path: Path, what: str) -> Path:
    """Returns the path of a hidden file beside another one."""
    return path.with_name(f".{path.name}.{what}")


def mend(journal: Path) -> None:
    """Cuts a torn last line off; call it while holding the journal's lock."""
    with journal.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        if file.read() in (b"", b"\n"):
            return
        file.seek(0)
        end = file.read().rfind(b"\n") + 1
        log.warning("Cutting off %d bytes of a half-written line: %s", size - end, journal)
        file.truncate(end)


def _open_journal(path: Path) -> BaseStorage:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _ReleasedOnDeath(str(path))
    path.touch()
    with get_lock_file(lock):
        mend(path)
        with path.open("rb") as file:
            for last in deque(file, maxlen=1):
                json.loads(last)  # Optuna would take it for half-written, until it adds lines
    return JournalStorage(_MendedJournal(str(path), lock))


# Raises ConnectionLostError where another process has taken the sweep over.
RequireHeld = Callable[[], None]


@contextmanager
def one_controller(
    address: StorageAddress, study_name: str, folder: Path
) -> Iterator[Callable[[optuna.Study], RequireHeld]]:
    """Holds the sweep; gives a function to call with the study once that is open.

    Raises:
        SecondControllerError: Another process holds it.
        SweepRequestError: The lock cannot be made there.
    """
    name = re.sub(r"[^\w-]+", "-", study_name)
    base = address.journal or folder / "sweep"
    lock = FileLock(beside(base, f"{name}.controller"), timeout=0)
    try:
        base.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if isinstance(error, Timeout):
            if Path(lock.lock_file).exists():
                raise _second(study_name, f"one on this machine works in {base.parent}") from None
            # FileLock takes it for a race with the removal of the lock: `/proc` holds no new files.
            reason = "no files can be made there"
        key = "hydra.sweep.dir" if base.parent == folder else "hydra.sweeper.storage"
        rule = "be in a folder where this user can make files"
        raise SweepRequestError(key, rule, Phrase(base.parent), reason) from error
    # A file lock does not reach other machines, which may share a database only.
    try:
        with _lease() as take:
            yield (lambda study: lambda: None) if address.journal else take
    finally:
        lock.release()


def _second(study_name: str, first: str) -> SecondControllerError:
    rule, hint = "have one controller", f"{first}; wait until it has ended, or end it"
    return SecondControllerError(f"the study {study_name}", rule, Phrase("a second"), hint)


@contextmanager
def _lease() -> Iterator[Callable[[optuna.Study], RequireHeld]]:
    """Gives a function that takes a study by an attribute, which is renewed until the block ends.

    A controller that is killed leaves the attribute to go stale. One that was suspended for so long
    that another has taken the study over finds the other's token in it.
    """
    taken: list[optuna.Study] = []
    stop, lost = threading.Event(), threading.Event()
    token = uuid.uuid4().hex

    def is_ours() -> bool:
        return bool((taken[0].user_attrs.get(LEASE) or {}).get("token") == token)

    def renew() -> None:
        content = {"host": socket.gethostname(), "pid": os.getpid(), "beat": time.time()}
        taken[0].set_user_attr(LEASE, content | {"token": token})

    def beat() -> None:
        while not stop.wait(_BEAT):
            with suppress(Exception):  # the next beat may get through
                if not is_ours():
                    lost.set()
                    return
                renew()

    def require_held() -> None:
        if lost.is_set():
            raise ConnectionLostError(
                f"Another process has taken the study {taken[0].study_name} over, which this one "
                f"has not renewed for more than {_STALE:.0f} s; this one ends."
            )

    def take(study: optuna.Study) -> RequireHeld:
        holder = study.user_attrs.get(LEASE)
        if holder and _is_alive(holder):
            first = f"process {holder['pid']} on {holder['host']} has it"
            raise _second(study.study_name, first)
        taken.append(study)
        renew()
        if not is_ours():
            raise _second(study.study_name, "one took it at the same time")
        thread.start()
        return require_held

    thread = threading.Thread(target=beat, daemon=True)
    try:
        yield take
    finally:
        stop.set()
        if thread.ident is not None:
            thread.join()
            with suppress(Exception):  # a database that is gone; the lease goes stale by itself
                if is_ours():
                    taken[0].set_user_attr(LEASE, None)


def _is_alive(holder: dict[str, Any]) -> bool:
    if time.time() - holder["beat"] > _STALE:
        return False
    if holder["host"] != socket.gethostname():
        return True
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return bool(holder["pid"] != os.getpid())
