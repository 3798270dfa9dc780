"""What a user may choose about the workers; a mistake is refused before anything starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fmnist_lab.errors import RequestError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Settings:
    """The keys under `hydra.launcher`; the plugin's configuration explains them."""

    workers: int | None = None
    threads_per_worker: int = 1
    address: str | None = None
    retries: int = 2
    memory_limit: str | None = None
    local_directory: str | None = None
    output: str | None = None
    environment: Sequence[str] = ()

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> "Settings":
        """Raises RequestError unless the values make sense alone and together."""
        settings = cls(**values)
        if settings.workers is not None:
            _at_least(1, "workers", settings.workers)
        _at_least(1, "threads_per_worker", settings.threads_per_worker)
        _at_least(0, "retries", settings.retries)
        if settings.memory_limit is not None:
            _check_memory(settings.memory_limit)
        if settings.address is not None:
            _check_address(settings)
        return settings


def _at_least(lowest: int, key: str, value: int) -> None:
    if value < lowest:
        raise RequestError(f"`hydra.launcher.{key}` must be at least {lowest}, got {value}.")


def _check_memory(value: str) -> None:
    from dask.utils import parse_bytes

    try:
        parse_bytes(value)
    except ValueError:
        raise RequestError(
            f"`hydra.launcher.memory_limit` must be a size such as 4GB, got {value!r}."
        ) from None


def _check_address(settings: Settings) -> None:
    if "://" not in str(settings.address):
        raise RequestError(
            "`hydra.launcher.address` must be a scheduler's address such as tcp://host:8786, "
            f"got {settings.address!r}."
        )
    if settings.workers is not None:
        raise RequestError(
            "`hydra.launcher.workers` must be null when `hydra.launcher.address` is given "
            f"(the scheduler has its own workers), got {settings.workers}."
        )


def without_credentials(address: str) -> str:
    """The address as it may be shown: without the user name and password it may carry."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def exposure(address: str) -> str | None:
    """What is to be said of a scheduler that a network reaches without certificates."""
    parts = urlsplit(address)
    if parts.scheme != "tcp" or parts.hostname in LOOPBACK:
        return None
    return (
        f"Caution: {without_credentials(address)} has no TLS. Whoever reaches this scheduler can "
        "run code on its workers, and send pickles that this command reads: see docs/security.md."
    )
