"""Sends a run's record to MLflow, each part again until it has arrived.

Nothing is there twice in the end: of points with the same name, step, time and value MLflow keeps
one, and all else is replaced by what is sent again. A run that was created by a call whose answer
was lost is found by its key.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.files import write_json
from fmnist_lab.foundation.secrets import mask
from fmnist_lab.results import layout, schema
from fmnist_lab.tracking.outbox import (
    KEY_PREFIX,
    RECORDS,
    UNSENT_RECORDS,
    Kind,
    Line,
    Record,
    Status,
    unsent,
)
from fmnist_lab.tracking.store import NOTE, PARENT, connected, is_sqlite
from fmnist_lab.training.checkpoint import FILE as CHECKPOINT
from fmnist_lab.training.weights import WEIGHTS
from fmnist_lab.trial import StopReason

KEY = "mlflow.fmnistLab.key"  # the tag with the keys of a run's records; the UI does not show it
MOST_KEYS = 100  # of a run that is continued again and again: a tag has room for 8,000 characters
NOTE_FILE = "description.md"  # in a sweep's folder: the run's description
LINK = re.compile(r"\[(\d+)\]\(([^)#]+)\)")  # to a trial's folder, in a description
NOT_SENT = (RECORDS, CHECKPOINT, WEIGHTS, ".*")  # patterns; a killed process leaves hidden files


class Delivery:
    """A record and how much of it MLflow has."""

    def __init__(self, record: Record, root: Path = layout.ROOT) -> None:
        """Sends nothing yet; `root` is the folder of the local store."""
        self.record = record
        self.run_id: str | None = None
        self.is_complete = False  # whether MLflow has everything, the end too
        self.is_stuck = False  # whether it only waits for runs that other processes have to send
        self._root = root
        self._client: Any = None
        self._experiment_id = ""
        self._offset = record.start
        self._may_exist = not record.is_new

    def send(self) -> None:
        """Sends what MLflow does not have yet; it may be called again after any exception."""
        header = self.record.header
        with connected(header.uri, header.experiment, self._root) as (client, experiment_id):
            self._client, self._experiment_id = client, experiment_id
            if self.run_id is None:
                self.run_id = self._ensure_run()
            self._send_lines()
        if self.is_complete:
            self.record.archive()

    def _send_lines(self) -> None:
        from mlflow.entities import Metric

        lines, offset = self.record.read(self._offset)
        state = next((line for line in reversed(lines) if "status" in line), None)
        has_ended = state is not None and state["status"] != Status.RUNNING
        is_whole = self._nest()
        points = [
            Metric(key, value, line["time"], line["step"])
            for line in lines
            for key, value in line.get("metrics", {}).items()
        ]
        if points:
            self._client.log_batch(self.run_id, metrics=points)
        is_sweep = self.record.header.kind == Kind.SWEEP
        if any("note" in line for line in lines) or (is_sweep and has_ended):
            is_whole &= self._send_note()
        if numbers := {number for line in lines for number in line.get("reap", ())}:
            self._end_open_trials(numbers)
        if state and has_ended:
            self._end(state)
        elif state:
            self._client.update_run(self.run_id, status=state["status"])
        self.is_complete, self.is_stuck = has_ended and is_whole, has_ended and not is_whole
        if not self.is_stuck:  # else the end is sent again, with what is missing now
            self._offset = offset

    def _ensure_run(self) -> str:
        """Creates the run with its parameters and data set, or finds it; returns its id."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param

        header = self.record.header
        run_id = self._existing()
        if run_id is None:
            before, self._may_exist = self._may_exist, True
            tags = {KEY: header.key, **header.tags}
            if header.parent and not header.parent.startswith(KEY_PREFIX):
                tags[PARENT] = header.parent
            run = self._client.create_run(
                self._experiment_id, start_time=header.time, tags=tags, run_name=header.name
            )
            run_id = str(run.info.run_id)
            # The client may have asked a server twice; an SQLite store has the run once.
            self._may_exist = before or not is_sqlite(self._client.tracking_uri)
        self.record.append(run_id=run_id)
        if header.kind == Kind.SWEEP:
            where = {"store": mask(self._client.tracking_uri), "experiment": header.experiment}
            write_json(self.record.path.parent / layout.MLFLOW_RUN, where | {"run_id": run_id})
        if header.params:
            params = [Param(key, value) for key, value in header.params.items()]
            self._client.log_batch(run_id, params=params)
        if header.dataset:
            context = [InputTag("mlflow.data.context", "training")]
            inputs = [DatasetInput(Dataset(**header.dataset), context)]
            self._client.log_inputs(run_id, inputs)
        return run_id

    def _existing(self) -> str | None:
        """Returns the run's id if the store has it."""
        header = self.record.header
        if not self._may_exist and not header.run_id:
            return None
        for noted in [line["run_id"] for line in reversed(self.record.lines) if "run_id" in line]:
            if self._is_there(noted):
                return str(noted)
        if self._may_exist and (found := self._find(header.key)):
            return found[0]
        if header.run_id and self._is_there(header.run_id):
            # Other processes may know this record's key alone.
            keys = self._client.get_run(header.run_id).data.tags.get(KEY, "").split()
            if header.key not in keys:
                value = " ".join([*keys, header.key][-MOST_KEYS:])
                self._client.set_tag(header.run_id, KEY, value)
            return header.run_id
        return None

    def _is_there(self, run_id: str) -> bool:
        """Whether this experiment has the run, and it is not deleted."""
        from mlflow import MlflowException

        try:
            info = self._client.get_run(run_id).info
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        is_deleted = info.lifecycle_stage == "deleted"
        return bool(info.experiment_id == self._experiment_id and not is_deleted)

    def _find(self, key: str) -> list[str]:
        """Returns the ids of the runs with this key, the oldest first."""
        runs = self._client.search_runs(
            [self._experiment_id],
            f"tags.`{KEY}` LIKE '%{key}%'",
            order_by=["attributes.start_time ASC"],
        )
        return [str(run.info.run_id) for run in runs]

    def _nest(self) -> bool:
        """Nests the run under a parent of which the key is known; False if there is none yet."""
        parent = self.record.header.parent
        if parent is None or not parent.startswith(KEY_PREFIX):
            return True
        if found := self._find(parent):
            self._client.set_tag(self.run_id, PARENT, found[0])
        return bool(found)

    def _send_note(self) -> bool:
        """Sends the sweep's description; returns whether all runs it links to are there."""
        folder = self.record.path.parent
        path = folder / NOTE_FILE
        if not path.exists():
            return True
        text, missing = link(path.read_text(encoding="utf-8"), folder, self._experiment_id)
        self._client.set_tag(self.run_id, NOTE, text)
        return not any(any(trial.glob(UNSENT_RECORDS)) for trial in missing)

    def _end(self, state: Line) -> None:
        if state["files"]:
            self._send_files()
        self._client.set_terminated(self.run_id, state["status"], state["time"])
        # After that: a process that took the open run for a dead one's sets these tags, too.
        for key, value in state["tags"].items():
            self._client.set_tag(self.run_id, key, value)
        if self._may_exist:
            for twin in self._find(self.record.header.key):
                if twin != self.run_id:  # created by a call whose answer came too late
                    self._client.delete_run(twin)

    def _send_files(self) -> None:
        """Writes the run's id into the trial's result, and sends the folder's files."""
        folder = self.record.path.parent
        if (path := folder / layout.RESULT).exists():
            result = json.loads(path.read_text(encoding="utf-8"))
            if result.get("mlflow_run_id") != self.run_id:
                write_json(path, result | {"mlflow_run_id": self.run_id})
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not any(path.match(pattern) for pattern in NOT_SENT):
                below = path.parent.relative_to(folder).as_posix()
                self._client.log_artifact(self.run_id, str(path), None if below == "." else below)

    def _end_open_trials(self, numbers: set[int | None]) -> None:
        """Ends the runs that dead workers have left open, of these trials or (None) of all."""
        condition = f"attributes.status = '{Status.RUNNING}' and tags.`{PARENT}` = '{self.run_id}'"
        left = self._client.search_runs([self._experiment_id], condition)
        if None not in numbers:
            left = [run for run in left if int(run.data.tags.get("trial", -1)) in numbers]
        recorded = {path.name for path in unsent(self.record.path.parent)} if left else set()
        for run in left:
            run_id, ending = run.info.run_id, run.data.tags.get(KEY, "-")[-12:]
            if any(ending in name for name in recorded):  # it ends with its record
                continue
            if self._client.get_run(run_id).info.status != Status.RUNNING:  # it has just ended
                continue
            self._client.set_tag(run_id, "stop_reason", StopReason.INTERRUPTED)
            self._client.set_terminated(run_id, Status.KILLED)


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
