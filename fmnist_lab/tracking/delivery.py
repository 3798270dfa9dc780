"""How a run's record gets to MLflow: each part again and again until it has arrived.

Nothing is there twice in the end: MLflow keeps one of points that are the same in name, step,
time and value, and all else is replaced by what is sent again. A run that was created by a call
whose answer was lost is found by its key.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fmnist_lab.foundation.files import write_json
from fmnist_lab.foundation.secrets import mask
from fmnist_lab.tracking.outbox import Line, Record, is_key, is_record, unsent
from fmnist_lab.tracking.standings import link
from fmnist_lab.tracking.store import NOTE, PARENT
from fmnist_lab.training.checkpoint import FILE as CHECKPOINT
from fmnist_lab.training.weights import WEIGHTS

KEY = "mlflow.fmnistLab.key"  # the tag with the keys of a run's records; the UI does not show it
MOST_KEYS = 100  # of a run that is continued again and again: a tag has room for 8,000 characters
RUN_FILE = "mlflow.json"  # in a sweep's folder: which run is the sweep's
NOTE_FILE = "description.md"  # in a sweep's folder: the run's description


@dataclass
class _News:
    """What lines say, the later ones instead of the earlier."""

    points: list[Any] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    state: Line | None = None
    has_note: bool = False
    reap: set[int | None] = field(default_factory=set)  # numbers of trials; None for all

    @classmethod
    def of(cls, lines: Sequence[Line]) -> "_News":
        from mlflow.entities import Metric

        news = cls()
        for line in lines:
            for key, value in line.get("metrics", {}).items():
                news.points.append(Metric(key, value, line["time"], line["step"]))
            if "status" in line:
                news.state = line
            news.has_note |= "note" in line
            news.reap |= set(line.get("reap", ()))
        return news


class Delivery:
    """A record on its way."""

    def __init__(self, record: Record) -> None:
        """Sends nothing yet."""
        self.record = record
        self.run_id: str | None = None
        self.is_complete = False  # whether MLflow has everything, the end too
        self.is_stuck = False  # whether only runs are missing that others have to send
        self._offset = record.start
        self._may_exist = not record.is_new
        self._is_described = False
        self._needs_parent = record.header.parent is not None

    def send(self, client: Any, experiment_id: str) -> None:
        """Sends what MLflow has not got yet; it may be called again after any exception."""
        header = self.record.header
        self._ensure_run(client, experiment_id)
        self._describe(client)
        lines, offset = self.record.read(self._offset)
        news = _News.of(lines)
        is_whole = self._ensure_parent(client, experiment_id)
        if news.has_note or (news.state and header.kind == "sweep"):
            is_whole &= self._add_note(news, experiment_id)
        if news.points or news.tags:
            client.log_batch(self.run_id, metrics=news.points, tags=_tags(news.tags))
        if news.reap:
            self._reap(client, experiment_id, news.reap)
        if news.state and news.state["status"] == "RUNNING":
            client.update_run(self.run_id, status="RUNNING")
        elif news.state:
            self._end(client, experiment_id, news.state)
        has_ended = news.state is not None and news.state["status"] != "RUNNING"
        self.is_complete, self.is_stuck = has_ended and is_whole, has_ended and not is_whole
        if not self.is_stuck:  # else the end is sent again, with what is missing now
            self._offset = offset

    def _ensure_run(self, client: Any, experiment_id: str) -> None:
        """Creates the run, or finds the one that is there."""
        if self.run_id is not None:
            return
        header = self.record.header
        run_id = self._known(client, experiment_id)
        if run_id is None:
            before, self._may_exist = self._may_exist, True
            tags = {KEY: header.key, **header.tags}
            if header.parent and not is_key(header.parent):
                tags[PARENT] = header.parent
            run = client.create_run(
                experiment_id, start_time=header.time, tags=tags, run_name=header.name
            )
            run_id = str(run.info.run_id)
            # MLflow may have asked a server twice; in SQLite it is there once.
            self._may_exist = before or not client.tracking_uri.startswith("sqlite")
        self.record.append(run_id=run_id)
        self.run_id = run_id
        if header.kind == "sweep":
            self._tell_folder(client.tracking_uri)

    def _known(self, client: Any, experiment_id: str) -> str | None:
        """The run's id, if it is there."""
        header = self.record.header
        if not self._may_exist and not header.run_id:
            return None
        lines = self.record.read(self.record.start)[0]
        for noted in [line["run_id"] for line in reversed(lines) if "run_id" in line]:
            if _is_there(client, experiment_id, noted):
                return str(noted)
        if self._may_exist and (found := _find(client, experiment_id, header.key)):
            return found[0]
        if header.run_id and _is_there(client, experiment_id, header.run_id):
            self._add_key(client, header.run_id)
            return header.run_id
        return None

    def _add_key(self, client: Any, run_id: str) -> None:
        """Lets runs that know this record's key alone find the run that it continues."""
        keys = client.get_run(run_id).data.tags.get(KEY, "").split()
        if self.record.header.key not in keys:
            value = " ".join([*keys, self.record.header.key][-MOST_KEYS:])
            client.set_tag(run_id, KEY, value)

    def _tell_folder(self, store: str) -> None:
        """Writes the run's id where the folder's readers look for it."""
        header, folder = self.record.header, self.record.path.parent
        if header.kind == "sweep":
            where = {"store": mask(store), "experiment": header.experiment}
            write_json(folder / RUN_FILE, where | {"run_id": self.run_id})
        elif (path := folder / "result.json").exists():
            result = json.loads(path.read_text(encoding="utf-8"))
            if result.get("mlflow_run_id") != self.run_id:
                write_json(path, result | {"mlflow_run_id": self.run_id})

    def _describe(self, client: Any) -> None:
        from mlflow.entities import Param

        header = self.record.header
        if self._is_described:
            return
        if header.params:
            params = [Param(key, value) for key, value in header.params.items()]
            client.log_batch(self.run_id, params=params)
        if header.dataset:
            client.log_inputs(self.run_id, [_dataset_input(header.dataset)])
        self._is_described = True

    def _ensure_parent(self, client: Any, experiment_id: str) -> bool:
        """Nests the run under its parent, which may have been created after it."""
        parent = self.record.header.parent
        if not self._needs_parent or parent is None:
            return True
        if is_key(parent):
            found = _find(client, experiment_id, parent)
            if not found:
                return False
            client.set_tag(self.run_id, PARENT, found[0])
        self._needs_parent = False
        return True

    def _add_note(self, news: _News, experiment_id: str) -> bool:
        """Adds the description as it is now; False if some of its links lead nowhere yet."""
        folder = self.record.path.parent
        path = folder / NOTE_FILE
        if not path.exists():
            return True
        text, missing = link(path.read_text(encoding="utf-8"), folder, experiment_id)
        news.tags[NOTE] = text
        return not any(any(unsent(trial, deep=False)) for trial in missing)

    def _end(self, client: Any, experiment_id: str, state: Line) -> None:
        if state["files"]:
            self._tell_folder(client.tracking_uri)
            self._send_files(client)
        client.set_terminated(self.run_id, state["status"], state["time"])
        # After that: whoever takes a run that is open for a dead one's has no longer a say.
        if tags := state["tags"]:
            client.log_batch(self.run_id, tags=_tags(tags))
        if self._may_exist:
            for twin in _find(client, experiment_id, self.record.header.key):
                if twin != self.run_id:  # of a call that was answered too late
                    client.delete_run(twin)

    def _send_files(self, client: Any) -> None:
        folder = self.record.path.parent
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not _stays(path):
                below = path.parent.relative_to(folder).as_posix()
                client.log_artifact(self.run_id, str(path), None if below == "." else below)

    def _reap(self, client: Any, experiment_id: str, numbers: set[int | None]) -> None:
        """Ends the runs that dead workers have left open, of these trials or of all."""
        condition = f"attributes.status = 'RUNNING' and tags.`{PARENT}` = '{self.run_id}'"
        left = client.search_runs([experiment_id], condition)
        if None not in numbers:
            left = [run for run in left if int(run.data.tags.get("trial", -1)) in numbers]
        if not left:
            return
        recorded = {path.name for path in unsent(self.record.path.parent)}
        for run in left:
            ending = run.data.tags.get(KEY, "-")[-12:]
            if any(ending in name for name in recorded):  # it ends with its record
                continue
            if client.get_run(run.info.run_id).info.status != "RUNNING":  # its record was the last
                continue
            client.set_tag(run.info.run_id, "stop_reason", "interrupted")
            client.set_terminated(run.info.run_id, "KILLED")


def _find(client: Any, experiment_id: str, key: str) -> list[str]:
    """The ids of the runs with this key, the oldest first."""
    runs = client.search_runs(
        [experiment_id], f"tags.`{KEY}` LIKE '%{key}%'", order_by=["attributes.start_time ASC"]
    )
    return [str(run.info.run_id) for run in runs]


def _is_there(client: Any, experiment_id: str, run_id: str) -> bool:
    """Whether this store has the run, in this experiment, and nobody has deleted it."""
    from mlflow import MlflowException

    try:
        info = client.get_run(run_id).info
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return bool(info.experiment_id == experiment_id and info.lifecycle_stage != "deleted")


def _stays(path: Path) -> bool:
    """Whether a file is of use in the run's folder only; hidden ones a killed process has left."""
    return is_record(path) or path.name in (CHECKPOINT, WEIGHTS) or path.name.startswith(".")


def _tags(tags: dict[str, str]) -> list[Any]:
    from mlflow.entities import RunTag

    return [RunTag(key, value) for key, value in tags.items()]


def _dataset_input(dataset: Any) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return DatasetInput(Dataset(**dataset), [InputTag("mlflow.data.context", "training")])
