"""One job at a time in a process, and a way to interrupt it from outside its thread.

Dask runs jobs in a thread, where signals do not arrive. KeyboardInterrupt is therefore raised
there with the interpreter's own means: it arrives with the next line of Python the job runs.
"""

import ctypes
import signal
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from distributed import Worker

from fmnist_lab.foundation.interruption import interrupted
from fmnist_lab.launcher.host import GRACE

T = TypeVar("T")


class Interruptible:
    """The slot in which a process runs its jobs."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        # Reentrant: a signal handler may come while the main thread holds it.
        self._guard = threading.RLock()
        self._key: object = None
        self._thread: int | None = None
        self._idle = threading.Event()
        self._idle.set()

    @property
    def busy(self) -> bool:
        """Whether a job runs."""
        return not self._idle.is_set()

    def run(self, key: str, work: Callable[[], T]) -> T | None:
        """Does the work in this thread; returns None if it was interrupted."""
        with self._one_at_a_time:
            done: T | None = None
            try:
                self._enter(key)
                done = work()
                self._leave()
                time.sleep(0)  # an interrupt on its way arrives here, and nowhere later
            except KeyboardInterrupt:
                self._leave()
            return done

    def interrupt(self, key: object = None) -> None:
        """Raises KeyboardInterrupt in the job that runs, once; any job unless `key` names it."""
        with self._guard:
            if self._thread is None or interrupted.is_set() or key not in (None, self._key):
                return
            interrupted.set()
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._thread), ctypes.py_object(KeyboardInterrupt)
            )

    def end_on_sigterm(self, worker: Worker) -> None:
        """Lets SIGTERM interrupt the job, and close the worker when the job has ended."""
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, lambda number, frame: self._end(worker))

    def _enter(self, key: str) -> None:
        with self._guard:
            self._key, self._thread = key, threading.get_ident()
            interrupted.clear()
            self._idle.clear()

    def _leave(self) -> None:
        with self._guard:
            self._key = self._thread = None
            self._idle.set()

    def _end(self, worker: Worker) -> None:
        self.interrupt()

        def close() -> None:
            self._idle.wait(GRACE)
            worker.loop.add_callback(worker.close, nanny=False, reason="SIGTERM")

        threading.Thread(target=close, daemon=True).start()
