"""How the strategies of a sweep stand, as Markdown for its run's description."""

import math
import os
import re
from bisect import insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fmnist_lab.errors import RequestError
from fmnist_lab.results import layout, schema
from fmnist_lab.sweeper.observers import SweepInfo, TrialEnd

TOP = 10  # trials that are listed
MOST_CHARACTERS = 8000  # MLflow cuts a longer tag off, wherever that is
GAP = "&nbsp;"  # the UI's tables have neither margins nor, between columns, padding
BETWEEN = " |&emsp;"
LINK_CHARACTERS = 100  # of a link to a run, more or less; that to a folder is shorter
_LINK = re.compile(r"\[(\d+)\]\(([^)#]+)\)")


class Standings:
    """The trials of a sweep that have ended: how many, and the best of them.

    Of thousands it keeps the few that are shown, so that the last ones cost no more than the first.

    Args:
        sweep: The sweep; its first direction says which objective is better.
        metric: The objective's name.
    """

    def __init__(self, sweep: SweepInfo, metric: str) -> None:
        self._sweep = sweep
        self._metric = metric
        self._sign = -1.0 if sweep.directions[0] == "maximize" else 1.0
        self._states: dict[str, Counter[str]] = {}  # of the trials that count, by strategy
        self._repeated: Counter[str] = Counter()  # states of those that do not
        self._best: dict[str, TrialEnd] = {}  # by strategy
        self._top: list[TrialEnd] = []  # the best first

    def add(self, trial: TrialEnd) -> None:
        """Takes a trial that has ended."""
        name = _name(trial)
        states = self._states.setdefault(name, Counter())
        (states if trial.counts else self._repeated)[trial.state] += 1
        if math.isnan(objective(trial)):  # that of a pruned one is another epoch's
            return
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
        return objective(self._top[0]) if self._top else None

    def markdown(self, closing: str) -> str:
        """Headline, strategies and best trials, as much as a tag can hold; then the closing.

        Links are to the trials' folders, from the sweep's; `link` turns them to their runs.

        Args:
            closing: The last paragraphs, which are never shortened.
        """
        head = f"{self._headline()}\n\n{self._counts()}"
        room = MOST_CHARACTERS - len(head) - len(closing) - 60  # 60: headings and empty lines
        top = _table(
            ("", self._metric, "trial", "strategy", "parameters"),
            (
                (str(place), *self._result(trial), _name(trial), _params(trial))
                for place, trial in enumerate(self._top, 1)
            ),
            room // 3,
        )
        strategies = _table(
            ("strategy", f"best {self._metric}", "trial", "done", "pruned", "failed", "parameters"),
            self._strategies(),
            room - len(top),
        )
        sections = (head, "### Strategies", strategies, GAP, "### Best trials", top, GAP, closing)
        return "\n\n".join(sections)

    def _rank(self, trial: TrialEnd) -> tuple[float, int]:
        return self._sign * objective(trial), trial.number

    def _headline(self) -> str:
        if not self._top:
            return "No trial has completed yet."
        best = self._top[0]
        found = f"**Best {self._metric}: {objective(best):.4f}**"
        return f"{found}, found by {_name(best)} in trial {best.number}."

    def _counts(self) -> str:
        counting = sum(self._states.values(), Counter[str]())
        kinds = [f"{count} {state}" for state, count in sorted(counting.items())]
        line = f"{self.done} of {self._sweep.n_trials} trials are done"
        line += f": {', '.join(kinds)}." if kinds else "."
        if self._repeated:
            lost = [f"{count} {state}" for state, count in sorted(self._repeated.items())]
            line += f" Repeated under another number: {', '.join(lost)}."
        return line

    def _strategies(self) -> Iterable[tuple[str, ...]]:
        """A row for each strategy: by its best objective, those without one last."""
        ranked = sorted(self._best, key=lambda name: self._rank(self._best[name]))
        for name in dict.fromkeys([*ranked, *self._sweep.strategies, *self._states]):
            best = self._best.get(name)
            states = self._states.get(name, Counter())
            yield (
                name,
                *(self._result(best) if best else ("-", "-")),
                str(states.total()),
                str(states["pruned"]),
                str(states["failed"]),
                _params(best) if best else "-",
            )

    def _result(self, trial: TrialEnd) -> tuple[str, str]:
        """The objective, and the number as a link to the trial's folder, if that is in reach."""
        number = str(trial.number)
        if trial.folder and Path(trial.folder).is_dir():
            below = os.path.relpath(trial.folder, self._sweep.folder)
            number = f"[{number}]({below})"
        return f"{objective(trial):.4f}", number


def link(text: str, folder: Path, experiment_id: str) -> tuple[str, list[Path]]:
    """The description with links to the trials' runs.

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
        if run_id := _run_id(trial):
            page = f"#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"
            return f"[{number}]({page})"
        missing.append(trial)
        return str(number)

    return _LINK.sub(run, text), missing


def objective(trial: TrialEnd) -> float:
    """What a completed trial reached; NaN for all others and for what is not finite."""
    value = trial.values[0] if trial.state == "complete" and trial.values else math.nan
    return value if math.isfinite(value) else math.nan


def _name(trial: TrialEnd) -> str:
    return trial.strategy or "-"


def _run_id(folder: Path) -> str | None:
    try:
        run_id = schema.read(folder / layout.RESULT, dict[str, Any]).get("mlflow_run_id")
    except (OSError, RequestError):
        return None
    return run_id if isinstance(run_id, str) else None


def _params(trial: TrialEnd) -> str:
    return ", ".join(f"{key}={_short(value)}" for key, value in trial.params.items()) or "-"


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(dict(value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], room: int) -> str:
    """A Markdown table of at most `room` characters; what does not fit is counted."""
    lines = [f"| {BETWEEN.join(_escape(cell) for cell in row)} |" for row in rows]
    shown = [f"| {BETWEEN.join(header)} |", "|" + " --- |" * len(header)]
    room -= sum(len(line) + 1 for line in shown) + 40  # 40: the note on those left out
    for position, line in enumerate(lines):
        room -= len(line) + 1 + (LINK_CHARACTERS if _LINK.search(line) else 0)
        if room < 0:
            return "\n".join([*shown, f"\n... and {len(lines) - position} more."])
        shown.append(line)
    return "\n".join(shown)
