"""A sweep as an MLflow run: the parent of its trials' runs, with the standings as description."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fmnist_lab.config import TrackingConfig, to_tracking
from fmnist_lab.foundation.files import whole_file
from fmnist_lab.foundation.spelling import spell
from fmnist_lab.sweeper.observers import SweepInfo, TrialEnd
from fmnist_lab.sweeper.sweep_end import EndReason, SweepEnd
from fmnist_lab.tracking.delivery import NOTE_FILE, RUN_FILE, Delivery
from fmnist_lab.tracking.open_stores import header_for
from fmnist_lab.tracking.outbox import Record, now, unsent
from fmnist_lab.tracking.run_end import STATUS
from fmnist_lab.tracking.sender import Sender, sender
from fmnist_lab.tracking.standings import Standings
from fmnist_lab.tracking.store import SOURCE, give_up_soon, quiet_mlflow
from fmnist_lab.trial import StopReason

UPDATE_SECONDS = 10.0
# What the sweep's end is called where a trial's is; all others are `completed`.
_STOP_REASONS = {
    EndReason.INTERRUPTED: StopReason.INTERRUPTED,
    EndReason.FAILED: StopReason.FAILED,
}


class SweepRun:
    """Records a sweep; an observer of it, see `fmnist_lab.sweeper.observers`.

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
        self._folder = Path()
        self._standings: Standings | None = None
        self._sender: Sender | None = None
        self._delivery: Delivery | None = None  # stays so where nothing is recorded
        self._ended: set[int] = set()  # trials since the last update
        self._due = 0.0  # when the next update may be sent

    def on_start(self, sweep: SweepInfo, earlier: Sequence[TrialEnd]) -> list[str] | None:
        """Creates or continues the sweep's run; returns the override that nests trials under it."""
        if self._config.name == "none":
            return None
        give_up_soon()
        quiet_mlflow()
        self._folder = Path(sweep.folder)
        self._standings = Standings(sweep, self._metric)
        for trial in earlier:
            self._standings.add(trial)
        self._sender = sender(self._config)
        self._sender.adopt_all()
        self._delivery = self._sender.add(self._record())
        self._delivery.record.append(status="RUNNING")
        self._collect()
        self._update(reap=[None])
        self._due = 0.0  # the first trial's end is shown at once
        # What the trials are nested under: the run's id, or its key if the server is down.
        self._sender.wait(self._delivery, for_run=True)
        parent = self._delivery.run_id or self._delivery.record.header.key
        return [f"tracking.parent={spell(parent)}"]

    def on_trial_end(self, trial: TrialEnd) -> None:
        """Counts the trial, and shows it at once or soon."""
        if self._standings is None:
            return
        self._standings.add(trial)
        self._ended.add(trial.number)
        if self._sender and trial.folder:  # what a worker that died has left there
            self._sender.adopt(Path(trial.folder))
        if trial.counts:
            self._collect()
        self._update_soon()

    def on_progress(self, steps: Mapping[int, int]) -> None:
        """Shows trials whose end came too soon after that of others."""
        self._update_soon()

    def on_end(self, end: SweepEnd) -> None:
        """Closes the sweep's run, and those that dead workers have left open."""
        if self._delivery is None or self._sender is None:
            return
        self._sender.adopt(self._folder)
        self._sender.settle()
        self._update(f"{end}. ", reap=[None])
        status = STATUS[_STOP_REASONS.get(end.reason, StopReason.COMPLETED)]
        self._delivery.record.append(status=status, time=now(), tags={}, files=False)
        self._sender.nudge(self._delivery)
        self._sender.wait(self._delivery)

    def _record(self) -> Record:
        """The record of the sweep's run: of the one that is there already, if there is one."""
        header = header_for(
            self._config,
            kind="sweep",
            name=self._name,
            tags=SOURCE | {"kind": "sweep", "sweep": self._name, "objective.metric": self._metric},
            run_id=_earlier_run(self._folder),
        )
        for path in unsent(self._folder, deep=False):
            if earlier := Record.take(path):
                same = (earlier.header.uri, earlier.header.experiment)
                if same == (header.uri, header.experiment):
                    return earlier
                earlier.close()
        return Record.create(self._folder, header)

    def _collect(self) -> None:
        """Adds a point to the curve of the best objective over the trials that are done."""
        assert self._standings is not None
        assert self._delivery is not None
        if (best := self._standings.best) is not None:
            self._delivery.record.append(
                time=now(), step=self._standings.done, metrics={"objective": best}
            )

    def _update_soon(self) -> None:
        if self._ended and time.monotonic() >= self._due:
            self._update(reap=sorted(self._ended))

    def _update(self, ended: str = "", *, reap: Sequence[int | None]) -> None:
        assert self._standings is not None
        assert self._delivery is not None
        assert self._sender is not None
        closing = f"{ended}Continue with\n\n```\n{self._command}\n```"
        with whole_file(self._folder / NOTE_FILE) as temporary:
            temporary.write_text(self._standings.markdown(closing), encoding="utf-8")
        self._delivery.record.append(note=NOTE_FILE, reap=reap)
        self._sender.nudge(self._delivery)
        self._ended = set()
        self._due = time.monotonic() + UPDATE_SECONDS


def _earlier_run(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))["run_id"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # none, or a damaged one
        return None
