"""Dask's nanny, which starts a worker process and starts another one when it dies."""

from typing import Any

from distributed import Nanny
from distributed.core import Status

DIED = "worker-died"  # an event's action, beside Dask's `add-worker` and `remove-worker`


class TellingNanny(Nanny):  # type: ignore[misc]  # Dask is half typed
    """Tells the scheduler's listeners how a worker process died, which Dask keeps to its log."""

    _needed_too_much: str | None = None  # the address of the worker that Dask has told to end

    def log_event(self, topic: Any, msg: Any) -> None:
        """Passes an event on, and remembers one."""
        if topic == "worker-restart-memory":
            self._needed_too_much = msg["worker"]
        super().log_event(topic, msg)

    def _on_worker_exit_sync(self, exitcode: int) -> Any:
        if self.status == Status.running:
            worker = self.worker_address
            event = {"action": DIED, "worker": worker, "code": exitcode}
            self.log_event("all", event | {"over": worker == self._needed_too_much})
        return super()._on_worker_exit_sync(exitcode)
