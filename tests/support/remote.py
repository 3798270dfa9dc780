"""What a sweep beyond one machine needs, as processes: database, tracking server, workers."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote

from tests.support.launchers import wait_for
from tests.support.sweeping import ROOT

HOST = "127.0.0.1"
USER = "sweeper"
# Debian keeps the server's programs out of the path, those of the newest version last.
POSTGRESQL = [path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]


class Process:
    """A process with its children, and a log of what they print."""

    def __init__(self, log: Path, *command: str | Path, user: str | None = None) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                list(map(str, command)),
                cwd=log.parent,  # not where the sweep is started
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=output,
                start_new_session=True,
                user=user,
                extra_groups=[] if user else None,
            )

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to all of them."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """Ends all of them at once."""
        self.send(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Ends all of them."""
        self.send(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self.kill()


@contextmanager
def running(log: Path, *command: str | Path, user: str | None = None) -> Iterator[Process]:
    """A process that ends with the block."""
    process = Process(log, *command, user=user)
    try:
        yield process
    finally:
        process.stop()


@contextmanager
def database(log: Path, password: str) -> Iterator[str]:
    """A PostgreSQL cluster that asks for a password; gives its URL."""
    user = "nobody" if os.geteuid() == 0 else None  # it refuses to run as root
    with tempfile.TemporaryDirectory(prefix="fmnist-lab-postgresql-") as name:
        folder, data = Path(name), Path(name) / "data"
        (folder / "password").write_text(password)
        if user:
            for path in (folder, folder / "password"):
                shutil.chown(path, user)
        secret = ("--username", USER, "--pwfile", folder / "password")
        options = ("--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-sync")
        subprocess.run(
            [POSTGRESQL[-1] / "initdb", data, *secret, *options],
            user=user,
            extra_groups=[] if user else None,
            stdout=subprocess.DEVNULL,
            check=True,
            cwd=folder,
        )
        port = free_port()
        settings = (f"port={port}", f"listen_addresses={HOST}", "unix_socket_directories=")
        arguments = [word for setting in settings for word in ("-c", setting)]
        with running(log, POSTGRESQL[-1] / "postgres", "-D", data, *arguments, user=user):
            wait_for(lambda: listens(port))
            yield f"postgresql+psycopg://{USER}:{quote(password, safe='')}@{HOST}:{port}/postgres"


def dump(url: str) -> bytes:
    """Everything in a database, as text."""
    plain = url.replace("+psycopg", "")
    return subprocess.run(
        [POSTGRESQL[-1] / "pg_dump", plain], capture_output=True, check=True
    ).stdout


@contextmanager
def tracking_server(folder: Path, password: str) -> Iterator[tuple[str, str]]:
    """An MLflow server behind a gate that asks for a password; gives both addresses."""
    port = free_port()
    direct = f"http://{HOST}:{port}"
    process = server_process(folder, port)
    try:
        with _gate(direct, password) as gate:
            yield gate, direct
    finally:
        process.stop()


def server_process(folder: Path, port: int) -> Process:
    """Starts an MLflow server with a database in this folder; it listens in a few seconds."""
    options = {
        "--backend-store-uri": f"sqlite:///{folder / 'server.db'}",
        "--artifacts-destination": str(folder / "artifacts"),
        "--host": HOST,
        "--port": str(port),
        "--workers": "1",
    }
    words = [word for option in options.items() for word in option]
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # it starts faster
    return Process(folder / "server.log", sys.executable, "-m", "mlflow", "server", *words)


class Proxy(BaseHTTPRequestHandler):
    """Passes requests of any method on to another server; subclasses decide which."""

    target: str

    def do_GET(self) -> None:
        """Reads a request and lets the subclass treat it."""
        self.treat(self.rfile.read(int(self.headers["Content-Length"] or 0)) or None)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - so it calls them

    def treat(self, body: bytes | None) -> None:
        """Passes a request on."""
        self.answer(*self.ask(body))

    def ask(self, body: bytes | None) -> tuple[int, bytes]:
        """Returns status and content of the other server's answer."""
        kind = {"Content-Type": self.headers["Content-Type"] or "application/json"}
        request = urllib.request.Request(self.target + self.path, body, kind, method=self.command)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            with error:
                return error.code, error.read()

    def answer(self, status: int, body: bytes) -> None:
        """Sends an answer."""
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # the client is gone
            self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        """Logs nothing."""


@contextmanager
def _gate(server: str, password: str) -> Iterator[str]:
    login = base64.b64encode(f"{USER}:{password}".encode()).decode()

    class Gate(Proxy):
        """Passes on the requests that come with the password, as a reverse proxy would."""

        target = server

        def treat(self, body: bytes | None) -> None:
            if self.headers["Authorization"] == f"Basic {login}":
                super().treat(body)
            else:
                self.answer(401, b"")

    with ThreadingHTTPServer((HOST, 0), Gate) as gate:
        thread = threading.Thread(target=gate.serve_forever, daemon=True)
        thread.start()
        yield f"http://{USER}:{quote(password, safe='')}@{HOST}:{gate.server_port}"
        gate.shutdown()


@contextmanager
def scheduler(folder: Path) -> Iterator[str]:
    """A Dask scheduler; gives its address."""
    file = folder / "scheduler.json"
    words = ("--host", HOST, "--port", "0", "--scheduler-file", file, "--no-dashboard")
    with running(folder / "scheduler.log", sys.executable, "-m", "dask", "scheduler", *words):
        wait_for(file.exists)
        yield json.loads(file.read_text())["address"]


@contextmanager
def worker(log: Path, address: str) -> Iterator[Process]:
    """A Dask worker with its nanny."""
    words = (address, "--nthreads", "1", "--no-dashboard", "--local-directory", log.parent)
    with running(log, sys.executable, "-m", "dask", "worker", *words) as process:
        yield process


def free_port() -> int:
    """Returns a free port."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether a process listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
