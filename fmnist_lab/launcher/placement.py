"""Gives each job to one worker, and takes its result at once.

A job is tied to the worker it was given to, so Dask runs it neither elsewhere nor again; what
a lost worker means is decided here. The books are kept in the event loop of Dask's client, by
that one thread, so they need no locks.
"""

import asyncio
import logging
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Client, Future, KilledWorker

from fmnist_lab.errors import ConnectionLostError
from fmnist_lab.launcher import worker as on_worker
from fmnist_lab.launcher.host import DIED, GRACE
from fmnist_lab.launcher.streaming import WorkerLostError
from fmnist_lab.launcher.worker import Outcome

log = logging.getLogger(__name__)

# A worker is missed at once; how it died is known a moment later, if at all.
_KNOWN_WITHIN = 5.0  # seconds
_ASK_AGAIN = 0.2

# The job's number, and its pickled outcome or what became of it instead.
Deliver = Callable[[int, bytes | Outcome], None]


@dataclass(eq=False)
class Job:
    """A job on its way to a result."""

    idx: int
    overrides: Sequence[str]
    losses: int = 0


@dataclass(eq=False)
class _Attempt:
    job: Job
    key: str
    worker: str
    future: Future = field(repr=False)


class Placement:
    """Which worker has which job; follows workers that join and leave."""

    def __init__(
        self, client: Client, launch: str, retries: int, results: Path, deliver: Deliver
    ) -> None:
        self._client = client
        self._launch = launch
        self._retries = retries
        self._results = results
        self._deliver = deliver
        self._waiting: deque[Job] = deque()
        self._workers: dict[str, _Attempt | None] = {}
        self._deaths: dict[str, str] = {}  # of workers, as far as they are known

    def start(self) -> None:
        """Learns which workers there are, and hears of every change from then on."""
        self._client.subscribe_topic("all", self._on_event)
        self._client.sync(self._adopt, list(self._client.scheduler_info()["workers"]))
        if not self._workers:
            log.warning("No worker has joined the scheduler yet, jobs wait for the first.")

    def stop(self) -> None:
        """Hears no more; for the scheduler, writing to a client that is gone is an error."""
        self._client.unsubscribe_topic("all")

    def submit(self, job: Job) -> None:
        """Takes a job, from any thread."""
        self._client.loop.add_callback(self._take, job)

    def cancel(self) -> None:
        """Interrupts all jobs and waits until their workers are free, or restarted."""
        self._client.sync(self._cancel)

    @property
    def workers(self) -> int:
        """How many workers there are now."""
        return len(self._workers)

    async def _adopt(self, addresses: list[str]) -> None:
        for address in addresses:
            self._joined(address)

    def _on_event(self, event: tuple[float, dict[str, Any]]) -> None:
        message = event[1]
        if message["action"] == "add-worker":
            self._joined(message["worker"])
        elif message["action"] == "remove-worker":
            self._left(message["worker"])
        elif message["action"] == DIED:
            self._deaths[message["worker"]] = _death(message["code"], message["over"])

    def _joined(self, address: str) -> None:
        self._workers.setdefault(address, None)
        self._assign()

    def _left(self, address: str) -> None:
        attempt = self._workers.pop(address, None)
        if attempt is not None:
            self._lost(attempt)
        self._assign()

    def _take(self, job: Job) -> None:
        self._waiting.append(job)
        self._assign()

    def _assign(self) -> None:
        for address, attempt in self._workers.items():
            if attempt is None and self._waiting:
                self._workers[address] = self._start(self._waiting.popleft(), address)

    def _start(self, job: Job, address: str) -> _Attempt:
        key = f"{self._launch}-{job.idx}-{job.losses}"
        future = self._client.submit(
            on_worker.run,
            self._launch,
            key,
            job.overrides,
            job.idx,
            key=key,
            workers=[address],
            pure=False,
        )
        attempt = _Attempt(job, key, address, future)
        self._client.loop.add_callback(self._follow, attempt)
        return attempt

    async def _follow(self, attempt: _Attempt) -> None:
        """Fetches an attempt's outcome, unless the books have given it up meanwhile."""
        ended: bytes | Outcome | None
        try:
            ended = await attempt.future.result()
        except KilledWorker:  # where the scheduler allows no failures, it may say so first
            ended = None
        except CancelledError:
            ended = Outcome(error=ConnectionLostError("The Dask scheduler is out of reach."))
        except Exception as error:
            ended = Outcome(error=error)
        if self._workers.get(attempt.worker) is not attempt:
            return
        if ended is None:  # interrupted, but not by us: this worker is about to leave
            del self._workers[attempt.worker]
            self._lost(attempt)
        else:
            self._workers[attempt.worker] = None
            self._finish(attempt, ended)
        self._assign()

    def _finish(self, attempt: _Attempt, ended: bytes | Outcome) -> None:
        self._deliver(attempt.job.idx, ended)
        attempt.future.release()  # a result still held when its worker dies is computed again
        (self._results / attempt.key).unlink(missing_ok=True)

    def _lost(self, attempt: _Attempt) -> None:
        """Tries the job again, unless it had ended or has been lost too often."""
        if (saved := self._saved(attempt)) is not None:
            self._finish(attempt, saved)
            return
        attempt.future.release()
        job = attempt.job
        job.losses += 1
        if job.losses <= self._retries:
            self._waiting.appendleft(job)
        self._tell_lost(job, job.losses, attempt.worker, _KNOWN_WITHIN)

    def _tell_lost(self, job: Job, losses: int, worker: str, patience: float) -> None:
        """Says it, or has the job's failure be its result, as soon as the cause is known."""
        if worker not in self._deaths and patience > 0:
            later = (job, losses, worker, patience - _ASK_AGAIN)
            self._client.loop.call_later(_ASK_AGAIN, self._tell_lost, *later)
            return
        death = self._deaths.pop(worker, None)
        known_as = f"{worker} ({death})" if death else worker
        if losses <= self._retries:
            log.warning("Job %d lost its worker %s, trying again.", job.idx, known_as)
            return
        error = WorkerLostError(
            f"Job {job.idx} lost its worker {losses} times, the last one was {known_as}."
        )
        self._deliver(job.idx, Outcome(result=on_worker.failed(job.overrides, error)))

    def _saved(self, attempt: _Attempt) -> bytes | None:
        try:
            return (self._results / attempt.key).read_bytes()
        except FileNotFoundError:
            return None

    async def _cancel(self) -> None:
        self._waiting.clear()
        attempts = [attempt for attempt in self._workers.values() if attempt is not None]
        for attempt in attempts:
            self._workers[attempt.worker] = None
            await attempt.future.cancel(reason="cancelled by the controller")
        busy = await self._await_free([attempt.worker for attempt in attempts])
        if busy:
            log.warning("Jobs did not stop in %.0f s: restarting %s.", GRACE, ", ".join(busy))
            try:
                await self._client.restart_workers(busy, timeout=GRACE, raise_for_error=False)
            except ValueError as error:  # a worker without a nanny
                log.warning("They go on: %s", error)
        for attempt in attempts:
            if (saved := self._saved(attempt)) is not None:
                self._finish(attempt, saved)

    async def _await_free(self, workers: list[str]) -> list[str]:
        end = time.monotonic() + GRACE
        while True:
            answers = await self._client.run(
                on_worker.is_busy,
                workers=[w for w in workers if w in self._workers],
                on_error="ignore",
            )
            busy = [worker for worker, is_busy in answers.items() if is_busy]
            if not busy or time.monotonic() > end:
                return busy
            await asyncio.sleep(0.05)


def _death(code: int, needed_too_much: bool) -> str:
    """What the exit code of a worker process says."""
    if needed_too_much:
        return "it needed more than `hydra.launcher.memory_limit`"
    if code == -signal.SIGKILL:
        return "killed by signal 9, most often because memory ran out"
    return f"killed by signal {-code}" if code < 0 else f"it ended with code {code}"
