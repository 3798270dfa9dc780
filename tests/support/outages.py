"""An MLflow server behind a gate that simulates faults of networks, servers and disks."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.launchers import wait_for
from tests.support.remote import HOST, Process, Proxy, free_port, listens, server_process

OPEN = "open"
DOWN = "down"  # connections are refused
SILENT = "silent"  # calls are taken and never answered, as where a network is lost
SLOW = "slow"  # ten seconds pass before each call
BROKEN = "broken"  # each call is answered with 500
LOST_ANSWERS = "lost_answers"  # calls are carried out, their answers are lost
FAULTS = (DOWN, SILENT, SLOW, BROKEN, LOST_ANSWERS)
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
    class Handler(Proxy):
        """Passes a call on, or not."""

        target = gate.target

        def treat(self, body: bytes | None) -> None:
            gate.calls += 1
            if gate.mode == SILENT:
                gate.wait_while(SILENT, 600)
                return  # the client sees the connection end
            if gate.mode == SLOW:
                gate.wait_while(SLOW, DELAY)
            if gate.mode == DOWN:
                return
            if gate.mode == BROKEN:
                self.answer(500, b"broken")
                return
            try:
                status, content = self.ask(body)
            except OSError:  # the server is gone, and so this connection will be
                return
            if gate.mode != LOST_ANSWERS:
                self.answer(status, content)

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
    """A disk that can be filled; skips the test where that is not allowed."""
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
