"""Where the jobs run: a local cluster started for them, or one that is already there."""

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fmnist_lab.errors import ConnectionLostError, Phrase, RequestError, is_full_disk
from fmnist_lab.foundation.installed import beside, installed_path
from fmnist_lab.foundation.threads import with_threads
from fmnist_lab.launcher.options import GRACE, Settings, exposure, without_credentials

if TYPE_CHECKING:
    from distributed import Client

    from fmnist_lab.launcher.worker import JobRunner

_START_TIMEOUT = 120.0
_CONNECT_TIMEOUT = 20.0
_BRING_ATTEMPTS = 5
_BRING_PAUSE = 1.0  # seconds


class Cluster:
    """A scheduler with workers.

    Args:
        client: Is connected to the scheduler.
        results: Workers leave finished results here, for the case that they die before these are
            fetched. Workers that do not see the folder do without.
        shown: The address of a scheduler that runs already, without a password.
        host: Of our own scheduler and workers.
    """

    def __init__(
        self,
        client: "Client",
        results: Path,
        shown: str = "",
        host: "Host | None" = None,
    ) -> None:
        self.client, self.results, self._shown, self._host = client, results, shown, host

    @property
    def ends(self) -> bool:
        """Whether the workers end with this launch: they are ours, and no later one has them."""
        return self._host is not None and _kept is None

    @property
    def ended(self) -> str | None:
        """Why the cluster is no longer there, as a sentence; None while it is."""
        if self._host is None:
            lost = self.client.status in ("closing", "closed")
            return f"The connection to the scheduler at {self._shown} is lost." if lost else None
        code = self._host.process.poll()
        if code is None:
            return None
        return f"The process that keeps the local workers ended by itself, with code {code}."

    def bring(self, runner: "JobRunner", name: str) -> None:
        """Gives an application to all workers, those to come included.

        The scheduler gives up where a worker dies meanwhile, so there are several attempts.

        Raises:
            ConnectionLostError: The cluster is gone.
            RequestError: The workers lack modules that the application needs.
        """
        for attempt in range(1, _BRING_ATTEMPTS + 1):
            try:
                self.client.register_plugin(runner, name=name)
            except ImportError as error:
                rule = "lead to workers that can import what this command uses"
                got = Phrase(f"{self._shown}: {error}")
                raise RequestError("hydra.launcher.address", rule, got) from error
            except OSError as error:
                if self.ended or attempt == _BRING_ATTEMPTS:
                    lost = f"The application cannot be sent to the workers: {error}."
                    raise ConnectionLostError(self.ended or lost) from error
                time.sleep(_BRING_PAUSE)
            else:
                return

    def close(self) -> None:
        """Closes the connection; ends the processes if they are ours, and waits for their end.

        Inside `keep_workers` they wait for the next launch instead.
        """
        if self._host is not None and _kept is not None and not self.ended:
            _kept.append(self._host)
            return
        if self._host is not None:
            self._host.end()
        else:
            self.client.close()
        shutil.rmtree(self.results, ignore_errors=True)


