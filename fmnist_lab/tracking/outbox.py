"""What MLflow is to get of a run, as a file in the run's own folder: its record.

The first line is the header, what the run is. Each further line has some of these keys:

* `time`, `step`, `metrics`: a point of each metric; `time` in milliseconds
* `status`, and at an end `time`, `tags` and `files`: whether the folder's files are sent, too
* `note`: the description in the folder has changed
* `reap`: numbers of trials whose open runs are ended; null stands for all
* `run_id`: the id that the store has given to the run

A line is written when something happens, with its time, so a run can be sent again and be the
same. The file only grows, so a killed process leaves whole lines. It is locked while a process
writes or sends it, so an unlocked record without an end is that of a process that died. It is
renamed from `.unsent.jsonl` to `.jsonl` once MLflow has everything.
"""

import fcntl
import json
import logging
import math
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from fnmatch import filter as matching
from io import FileIO
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from fmnist_lab.foundation.files import append_whole
from fmnist_lab.results import schema
from fmnist_lab.tracking.store import NOTE
from fmnist_lab.trial import StopReason, TrialResult

UNSENT, SENT = ".unsent.jsonl", ".jsonl"
PREFIX = "mlflow-"
RECORDS = f"{PREFIX}*{SENT}*"  # pattern of the names of records, in whatever state
UNSENT_RECORDS = f"{PREFIX}*{UNSENT}"
KEY_PREFIX = "fmnist-lab-"  # of keys; MLflow's ids are hexadecimal digits
Line = dict[str, Any]

log = logging.getLogger(__name__)


class Kind(StrEnum):
    """What a run records; the tag `kind`."""

    SWEEP = "sweep"
    TRIAL = "trial"
    REPLICATE = "replicate"


