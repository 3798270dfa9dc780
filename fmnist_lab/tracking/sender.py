"""Sends records in a background thread: training neither waits for MLflow nor fails with it.

There is one sender in a process for each store. It works from the records' files, so nothing is
lost when its process ends: the next command, or `sync`, goes on from them.
"""

import functools
import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from fmnist_lab.config import TrackingConfig
from fmnist_lab.results.layout import ROOT
from fmnist_lab.tracking.outbox import DAMAGED, Record, RefusedError, unsent
from fmnist_lab.tracking.store import quiet_mlflow, reason, store_name, without_password

SEND_SECONDS = 10.0  # how long points wait for others
WAIT_SECONDS = 1.0  # that a process waits for a server in all, until it answers again
LOCAL_WAIT_SECONDS = 60.0  # an SQLite file is created in seconds, on a busy machine in many
LONGEST_PAUSE = 60.0  # seconds between two attempts
FOLDERS = ("trials", "multirun", "sweeps")  # below ROOT, where runs leave their files

log = logging.getLogger(__name__)


class Sender:
    """Sends the records of this process to one store, and then those that others have left."""

    def __init__(self, uri: str | None, root: Path) -> None:
        self._uri, self._root = uri, root
        self._most_seconds = WAIT_SECONDS if uri else LOCAL_WAIT_SECONDS
        self._wait_seconds = self._most_seconds  # that are left of them
        self._changed = threading.Condition()
        # What to send, and when, in seconds of the monotonic clock: records of this process, and
        # files of records that others have left or folders with such. Infinity: after `notify`.
        self._due: dict[Record | Path, float] = {}
        self._has_taken_all = False
        self._busy: Record | Path | None = None
        self._refused: set[Record] = set()
        self._failures = 0
        self._pause = 0.0  # after the last failure; 0 since a success
        self._pause_ends = 0.0
        self._level: int | None = logging.WARNING  # of the only warning; None once it was given
        self._thread: threading.Thread | None = None

    def notify(self, record: Record, within: float = 0.0) -> None:
        """Schedules what is new in a record, to be sent within so many seconds."""
        with self._changed:
            if not within:  # it may be the last chance in this process
                self._pause_ends = 0.0
            due = self._due.get(record, math.inf)
            self._due[record] = min(due, time.monotonic() + within)
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mlflow", daemon=True)
                self._thread.start()

    def take_over(self, folder: Path) -> None:
        """Schedules what others have left in a folder or below, after this process's records."""
        with self._changed:
            self._due[folder] = 0.0
            self._changed.notify_all()

    def take_over_all(self) -> None:
        """Schedules, once, what earlier commands have left anywhere."""
        if not self._has_taken_all:
            self._has_taken_all = True
            for name in FOLDERS:
                self.take_over(self._root / name)

    def mute_warnings(self) -> None:
        """Leaves the warning to the process that has started this one, unless it is the same."""
        if self._level is not None and not self._has_taken_all:
            self._level = logging.INFO

    def wait(self, record: Record, for_run: bool = False) -> None:
        """Waits a moment until a record is sent, or only its run is created."""

        def has_arrived() -> bool:
            is_sent = record.is_complete and record not in self._due
            return is_sent or record in self._refused or (for_run and record.run_id is not None)

        if not self._wait(has_arrived):
            with self._changed:  # an open file for each trial would soon be too many
                if record in self._due and record is not self._busy and record.has_ended:
                    self._release(record, retry=True)

    def settle(self) -> bool:
        """Waits a moment until nothing is left to send; returns whether that is so."""
        return self._wait(lambda: self._busy is None and all(map(math.isinf, self._due.values())))

    def _wait(self, is_done: Callable[[], bool]) -> bool:
        """Waits; all waits without success together last no longer than `_wait_seconds`."""
        start = time.monotonic()
        with self._changed:
            before, seconds = self._failures, self._wait_seconds
            self._changed.wait_for(lambda: is_done() or self._failures > before, seconds)
            done = is_done()
        if not done:
            self._wait_seconds = max(0.0, self._wait_seconds - (time.monotonic() - start))
            if not self._pause:
                self._warn("it does not answer in time")
        return done

    def _run(self) -> None:
        while True:
            with self._changed:
                job, seconds = self._next()
                self._busy = job
                if job is None:
                    self._changed.wait(None if math.isinf(seconds) else seconds)
                    continue
            try:
                if isinstance(job, Record):
                    self._attempt(job)
                else:
                    self._attempt_left(job)
            except Exception:  # this thread must go on
                log.warning("MLflow will not get all of %s.", job, exc_info=True)
            with self._changed:
                self._busy = None
                self._changed.notify_all()

    def _next(self) -> tuple[Record | Path | None, float]:
        """Returns what to send now, this process's own first; or how long to wait for it."""
        now = time.monotonic()
        if now < self._pause_ends:
            return None, self._pause_ends - now
        ready = [job for job, due in self._due.items() if due <= now]
        if not ready:
            return None, min(self._due.values(), default=math.inf) - now
        job = min(ready, key=lambda job: (isinstance(job, Path), self._due[job]))
        self._due[job] = math.inf
        return job, 0.0

    def _attempt_left(self, path: Path) -> None:
        """Sends a record that another process has left, or finds those in a folder."""
        found: dict[Record | Path, float] = {}
        try:
            if path.is_dir():
                found = dict.fromkeys(unsent(path), 0.0)
            elif record := Record.take(path):
                if record.header.uri == self._uri:
                    record.end()
                    self._attempt(record)
                else:
                    record.close()
        finally:
            with self._changed:
                if math.isinf(self._due[path]):  # it was not left for later
                    del self._due[path]
                self._due = found | self._due

    def _attempt(self, record: Record) -> None:
        start = time.monotonic()
        try:
            record.send(self._root)
        except RefusedError as error:
            self._refuse(record, error)
            return
        except Exception as error:
            self._fail(record, error)
            return
        if time.monotonic() - start < self._most_seconds:  # it is worth waiting for
            self._wait_seconds = self._most_seconds
        if self._pause:
            log.info("MLflow at %s answers again.", store_name(self._uri, self._root))
        self._pause = self._pause_ends = 0.0
        if record.is_complete or record.is_stuck:
            self._release(record, retry=record.is_stuck)

    def _refuse(self, record: Record, error: RefusedError) -> None:
        if record not in self._refused:
            log.warning("MLflow refuses the run in %s: %s", record.path.parent, reason(error))
        self._refused.add(record)
        if record.has_ended:
            self._release(record, retry=False)

    def _fail(self, record: Record, error: Exception) -> None:
        if not record.path.exists():  # the folder was removed
            self._release(record, retry=False)
            return
        with self._changed:
            self._failures += 1
            self._pause = min(max(1.0, 2 * self._pause), LONGEST_PAUSE)
            self._pause_ends = time.monotonic() + self._pause
            self._wait_seconds = min(self._wait_seconds, WAIT_SECONDS)  # of a local store, too
            self._due[record] = 0.0
        self._warn(reason(error).rstrip("."))
        if record.has_ended:
            self._release(record, retry=True)

    def _release(self, record: Record, retry: bool) -> None:
        """Unlocks a record: another process may be able to send it, or this one later."""
        record.close()
        with self._changed:
            self._due.pop(record, None)
            if retry:
                self._due[record.path] = time.monotonic() + SEND_SECONDS

    def _warn(self, problem: str) -> None:
        level, self._level = self._level, None
        if level is not None:
            text = "MLflow at %s: %s. Training goes on; `fmnist-lab sync` sends what is missing."
            log.log(level, text, store_name(self._uri, self._root), problem)


