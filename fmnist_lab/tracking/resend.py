"""Sends everything that could not be sent before: `fmnist-lab sync`."""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fmnist_lab.tracking.delivery import Delivery
from fmnist_lab.tracking.open_stores import Stores, reason, store_name
from fmnist_lab.tracking.outbox import Record, unsent
from fmnist_lab.tracking.run_end import end
from fmnist_lab.tracking.sender import FOLDERS
from fmnist_lab.tracking.store import ROOT, give_up_soon, quiet_mlflow

Progress = Callable[[list[Path]], Iterable[Path]]


@dataclass
class Outcome:
    """What became of the runs of which MLflow lacked something, by numbers."""

    sent: Counter[str] = field(default_factory=Counter)  # by store
    busy: int = 0  # another process writes or sends them now
    stuck: int = 0  # the run that they belong to is not there
    failed: Counter[str] = field(default_factory=Counter)  # by store
    problems: dict[str, str] = field(default_factory=dict)  # of stores that failed


def sync(root: Path = ROOT, progress: Progress = iter) -> Outcome:
    """Sends what is missing of all runs in a folder; it may be given up and repeated.

    Args:
        root: The folder with the results.
        progress: Goes through the runs and shows how far that is.
    """
    _require_readable(root)
    waiting = sorted(path for name in FOLDERS for path in unsent(root / name))
    outcome, stores = Outcome(), Stores(root)
    if waiting:
        give_up_soon()
        quiet_mlflow()
    before = len(waiting) + 1
    while waiting and len(waiting) < before:  # a run may need another one to be there first
        before = len(waiting)
        waiting = [path for path in progress(waiting) if _is_stuck(path, root, stores, outcome)]
    outcome.stuck = len(waiting)
    return outcome


def _require_readable(root: Path) -> None:
    """Raises `PermissionError` for a folder in which runs would be overlooked."""

    def fail(error: OSError) -> None:
        if isinstance(error, PermissionError):
            raise error

    for name in FOLDERS:
        for _ in os.walk(root / name, onerror=fail):
            pass


def _is_stuck(path: Path, root: Path, stores: Stores, outcome: Outcome) -> bool:
    """Sends a run; returns whether it has to be tried again."""
    record = Record.take(path)
    if record is None:
        outcome.busy += path.exists()
        return False
    try:
        name = store_name(record.header.uri, root)
        if name in outcome.problems:
            outcome.failed[name] += 1
            return False
        end(record)
        delivery = Delivery(record)
        try:
            stores.send(delivery)
        except Exception as error:  # whatever it is: others may be luckier
            outcome.problems[name] = reason(error)
            outcome.failed[name] += 1
            return False
        if delivery.is_complete:
            record.archive()
            outcome.sent[name] += 1
        return delivery.is_stuck
    finally:
        record.close()
