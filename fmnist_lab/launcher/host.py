"""Host process of a local cluster: a scheduler and nannies, which start the workers.

It is a separate process for three reasons. The controller's main script is not run again in
every worker; the thread counts are in the environment before anything is imported; and it
notices at once when the controller is gone, however that went, since its standard input ends.
"""

import asyncio
import contextlib
import json
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import dask
from distributed import Nanny, Scheduler, Security
from distributed.core import Status
from distributed.utils import get_mp_context

from fmnist_lab.launcher.options import GRACE

DIED = "worker-died"  # an event's action, beside Dask's `add-worker` and `remove-worker`

_STARTS = 3  # attempts at having a first worker
_HOST = "127.0.0.1"

_DASK_SETTINGS: dict[str, Any] = {
    "distributed.scheduler.worker-ttl": None,  # a long call that holds the GIL is not a death
    "distributed.scheduler.work-stealing": False,  # the controller places the jobs
    # Otherwise malloc gives memory back at every chance, and each step of a training asks for more.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    "distributed.worker.daemon": False,  # daemons may not start processes, as data loaders do
    # What Dask measures for its dashboard, 50 times a second, took 4 % of two slow cores.
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.target": False,  # nothing to spill,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,  # and a paused worker would never be free again
    "distributed.diagnostics.nvml": False,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


async def keep(settings: dict[str, Any]) -> None:
    """Runs scheduler and nannies until the standard input ends."""
    dask.config.set(_DASK_SETTINGS | {"temporary-directory": settings["local_directory"]})
    logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)
    if settings["preload"]:
        dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
        get_mp_context()  # at its first call Dask sets modules of its own
        multiprocessing.set_forkserver_preload(settings["preload"])  # should the server start again
    with os.fdopen(settings["answer_to"], "w") as answer:
        try:
            # A client of a scheduler can run code on its workers. Other users of this machine have
            # no key to these certificates.
            security = Security.temporary()
            # Dask needs a port for HTTP; nothing is served there.
            scheduler = await Scheduler(
                host=_HOST,
                protocol="tls",
                security=security,
                dashboard=False,
                dashboard_address=f"{_HOST}:0",
            )
            new = partial(
                ReportingNanny,
                scheduler.address,
                host=_HOST,
                protocol="tls",
                security=security,
                nthreads=1,  # threads for arithmetic are another matter: see the environment
                memory_limit=settings["memory_limit"] or 0,
                local_directory=settings["local_directory"],
                dashboard=False,
                silence_logs=logging.CRITICAL + 1,
                # Jobs start processes of their own as they would without workers.
                env=settings["environment"],
            )
            nannies = await _start(new, settings["workers"])
        except Exception as error:
            json.dump({"error": f"{type(error).__name__}: {error}"}, answer)
            raise
        # What a client needs, as texts; the host hands it to its controller through this pipe.
        client = ("tls_ca_file", "tls_client_cert", "tls_client_key")
        keys = {key: getattr(security, key) for key in client}
        json.dump({"address": scheduler.address, "security": keys}, answer)
    replacing = asyncio.create_task(_replace(nannies, new))
    await asyncio.to_thread(sys.stdin.read)
    signal.alarm(int(3 * GRACE))  # if ending hangs, this process dies, and workers die with it
    replacing.cancel()
    # A job that still runs is interrupted. Four fifths of the time are for it to record that and
    # for its worker to close, then the nanny kills it.
    await asyncio.gather(*(nanny.close(timeout=GRACE / 0.8) for nanny in nannies))
    await scheduler.close()


async def _start(new: "Callable[[], ReportingNanny]", workers: int) -> "list[ReportingNanny]":
    """Nannies, at least one of them with a worker process; the others are replaced later.

    A process may be killed as it starts, by the kernel for want of memory, say.
    """
    for _ in range(_STARTS):
        nannies = [new() for _ in range(workers)]
        ended = await asyncio.gather(*nannies, return_exceptions=True)
        failures = [outcome for outcome in ended if isinstance(outcome, BaseException)]
        if len(failures) < len(nannies):
            return nannies
    raise failures[0]


async def _replace(nannies: "list[ReportingNanny]", new: "Callable[[], ReportingNanny]") -> None:
    """Replaces nannies that gave up because a worker process could not be started."""
    while True:
        await asyncio.sleep(1)
        for i, nanny in enumerate(nannies):
            if nanny.status in (Status.closed, Status.failed):
                nannies[i] = new()
                with contextlib.suppress(Exception):  # then it is closed, and replaced again
                    await nannies[i]


class ReportingNanny(Nanny):  # type: ignore[misc]  # Dask is half typed
    """Sends the exit code of a worker process to the scheduler's subscribers.

    Dask writes it to its log only: `remove-worker` events have no code, and a NannyPlugin is not
    called when a worker dies.
    """

    _over_memory: str | None = None  # the address of the worker that Dask ends

    def log_event(self, topic: Any, msg: Any) -> None:
        """Passes an event on, and keeps the address of a worker that needs too much memory."""
        if topic == "worker-restart-memory":
            self._over_memory = msg["worker"]
        super().log_event(topic, msg)

    def _on_worker_exit_sync(self, exitcode: int) -> Any:
        if self.status == Status.running:
            worker = self.worker_address
            event = {"action": DIED, "worker": worker, "code": exitcode}
            self.log_event("all", event | {"over": worker == self._over_memory})
        return super()._on_worker_exit_sync(exitcode)
