"""Where the jobs run: a local cluster started for them, or one that is already there."""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fmnist_lab.errors import ConnectionLostError, Phrase, RequestError
from fmnist_lab.foundation.threads import with_threads
from fmnist_lab.launcher.host import GRACE
from fmnist_lab.launcher.options import Settings, exposure, without_credentials

if TYPE_CHECKING:
    from distributed import Client

    from fmnist_lab.launcher.worker import JobRunner

_START_TIMEOUT = 120.0
_CONNECT_TIMEOUT = 20.0
_BRING_ATTEMPTS = 5
_BRING_PAUSE = 1.0  # seconds


class Cluster:
    """A scheduler with workers."""

    client: "Client"
    is_ours: bool
    # Workers leave finished results here, for the case that they die before these are fetched.
    # Workers that do not see the folder do without.
    results: Path

    @property
    def ended(self) -> str | None:
        """Why the cluster is no longer there, as a sentence; None while it is."""
        raise NotImplementedError

    def bring(self, runner: "JobRunner", name: str) -> None:
        """Gives an application to all workers, those to come included.

        The scheduler gives up where a worker dies meanwhile, so there are several attempts.

        Raises:
            ConnectionLostError: The cluster is gone.
        """
        for attempt in range(1, _BRING_ATTEMPTS + 1):
            try:
                self.client.register_plugin(runner, name=name)
            except OSError as error:
                if self.ended or attempt == _BRING_ATTEMPTS:
                    lost = f"The application cannot be sent to the workers: {error}."
                    raise ConnectionLostError(self.ended or lost) from error
                time.sleep(_BRING_PAUSE)
            else:
                return

    def close(self) -> None:
        """Disconnects; ends the processes if this object started them."""
        raise NotImplementedError


def count_workers(settings: Settings) -> int:
    """How many processes a local cluster has: as many as the cores suffice for, or as asked."""
    from dask.system import CPU_COUNT

    return settings.workers or max(1, int(CPU_COUNT) // settings.threads_per_worker)


class LocalCluster(Cluster):
    """Worker processes on this machine, below a host process that ends with this one."""

    is_ours = True

    def __init__(self, settings: Settings) -> None:
        self.results = Path(
            tempfile.mkdtemp(prefix="fmnist-lab-workers-", dir=settings.local_directory)
        )
        self._output = _open_output(settings.output)
        reader, writer = os.pipe()
        self._host = subprocess.Popen(
            [sys.executable, "-c", _bootstrap()],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=self._output,
            pass_fds=[writer],
            env=os.environ | with_threads(settings.threads_per_worker),
            start_new_session=True,  # Ctrl-C in the terminal is for the controller alone
        )
        os.close(writer)
        try:
            self._configure(settings, writer)
            answer = self._await_answer(reader)
            self.client = _connect(answer["address"], answer["security"])
        except BaseException:
            self._end_host()
            raise

    @property
    def ended(self) -> str | None:
        """Why there are no workers any more, if so."""
        code = self._host.poll()
        if code is None:
            return None
        return f"The process that keeps the local workers ended by itself, with code {code}."

    def close(self) -> None:
        """Ends the workers and waits until they are gone."""
        self._stdin.close()  # the host starts to stop; should this process die now, it goes on
        self.client.close()
        self._end_host()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._host.stdin is not None
        return self._host.stdin

    def _configure(self, settings: Settings, answer_to: int) -> None:
        message = {
            "workers": count_workers(settings),
            "memory_limit": settings.memory_limit,
            "local_directory": str(self.results),
            "answer_to": answer_to,
        }
        self._stdin.write(json.dumps(message).encode() + b"\n")
        self._stdin.flush()

    def _await_answer(self, reader: int) -> dict[str, Any]:
        timer = threading.Timer(_START_TIMEOUT, self._host.kill)
        timer.start()
        try:
            with os.fdopen(reader) as pipe:
                answer: dict[str, Any] = json.loads(
                    pipe.read() or '{"error": "it ended or took too long"}'
                )
        finally:
            timer.cancel()
        if "error" in answer:
            why = answer["error"].rstrip(".")
            raise ConnectionLostError(f"The local workers could not be started: {why}.")
        return answer

    def _end_host(self) -> None:
        self._stdin.close()
        try:
            self._host.wait(2 * GRACE + 5)  # jobs record their interruption first
        except subprocess.TimeoutExpired:
            os.killpg(self._host.pid, 9)
            self._host.wait()
        shutil.rmtree(self.results, ignore_errors=True)
        if self._output is not None:
            self._output.close()


class RunningCluster(Cluster):
    """A scheduler that runs already, with the workers that have joined it."""

    is_ours = False

    def __init__(self, address: str, sweep_dir: Path) -> None:
        shown = without_credentials(address)
        if warning := exposure(address):
            print(warning, file=sys.stderr)
        try:
            self.client = _connect(address)
        except (OSError, ValueError) as error:
            got = Phrase(f"{shown} ({type(error).__name__})")
            rule = "lead to a running Dask scheduler"
            raise RequestError("hydra.launcher.address", rule, got) from None
        sweep_dir.mkdir(parents=True, exist_ok=True)
        self.results = Path(tempfile.mkdtemp(prefix=".results-", dir=sweep_dir))
        self._shown = shown

    @property
    def ended(self) -> str | None:
        """Why there is no scheduler any more, if so."""
        if self.client.status in ("closing", "closed"):
            return f"The connection to the scheduler at {self._shown} is lost."
        return None

    def bring(self, runner: "JobRunner", name: str) -> None:
        """Gives an application to all workers, those to come included."""
        try:
            super().bring(runner, name)
        except ImportError as error:
            rule = "lead to workers that can import what this command uses"
            got = Phrase(f"{self._shown}: {error}")
            raise RequestError("hydra.launcher.address", rule, got) from error

    def close(self) -> None:
        """Disconnects."""
        self.client.close()
        shutil.rmtree(self.results, ignore_errors=True)


def _connect(address: str, own: Mapping[str, str] | None = None) -> "Client":
    """A client of a scheduler, or of our own one, whose certificates are `own`."""
    from distributed import Client, Security

    # It warns of results lost with their worker, which the placement of jobs deals with.
    logging.getLogger("distributed.client").setLevel(logging.ERROR)
    return Client(
        address,
        timeout=_CONNECT_TIMEOUT,
        security=Security(require_encryption=True, **own) if own else None,
        direct_to_workers=bool(own),
        set_as_default=False,
    )


def _open_output(path: str | None) -> IO[bytes] | None:
    if path is None:
        return None
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return Path(path).open("ab")


def _bootstrap() -> str:
    # `-c` rather than `-m`: then workers have no main module to import a second time.
    paths = [path or str(Path.cwd()) for path in sys.path]
    return f"import sys; sys.path[:] = {paths!r}; from fmnist_lab.launcher.host import main; main()"
