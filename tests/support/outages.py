"""An MLflow server behind a gate that does to it what networks, disks and people do."""

import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.support.launchers import wait_for
from tests.support.remote import HOST, Process, free_port, listens

OPEN = "open"
DOWN = "down"  # nobody listens
SILENT = "silent"  # calls are taken and never answered, as where a network is lost
SLOW = "slow"  # ten seconds pass before each call
BROKEN = "broken"  # each call is answered with 500
FORGETFUL = "forgetful"  # calls are carried out, their answers are lost
FAULTS = (DOWN, SILENT, SLOW, BROKEN, FORGETFUL)
DELAY = 10.0


@contextmanager
def mlflow_server(folder: Path, port: int | None = None) -> Iterator[tuple[str, Process]]:
    """A server with a database in this folder, new or not; gives its address and its process."""
    port = port or free_port()
    process = server_process(folder, port)
    try:
        wait_for(lambda: listens(port), 250)
        yield f"http://{HOST}:{port}", process
    finally:
        process.stop()


def server_process(folder: Path, port: int) -> Process:
    """Starts one, which listens in a few seconds."""
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


class Gate:
    """The only way to a server; lets calls through, or does something else to them."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.mode = OPEN
        self.calls = 0
        self._changed = threading.Condition()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self.turn(OPEN)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"

    def turn(self, mode: str) -> None:
        """Calls that wait in the gate go on with the new mode."""
        with self._changed:
            self.mode = mode
            self._changed.notify_all()
        if mode == DOWN:
            self.close()
        elif self._server is None:  # on the same port as before
            self._server = ThreadingHTTPServer((HOST, self._port), _handler(self))
            self._server.daemon_threads = True
            self._port = self._server.server_port
            threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Ends it; calls are refused from now on."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.socket.close()

    def wait_while(self, mode: str, seconds: float) -> None:
        """Holds a call back."""
        with self._changed:
            self._changed.wait_for(lambda: self.mode != mode, seconds)


def _handler(gate: Gate) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Passes a call on, or not."""

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0)) or None
            gate.calls += 1
            if gate.mode == SILENT:
                gate.wait_while(SILENT, 600)
                return  # whoever waits for the answer sees the connection end
            if gate.mode == SLOW:
                gate.wait_while(SLOW, DELAY)
            if gate.mode == DOWN:
                return
            if gate.mode == BROKEN:
                self._answer(500, b"broken")
                return
            try:
                status, content = self._ask(body)
            except OSError:  # the server is gone, and so this connection will be
                return
            if gate.mode != FORGETFUL:
                self._answer(status, content)

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - so it calls them

        def _ask(self, body: bytes | None) -> tuple[int, bytes]:
            kind = {"Content-Type": self.headers["Content-Type"] or "application/json"}
            url = gate.target + self.path
            request = urllib.request.Request(url, body, kind, method=self.command)
            try:
                with urllib.request.urlopen(request) as answer:
                    return answer.status, answer.read()
            except HTTPError as error:
                with error:
                    return error.code, error.read()

        def _answer(self, status: int, body: bytes) -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:  # who has asked is gone
                self.close_connection = True

        def log_message(self, *arguments: object) -> None:
            """Says nothing."""

    return Handler


@contextmanager
def gate_to(target: str) -> Iterator[Gate]:
    """A gate that closes with the block."""
    gate = Gate(target)
    try:
        yield gate
    finally:
        gate.turn(DOWN)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A disk that can be filled; skips the test where nobody may mount one."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Fills the disk that a folder is on to its last byte; returns the file that does."""
    path = folder / "ballast"
    with suppress(OSError), path.open("wb", buffering=0) as file:
        for size in (2**16, 1):
            with suppress(OSError):
                while True:
                    file.write(b"-" * size)
    return path
