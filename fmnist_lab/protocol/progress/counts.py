"""How far a sweep has come: counts, the best so far, speed and time left."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fmnist_lab.sweeper.observers import SweepInfo, TrialEnd, TrialInfo

WINDOW = 60.0  # seconds over which the present speed is measured


@dataclass
class RunningTrial:
    """A trial between its start and its end."""

    strategy: str | None
    started: float  # on the progress's clock
    steps: int = 0  # reported so far


@dataclass
class StrategyProgress:
    """What is known of one strategy, or of the only study."""

    name: str | None
    total: int
    done: int = 0  # pruned and failed ones included
    pruned: int = 0
    failed: int = 0
    best: TrialEnd | None = None  # of complete trials; with several objectives there is none
    latest: TrialEnd | None = None  # of complete trials


@dataclass
class Progress:
    """A sweep in numbers, fed by what its observers are told.

    Args:
        sweep: The sweep as it starts or continues.
        earlier: Trials of earlier runs: they are done, but say nothing about the speed.
        epochs: The most that a trial may train.
        clock: Seconds from any origin.
    """

    sweep: SweepInfo
    earlier: Sequence[TrialEnd]
    epochs: int
    clock: Callable[[], float] = time.monotonic
    strategies: dict[str | None, StrategyProgress] = field(init=False)
    running: dict[int, RunningTrial] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        strategies = [StrategyProgress(*share) for share in self.sweep.strategies.items()]
        strategies = strategies or [StrategyProgress(None, self.sweep.n_trials)]
        self.strategies = {strategy.name: strategy for strategy in strategies}
        for trial in self.earlier:
            self._count(trial)
        self._start = self.clock()
        self._samples = deque([(self._start, 0)])  # epochs trained until then
        self._epochs_ended = 0
        self._seconds: list[float] = []  # that trials took

    def start(self, trial: TrialInfo) -> None:
        """A trial starts."""
        self.running[trial.number] = RunningTrial(trial.strategy, self.clock())

    def advance(self, steps: Mapping[int, int]) -> None:
        """So many steps were reported by these trials, by number."""
        for number, count in steps.items():
            if number in self.running:
                self.running[number].steps = count
        self._sample()

    def end(self, trial: TrialEnd) -> None:
        """A trial ended."""
        self.running.pop(trial.number, None)
        self._epochs_ended += trial.steps
        if trial.counts and trial.seconds is not None:
            self._seconds.append(trial.seconds)
        self._count(trial)
        self._sample()

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
    def best(self) -> TrialEnd | None:
        """The best complete trial."""
        return next((strategy.best for strategy in self.ranking() if strategy.best), None)

    @property
    def elapsed(self) -> float:
        """Seconds since this run started."""
        return self.clock() - self._start

    @property
    def epochs_per_second(self) -> float:
        """Of all trials together, over about the last minute."""
        return self._rate(*self._samples[0])

    @property
    def mean_epochs_per_second(self) -> float:
        """Of all trials together, over this run."""
        return self._rate(self._start, 0)

    @property
    def seconds_left(self) -> float | None:
        """How long the trials that are left will take; None while nothing says so."""
        seconds = self._seconds_per_trial()
        if seconds is None:
            return None if self.left else 0.0
        now = self.clock()
        begun = [max(0.0, seconds - (now - trial.started)) for trial in self.running.values()]
        waiting = max(0, self.left - len(begun)) * seconds
        return max((sum(begun) + waiting) / self.sweep.slots, *begun, 0.0)

    def ranking(self) -> list[StrategyProgress]:
        """The strategies, the best first, those without a best one last."""
        return sorted(self.strategies.values(), key=self._rank)

    def _rank(self, strategy: StrategyProgress) -> tuple[bool, float]:
        return (False, self._loss(strategy.best)) if strategy.best else (True, 0.0)

    def _loss(self, trial: TrialEnd) -> float:
        assert trial.values is not None
        return -trial.values[0] if self.sweep.directions[0] == "maximize" else trial.values[0]

    def _count(self, trial: TrialEnd) -> None:
        if not trial.counts:
            return
        strategy = self.strategies.get(trial.strategy)
        if strategy is None:  # one that is no longer searched
            strategy = self.strategies[trial.strategy] = StrategyProgress(trial.strategy, 0)
        strategy.done += 1
        strategy.pruned += trial.state == "pruned"
        strategy.failed += trial.state == "failed"
        if trial.state == "complete" and trial.values:
            strategy.latest = trial
            if len(self.sweep.directions) == 1 and self._is_better(trial, strategy.best):
                strategy.best = trial

    def _is_better(self, trial: TrialEnd, best: TrialEnd | None) -> bool:
        return best is None or self._loss(trial) < self._loss(best)

    def _sample(self) -> None:
        now = self.clock()
        self._samples.append((now, self._epochs_trained()))
        while self._samples[1][0] <= now - WINDOW:
            self._samples.popleft()

    def _rate(self, since: float, epochs: int) -> float:
        seconds = self.clock() - since
        return max(0, self._epochs_trained() - epochs) / seconds if seconds > 0 else 0.0

    def _epochs_trained(self) -> int:
        return self._epochs_ended + sum(trial.steps for trial in self.running.values())

    def _seconds_per_trial(self) -> float | None:
        if self._seconds:
            return sum(self._seconds) / len(self._seconds)
        now = self.clock()
        steps = sum(trial.steps for trial in self.running.values())
        spent = sum(now - trial.started for trial in self.running.values() if trial.steps)
        return spent / steps * self.epochs if steps else None
