"""The outbox of a run: a file in its folder with all that MLflow should get, and its sending.

The record's first line is the header, what the run is. Each further line has some of these keys:

* `time`, `step`, `metrics`: a point of each metric; `time` in milliseconds
* `status`, and at an end `time`, `tags` and `files`: whether the folder's files are sent, too
* `note`: the description in the folder has changed
* `reap`: numbers of trials whose open runs are ended; null stands for all
* `run_id`: the id that the store has given to the run

A line is written when something happens, with its time. The file only grows, so a killed process
leaves whole lines. It is locked while a process writes or sends it, so an unlocked record without
an end is that of a process that died. Each part is sent again until it has arrived; then the file
is renamed from `.unsent.jsonl` to `.jsonl`.

Nothing is there twice in the end: of points with the same name, step, time and value MLflow keeps
one, and all else is replaced by what is sent again. A run that was created by a call whose answer
was lost is found by its key.
"""

import fcntl
import json
import logging
import math
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from fnmatch import filter as matching
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.files import append_whole, write_json
from fmnist_lab.results import layout, schema
from fmnist_lab.tracking.store import (
    NOTE,
    PARENT,
    connected,
    is_sqlite,
    reason,
    require_active,
)
from fmnist_lab.training.checkpoint import FILE as CHECKPOINT
from fmnist_lab.training.weights import WEIGHTS
from fmnist_lab.trial import StopReason, TrialResult

UNSENT, SENT, DAMAGED = ".unsent.jsonl", ".jsonl", ".damaged"
PREFIX = "mlflow-"
RECORDS = f"{PREFIX}*{SENT}*"  # pattern of the names of records, in whatever state
UNSENT_RECORDS = f"{PREFIX}*{UNSENT}"
KEY_PREFIX = "fmnist-lab-"  # of keys; MLflow's ids are hexadecimal digits
RUN_NAME = "mlflow.runName"  # the tag that names a run
KEY = "mlflow.fmnistLab.key"  # the tag with the keys of a run's records; the UI does not show it
MOST_KEYS = 100  # of a run that is continued again and again: a tag has room for 8,000 characters
REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")  # error codes that time does not mend
REFUSED_FILES = (400, 413)  # the same of a server for files, in HTTP's numbers
NOTE_FILE = "description.md"  # in a sweep's folder: the run's description
LINK = re.compile(r"\[(\d+)\]\(([^)#]+)\)")  # to a trial's folder, in a description
NOT_SENT = (RECORDS, CHECKPOINT, WEIGHTS, ".*")  # patterns; a killed process leaves hidden files
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


STATUS = {  # of a run that ended so; else it is finished
    StopReason.PRUNED: Status.KILLED,
    StopReason.INTERRUPTED: Status.KILLED,
    StopReason.FAILED: Status.FAILED,
}


class RefusedError(Exception):
    """MLflow refuses a run for good; other runs can be sent."""


