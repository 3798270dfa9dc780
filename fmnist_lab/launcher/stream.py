"""Stream of jobs on a cluster: jobs in, results out, in the order in which they end."""

import atexit
import contextlib
import os
import queue
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from fmnist_lab.errors import ConnectionLostError
from fmnist_lab.launcher.cluster import Cluster, LocalCluster, RunningCluster
from fmnist_lab.launcher.options import Settings
from fmnist_lab.launcher.placement import Job, Placement
from fmnist_lab.launcher.worker import Application, JobRunner, Outcome, decode

# Hydra's state is global, so there is one stream at a time; it lives until the command ends,
# since Hydra does not tell a launcher which batch is the last one.
_open: "JobStream | None" = None


def open_stream(
    settings: Settings, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
) -> "JobStream":
    """Starts or finds the workers, brings the application to them, and is ready for jobs."""
    global _open  # noqa: PLW0603
    close_stream()
    sweep_dir = Path(str(config.hydra.sweep.dir)).absolute()
    environment = {name: os.environ[name] for name in settings.environment if name in os.environ}
    application = Application(
        task_function, hydra_context, config, Singleton.get_state(), environment
    )
    pickled = application.pickled()
    cluster = (
        LocalCluster(settings)
        if settings.address is None
        else RunningCluster(settings.address, sweep_dir)
    )
    try:
        sweep_dir.mkdir(parents=True, exist_ok=True)
        _open = JobStream(cluster, pickled, settings.retries)
    except BaseException:
        cluster.close()
        raise
    return _open


@atexit.register
def close_stream() -> None:
    """Closes the stream that is open, if one is."""
    if _open is not None:
        _open.close()


class JobStream:
    """A cluster with an application on it."""

    def __init__(self, cluster: Cluster, application: bytes, retries: int) -> None:
        self._cluster = cluster
        self._name = f"jobs-{uuid.uuid4().hex[:8]}"
        self._unfinished: set[int] = set()
        self._outbox: queue.SimpleQueue[tuple[int, bytes | Outcome]] = queue.SimpleQueue()
        cluster.bring(JobRunner(application, cluster.results), self._name)
        self._placement = Placement(
            cluster.client, self._name, retries, cluster.results, self._deliver
        )
        self._placement.start()
        self.closed = False

    @property
    def slots(self) -> int:
        """Workers that there are now, at least one: jobs wait for the first to join."""
        return max(1, self._placement.workers)

    def submit(self, overrides: Sequence[str], job_idx: int) -> None:
        """Takes a job."""
        self._unfinished.add(job_idx)
        self._placement.submit(Job(job_idx, list(overrides)))

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
                idx, pickled = self._outbox.get(timeout=pause)
            except queue.Empty:
                if self._cluster.ended:
                    raise ConnectionLostError(self._cluster.ended) from None
                if time.monotonic() >= end:
                    return None
                continue
            self._unfinished.discard(idx)
            outcome = decode(pickled) if isinstance(pickled, bytes) else pickled
            if outcome.error is not None:
                raise outcome.error
            assert outcome.result is not None
            return idx, outcome.result
        return None

    def cancel_all(self) -> None:
        """Interrupts what runs and forgets what waits; returns when the workers are free."""
        if not self._cluster.ended:
            with contextlib.suppress(OSError):  # it may have ended since
                self._placement.cancel()
        ended = [self._outbox.get() for _ in range(self._outbox.qsize())]
        self._unfinished = {idx for idx, _ in ended}
        for entry in ended:
            self._outbox.put(entry)

    def close(self) -> None:
        """Ends local workers; on a running cluster only this stream's jobs."""
        if self.closed:
            return
        self.closed = True
        try:
            if not self._cluster.ended:
                with contextlib.suppress(Exception):
                    self._withdraw()
        finally:
            self._cluster.close()

    def _withdraw(self) -> None:
        self._placement.stop()
        if not self._cluster.is_ours:  # local workers interrupt their jobs when they end
            self.cancel_all()
            self._cluster.client.unregister_worker_plugin(self._name)

    def _deliver(self, idx: int, outcome: bytes | Outcome) -> None:
        self._outbox.put((idx, outcome))
