"""Signals end a sweep at a moment when nothing is half done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from fmnist_lab.foundation.interruption import interrupted


class Signals:
    """SIGINT, SIGTERM and SIGHUP as exceptions, raised only where the controller waits.

    Everywhere else, in the midst of asking and telling, a signal is kept for later.
    """

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._waiting = False
        self._pending: int | None = None

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                    continue  # nohup
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        interrupted.clear()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raises what was kept."""
        if self._pending is not None:
            self._raise(self._pending)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The block may be interrupted."""
        try:
            self._waiting = True
            self.check()
            yield
        finally:
            self._waiting = False

    def _receive(self, number: int, _: FrameType | None) -> None:
        self._pending = number
        if self._waiting:
            self._raise(number)

    def _raise(self, number: int) -> None:
        self._waiting = False  # once is enough: what follows is cleaning up
        interrupted.set()
        if callable(handler := self._before[number]):
            handler(number, None)  # the application's own, or Python's: KeyboardInterrupt
        raise SystemExit(128 + number)
