"""What MLflow is to get of a run, as a file in the run's own folder.

A line for each thing, written as it happens: what the run is, points, tags, ends. With the time
of each a run can be sent again and be the same. The file only grows, so a process that is
killed leaves whole lines, and it is locked as long as somebody writes or sends it, so an
unlocked one without an end is of a process that died. Its name says what MLflow still lacks.
"""

import fcntl
import json
import logging
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

from fmnist_lab.foundation.files import append_whole

UNSENT, SENT = ".unsent.jsonl", ".jsonl"
PREFIX = "mlflow-"
Line = dict[str, Any]

log = logging.getLogger(__name__)


def now() -> int:
    """The time as MLflow has it, in milliseconds."""
    return int(time.time() * 1000)


def new_key() -> str:
    """What a run is known by as long as the server has given it no id."""
    return f"fmnist-lab-{uuid.uuid4().hex}"


def is_key(parent: str) -> bool:
    """Whether this is a run's key, not its id."""
    return parent.startswith("fmnist-lab-")


@dataclass(frozen=True)
class Header:
    """What a run is, known when it starts."""

    kind: str  # as in the tag: sweep | trial | replicate
    uri: str | None  # of the store, without a password; None is the local one
    experiment: str
    name: str
    tags: Mapping[str, str]
    params: Mapping[str, str] = field(default_factory=dict)
    dataset: Mapping[str, str] | None = None
    parent: str | None = None  # id or key of the run that this one is nested under
    run_id: str | None = None  # of a run that is there already, to go on with
    key: str = field(default_factory=new_key)
    time: int = field(default_factory=now)


class Record:
    """A run's file, which this process alone may write and send."""

    def __init__(self, path: Path, file: FileIO, is_new: bool = False) -> None:
        self.path = path
        self.is_new = is_new  # nobody can have tried to send it before
        self._file = file
        self._lock = threading.Lock()  # the run's process and its sender both write
        with path.open("rb") as content:
            first = content.readline()
        self.header, self.start = Header(**json.loads(first)), len(first)
        lines = self.read(self.start)[0]
        if not all(isinstance(line, dict) for line in lines):
            raise ValueError("a line holds no keys and values")
        self._latest = max([self.header.time, *_times(lines)])

    @classmethod
    def create(cls, folder: Path, header: Header) -> "Record":
        """A new file in an existing folder; earlier runs that were recorded there are over."""
        for path in unsent(folder, deep=False):
            if earlier := cls.take(path):  # their files have made way for this run's
                if header.kind != "sweep" or not earlier.has_ended:
                    earlier.append(**interrupted(earlier))
                earlier.close()
        path = folder / f"{PREFIX}{header.key[-12:]}{UNSENT}"
        hidden = path.with_name(f".{path.name}.part")  # until it is locked and has its header
        file = hidden.open("x+b", buffering=0)
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            append_whole(file, _spell(asdict(header)))
        except OSError:
            file.close()
            hidden.unlink()
            raise
        return cls(hidden.replace(path), file, is_new=True)

    @classmethod
    def take(cls, path: Path) -> "Record | None":
        """An existing file, unless somebody has it, or has sent it meanwhile.

        One that is not as it was written is set aside: it would stop all that come after it.
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
        _cut_torn_line(path, file)
        try:
            return cls(path, file)
        except (ValueError, TypeError) as error:
            aside = path.replace(path.with_name(f"{path.name}.damaged"))
            file.close()
            log.warning("%s is damaged (%s): MLflow cannot get the rest of this run.", aside, error)
            return None

    def append(self, **line: Any) -> None:
        """Adds a line; its time is not before that of earlier ones, wherever the clock went."""
        with self._lock:
            if "time" in line:
                self._latest = line["time"] = max(line["time"], self._latest)
            append_whole(self._file, _spell(line))

    def read(self, offset: int) -> tuple[list[Line], int]:
        """The whole lines after `offset`, and where the next one will begin."""
        with self.path.open("rb") as file:
            file.seek(offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        return lines, offset + len(whole) + len(newline)

    @property
    def has_ended(self) -> bool:
        """Whether the last that is known of the run is an end."""
        states = [line["status"] for line in self.read(self.start)[0] if "status" in line]
        return bool(states) and states[-1] != "RUNNING"

    def archive(self) -> None:
        """Says by its name that MLflow has everything, and lets the file go."""
        self.path = self.path.replace(
            self.path.with_name(self.path.name.removesuffix(UNSENT) + SENT)
        )
        self.close()

    def close(self) -> None:
        """Lets the file go: others may take it."""
        self._file.close()


def unsent(folder: Path, deep: bool = True) -> Iterator[Path]:
    """The files of which MLflow lacks something, in a folder and, if `deep`, below it."""
    pattern = f"{PREFIX}*{UNSENT}"
    return folder.rglob(pattern) if deep else folder.glob(pattern)


def is_record(path: Path) -> bool:
    """Whether a file in a run's folder is its record, in whatever state."""
    return path.name.lstrip(".").startswith(PREFIX) and SENT in path.suffixes


def interrupted(record: Record) -> Line:
    """The end of a run whose process died, when it was last heard of."""
    lines, _ = record.read(record.start)
    last = max([record.header.time, *_times(lines)])
    is_sweep = record.header.kind == "sweep"
    tags = {} if is_sweep else {"stop_reason": "interrupted"}
    return {"status": "KILLED", "time": last, "tags": tags, "files": False}


def _times(lines: Iterable[Line]) -> list[int]:
    return [line["time"] for line in lines if "time" in line]


def _spell(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line).encode() + b"\n"


def _cut_torn_line(path: Path, file: FileIO) -> None:
    content = file.read()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        log.warning("The last line of %s was not whole: cut off.", path)
        file.truncate(whole)
