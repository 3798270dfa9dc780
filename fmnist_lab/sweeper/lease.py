"""One controller at a time: a lock on this machine, a lease in a database for all machines."""

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout

from fmnist_lab.errors import Phrase
from fmnist_lab.sweeper.settings import SecondControllerError, SweepRequestError
from fmnist_lab.sweeper.storage import StorageAddress, beside

LEASE = "sweep:controller"
_BEAT = 20.0  # seconds between renewals
_STALE = 90.0  # a lease that was not renewed for so long has lost its owner


@contextmanager
def one_controller(
    address: StorageAddress, study_name: str, folder: Path
) -> Iterator[Callable[[optuna.Study], None]]:
    """Holds the sweep; gives a function to call with the study once that is open.

    Raises:
        SecondControllerError: Another process holds it.
        SweepRequestError: The lock cannot be made there.
    """
    name = re.sub(r"[^\w-]+", "-", study_name)
    base = address.journal or folder / "sweep"
    lock = FileLock(beside(base, f"{name}.controller"), timeout=0)
    lease = _Lease()
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
    try:
        # A file lock does not reach other machines, which may share a database only.
        yield (lambda study: None) if address.journal else lease.take
    finally:
        lease.end()
        lock.release()


def _second(study_name: str, first: str) -> SecondControllerError:
    rule, hint = "have one controller", f"{first}; wait until it has ended, or end it"
    return SecondControllerError(f"the study {study_name}", rule, Phrase("a second"), hint)


class _Lease:
    """An attribute of the study that its controller renews; ends with it, or goes stale."""

    def __init__(self) -> None:
        self._study: optuna.Study | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def take(self, study: optuna.Study) -> None:
        """Takes the lease.

        Raises:
            SecondControllerError: Another process has it.
        """
        holder = study.user_attrs.get(LEASE)
        if holder and _is_alive(holder):
            host, pid = holder["host"], holder["pid"]
            raise _second(study.study_name, f"process {pid} on {host} has it")
        self._study = study
        self._renew()
        self._thread.start()

    def end(self) -> None:
        """Gives the lease back."""
        if self._study is None:
            return
        self._stop.set()
        self._thread.join()
        with suppress(Exception):  # a database that is gone; the lease goes stale by itself
            self._study.set_user_attr(LEASE, None)

    def _renew(self) -> None:
        assert self._study is not None
        content = {"host": socket.gethostname(), "pid": os.getpid(), "beat": time.time()}
        self._study.set_user_attr(LEASE, content)

    def _beat(self) -> None:
        while not self._stop.wait(_BEAT):
            with suppress(Exception):  # the next beat may get through
                self._renew()


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
