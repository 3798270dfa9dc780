"""What a long trial leaves while it trains, so that a killed one goes on where it was.

`checkpoint.npz` in the trial's folder holds the values of all variables after an epoch, as plain
arrays, and in JSON the curve up to there and what the values rest on. It is replaced whole, never
written over, and it goes away when the trial has ended by itself.
"""

import json
import logging
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_lab.foundation.files import whole_file
from fmnist_lab.foundation.nested import differences
from fmnist_lab.metrics import Metrics
from fmnist_lab.training.environment import DECIDING
from fmnist_lab.trial import Trial

FILE = "checkpoint.npz"
SHARE = 20  # writing takes at most a twentieth of the time
_SHOWN = 3  # differences in one message

Tell = Callable[[int, Metrics], None]
State = Mapping[str, Sequence[NDArray[Any]]]  # variables' values, of `model`, `optimizer`, `best`

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempts:
    """The attempts at a trial that there were and may be besides this one."""

    # The least time between two checkpoints, and before the first; 0: one after each epoch; None:
    # none is written or read.
    checkpoint_seconds: float | None = None
    earlier: Sequence[Path] = ()  # folders of attempts under other numbers, the last first
    tell: Tell = lambda epoch, metrics: None  # called for each epoch that they have trained


ONLY = Attempts()


def basis(trial: Trial, environment: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what decides each bit of a curve: the trial, its data, versions, machine and threads.

    Args:
        trial: What is trained.
        environment: What it leaves in `environment.json`.
    """
    configuration = trial.as_dict()
    for key in ("dir", "path"):
        del configuration["data"][key]  # the checksum says what was found there
    content = {key: environment[key] for key in ("data_checksum", *DECIDING)}
    content["trial"] = configuration
    return dict(json.loads(json.dumps(content, default=str)))  # as it comes back from a file


class Checkpoint:
    """A trial's file: the curve so far, which grows, and the state after its last epoch."""

    def __init__(self, folder: Path, basis: Mapping[str, Any], attempts: Attempts) -> None:
        """Takes up what an earlier attempt has left.

        Args:
            folder: The trial's.
            basis: See the function of that name; a file with another one is of no use.
            attempts: Where to look besides `folder`, and how often to write.
        """
        self.curve: list[Metrics] = []
        self.state: State = {}
        self._path = folder / FILE
        self._basis = basis
        self._seconds = attempts.checkpoint_seconds
        self._level = logging.WARNING
        for left in folder.glob(f".{self._path.stem}.*"):  # of a process killed as it wrote
            left.unlink()
        paths = [place / FILE for place in (folder, *attempts.earlier)]
        found = next((path for path in paths if path.exists()), None)
        if found and self._seconds is not None:
            self._take_up(found)
        self._due = time.monotonic() + (self._seconds or 0.0)

    def offer(self, state: Callable[[], State]) -> None:
        """Writes the state, which the function copies, and the curve, if it is time."""
        self.state = {}  # it has been put back by now
        if self._seconds is None or time.monotonic() < self._due:
            return
        start = time.monotonic()
        try:
            self._write(state())
        except OSError as error:
            level, self._level = self._level, logging.DEBUG  # one complaint is enough
            problem = error.strerror or error
            log.log(level, "No checkpoint could be written: %s. Training goes on.", problem)
        end = time.monotonic()
        pause = max(self._seconds, SHARE * (end - start)) if self._seconds else 0.0
        self._due = end + pause

    def remove(self) -> None:
        """Removes the file: the trial has ended."""
        self._path.unlink(missing_ok=True)

    def _take_up(self, path: Path) -> None:
        try:
            known, curve, state = _read(path)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            log.warning("%s is damaged (%s); the trial begins anew.", path, error)
            return
        if changed := [key for key, *_ in differences(known, self._basis)]:
            shown = ", ".join(changed[:_SHOWN]) + (", ..." if len(changed) > _SHOWN else "")
            log.warning("%s was left with another %s; the trial begins anew.", path, shown)
            return
        self.curve, self.state = curve, state
        if path != self._path:
            with suppress(OSError):  # the next attempt looks here first, but there, too
                path.replace(self._path)
        log.info("Goes on after epoch %d, from %s", len(curve), path)

    def _write(self, state: State) -> None:
        content = {
            "basis": self._basis,
            "curve": self.curve,
            "arrays": {name: len(value) for name, value in state.items()},
        }
        arrays: dict[str, Any] = {"json": np.frombuffer(json.dumps(content).encode(), np.uint8)}
        for name, value in state.items():
            arrays |= {f"{name}.{number}": item for number, item in enumerate(value)}
        with whole_file(self._path) as temporary:
            np.savez(temporary, **arrays)


def _read(path: Path) -> tuple[dict[str, Any], list[Metrics], State]:
    """Raises one of many errors if the file is not whole; runs nothing that is in it."""
    # Opened here: NumPy leaves a file open that is none of its own.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        content = json.loads(archive["json"].tobytes())
        state = {
            name: [archive[f"{name}.{i}"] for i in range(count)]
            for name, count in content["arrays"].items()
        }
    return content["basis"], content["curve"], state
