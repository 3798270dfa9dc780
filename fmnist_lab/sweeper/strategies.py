"""The strategies of a sweep, each with a study and a budget of its own, as one source of trials.

A sweep without strategies has a single one without a name.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fmnist_lab.sweeper.limits import Budget
from fmnist_lab.sweeper.observers import TrialEnd, TrialInfo
from fmnist_lab.sweeper.settings import Settings
from fmnist_lab.sweeper.sweep_end import SweepEnd
from fmnist_lab.sweeper.trial_outcome import Outcome
from fmnist_lab.sweeper.trials import Trials


@dataclass
class Strategy:
    """One study's trials, and what may still be spent on them."""

    trials: Trials
    settings: Settings
    budget: Budget
    running: set[int] = field(default_factory=set)

    @property
    def committed(self) -> int:
        """Trials that are done or on their way."""
        return self.budget.done + len(self.running)

    @property
    def wants_more(self) -> bool:
        """Whether another trial may start."""
        return self.committed < self.settings.n_trials and not self.budget.spent()


@dataclass(frozen=True)
class Best:
    """The best trial so far."""

    value: float
    number: int
    strategy: str | None


class Strategies:
    """Asks for trials where the fewest were tried, and keeps every strategy's account."""

    def __init__(self, members: Sequence[Strategy]) -> None:
        """Takes the strategies in the order in which they take trial numbers."""
        self.members = members
        self.error: BaseException | None = None  # of the last trial that failed

    @property
    def done(self) -> int:
        """Trials that count."""
        return sum(member.budget.done for member in self.members)

    @property
    def n_trials(self) -> int:
        """The total to reach."""
        return sum(member.settings.n_trials for member in self.members)

    @property
    def running(self) -> int:
        """Trials that were asked for and not told yet."""
        return sum(len(member.running) for member in self.members)

    @property
    def objectives(self) -> int:
        """How many values each trial has."""
        return len(self.members[0].settings.directions)

    @property
    def best(self) -> Best | None:
        """The best trial of all strategies, where there is one direction."""
        found = [
            Best(member.budget.best, member.budget.best_number, member.trials.strategy)
            for member in self.members
            if member.budget.best is not None and member.budget.best_number is not None
        ]
        maximised = self.members[0].settings.directions == ["maximize"]
        sign = -1.0 if maximised else 1.0
        return min(found, key=lambda best: sign * best.value, default=None)

    @property
    def fails_too_often(self) -> str | None:
        """What to say if more than the allowed part of all trials has failed."""
        failed = sum(member.budget.failed for member in self.members)
        rate = self.members[0].settings.max_failure_rate
        if failed <= rate * self.n_trials:
            return None
        return (
            f"{failed} trials failed, more than max_failure_rate={rate:g} of "
            f"{self.n_trials} allows."
        )

    @property
    def ending(self) -> SweepEnd:
        """Why no more trials start; every strategy has reached a limit."""
        ends = {member.trials.strategy or "": member.budget.spent() for member in self.members}
        reached = {name: end for name, end in ends.items() if end is not None}
        return SweepEnd.of_budgets(reached, self.done, self.n_trials)

    def resume(self, wanted: Sequence[Mapping[str, Any]]) -> list[TrialEnd]:
        """Ends what an earlier controller left running, and counts what it has done.

        Args:
            wanted: The user's fixed first trials.
        """
        earlier = []
        for member in self.members:
            member.trials.reap()
            member.trials.revive()
            member.trials.enqueue(wanted)
            ended = member.trials.ended()
            for trial in ended:
                member.budget.observe(trial)
            earlier += ended
        return sorted(earlier, key=lambda trial: trial.number)

    def next(self) -> TrialInfo | None:
        """A trial of the strategy with the fewest; None if none may start."""
        wanting = (member for member in self.members if member.wants_more)
        member = min(wanting, key=lambda member: member.committed, default=None)
        if member is None:
            return None
        trial = member.trials.next()
        member.running.add(trial.number)
        return trial

    def record(self, number: int) -> Mapping[str, Any] | None:
        """What the trial's job has left in its study."""
        return self._of(number).trials.record(number)

    def progress(self) -> dict[int, int]:
        """How many steps each running trial has reported."""
        return {
            number: member.trials.steps(number)
            for member in self.members
            for number in sorted(member.running)
        }

    def conclude(self, number: int, outcome: Outcome) -> TrialEnd:
        """Tells the study how a trial ended."""
        if outcome.state == "failed":
            self.error = outcome.error or ValueError(outcome.problem)
        return self._account(self._of(number).trials.conclude(number, outcome))

    def settle(self, number: int) -> TrialEnd:
        """Ends a trial whose job is gone: with its result if it left one, else to be repeated."""
        return self._account(self._of(number).trials.settle(number))

    def reap(self) -> Iterator[TrialEnd]:
        """Ends all trials that run."""
        for member in self.members:
            for trial in member.trials.reap():
                yield self._account(trial)

    def _account(self, trial: TrialEnd) -> TrialEnd:
        member = self._of(trial.number)
        member.running.discard(trial.number)
        member.budget.observe(trial)
        return trial

    def _of(self, number: int) -> Strategy:
        return self.members[number % len(self.members)]