def count_workers(settings: Settings) -> int:
    """Counts the processes of a local cluster: as many as the cores suffice for, or as asked."""
    from dask.system import CPU_COUNT

    return settings.workers or max(1, int(CPU_COUNT) // settings.threads_per_worker)


class Host:
    """The process below which a local scheduler and its workers run; it ends with this one.

    It is started at once, and connected to when it is needed: workers take seconds to start.

    Raises:
        RequestError: There is no folder for its files.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cluster: Cluster | None = None
        try:
            self._results = Path(
                tempfile.mkdtemp(prefix="fmnist-lab-workers-", dir=settings.local_directory)
            )
        except OSError as error:
            if is_full_disk(error):
                raise
            rule, got = "be a folder for files", Phrase(f"{error.filename}: {error.strerror}")
            raise RequestError("hydra.launcher.local_directory", rule, got) from error
        self._made: list[Path] = []  # the file for output and its folders, as far as they are new
        if settings.output is not None:
            there = Path(settings.output)
            self._made = [path for path in (there, *there.parents) if not path.exists()]
        self._answer, writer = os.pipe()
        request = {
            "workers": count_workers(settings),
            "memory_limit": settings.memory_limit,
            "local_directory": str(self._results),
            "preload": list(settings.preload),
            "answer_to": writer,
            "environment": {"PYTHONSAFEPATH": os.environ.get("PYTHONSAFEPATH", "")},
        }
        # `-c` rather than `-m`: then workers have no main module to import a second time.
        paths = installed_path(beside())
        code = f"import sys; sys.path[:] = {paths!r}; from fmnist_lab.launcher import start"
        with _output(settings.output) as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", f"{code}; start.main()", json.dumps(request)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[writer],
                # Else what Python spawns looks for its first modules in the working folder, where a
                # file may be called signal.py.
                env=os.environ
                | with_threads(settings.threads_per_worker)
                | {"PYTHONSAFEPATH": "1"},
                start_new_session=True,  # Ctrl-C in the terminal is for the controller alone
            )
        os.close(writer)

    def connect(self) -> Cluster:
        """Waits for the first worker, and connects to its scheduler.

        Raises:
            ConnectionLostError: The workers could not be started.
        """
        if self._cluster is None:
            try:
                answer = self._await_answer()
                client = _connect(answer["address"], answer["security"])
            except BaseException:
                self.end()
                raise
            self._cluster = Cluster(client, self._results, host=self)
        return self._cluster

    def end(self) -> None:
        """Ends the processes, and waits until they are gone; does nothing the second time."""
        if self._cluster is not None:
            self._cluster.client.close()
        elif self.process.poll() is None:  # no job was given to them
            os.killpg(self.process.pid, signal.SIGKILL)
            for path in self._made:
                with contextlib.suppress(OSError):  # a folder has other files
                    if path.is_dir():
                        path.rmdir()
                    elif not path.stat().st_size:  # else it says why they did not start
                        path.unlink()
        try:
            # It ends with its standard input, after the jobs have recorded their interruption.
            self.process.communicate(timeout=2 * GRACE + 5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        shutil.rmtree(self._results, ignore_errors=True)

    def fits(self, settings: Settings) -> bool:
        """Returns whether a launch with these settings, `output` aside, would start the same."""
        there = self._cluster is not None and self._cluster.ended is None
        return there and replace(self._settings, output=None) == replace(settings, output=None)

    def _await_answer(self) -> dict[str, Any]:
        timer = threading.Timer(_START_TIMEOUT, self.process.kill)
        timer.start()
        try:
            with os.fdopen(self._answer) as pipe:
                answer: dict[str, Any] = json.loads(
                    pipe.read() or '{"error": "it ended or took too long"}'
                )
        finally:
            timer.cancel()
        if "error" in answer:
            why = answer["error"].rstrip(".")
            raise ConnectionLostError(f"The local workers could not be started: {why}.")
        return answer


_kept: list[Host] | None = None  # their workers wait for the next launch, inside `keep_workers`


@contextlib.contextmanager
def keep_workers() -> Iterator[None]:
    """Lets launches inside take over the local workers of the one before, if they fit.

    So the stages of a sweep import TensorFlow, read the images and compile their program once.
    """
    global _kept  # noqa: PLW0603
    _kept = []
    try:
        yield
    finally:
        left, _kept = _kept, None
        for host in left:
            host.end()


def local_host(settings: Settings) -> Host:
    """Takes over workers that an earlier launch has left, or starts some.

    Raises:
        RequestError: There is no folder for their files.
    """
    while _kept:
        host = _kept.pop()
        if host.fits(settings):
            return host
        host.end()
    return Host(settings)


def join(address: str, sweep_dir: Path) -> Cluster:
    """Connects to a scheduler that runs already, with the workers that have joined it.

    Raises:
        RequestError: No scheduler answers there.
    """
    shown = without_credentials(address)
    if warning := exposure(address):
        print(warning, file=sys.stderr)
    try:
        client = _connect(address)
    except (OSError, ValueError) as error:
        got = Phrase(f"{shown} ({type(error).__name__})")
        rule = "lead to a running Dask scheduler"
        raise RequestError("hydra.launcher.address", rule, got) from None
    sweep_dir.mkdir(parents=True, exist_ok=True)
    return Cluster(client, Path(tempfile.mkdtemp(prefix=".results-", dir=sweep_dir)), shown)


def _connect(address: str, own: Mapping[str, str] | None = None) -> "Client":
    """Returns a client of a scheduler, or of our own one, whose certificates are `own`."""
    from distributed import Client, Security

    # It warns of results lost with their worker, which the stream of jobs deals with.
    logging.getLogger("distributed.client").setLevel(logging.ERROR)
    return Client(
        address,
        timeout=_CONNECT_TIMEOUT,
        security=Security(require_encryption=True, **own) if own else None,
        direct_to_workers=bool(own),
        set_as_default=False,
    )


def _output(path: str | None) -> contextlib.AbstractContextManager[IO[bytes] | None]:
    if path is None:
        return contextlib.nullcontext()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return Path(path).open("ab")
