"""Starts the host of a local cluster, and before it the process that its workers are forked from.

That one imports TensorFlow, which takes longest, while the host imports Dask.
"""

import json
import multiprocessing
import os
import shutil
import signal
import sys
from multiprocessing import forkserver

from fmnist_lab.foundation.memory import collect_rarely


def main() -> None:
    """Reads settings from the command line, runs until the standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the controller decides what Ctrl-C means
    collect_rarely()
    settings = json.loads(sys.argv[1])
    if settings["preload"]:
        settings["preload"] += ["distributed", "fmnist_lab.launcher.freeze"]
        multiprocessing.set_forkserver_preload(settings["preload"])
        forkserver.ensure_running()
    import asyncio

    from fmnist_lab.launcher import host

    try:
        asyncio.run(host.keep(settings))
    finally:
        shutil.rmtree(settings["local_directory"], ignore_errors=True)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)  # what jobs started and left behind
