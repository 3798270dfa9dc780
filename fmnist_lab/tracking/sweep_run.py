"""A sweep as an MLflow run: the parent of its trials' runs, with the standings as description."""

import json
import math
import os
import time
from bisect import insort
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fmnist_lab.config import TrackingConfig, to_tracking
from fmnist_lab.foundation.files import whole_file
from fmnist_lab.foundation.spelling import spell
from fmnist_lab.results import manifest, searches
from fmnist_lab.results.layout import MLFLOW_RUN
from fmnist_lab.sweeper.observers import SweepInfo
from fmnist_lab.sweeper.sweep_end import EndReason, SweepEnd, TrialEnd
from fmnist_lab.tracking.outbox import (
    LINK,
    NOTE_FILE,
    UNSENT_RECORDS,
    Header,
    Kind,
    Record,
    Status,
    now,
)
from fmnist_lab.tracking.sender import sender
from fmnist_lab.tracking.store import SOURCE, quiet_mlflow, without_password

UPDATE_SECONDS = 10.0
_STATUS = {EndReason.INTERRUPTED: Status.KILLED, EndReason.FAILED: Status.FAILED}  # else FINISHED
TOP = 10  # trials that are listed
MOST_CHARACTERS = 8000  # MLflow cuts a longer tag off, wherever that is
GAP = "&nbsp;"  # the UI's tables have neither margins nor, between columns, padding
BETWEEN = " |&emsp;"
LINK_CHARACTERS = 110  # of a link to a run, at most


