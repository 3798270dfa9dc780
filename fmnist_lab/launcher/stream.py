"""Stream of jobs on a cluster: jobs in, results out, in the order in which they end.

A job is tied to the worker it was given to, so Dask runs it neither elsewhere nor again; what
a lost worker means is decided here. Which worker has which job is recorded in the event loop of
Dask's client, by that one thread, so it needs no locks.
"""

import asyncio
import atexit
import contextlib
import logging
import os
import queue
import signal
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Future, KilledWorker
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from fmnist_lab.errors import ConnectionLostError, RequestError
from fmnist_lab.launcher import worker as on_worker
from fmnist_lab.launcher.cluster import Cluster, Host, join, local_host
from fmnist_lab.launcher.host import DIED
from fmnist_lab.launcher.options import GRACE, Settings
from fmnist_lab.launcher.streaming import WorkerLostError
from fmnist_lab.launcher.worker import Application, JobRunner, Outcome, PickledApplication

log = logging.getLogger(__name__)

# A worker is missed at once; how it died is known a moment later, if at all.
_KNOWN_WITHIN = 5.0  # seconds
_ASK_AGAIN = 0.2

# Hydra's state is global, so there is one stream at a time; it lives until the command ends,
# since Hydra does not tell a launcher which batch is the last one.
_open: "JobStream | None" = None


def open_stream(
    settings: Settings,
    hydra_context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
    host: Host | None = None,
) -> "JobStream":
    """Starts or finds the workers, brings the application to them, and is ready for jobs.

    Args:
        settings: Of the launcher.
        hydra_context: As Hydra gives it to a launcher.
        task_function: As Hydra gives it to a launcher.
        config: As Hydra gives it to a launcher.
        host: Of workers that are starting already; ends with the stream, and if there is none.

    Raises:
        RequestError: Some part of the application cannot leave this process.
    """
    global _open  # noqa: PLW0603
    close_stream()
    sweep_dir = Path(str(config.hydra.sweep.dir)).absolute()
    environment = {name: os.environ[name] for name in settings.environment if name in os.environ}
    state = Singleton.get_state()
    try:
        application = PickledApplication(
            Application(task_function, hydra_context, config, state, environment)
        )
    except Exception as error:
        if host:
            host.end()
        raise RequestError(
            "The task function and its configuration must be such that they can be sent to "
            f"worker processes, got: {error}."
        ) from error
    if settings.address is not None:
        cluster = join(settings.address, sweep_dir)
    else:
        cluster = (host or local_host(settings)).connect()
    try:
        sweep_dir.mkdir(parents=True, exist_ok=True)
        _open = JobStream(cluster, application, settings.retries)
    except BaseException:
        cluster.close()
        raise
    return _open


@atexit.register
def close_stream() -> None:
    """Closes the stream that is open, if one is."""
    if _open is not None:
        _open.close()


@dataclass(frozen=True, eq=False)
class _Attempt:
    """A job on a worker."""

    idx: int
    overrides: list[str]
    losses: int  # of earlier workers
    key: str
    worker: str
    future: Future = field(repr=False)


