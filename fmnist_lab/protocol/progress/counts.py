"""State of a sweep for the live view: counts, best trials, speed and time left."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fmnist_lab.foundation import wording
from fmnist_lab.sweeper.observers import SweepInfo, TrialInfo
from fmnist_lab.sweeper.sweep_end import TrialEnd

SPEED_PERIOD = 600.0  # seconds over which the present speed is measured


@dataclass
class StrategyProgress:
    """Counts of one strategy, or of the only study."""

    name: str | None
    total: int
    done: int = 0  # pruned and failed ones included
    pruned: int = 0
    failed: int = 0
    best: TrialEnd | None = None  # of complete trials; None with several objectives
    latest: TrialEnd | None = None  # of complete trials


class SweepProgress:
    """Counts of a sweep, and rich's progress bar, which estimates the time left.

    Args:
        sweep: The sweep as it starts or continues.
        earlier: Trials of earlier runs: they are done, but do not enter the speed.
        epochs: The most that a trial may train.
        clock: Seconds from any origin.
    """

    def __init__(
        self,
        sweep: SweepInfo,
        earlier: Sequence[TrialEnd],
        epochs: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sweep, self.epochs = sweep, epochs
        strategies = [StrategyProgress(*share) for share in sweep.strategies.items()]
        strategies = strategies or [StrategyProgress(None, sweep.n_trials)]
        self.strategies = {strategy.name: strategy for strategy in strategies}
        self.running: dict[int, TrialInfo] = {}
        self.steps: dict[int, int] = {}  # that each running trial has reported
        self._epochs_ended = 0
        for trial in earlier:
            self._count(trial)
        self.bar = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            TextColumn("elapsed,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            speed_estimate_period=SPEED_PERIOD,
            get_time=clock,
            expand=True,
        )
        # The second task measures epochs and is not shown.
        self.bar.add_task(sweep.study_name, total=sweep.n_trials, completed=self.done)
        self.bar.add_task("epochs", total=None, visible=False)
        self._trials, self._epochs = self.bar.tasks
        self._update()

    def start(self, trial: TrialInfo) -> None:
        """Counts a trial as running."""
        self.running[trial.number], self.steps[trial.number] = trial, 0

    def advance(self, steps: Mapping[int, int]) -> None:
        """Sets the number of steps that each trial, by its number, has reported."""
        self.steps |= {number: steps[number] for number in steps if number in self.running}
        self._update()

    def end(self, trial: TrialEnd) -> None:
        """Counts a trial by how it ended."""
        self.running.pop(trial.number, None)
        self.steps.pop(trial.number, None)
        self._epochs_ended += trial.steps
        self._count(trial)
        self._update()

    @property
    def done(self) -> int:
        """Trials that count, however they ended, those of earlier runs included."""
        return sum(strategy.done for strategy in self.strategies.values())

    @property
    def pruned(self) -> int:
        """Trials that the study stopped."""
        return sum(strategy.pruned for strategy in self.strategies.values())

    @property
    def failed(self) -> int:
        """Trials without an objective: they raised an error or diverged."""
        return sum(strategy.failed for strategy in self.strategies.values())

    @property
    def left(self) -> int:
        """Trials that are yet to end."""
        return max(0, self.sweep.n_trials - self.done)

    @property
    def has_several_objectives(self) -> bool:
        """Whether no trial can be called the best."""
        return len(self.sweep.directions) > 1

    @property
    def best(self) -> TrialEnd | None:
        """The best complete trial."""
        return self.ranking()[0].best

    @property
    def elapsed(self) -> float:
        """Seconds since this run started."""
        return self._trials.elapsed or 0.0

    @property
    def mean_speed(self) -> float:
        """Epochs per second of all trials together, over this run."""
        return self._epochs.completed / self.elapsed if self.elapsed else 0.0

    @property
    def speed(self) -> float:
        """Epochs per second of all trials together, over the last minutes."""
        return self._epochs.speed or self.mean_speed

    @property
    def seconds_left(self) -> float | None:
        """Time until the last trial ends; None while there is no estimate."""
        return self._trials.time_remaining

    def ranking(self) -> list[StrategyProgress]:
        """Returns the strategies, the best first, those without a complete trial last."""
        strategies = self.strategies.values()
        return sorted(strategies, key=lambda one: self._loss(one.best) if one.best else math.inf)

    def _loss(self, trial: TrialEnd) -> float:
        assert trial.values is not None
        return -trial.values[0] if self.sweep.directions[0] == "maximize" else trial.values[0]

    def _count(self, trial: TrialEnd) -> None:
        if not trial.counts:
            return
        # A strategy that is no longer searched has a total of zero.
        strategy = self.strategies.setdefault(
            trial.strategy, StrategyProgress(trial.strategy, total=0)
        )
        strategy.done += 1
        strategy.pruned += trial.state == "pruned"
        strategy.failed += trial.state == "failed"
        if trial.state == "complete" and trial.values:
            strategy.latest = trial
            if self.has_several_objectives:
                return
            if strategy.best is None or self._loss(trial) < self._loss(strategy.best):
                strategy.best = trial

    def _update(self) -> None:
        steps = self.steps.values()
        # A trial that has reported all its epochs has not ended yet.
        begun = sum(min(count, self.epochs) / (self.epochs + 1) for count in steps)
        count = f"{self.done}/{wording.count(self.sweep.n_trials, 'trial')}"
        self.bar.update(self._trials.id, completed=self.done + begun, count=count)
        self.bar.update(self._epochs.id, completed=self._epochs_ended + sum(steps))


def objective(trial: TrialEnd) -> str:
    """Shows a trial's objective, or several."""
    return ", ".join(map(wording.number, trial.values or [])) or "-"


def label(trial: TrialEnd | TrialInfo) -> str:
    """Names a trial: `cosine #25`, or only its number where there are no strategies."""
    return f"{trial.strategy} #{trial.number}" if trial.strategy else f"#{trial.number}"


def speed(epochs_per_second: float) -> str:
    """Shows a speed: `3.4 epochs/s`, `0.27 epochs/s`."""
    digits = 1 if epochs_per_second >= 1 else 2
    return f"{epochs_per_second:.{digits}f} epochs/s"