def is_refusal(error: Exception) -> bool:
    """Returns whether an error is one that time does not mend."""
    from mlflow import MlflowException

    if isinstance(error, MlflowException):
        return error.error_code in REFUSALS
    return getattr(getattr(error, "response", None), "status_code", None) in REFUSED_FILES


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
    """A run's file, locked by this process, and how much of it MLflow has."""

    def __init__(self, path: Path, file: FileIO, is_new: bool = False) -> None:
        self.path = path
        self.run_id: str | None = None  # once this process has found or created the run
        self.is_complete = False  # whether MLflow has everything, the end too
        self.is_stuck = False  # whether it only waits for runs that other processes have to send
        self._may_exist = not is_new
        self._client: Any = None
        self._experiment_id = ""
        self._file = file
        self._lock = threading.Lock()  # the run's process and its sender both write
        with path.open("rb") as content:
            first = content.readline()
        self.header, self.start = Header(**json.loads(first)), len(first)
        self._offset = self.start  # of what is to be sent next
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
            aside = path.replace(path.with_name(f"{path.name}{DAMAGED}"))
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
        status = STATUS.get(result.stop_reason, Status.FINISHED)
        self.append(status=status, time=time, tags=tags, files=True)

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

    def send(self, root: Path = layout.ROOT) -> None:
        """Sends what MLflow does not have yet; it may be called again after any exception.

        Args:
            root: The folder of the local store.

        Raises:
            RefusedError: MLflow refuses the run, so there is nothing to which the rest could go.
        """
        header = self.header
        with connected(header.uri, header.experiment, root) as (client, experiment_id):
            self._client, self._experiment_id = client, experiment_id
            try:
                if self.run_id is None:
                    self.run_id = self._ensure_run()
                self._send_lines()
            except Exception as error:
                if not is_refusal(error):
                    raise
                require_active(client, client.get_experiment(experiment_id))
                raise RefusedError from error
        if self.is_complete:
            self.archive()

    def _send_lines(self) -> None:
        from mlflow.entities import Metric

        lines, offset = self.read(self._offset)
        state = next((line for line in reversed(lines) if "status" in line), None)
        has_ended = state is not None and state["status"] != Status.RUNNING
        is_whole = self._nest()
        points = [
            Metric(key, value, line["time"], line["step"])
            for line in lines
            for key, value in line.get("metrics", {}).items()
        ]
        self._offer(lambda some: self._client.log_batch(self.run_id, metrics=some), points)
        is_sweep = self.header.kind == Kind.SWEEP
        if any("note" in line for line in lines) or (is_sweep and has_ended):
            is_whole &= self._send_note()
        if numbers := {number for line in lines for number in line.get("reap", ())}:
            self._end_open_trials(numbers)
        if state and has_ended:
            self._send_end(state)
        elif state:
            self._client.update_run(self.run_id, status=state["status"])
        self.is_complete, self.is_stuck = has_ended and is_whole, has_ended and not is_whole
        if not self.is_stuck:  # else the end is sent again, with what is missing now
            self._offset = offset

    def _ensure_run(self) -> str:
        """Creates the run with its parameters and data set, or finds it; returns its id."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param, RunTag

        header = self.header
        run_id = self._existing()
        if run_id is None:
            before, self._may_exist = self._may_exist, True
            tags = {KEY: header.key, **header.tags}
            if header.parent and not header.parent.startswith(KEY_PREFIX):
                tags[PARENT] = header.parent
            create = partial(self._client.create_run, self._experiment_id, header.time)
            try:
                run_id = str(create(tags, header.name).info.run_id)
            except Exception as error:
                if not is_refusal(error):
                    raise
                # The name or a tag: without them the run is there, and the others follow.
                run_id = str(create({KEY: header.key}).info.run_id)
                named = [RunTag(*tag) for tag in (tags | {RUN_NAME: header.name}).items()]
                self._offer(lambda some: self._client.log_batch(run_id, tags=some), named)
            # The client may have asked a server twice; an SQLite store has the run once.
            self._may_exist = before or not is_sqlite(self._client.tracking_uri)
        self.append(run_id=run_id)
        if header.kind == Kind.SWEEP:
            where = {"store": header.uri, "experiment": header.experiment}
            write_json(self.path.parent / layout.MLFLOW_RUN, where | {"run_id": run_id})
        if header.params:
            params = [Param(key, value) for key, value in header.params.items()]
            self._offer(lambda some: self._client.log_batch(run_id, params=some), params)
        if header.dataset:
            context = [InputTag("mlflow.data.context", "training")]
            inputs = [DatasetInput(Dataset(**header.dataset), context)]
            self._offer(lambda some: self._client.log_inputs(run_id, some), inputs)
        return run_id

    def _offer(self, send: Callable[[list[Any]], None], items: list[Any]) -> None:
        """Sends items; the log names those that MLflow refuses for good, and the others go."""
        if not items:
            return
        try:
            send(items)
        except Exception as error:
            if not is_refusal(error):  # an outage: all is sent again later
                raise
            if self.run_id and self._client.get_run(self.run_id).info.lifecycle_stage != "active":
                raise  # nothing goes to a run that is deleted
            if len(items) == 1:
                log.warning("MLflow refuses %s: %s", items[0], reason(error))
                return
            half = len(items) // 2
            self._offer(send, items[:half])
            self._offer(send, items[half:])

    def _existing(self) -> str | None:
        """Returns the run's id if the store has it."""
        for noted in [line["run_id"] for line in reversed(self.lines) if "run_id" in line]:
            if self._find(f"attributes.run_id = '{noted}'"):
                return str(noted)
        if self._may_exist and (found := self._of_key(self.header.key)):
            return found[0]
        known = self.header.run_id
        for run in self._find(f"attributes.run_id = '{known}'") if known else ():
            # Other processes may know this record's key alone.
            keys = [*run.data.tags.get(KEY, "").split(), self.header.key]
            self._client.set_tag(run.info.run_id, KEY, " ".join(keys[-MOST_KEYS:]))
            return str(run.info.run_id)
        return None

    def _find(self, condition: str) -> list[Any]:
        """Returns the experiment's runs for which the condition holds, the oldest first."""
        order = ["attributes.start_time ASC"]
        return list(self._client.search_runs([self._experiment_id], condition, order_by=order))

    def _of_key(self, key: str) -> list[str]:
        """Returns the ids of the runs with this key."""
        return [str(run.info.run_id) for run in self._find(f"tags.`{KEY}` LIKE '%{key}%'")]

    def _nest(self) -> bool:
        """Nests the run under a parent of which the key is known; False if there is none yet."""
        parent = self.header.parent
        if parent is None or not parent.startswith(KEY_PREFIX):
            return True
        if found := self._of_key(parent):
            self._client.set_tag(self.run_id, PARENT, found[0])
        return bool(found)

    def _send_note(self) -> bool:
        """Sends the sweep's description; returns whether all runs it links to are there."""
        folder = self.path.parent
        path = folder / NOTE_FILE
        if not path.exists():
            return True
        text, missing = link(path.read_text(encoding="utf-8"), folder, self._experiment_id)
        self._offer(lambda texts: self._client.set_tag(self.run_id, NOTE, *texts), [text])
        return not any(any(trial.glob(UNSENT_RECORDS)) for trial in missing)

    def _send_end(self, state: Line) -> None:
        if state["files"]:
            self._send_files()
        self._client.set_terminated(self.run_id, state["status"], state["time"])
        # After that: a process that took the open run for a dead one's sets these tags, too.
        for tag in state["tags"].items():
            self._offer(lambda tags: self._client.set_tag(self.run_id, *tags[0]), [tag])
        if self._may_exist:
            for twin in self._of_key(self.header.key):
                if twin != self.run_id:  # created by a call whose answer came too late
                    self._client.delete_run(twin)

    def _send_files(self) -> None:
        """Writes the run's id into the trial's result, and sends the folder's files."""
        folder = self.path.parent
        if (path := folder / layout.RESULT).exists():
            result = json.loads(path.read_text(encoding="utf-8"))
            if result.get("mlflow_run_id") != self.run_id:
                write_json(path, result | {"mlflow_run_id": self.run_id})
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        kept = [path for path in files if not any(path.match(pattern) for pattern in NOT_SENT)]
        self._offer(self._send_artifacts, kept)

    def _send_artifacts(self, files: list[Path]) -> None:
        for path in files:
            below = path.parent.relative_to(self.path.parent).as_posix()
            self._client.log_artifact(self.run_id, str(path), None if below == "." else below)

    def _end_open_trials(self, numbers: set[int | None]) -> None:
        """Ends the runs that dead workers have left open, of these trials or (None) of all."""
        condition = f"attributes.status = '{Status.RUNNING}' and tags.`{PARENT}` = '{self.run_id}'"
        left = self._find(condition)
        if None not in numbers:
            left = [run for run in left if int(run.data.tags.get("trial", -1)) in numbers]
        recorded = {path.name for path in unsent(self.path.parent)} if left else set()
        for run in left:
            run_id, ending = run.info.run_id, run.data.tags.get(KEY, "-")[-12:]
            if any(ending in name for name in recorded):  # it ends with its record
                continue
            if self._client.get_run(run_id).info.status != Status.RUNNING:  # it has just ended
                continue
            self._client.set_tag(run_id, "stop_reason", StopReason.INTERRUPTED)
            self._client.set_terminated(run_id, Status.KILLED)


def unsent(folder: Path, on_error: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """Finds the records in a folder, or below it, of which MLflow lacks something.

    `on_error` is called with the error for a folder that cannot be read.
    """
    for place, _, names in os.walk(folder, onerror=on_error):
        yield from (Path(place, name) for name in matching(names, UNSENT_RECORDS))


def link(text: str, folder: Path, experiment_id: str) -> tuple[str, list[Path]]:
    """Turns a description's links to trials' folders into links to their runs.

    Args:
        text: As `Standings.markdown` has made it.
        folder: The sweep's.
        experiment_id: Of the trials' runs.

    Returns:
        The text, and the folders of the trials that have no run yet; they are not linked.
    """
    missing: list[Path] = []

    def run(match: re.Match[str]) -> str:
        number, below = match.groups()
        trial = Path(os.path.abspath(folder / below))  # noqa: PTH100 - undoes relpath
        try:
            run_id = schema.read(trial / layout.RESULT, dict[str, Any]).get("mlflow_run_id")
        except (OSError, RequestError):
            run_id = None
        if isinstance(run_id, str) and run_id:
            page = f"#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"
            return f"[{number}]({page})"
        missing.append(trial)
        return str(number)

    return LINK.sub(run, text), missing
