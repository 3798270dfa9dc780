"""Dask's nanny, which starts a worker process and starts another one when it dies."""

from typing import Any

from distributed import Nanny
from distributed.core import Status

DIED = "worker-died"  # an event's action, beside Dask's `add-worker` and `remove-worker`


class TellingNanny(Nanny):  # type: ignore[misc]  # Dask is half typed
    """Tells the scheduler's listeners how a worker process died, which Dask keeps to its log."""

    def _on_worker_exit_sync(self, exitcode: int) -> Any:
        if self.status == Status.running:
            event = {"action": DIED, "worker": self.worker_address, "code": exitcode}
            self.log_event("all", event)
        return super()._on_worker_exit_sync(exitcode)
