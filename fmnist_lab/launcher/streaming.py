"""The seam between sweeper and launcher: jobs go out one by one, results come back as they end."""

from collections.abc import Sequence
from typing import Protocol, TypeGuard

from hydra.core.utils import JobReturn


class WorkerLostError(RuntimeError):
    """A job's worker process died, and did so again in every attempt that was allowed."""


class StreamingLauncher(Protocol):
    """A launcher that takes jobs one by one; a sweeper uses it if present, else Hydra's batches."""

    @property
    def slots(self) -> int:
        """Jobs that run at once; may change while workers join and leave, never below one."""

    def prepare(self) -> None:
        """Begins with what the first job needs, without waiting for it."""

    def submit(self, overrides: Sequence[str], job_idx: int) -> None:
        """Takes a job, whose number is `job_idx`; it starts as soon as a worker is free."""

    def next_result(self, timeout: float | None = None) -> tuple[int, JobReturn] | None:
        """Waits for the next job that ends and returns its number and result.

        A job whose worker died is tried again inside; after the last attempt it comes back as
        `JobStatus.FAILED` with a `WorkerLostError`.

        Args:
            timeout: Seconds to wait; None waits until there is a result.

        Returns:
            None if the time is over, or if no job is left to wait for.
        """

    def cancel_all(self) -> None:
        """Interrupts running jobs and drops waiting ones; results of jobs that ended stay."""

    def close(self) -> None:
        """Ends the worker processes; does nothing the second time."""


def streams(launcher: object) -> TypeGuard[StreamingLauncher]:
    """Returns whether a launcher is one; `isinstance` would read `slots`, and so connect."""
    return hasattr(launcher, "next_result")