def sender(config: TrackingConfig) -> Sender:
    """Returns this process's sender to a store."""
    return _sender(without_password(config), ROOT.absolute())


_sender = functools.cache(Sender)  # one for each store and folder of results


@dataclass
class Outcome:
    """How many incomplete runs `sync` has found, by what became of them."""

    sent: Counter[str] = field(default_factory=Counter)  # by store
    busy: int = 0  # another process writes or sends them now
    damaged: int = 0  # set aside, with a warning
    stuck: int = 0  # sent, but the run that they belong to is not there
    refused: dict[Path, str] = field(default_factory=dict)  # for good: folders, with reasons
    failed: Counter[str] = field(default_factory=Counter)  # by store
    problems: dict[str, str] = field(default_factory=dict)  # of stores that failed


def sync(root: Path = ROOT, progress: Callable[[list[Path]], Iterable[Path]] = iter) -> Outcome:
    """Sends what is missing of all runs in a folder; it may be interrupted and repeated.

    Args:
        root: The folder with the results.
        progress: Goes through the runs and shows how far that is.

    Raises:
        PermissionError: A folder cannot be read; its runs would be overlooked.
    """
    waiting = sorted(p for name in FOLDERS for p in unsent(root / name, on_error=_require_allowed))
    outcome, before = Outcome(), len(waiting) + 1
    if waiting:
        quiet_mlflow()
    while waiting and len(waiting) < before:  # a run may need another one to be there first
        before = len(waiting)
        waiting = [path for path in progress(waiting) if _is_stuck(path, root, outcome)]
    outcome.stuck = len(waiting)
    return outcome


def _require_allowed(error: OSError) -> None:
    if isinstance(error, PermissionError):
        raise error


def _is_stuck(path: Path, root: Path, outcome: Outcome) -> bool:
    """Sends a run; returns whether it has to be tried again."""
    record = Record.take(path)
    if record is None:
        outcome.busy += path.exists()
        outcome.damaged += path.with_name(f"{path.name}{DAMAGED}").exists()
        return False
    name = store_name(record.header.uri, root)
    with closing(record):
        if name not in outcome.problems:
            record.end()
            try:
                record.send(root)
            except RefusedError as error:
                outcome.refused[path.parent] = reason(error)
            except Exception as error:  # other stores may answer
                outcome.problems[name] = reason(error)
    if name in outcome.problems:
        outcome.failed[name] += 1
    elif record.is_complete:
        outcome.sent[name] += 1
    return record.is_stuck