class SweepRun:
    """Records a sweep; an observer of it, see `fmnist_lab.sweeper.observers`.

    Only one controller works on a sweep. So the open runs of trials are those of dead workers:
    at the sweep's start and end all of them, in between those of trials that have ended.
    """

    def __init__(
        self,
        tracking: Mapping[str, Any],
        name: str,
        metric: str,
        command: str,
        kind: str = Kind.TRIAL,
    ) -> None:
        """Opens nothing yet.

        Args:
            tracking: The node `tracking` of the configuration.
            name: The run's name.
            metric: The name of the objective.
            command: The command line that continues the sweep.
            kind: The kind of the runs that are nested under it.

        Raises:
            RequestError: The tracking is not allowed; the message names the key.
        """
        self._config = to_tracking(OmegaConf.create({"tracking": TrackingConfig(**tracking)}))
        self._name, self._metric, self._command, self._kind = name, metric, command, kind
        self._ended: set[int] = set()  # trials since the last update
        self._due = 0.0  # when the next update may be sent
        self._is_open = False  # stays so where nothing is recorded

    def on_start(self, sweep: SweepInfo, earlier: Sequence[TrialEnd]) -> list[str] | None:
        """Creates or continues the sweep's run; returns the override that nests trials under it."""
        if self._config.name == "none":
            return None
        quiet_mlflow()
        self._folder = Path(sweep.folder)
        self._standings = Standings(sweep, self._metric, earlier)
        self._sender = sender(self._config)
        self._sender.take_over_all()
        self._record = self._find_record()
        self._is_open = True
        self._record.append(status=Status.RUNNING)
        self._add_point()
        self._update(reap=[None])
        self._due = 0.0  # the first trial's end is shown at once
        # What the trials are nested under: the run's id, or its key if the server is down.
        self._sender.wait(self._record, for_run=True)
        parent = self._record.run_id or self._record.header.key
        return [f"tracking.parent={spell(parent)}"]

    def on_trial_end(self, trial: TrialEnd) -> None:
        """Counts the trial, and shows it at once or soon."""
        if not self._is_open:
            return
        self._standings.add(trial)
        self._ended.add(trial.number)
        if trial.folder:  # a worker that died may have left something there
            self._sender.take_over(Path(trial.folder))
        if trial.counts:
            self._add_point()
        self._update_soon()

    def on_progress(self, steps: Mapping[int, int]) -> None:
        """Shows trials that ended too soon after others to be shown then."""
        self._update_soon()

    def on_end(self, end: SweepEnd) -> None:
        """Ends the sweep's run, and those that dead workers have left open."""
        if not self._is_open:
            return
        self._sender.take_over(self._folder)
        self._sender.settle()
        self._update(f"{end}. ", reap=[None])
        status = _STATUS.get(end.reason, Status.FINISHED)
        self._record.append(status=status, time=now(), tags={}, files=False)
        self._sender.notify(self._record)
        self._sender.wait(self._record)

    def _find_record(self) -> Record:
        """Takes the record of the sweep's run, or makes one that continues that run, if any."""
        uri, experiment = without_password(self._config), self._config.experiment
        for path in self._folder.glob(UNSENT_RECORDS):
            if earlier := Record.take(path):
                if (earlier.header.uri, earlier.header.experiment) == (uri, experiment):
                    return earlier
                earlier.close()
        try:
            text = (self._folder / MLFLOW_RUN).read_text(encoding="utf-8")
            run_id = str(json.loads(text)["run_id"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):  # none, or a damaged one
            run_id = None
        sweep, _ = searches.split(self._folder, self._kind)
        tags = {"kind": Kind.SWEEP, "sweep": sweep.name, "runs": self._kind}
        tags["objective.metric"] = self._metric
        # Replicates have a run of their own, and the plan of their search.
        known = manifest.read(self._folder) or manifest.read(self._folder.parent)
        tags |= {"manifest": known["hash"]} if "hash" in known else {}
        header = Header(Kind.SWEEP, uri, experiment, self._name, SOURCE | tags, run_id=run_id)
        return Record.create(self._folder, header)

    def _add_point(self) -> None:
        """Adds a point to the curve of the best objective over the trials that are done."""
        if (best := self._standings.best) is not None:
            self._record.append(time=now(), step=self._standings.done, metrics={"objective": best})

    def _update_soon(self) -> None:
        if self._ended and time.monotonic() >= self._due:
            self._update(reap=sorted(self._ended))

    def _update(self, ended: str = "", *, reap: Sequence[int | None]) -> None:
        closing = f"{ended}Continue with\n\n```\n{self._command}\n```"
        with whole_file(self._folder / NOTE_FILE) as temporary:
            temporary.write_text(self._standings.markdown(closing), encoding="utf-8")
        self._record.append(note=NOTE_FILE, reap=reap)
        self._sender.notify(self._record)
        self._ended = set()
        self._due = time.monotonic() + UPDATE_SECONDS


class Standings:
    """The trials of a sweep that have ended: how many, and the best of them, as Markdown.

    Of thousands it keeps the few that are shown, so the last ones cost no more than the first.

    Args:
        sweep: The sweep; its first direction says which objective is better.
        metric: The objective's name.
        trials: Those that have ended already.
    """

    def __init__(self, sweep: SweepInfo, metric: str, trials: Iterable[TrialEnd] = ()) -> None:
        self._sweep = sweep
        self._metric = metric
        self._sign = -1.0 if sweep.directions[0] == "maximize" else 1.0
        # Of the trials that count, by strategy.
        self._states: dict[str, Counter[str]] = {name: Counter() for name in sweep.strategies}
        self._repeated: Counter[str] = Counter()  # states of those that do not
        self._best: dict[str, TrialEnd] = {}  # by strategy
        self._top: list[TrialEnd] = []  # the best first
        for trial in trials:
            self.add(trial)

    def add(self, trial: TrialEnd) -> None:
        """Adds a trial that has ended."""
        name = _name(trial)
        states = self._states.setdefault(name, Counter())
        (states if trial.counts else self._repeated)[trial.state] += 1
        if math.isfinite(_objective(trial)):
            self._best[name] = min(self._best.get(name, trial), trial, key=self._rank)
            insort(self._top, trial, key=self._rank)
            del self._top[TOP:]

    @property
    def done(self) -> int:
        """How many trials count; those that are repeated do not."""
        return sum(states.total() for states in self._states.values())

    @property
    def best(self) -> float | None:
        """The best objective so far."""
        return _objective(self._top[0]) if self._top else None

    def markdown(self, closing: str) -> str:
        """Returns headline, strategies and best trials, as much as a tag can hold.

        Links are to the trials' folders, from the sweep's; `outbox.link` turns them to runs.

        Args:
            closing: The last paragraphs, which are never shortened.
        """
        head = "No trial has completed yet."
        if self._top:
            head = f"**Best {self._metric}: {self.best:.4f}**, found by {_name(self._top[0])}"
            head += f" in trial {self._top[0].number}."
        counts = _listed(sum(self._states.values(), Counter[str]()))
        head += f"\n\n{self.done} of {self._sweep.n_trials} trials are done"
        head += f": {counts}." if counts else "."
        if self._repeated:
            head += f" Repeated under another number: {_listed(self._repeated)}."
        room = MOST_CHARACTERS - len(head) - len(closing) - 60  # 60: headings and empty lines
        trials = [
            (str(place), *self._result(trial), _name(trial), _params(trial))
            for place, trial in enumerate(self._top, 1)
        ]
        top = _table(("", self._metric, "trial", "strategy", "parameters"), trials, room // 3)
        columns = ("strategy", f"best {self._metric}", "trial", "done", "pruned", "failed")
        strategies = _table((*columns, "parameters"), self._strategies(), room - _length(top))
        sections = (head, "### Strategies", strategies, GAP, "### Best trials", top, GAP, closing)
        return "\n\n".join(sections)

    def _rank(self, trial: TrialEnd) -> tuple[float, int]:
        return self._sign * _objective(trial), trial.number

    def _strategies(self) -> Iterator[tuple[str, ...]]:
        """Gives a row for each strategy: by its best objective, those without one last."""
        ranked = sorted(self._best, key=lambda name: self._rank(self._best[name]))
        for name in dict.fromkeys([*ranked, *self._states]):
            states, best = self._states[name], self._best.get(name)
            counts = (states.total(), states["pruned"], states["failed"])
            result = self._result(best) if best else ("-", "-")
            yield (name, *result, *map(str, counts), _params(best) if best else "-")

    def _result(self, trial: TrialEnd) -> tuple[str, str]:
        """Returns the objective, and the number as a link to the trial's folder if it exists."""
        number = str(trial.number)
        if trial.folder and Path(trial.folder).is_dir():
            number = f"[{number}]({os.path.relpath(trial.folder, self._sweep.folder)})"
        return f"{_objective(trial):.4f}", number


def _objective(trial: TrialEnd) -> float:
    """Returns the objective of a completed trial, or NaN: a pruned one's is of another epoch."""
    return trial.values[0] if trial.state == "complete" and trial.values else math.nan


def _name(trial: TrialEnd) -> str:
    return trial.strategy or "-"


def _listed(states: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items()))


def _params(trial: TrialEnd) -> str:
    shown = (
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in trial.params.items()
    )
    return ", ".join(shown) or "-"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], room: int) -> str:
    """Returns a Markdown table of at most `room` characters; what does not fit is counted."""
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    lines = [f"| {BETWEEN.join(row)} |" for row in escaped]
    shown = [f"| {BETWEEN.join(header)} |", "|" + " --- |" * len(header)]
    room -= sum(len(line) + 1 for line in shown) + 40  # 40: the note on those left out
    for position, line in enumerate(lines):
        room -= _length(line) + 1
        if room < 0:
            return "\n".join([*shown, f"\n... and {len(lines) - position} more."])
        shown.append(line)
    return "\n".join(shown)


def _length(text: str) -> int:
    """Returns how many characters a text has at most once its links are to runs."""
    without, links = LINK.subn("", text)
    return len(without) + LINK_CHARACTERS * links
