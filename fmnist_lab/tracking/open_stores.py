"""The stores of this process, each opened once, and what they are called."""

from pathlib import Path
from typing import Any

from fmnist_lab.config import TrackingConfig
from fmnist_lab.foundation.secrets import mask
from fmnist_lab.tracking.delivery import Delivery
from fmnist_lab.tracking.outbox import Header
from fmnist_lab.tracking.store import ROOT, address, database, open_experiment

_addresses: dict[str, str] = {}  # of stores, with their passwords, by those without


class Stores:
    """Where records go, each store and each experiment opened once."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root.absolute()
        self._opened: dict[tuple[str | None, str], tuple[Any, str]] = {}

    def send(self, delivery: Delivery) -> None:
        """Sends what is new of a record."""
        header = delivery.record.header
        target = (header.uri, header.experiment)
        try:
            if target not in self._opened:
                uri = _addresses.get(header.uri) or address(header.uri) if header.uri else None
                config = TrackingConfig(uri=uri, experiment=header.experiment)
                self._opened[target] = open_experiment(config, self._root)
            delivery.send(*self._opened[target])
        except Exception:
            self._opened.pop(target, None)  # it may be another one when it is back
            raise


def shown(config: TrackingConfig) -> str | None:
    """A store's address without its password, by which `Stores` knows it; None: the local one."""
    if config.uri is None:
        return None
    _addresses[mask(config.uri)] = config.uri
    return mask(config.uri)


def store_name(uri: str | None, root: Path) -> str:
    """What a store is called in sentences."""
    return uri or str(database(root))


def header_for(config: TrackingConfig, **what: Any) -> Header:
    """The header of a run that is recorded as configured."""
    return Header(uri=shown(config), experiment=config.experiment, **what)


def reason(error: BaseException) -> str:
    """What is at the bottom of an error, in a line and without passwords."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    first = str(error).strip().partition("\n")[0]
    return mask(first) or type(error).__name__