class Status(StrEnum):
    """The state of a run in MLflow's words."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    KILLED = "KILLED"
    FAILED = "FAILED"


STATUS = {
    StopReason.COMPLETED: Status.FINISHED,
    StopReason.EARLY_STOPPED: Status.FINISHED,
    StopReason.DIVERGED: Status.FINISHED,
    StopReason.PRUNED: Status.KILLED,
    StopReason.INTERRUPTED: Status.KILLED,
    StopReason.FAILED: Status.FAILED,
}


def now() -> int:
    """Returns the time as MLflow has it, in milliseconds."""
    return int(time.time() * 1000)


@dataclass(frozen=True)
class Header:
    """What a run is, known when it starts."""

    kind: str  # a `Kind`
    uri: str | None  # of the store, without a password; None is the local one
    experiment: str
    name: str
    tags: Mapping[str, str]
    params: Mapping[str, str] = field(default_factory=dict)
    dataset: Mapping[str, str] | None = None
    parent: str | None = None  # id or key of the run that this one is nested under
    run_id: str | None = None  # of an existing run to continue
    key: str = field(default_factory=lambda: f"{KEY_PREFIX}{uuid.uuid4().hex}")
    time: int = field(default_factory=now)


class Record:
    """A run's file, locked by this process."""

    def __init__(self, path: Path, file: FileIO, is_new: bool = False) -> None:
        self.path = path
        self.is_new = is_new  # never sent, not even in part
        self._file = file
        self._lock = threading.Lock()  # the run's process and its sender both write
        with path.open("rb") as content:
            first = content.readline()
        self.header, self.start = Header(**json.loads(first)), len(first)
        lines = self.lines
        if not all(isinstance(line, dict) for line in lines):
            raise ValueError("a line holds no keys and values")
        self._latest = max([self.header.time, *(line["time"] for line in lines if "time" in line)])

    @classmethod
    def create(cls, folder: Path, header: Header) -> "Record":
        """Makes a new file in an existing folder and ends the earlier runs recorded there."""
        for path in folder.glob(UNSENT_RECORDS):
            if earlier := cls.take(path):
                if header.kind != Kind.SWEEP or not earlier.has_ended:
                    earlier.append(**earlier.interruption())  # their files are gone
                earlier.close()
        path = folder / f"{PREFIX}{header.key[-12:]}{UNSENT}"
        hidden = path.with_name(f".{path.name}.part")  # until it is locked and has its header
        file = hidden.open("x+b", buffering=0)
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            append_whole(file, json.dumps(asdict(header)).encode() + b"\n")
        except OSError:
            file.close()
            hidden.unlink()
            raise
        return cls(hidden.replace(path), file, is_new=True)

    @classmethod
    def take(cls, path: Path) -> "Record | None":
        """Locks an existing file; None if another process has it, or has sent it meanwhile.

        A damaged one is renamed: it would stop all that are sent after it.
        """
        file = None
        try:
            file = path.open("r+b", buffering=0)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.stat()  # not there if it was sent before we had the lock
        except (BlockingIOError, FileNotFoundError):
            if file is not None:
                file.close()
            return None
        content = file.read()
        if (whole := content.rfind(b"\n") + 1) < len(content):
            log.warning("The last line of %s was not whole: cut off.", path)
            file.truncate(whole)
        try:
            return cls(path, file)
        except (ValueError, TypeError) as error:
            aside = path.replace(path.with_name(f"{path.name}.damaged"))
            file.close()
            log.warning("%s is damaged (%s): MLflow cannot get the rest of this run.", aside, error)
            return None

    def append(self, **line: Any) -> None:
        """Adds a line; its time is not before that of earlier ones even if the clock goes back.

        Infinite metrics become NaN: MLflow turns them into 1.8e308, which ruins a chart's scale.
        """
        with self._lock:
            for key, value in line.get("metrics", {}).items():
                if math.isinf(value):
                    line["metrics"] = line["metrics"] | {key: math.nan}
            if "time" in line:
                self._latest = line["time"] = max(line["time"], self._latest)
            append_whole(self._file, json.dumps(line).encode() + b"\n")

    def read(self, offset: int) -> tuple[list[Line], int]:
        """Returns the whole lines after `offset`, and where the next one will begin."""
        with self.path.open("rb") as file:
            file.seek(offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        return lines, offset + len(whole) + len(newline)

    @property
    def lines(self) -> list[Line]:
        """The lines after the header."""
        return self.read(self.start)[0]

    @property
    def has_ended(self) -> bool:
        """Whether the last status is an end."""
        states = [line["status"] for line in self.lines if "status" in line]
        return bool(states) and states[-1] != Status.RUNNING

    def interruption(self) -> Line:
        """Returns the end of a run whose process died; its time is that of the last line."""
        tags = {} if self.header.kind == Kind.SWEEP else {"stop_reason": StopReason.INTERRUPTED}
        return {"status": Status.KILLED, "time": self._latest, "tags": tags, "files": False}

    def finish(self, result: TrialResult, time: int) -> None:
        """Adds a trial's summary and end."""
        summary = {"objective": result.objective, "stop/epoch": float(result.epochs_trained)}
        best = ""
        if result.best_epoch is not None:
            loss, accuracy = result.best_val_loss, result.best_val_accuracy
            best = f", best in epoch {result.best_epoch} with validation loss {loss:.4f} "
            best += f"and accuracy {accuracy:.4f}"
            # A table that is sorted by its best values must not have a diverged trial on top.
            if result.stop_reason != StopReason.DIVERGED:
                summary |= {"best/val_loss": loss, "best/val_accuracy": accuracy}
                summary["best/epoch"] = float(result.best_epoch)
        if math.isfinite(result.test_accuracy):
            summary |= {"test/loss": result.test_loss, "test/accuracy": result.test_accuracy}
        # One value in step 0 is a bar in the UI's charts; in the last step it would be a dot.
        self.append(time=time, step=0, metrics=summary)
        note = f"**{result.stop_reason}** after {result.epochs_trained} epochs{best}."
        tags = {"stop_reason": result.stop_reason, NOTE: f"{note}\n\n{self.header.tags[NOTE]}"}
        self.append(status=STATUS[result.stop_reason], time=time, tags=tags, files=True)

    def end(self) -> None:
        """Ends the record of a process that died, as its result says if there is one."""
        if self.has_ended:
            return
        result = None
        if self.header.kind != Kind.SWEEP:
            with suppress(OSError, ValueError):  # none, or a broken one
                # It is this attempt's: the next one removes it when it begins.
                result = TypeAdapter(TrialResult).validate_python(schema.result(self.path.parent))
        if result:
            self.finish(result, self._latest)
        else:
            self.append(**self.interruption())

    def archive(self) -> None:
        """Renames the file because MLflow has everything, and unlocks it."""
        name = self.path.name.removesuffix(UNSENT) + SENT
        self.path = self.path.replace(self.path.with_name(name))
        self.close()

    def close(self) -> None:
        """Unlocks the file for other processes."""
        self._file.close()


def unsent(folder: Path, on_error: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """Finds the records in a folder, or below it, of which MLflow lacks something.

    `on_error` is called with the error for a folder that cannot be read.
    """
    for place, _, names in os.walk(folder, onerror=on_error):
        yield from (Path(place, name) for name in matching(names, UNSENT_RECORDS))
