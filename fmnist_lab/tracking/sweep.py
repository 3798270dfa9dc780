"""A sweep as an MLflow run: the parent of its trials' runs, with the standings as description."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fmnist_lab.config import TrackingConfig, to_tracking
from fmnist_lab.files import write_json
from fmnist_lab.search.observers import SweepInfo, TrialEnd
from fmnist_lab.search.secrets import mask
from fmnist_lab.search.spelling import spell
from fmnist_lab.tracking.standings import Standings
from fmnist_lab.tracking.store import NOTE, PARENT, SOURCE, open_experiment, short_waits, store_uri
from fmnist_lab.tracking.trial import STATUS
from fmnist_lab.trial import StopReason

RUN_FILE = "mlflow.json"  # in the sweep's folder: which run is the sweep's
UPDATE_SECONDS = 10.0
RETRY_SECONDS = 60.0  # after an update that failed


class SweepRun:
    """Records a sweep; an observer of it, see `fmnist_lab.search.observers`.

    Only one controller works on a sweep, so at its start all runs of trials that are said to
    be running are of workers that died, and so is later each that is of an ended trial.
    """

    def __init__(self, tracking: Mapping[str, Any], name: str, metric: str, command: str) -> None:
        """Opens nothing yet.

        Args:
            tracking: The node `tracking` of the configuration.
            name: The sweep's name.
            metric: The name of the objective.
            command: The command line that continues the sweep.

        Raises:
            RequestError: The tracking is not allowed; the message names the key.
        """
        self._config = to_tracking(OmegaConf.create({"tracking": TrackingConfig(**tracking)}))
        self._name, self._metric, self._command = name, metric, command
        self._client: Any = None
        self._experiment_id = ""
        self._run_id = ""  # stays so where nothing is recorded
        self._standings: Standings | None = None
        self._points: list[Any] = []  # of the best objective's curve, to be sent
        self._ended: set[int] = set()  # trials since the last update
        self._due = 0.0  # when the next update may be sent

    def on_start(self, sweep: SweepInfo, earlier: Sequence[TrialEnd]) -> list[str] | None:
        """Creates or continues the sweep's run; returns the override that nests trials under it."""
        if self._config.name == "none":
            return None
        self._standings = Standings(sweep, self._metric)
        for trial in earlier:
            self._standings.add(trial)
        with short_waits():
            self._client, self._experiment_id = open_experiment(self._config)
            self._run_id = self._continue(Path(sweep.folder)) or self._create(Path(sweep.folder))
            self._reap()
            self._collect()
            self._send()
        return [f"tracking.parent={spell(self._run_id)}"]

    def on_trial_end(self, trial: TrialEnd) -> None:
        """Counts the trial, and shows it at once or soon."""
        if self._standings is None:
            return
        self._standings.add(trial)
        self._ended.add(trial.number)
        if trial.counts:
            self._collect()
        self._update()

    def on_progress(self, steps: Mapping[int, int]) -> None:
        """Shows trials whose end came too soon after that of others."""
        self._update()

    def on_end(self, reason: str) -> None:
        """Closes the sweep's run, and those that dead workers have left open."""
        if not self._run_id:
            return
        with short_waits():
            # First what matters most: any of these may fail.
            self._client.set_terminated(self._run_id, STATUS[_stop_reason(reason)])
            self._reap()
            self._send(f"The sweep ended: {reason}. ")

    def _continue(self, folder: Path) -> str | None:
        """The run of the sweep's earlier part, if this store still has it."""
        from mlflow import MlflowException

        try:
            run_id = str(json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))["run_id"])
            run = self._client.get_run(run_id)
        except FileNotFoundError:
            return None
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        is_here = run.info.experiment_id == self._experiment_id
        if not is_here or run.info.lifecycle_stage == "deleted":
            return None
        self._client.update_run(run_id, status="RUNNING")
        return run_id

    def _create(self, folder: Path) -> str:
        tags = SOURCE | {"kind": "sweep", "sweep": self._name, "objective.metric": self._metric}
        run = self._client.create_run(self._experiment_id, tags=tags, run_name=self._name)
        run_id = str(run.info.run_id)
        where = {"store": mask(self._config.uri or store_uri())}
        where |= {"experiment": self._config.experiment, "run_id": run_id}
        write_json(folder / RUN_FILE, where)
        return run_id

    def _reap(self, numbers: set[int] | None = None) -> None:
        """Ends the runs that dead workers have left open, of these trials or of all."""
        condition = f"attributes.status = 'RUNNING' and tags.`{PARENT}` = '{self._run_id}'"
        for run in self._client.search_runs([self._experiment_id], condition):
            if numbers is None or int(run.data.tags.get("trial", -1)) in numbers:
                run_id, reason = run.info.run_id, StopReason.INTERRUPTED
                self._client.set_tag(run_id, "stop_reason", reason)
                self._client.set_terminated(run_id, STATUS[reason])

    def _collect(self) -> None:
        """Adds a point to the curve of the best objective over the trials that are done."""
        from mlflow.entities import Metric

        assert self._standings is not None
        if (best := self._standings.best) is not None:
            now = int(time.time() * 1000)
            self._points.append(Metric("objective", best, now, self._standings.done))

    def _update(self) -> None:
        if not self._run_id or not self._ended or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + RETRY_SECONDS
        with short_waits():
            self._reap(self._ended)
            self._send()
        self._due = time.monotonic() + UPDATE_SECONDS

    def _send(self, ended: str = "") -> None:
        assert self._standings is not None
        closing = f"{ended}Continue with\n\n```\n{self._command}\n```"
        note = self._standings.markdown(self._experiment_id, closing)
        self._client.log_batch(self._run_id, metrics=self._points)
        self._client.set_tag(self._run_id, NOTE, note)
        self._points, self._ended = [], set()


def _stop_reason(reason: str) -> StopReason:
    """What the sweep's end is called where a trial's is."""
    if reason == "interrupted":
        return StopReason.INTERRUPTED
    return StopReason.FAILED if reason.startswith("failed") else StopReason.COMPLETED
