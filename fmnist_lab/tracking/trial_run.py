"""A trial as an MLflow run, its curve in batches.

Everything goes into a record in the trial's folder, which `sender` sends in the background.
One call per metric costs up to 68 times as much as batches (measured), so points wait for others.
"""

import json
import posixpath
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fmnist_lab.config import TrackingConfig
from fmnist_lab.data import Dataset
from fmnist_lab.foundation.nested import flatten
from fmnist_lab.tracking.outbox import Header, Kind, Record, now
from fmnist_lab.tracking.sender import SEND_SECONDS, sender
from fmnist_lab.tracking.store import NOTE, SOURCE, quiet_mlflow, without_password
from fmnist_lab.training.environment import git_commit
from fmnist_lab.training.runner import Tracker
from fmnist_lab.trial import Labels, Trial, TrialResult

LONGEST_KEY = 240  # MLflow takes 250 characters
WIDEST = 80  # characters of a line in a description


class MlflowTracker(Tracker):
    """Records a trial as an MLflow run.

    Metrics have the names in `metrics`, tags are the fields of `Labels`.

    No method waits for the store, except that `finish` does for a moment.
    """

    def __init__(self, config: TrackingConfig, command: str) -> None:
        """Imports MLflow, which takes about 2 s, but does not open the store yet.

        Args:
            config: Which store and experiment, and the run to be nested under, if any.
            command: The command line that repeats this trial, for the run's description.
        """
        quiet_mlflow()
        self._config = config
        self._command = command
        self._sender = sender(config)
        self._record: Record | None = None

    @property
    def run_id(self) -> str | None:
        """The id of the trial's run, once the store has it."""
        return self._record.run_id if self._record else None

    def start(
        self, trial: Trial, labels: Labels, dataset: Dataset, parameters: int, folder: Path
    ) -> None:
        """Records a run with tags, parameters and data set."""
        settings = flatten(trial.as_dict()) | {"parameters": parameters}
        tags = {key: str(value) for key, value in asdict(labels).items() if value is not None}
        command = self._command
        if len(command) > WIDEST:  # a word a line: the UI's page would grow wide
            program, subcommand, *words = map(shlex.quote, shlex.split(command))
            command = " \\\n    ".join([f"{program} {subcommand}", *words])
        tags |= SOURCE | {NOTE: f"Repeat with\n\n```\n{command}\n```"}
        if commit := git_commit():
            tags["mlflow.source.git.commit"] = commit
        header = Header(
            kind=labels.kind,
            uri=without_password(self._config),
            experiment=self._config.experiment,
            name=_run_name(trial, labels),
            tags=tags,
            params=spelled(settings),
            dataset=_describe(dataset),
            parent=self._config.parent,
        )
        self._record = Record.create(folder, header)
        self._sender.notify(self._record)
        if self._config.parent:
            self._sender.mute_warnings()  # the sweep warns once for all its workers
        else:
            self._sender.take_over_all()

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Records an epoch's metrics, which are sent every few seconds."""
        assert self._record is not None
        self._record.append(time=now(), step=epoch, metrics=dict(metrics))
        self._sender.notify(self._record, SEND_SECONDS)

    def finish(self, result: TrialResult, folder: Path) -> None:
        """Records the result, and waits a moment until it and the files have been sent."""
        assert self._record is not None
        self._record.finish(result, now())
        self._sender.notify(self._record)
        self._sender.wait(self._record)


def spelled(settings: Mapping[str, Any]) -> dict[str, str]:
    """Returns settings as parameters, each under a key that MLflow takes.

    Other characters than letters, digits and `_-. :/` become `_`, as do slashes that would be
    those of an unusual path. A key that is too long is cut; equal keys get a number.
    """
    params: dict[str, str] = {}
    for key, value in settings.items():
        name = re.sub(r"[^\w\-. :/]", "_", key)[:LONGEST_KEY]
        if name == "." or name.startswith(("..", "/")) or posixpath.normpath(name) != name:
            name = "_" + name.replace("/", "_")
        free, number = name, 2
        while free in params:
            free, number = f"{name}_{number}", number + 1
        params[free] = str(value)
    return params


def _describe(dataset: Dataset) -> dict[str, str]:
    """Returns a data set in MLflow's words."""
    sizes = {"train": len(dataset.train_labels), "val": len(dataset.val_labels)}
    return {
        "name": dataset.name,
        "digest": dataset.checksum[:8],
        "source_type": "local",
        "source": json.dumps({"found": dataset.source, "sha256": dataset.checksum}),
        "profile": json.dumps(sizes),
    }


def _run_name(trial: Trial, labels: Labels) -> str:
    """Returns a name that differs in a narrow column, such as `cosine-lr0.00316-adam-s42`."""
    rate = f"lr{trial.optimizer['learning_rate']:.3g}"
    parts = [labels.strategy, rate, labels.optimizer]
    if labels.clipping != "none":
        parts.append(f"{labels.clipping}{trial.clipping.threshold:.3g}")
    if labels.averaging != "none":
        parts.append(labels.averaging)
    # Replicates of a strategy have everything but the seed in common.
    parts.insert(1 if labels.kind == Kind.REPLICATE else len(parts), f"s{trial.seed}")
    return "-".join(parts)
