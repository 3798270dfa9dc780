"""Sends what is recorded, in a thread of its own: training neither waits for MLflow nor fails.

There is one sender in a process. It works from the records' files, so that nothing is lost when
it ends with its process: the next command, or `fmnist-lab sync`, goes on from them.
"""

import functools
import logging
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

from fmnist_lab.config import TrackingConfig
from fmnist_lab.tracking.delivery import Delivery
from fmnist_lab.tracking.open_stores import Stores, reason, shown, store_name
from fmnist_lab.tracking.outbox import Record, unsent
from fmnist_lab.tracking.run_end import end
from fmnist_lab.tracking.store import ROOT

SEND_SECONDS = 10.0  # how long points wait for others
PATIENCE = 1.0  # seconds that all of a process's waits for a server last, until it answers again
LOCAL_PATIENCE = 60.0  # a file is created in seconds, on a busy machine in many, if it ever is
LONGEST_PAUSE = 60.0  # between two attempts
FOLDERS = ("trials", "multirun", "sweeps")  # below ROOT, where runs leave their files

log = logging.getLogger(__name__)


class Sender:
    """The records of this process on their way to one store."""

    def __init__(self, uri: str | None, root: Path) -> None:
        self.uri = uri
        self._stores = Stores(root)
        self._root = root
        self._changed = threading.Condition()
        self._due: dict[Delivery, float] = {}  # when, in seconds of the monotonic clock
        self._left: dict[Path, float] = {}  # files without an owner, or folders with such files
        self._has_adopted_all = False
        self._busy: Delivery | Path | None = None
        self._failures = 0  # since the last success
        self._all_failures = 0
        self._pause_ends = 0.0
        self._patience = self._whole_patience
        self._level: int | None = logging.WARNING  # of the one complaint; None: it was made
        self._thread: threading.Thread | None = None

    def add(self, record: Record) -> Delivery:
        """Takes a record of this process, which goes on to write it."""
        delivery = Delivery(record)
        self.nudge(delivery)
        return delivery

    def nudge(self, delivery: Delivery, within: float = 0.0) -> None:
        """Says that a record has more to send, which may wait for so many seconds."""
        with self._changed:
            due = time.monotonic() + within
            if not within:  # it may be the last chance in this process
                self._pause_ends = 0.0
            if due < self._due.get(delivery, math.inf):
                self._due[delivery] = due
                self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mlflow", daemon=True)
                self._thread.start()

    def adopt(self, folder: Path) -> None:
        """Sends what others have left in a folder or below, as soon as there is nothing else."""
        with self._changed:
            self._left[folder] = 0.0
            self._changed.notify_all()

    def adopt_all(self) -> None:
        """Sends what earlier commands have left, anywhere; it is looked for once."""
        if not self._has_adopted_all:
            self._has_adopted_all = True
            for name in FOLDERS:
                self.adopt(self._root / name)

    def hush(self) -> None:
        """Leaves complaints to another process, of which there is one for many of these."""
        if self._level is not None and not self._has_adopted_all:  # else it is this one
            self._level = logging.INFO

    def wait(self, delivery: Delivery, for_run: bool = False) -> bool:
        """Waits a moment until a record, or only its run's id, is at its end of the way.

        Returns:
            Whether it is.
        """

        def has_arrived() -> bool:
            is_sent = delivery.is_complete and delivery not in self._due
            return is_sent or (for_run and delivery.run_id is not None)

        if self._wait(has_arrived):
            return True
        with self._changed:  # a file that is open for each trial would soon be too many
            if delivery in self._due and delivery is not self._busy and delivery.record.has_ended:
                self._leave(delivery)
        return False

    def settle(self) -> bool:
        """Waits a moment until nothing is left to send; returns whether that is so."""

        def is_idle() -> bool:
            waiting = [*self._left.values(), *self._due.values()]
            return self._busy is None and all(map(math.isinf, waiting))

        return self._wait(is_idle)

    def _wait(self, is_done: Callable[[], bool]) -> bool:
        """Waits, but of all that is in vain together no longer than our patience."""
        start = time.monotonic()
        with self._changed:
            before = self._all_failures
            self._changed.wait_for(lambda: is_done() or self._all_failures > before, self._patience)
            done = is_done()
        if not done:
            self._patience = max(0.0, self._patience - (time.monotonic() - start))
            if not self._failures:
                self._complain("it does not answer in time")
        return done

    @property
    def _whole_patience(self) -> float:
        return PATIENCE if self.uri else LOCAL_PATIENCE

    def _run(self) -> None:
        while True:
            with self._changed:
                job, seconds = self._next()
                self._busy = job
                if job is None:
                    self._changed.wait(None if math.isinf(seconds) else seconds)
                    continue
            try:
                self._do(job)
            except Exception:  # of our own; this thread must go on
                log.warning("MLflow will not get all of %s.", job, exc_info=True)
            with self._changed:
                self._busy = None
                self._changed.notify_all()

    def _next(self) -> tuple[Delivery | Path | None, float]:
        """What to send now, this process's own first; or how long to wait for it."""
        now = time.monotonic()
        if now < self._pause_ends:
            return None, self._pause_ends - now
        mine = min(self._due, key=self._due.__getitem__, default=None)
        if mine is not None and self._due[mine] <= now:
            self._due[mine] = math.inf  # until it is nudged again
            return mine, 0.0
        other = min(self._left, key=self._left.__getitem__, default=None)
        if other is not None and self._left[other] <= now:
            return other, 0.0
        return None, min([*self._due.values(), *self._left.values()], default=math.inf) - now

    def _do(self, job: Delivery | Path) -> None:
        if isinstance(job, Delivery):
            self._attempt(job)
            return
        found: dict[Path, float] = {}
        try:
            if job.is_dir():
                found = dict.fromkeys(unsent(job), 0.0)
            elif delivery := self._take(job):
                self._attempt(delivery)
        finally:
            with self._changed:
                if self._left[job] <= time.monotonic():  # it was not left for later
                    del self._left[job]
                self._left = found | self._left

    def _attempt(self, delivery: Delivery) -> None:
        start = time.monotonic()
        try:
            self._stores.send(delivery)
        except Exception as error:
            self._fail(delivery, error)
        else:
            if time.monotonic() - start < self._whole_patience:  # it is worth waiting for
                self._patience = self._whole_patience
            self._succeed(delivery)

    def _take(self, path: Path) -> Delivery | None:
        record = Record.take(path)
        if record is None:
            return None
        if record.header.uri != self.uri:
            record.close()
            return None
        end(record)
        return Delivery(record)

    def _succeed(self, delivery: Delivery) -> None:
        if self._failures:
            log.info("MLflow at %s answers again.", self._name)
        self._failures, self._pause_ends = 0, 0.0
        if delivery.is_complete:
            delivery.record.archive()
            self._forget(delivery)
        elif delivery.is_stuck:
            self._leave(delivery)

    def _fail(self, delivery: Delivery, error: Exception) -> None:
        if not delivery.record.path.exists():  # somebody has removed the folder
            delivery.record.close()
            self._forget(delivery)
            return
        with self._changed:
            self._failures, self._all_failures = self._failures + 1, self._all_failures + 1
            pause = min(2.0 ** (self._failures - 1), LONGEST_PAUSE)
            self._pause_ends = time.monotonic() + pause
            self._patience = min(self._patience, PATIENCE)  # a file that fails is no better
            self._due[delivery] = 0.0
        self._complain(reason(error))
        if delivery.record.has_ended:
            self._leave(delivery)

    def _leave(self, delivery: Delivery) -> None:
        """Lets a record go that nobody writes any more: another process may be luckier."""
        delivery.record.close()
        self._forget(delivery)
        with self._changed:
            self._left[delivery.record.path] = time.monotonic() + SEND_SECONDS

    def _forget(self, delivery: Delivery) -> None:
        with self._changed:
            self._due.pop(delivery, None)

    def _complain(self, problem: str) -> None:
        level, self._level = self._level, None
        if level is not None:
            text = "MLflow at %s: %s. Training goes on; `fmnist-lab sync` sends what is missing."
            log.log(level, text, self._name, problem)

    @property
    def _name(self) -> str:
        return store_name(self.uri, self._root)


def sender(config: TrackingConfig) -> Sender:
    """This process's sender to a store."""
    return _sender(shown(config), ROOT.absolute())


@functools.cache
def _sender(uri: str | None, root: Path) -> Sender:
    return Sender(uri, root)
