"""The process that keeps a local cluster: scheduler, nannies and, below them, the workers.

It is a process of its own for three reasons. The controller's main script is not run again in
every worker; the thread counts are in the environment before anything is imported; and it
notices at once when the controller is gone, however that went, since its standard input ends.
"""

import json
import logging
import os
import shutil
import signal
import sys
import time
from typing import Any

# What an interrupted job has to write its records, in seconds; then its process is killed.
GRACE = 10.0

_DASK_SETTINGS = {
    "distributed.scheduler.worker-ttl": None,  # a long call that holds the GIL is not a death
    "distributed.scheduler.work-stealing": False,  # the controller places the jobs
    "distributed.worker.daemon": False,  # daemons may not start processes, as data loaders do
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.target": False,  # nothing to spill,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,  # and a paused worker would never be free again
    "distributed.diagnostics.nvml": False,
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
    _stop(cluster, settings)


def _start(settings: dict[str, Any]) -> Any:
    import dask
    from distributed import LocalCluster

    dask.config.set(_DASK_SETTINGS)
    return LocalCluster(
        n_workers=settings["workers"],
        threads_per_worker=1,  # threads for arithmetic are another matter: see the environment
        memory_limit=settings["memory_limit"] or 0,
        local_directory=settings["local_directory"],
        host="127.0.0.1",
        dashboard_address=None,
        silence_logs=logging.CRITICAL + 1,
    )


def _stop(cluster: Any, settings: dict[str, Any]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    nannies = [nanny for nanny in cluster.workers.values() if nanny.process]
    for nanny in nannies:
        nanny.close_gracefully()  # do not replace it
        if pid := nanny.process.pid:
            os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + GRACE
    while any(_alive(nanny) for nanny in nannies) and time.monotonic() < end:
        time.sleep(0.02)
    for nanny in nannies:
        if _alive(nanny):
            os.kill(nanny.process.pid, signal.SIGKILL)
    cluster.close(timeout=GRACE)
    shutil.rmtree(settings["local_directory"], ignore_errors=True)
    os.killpg(0, signal.SIGTERM)  # what jobs started and left behind


def _alive(nanny: Any) -> bool:
    return nanny.process is not None and nanny.process.is_alive()