class JobStream:
    """A cluster with an application on it, and which of its workers has which job."""

    def __init__(self, cluster: Cluster, application: PickledApplication, retries: int) -> None:
        self._cluster, self._client, self._retries = cluster, cluster.client, retries
        self._name = f"jobs-{uuid.uuid4().hex[:8]}"
        self._unfinished: set[int] = set()
        # A job's number, and its pickled outcome or what became of it instead.
        self._outbox: queue.SimpleQueue[tuple[int, bytes | Outcome]] = queue.SimpleQueue()
        self._waiting: deque[tuple[int, list[str], int]] = deque()  # number, overrides, losses
        self._workers: dict[str, _Attempt | None] = {}
        self._deaths: dict[str, str] = {}  # of workers, as far as they are known
        self.closed = self._copied = False
        cluster.bring(JobRunner(application, cluster.results), self._name)
        self._client.subscribe_topic("all", self._on_event)
        self._client.sync(self._adopt, list(self._client.scheduler_info()["workers"]))
        if not self._workers:
            log.warning("No worker has joined the scheduler yet, jobs wait for the first.")

    @property
    def slots(self) -> int:
        """Workers that there are now, at least one: jobs wait for the first to join."""
        return max(1, len(self._workers))

    def submit(self, overrides: Sequence[str], job_idx: int) -> None:
        """Takes a job."""
        self._unfinished.add(job_idx)
        self._client.loop.add_callback(self._take, job_idx, list(overrides))

    def next_result(self, timeout: float | None = None) -> tuple[int, JobReturn] | None:
        """Waits for the next job that ends; None if the time is over or no job is left.

        Raises:
            BaseException: What a job raised past Hydra, such as SystemExit.
            ConnectionLostError: The cluster is gone.
        """
        end = time.monotonic() + (float("inf") if timeout is None else timeout)
        while self._unfinished:
            try:
                # In slices: the queue does not end when the cluster does.
                pause = max(0.0, min(1.0, end - time.monotonic()))
                idx, ended = self._outbox.get(timeout=pause)
            except queue.Empty:
                if self._cluster.ended:
                    raise ConnectionLostError(self._cluster.ended) from None
                if time.monotonic() >= end:
                    return None
                continue
            self._unfinished.discard(idx)
            outcome = on_worker.decode(ended) if isinstance(ended, bytes) else ended
            if isinstance(outcome, BaseException):
                raise outcome
            return idx, outcome
        return None

    def cancel_all(self) -> None:
        """Interrupts running jobs and drops waiting ones; returns when the workers are free."""
        if not self._cluster.ended:
            with contextlib.suppress(OSError):  # it may have ended since
                self._client.sync(self._cancel)
        ended = [self._outbox.get() for _ in range(self._outbox.qsize())]
        self._unfinished = {idx for idx, _ in ended}
        for entry in ended:
            self._outbox.put(entry)

    def close(self) -> None:
        """Ends local workers; on a cluster that goes on running only this stream's jobs."""
        if self.closed:
            return
        self.closed = True
        try:
            if not self._cluster.ended:
                with contextlib.suppress(Exception):
                    # For the scheduler, writing to a client that is gone is an error.
                    self._client.unsubscribe_topic("all")
                    if not self._cluster.ends:  # workers that end interrupt their jobs
                        self.cancel_all()
                        self._client.unregister_worker_plugin(self._name)
        finally:
            self._cluster.close()

    # What follows runs in the event loop of Dask's client.

    async def _adopt(self, addresses: list[str]) -> None:
        for address in addresses:
            self._workers.setdefault(address, None)

    def _on_event(self, event: tuple[float, Any]) -> None:
        if not isinstance(event[1], Mapping) or not {"action", "worker"} <= event[1].keys():
            return  # Dask's, or other clients', about something other than a worker
        action, address = event[1]["action"], event[1]["worker"]
        if action == "add-worker":
            self._workers.setdefault(address, None)
        elif action == "remove-worker":
            if (attempt := self._workers.pop(address, None)) is not None:
                self._lost(attempt)
        elif action == DIED:
            self._deaths[address] = _death(event[1]["code"], event[1]["over"])
        elif action == on_worker.COPIED and not self._copied:
            self._copied = True
            log.warning(
                "Workers have copies of what the script defines, since they cannot run it (%s).",
                event[1]["reason"],
            )
        self._assign()

    def _take(self, idx: int, overrides: list[str]) -> None:
        self._waiting.append((idx, overrides, 0))
        self._assign()

    def _assign(self) -> None:
        for address, attempt in self._workers.items():
            if attempt is None and self._waiting:
                self._workers[address] = self._start(address, *self._waiting.popleft())

    def _start(self, worker: str, idx: int, overrides: list[str], losses: int) -> _Attempt:
        key = f"{self._name}-{idx}-{losses}"
        arguments = (self._name, key, overrides, idx)
        future = self._client.submit(
            on_worker.run, *arguments, key=key, workers=[worker], pure=False
        )
        attempt = _Attempt(idx, overrides, losses, key, worker, future)
        self._client.loop.add_callback(self._follow, attempt)
        return attempt

    async def _follow(self, attempt: _Attempt) -> None:
        """Fetches an attempt's outcome, unless it has been given up meanwhile."""
        ended: bytes | Outcome | None
        try:
            ended = await attempt.future.result()
        except KilledWorker:  # where the scheduler allows no failures, it may say so first
            ended = None
        except CancelledError:
            ended = ConnectionLostError("The Dask scheduler is out of reach.")
        except Exception as error:
            ended = error
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
        self._outbox.put((attempt.idx, ended))
        attempt.future.release()  # a result still held when its worker dies is computed again
        (self._cluster.results / attempt.key).unlink(missing_ok=True)

    def _finish_saved(self, attempt: _Attempt) -> bool:
        """Takes the outcome that the worker has left in a file; returns whether there is one."""
        try:
            saved = (self._cluster.results / attempt.key).read_bytes()
        except FileNotFoundError:
            return False
        self._finish(attempt, saved)
        return True

    def _lost(self, attempt: _Attempt) -> None:
        """Tries the job again, unless it had ended or has been lost too often."""
        if self._finish_saved(attempt):
            return
        attempt.future.release()
        if attempt.losses < self._retries:
            self._waiting.appendleft((attempt.idx, attempt.overrides, attempt.losses + 1))
        self._client.loop.add_callback(self._report_loss, attempt)

    async def _report_loss(self, attempt: _Attempt) -> None:
        """Logs the loss, or makes it the job's result, as soon as the cause is known."""
        end = time.monotonic() + _KNOWN_WITHIN
        while attempt.worker not in self._deaths and time.monotonic() < end:
            await asyncio.sleep(_ASK_AGAIN)
        death = self._deaths.pop(attempt.worker, None)
        known_as = f"{attempt.worker} ({death})" if death else attempt.worker
        if attempt.losses < self._retries:
            log.warning("Job %d lost its worker %s, trying again.", attempt.idx, known_as)
            return
        error = WorkerLostError(
            f"Job {attempt.idx} lost its worker {attempt.losses + 1} times, "
            f"the last one was {known_as}."
        )
        self._outbox.put((attempt.idx, on_worker.failed(attempt.overrides, error)))

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
            self._finish_saved(attempt)

    async def _await_free(self, workers: list[str]) -> list[str]:
        """Waits until workers are free; returns those that are not in time."""
        end = time.monotonic() + GRACE
        while True:
            there = [worker for worker in workers if worker in self._workers]
            answers = await self._client.run(on_worker.is_busy, workers=there, on_error="ignore")
            busy = [worker for worker, is_busy in answers.items() if is_busy]
            if not busy or time.monotonic() > end:
                return busy
            await asyncio.sleep(0.05)


def _death(code: int, needed_too_much: bool) -> str:
    """Explains the exit code of a worker process."""
    if needed_too_much:
        return "it needed more than `hydra.launcher.memory_limit`"
    if code == -signal.SIGKILL:
        return "killed by signal 9, most often because memory ran out"
    return f"killed by signal {-code}" if code < 0 else f"it ended with code {code}"
