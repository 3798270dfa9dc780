"""Settings of the launcher, checked before anything starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from fmnist_lab.errors import RequestError

# What an interrupted job has to write its records, in seconds; then its process is killed.
GRACE = 10.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass
class Settings:
    """The keys under `hydra.launcher`."""

    # Worker processes, each running one job at a time; null: one per core.
    workers: int | None = None
    # Threads for arithmetic in each worker process (OpenMP, MKL, TensorFlow).
    threads_per_worker: int = 1
    # A running Dask scheduler, such as tcp://host:8786; null: a cluster on this machine. Each of
    # its workers runs one job at a time, whatever number of threads it was started with.
    address: str | None = None
    # How often a job is tried again when its worker process dies.
    retries: int = 2
    # A worker that needs more, such as 4GB, is killed and replaced; null: no limit.
    memory_limit: str | None = None
    # Where local workers keep their temporary files; null: the system's folder for these.
    local_directory: str | None = None
    # A file for what local workers print; null: the terminal.
    output: str | None = None
    # Modules that local workers find imported: they are forked from a process that has done that
    # once, which saves time and memory. Not for modules that start threads or draw random numbers.
    preload: list[str] = field(default_factory=list)
    # Variables that jobs find as they are here, wherever their worker was started.
    environment: list[str] = field(
        default_factory=lambda: [
            "MLFLOW_TRACKING_URI",
            "MLFLOW_TRACKING_USERNAME",
            "MLFLOW_TRACKING_PASSWORD",
            "MLFLOW_TRACKING_TOKEN",
        ]
    )

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> "Settings":
        """Raises RequestError unless the values make sense alone and together."""
        from dask.utils import parse_bytes

        settings = cls(**values)
        lowest = {"workers": 1, "threads_per_worker": 1, "retries": 0}
        for key, low in lowest.items():
            if (value := getattr(settings, key)) is not None and value < low:
                raise RequestError(f"hydra.launcher.{key}", f"be at least {low}", value)
        if (limit := settings.memory_limit) is not None:
            try:
                parse_bytes(limit)
            except ValueError:
                rule = "be a size such as 4GB"
                raise RequestError("hydra.launcher.memory_limit", rule, limit) from None
        if settings.address is not None:
            if "://" not in settings.address:
                rule = "be a scheduler's address such as tcp://host:8786"
                raise RequestError("hydra.launcher.address", rule, settings.address)
            if settings.workers is not None:
                rule = "be null when `hydra.launcher.address` is given"
                hint = "the scheduler has its own workers"
                raise RequestError("hydra.launcher.workers", rule, settings.workers, hint)
        return settings


def without_credentials(address: str) -> str:
    """Removes user name and password from an address."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def exposure(address: str) -> str | None:
    """Returns a warning if a scheduler is open to a network without TLS."""
    parts = urlsplit(address)
    if parts.scheme != "tcp" or parts.hostname in LOOPBACK:
        return None
    return (
        f"Caution: {without_credentials(address)} has no TLS. Anyone who reaches this "
        "scheduler can run code on its workers, and send pickles that this command reads: "
        "see docs/security.md."
    )
