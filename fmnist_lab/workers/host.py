"""The process that keeps a local cluster: scheduler, nannies and, below them, the workers.

It is a process of its own for three reasons. The controller's main script is not run again in
every worker; the thread counts are in the environment before anything is imported; and it
notices at once when the controller is gone, however that went, since its standard input ends.
"""

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
from typing import Any

# What an interrupted job has to write its records, in seconds; then its process is killed.
GRACE = 10.0

_DASK_SETTINGS: dict[str, Any] = {
    "distributed.scheduler.worker-ttl": None,  # a long call that holds the GIL is not a death
    "distributed.scheduler.work-stealing": False,  # the controller places the jobs
    "distributed.worker.daemon": False,  # daemons may not start processes, as data loaders do
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.target": False,  # nothing to spill,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,  # and a paused worker would never be free again
    "distributed.diagnostics.nvml": False,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


def main() -> None:
    """Reads settings from the first line of standard input, runs until that input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the controller decides what Ctrl-C means
    settings = json.loads(sys.stdin.readline())
    with os.fdopen(settings["answer_to"], "w") as answer:
        try:
            cluster = _start(settings)
        except Exception as error:
            json.dump({"error": f"{type(error).__name__}: {error}"}, answer)
            raise SystemExit(1) from error
        json.dump({"address": cluster.scheduler_address}, answer)
    sys.stdin.read()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.alarm(int(3 * GRACE))  # if ending hangs, this process dies, and workers die with it
    try:
        _stop(cluster)
    finally:
        shutil.rmtree(settings["local_directory"], ignore_errors=True)
        os.killpg(0, signal.SIGTERM)  # what jobs started and left behind


def _start(settings: dict[str, Any]) -> Any:
    import dask
    from distributed import LocalCluster

    dask.config.set(_DASK_SETTINGS | {"temporary-directory": settings["local_directory"]})
    return LocalCluster(
        n_workers=settings["workers"],
        threads_per_worker=1,  # threads for arithmetic are another matter: see the environment
        memory_limit=settings["memory_limit"] or 0,
        local_directory=settings["local_directory"],
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",  # a port must be had; behind it is nothing
        scheduler_kwargs={"dashboard": False},
        silence_logs=logging.CRITICAL + 1,
    )


def _stop(cluster: Any) -> None:
    """Ends the workers; a job that still runs is interrupted and may record that."""

    async def end() -> None:
        # Four fifths of the time are for the worker to close, then the nanny kills it.
        nannies = cluster.workers.values()
        await asyncio.gather(*(nanny.close(timeout=GRACE / 0.8) for nanny in nannies))

    cluster.sync(end)
    cluster.close()
