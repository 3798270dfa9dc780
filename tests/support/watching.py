"""The events of a sweep that does not run, a clock, and a screen to look at."""

import io
import re
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from fmnist_lab.protocol.progress import LiveView
from fmnist_lab.protocol.progress.counts import SweepProgress
from fmnist_lab.sweeper.observers import SweepInfo, TrialInfo
from fmnist_lab.sweeper.sweep_end import TrialEnd

STRATEGIES = ("constant", "cosine")


class Clock:
    """A clock that stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def info(
    strategies: Sequence[str] = STRATEGIES,
    n_trials: int = 10,
    directions: Sequence[str] = ("maximize",),
    slots: int = 2,
) -> SweepInfo:
    folder = "mlruns/sweeps/decay"
    storage = f"journal:///{folder}/study.journal"
    shares = {name: n_trials // len(strategies) for name in strategies}
    return SweepInfo("decay", storage, folder, directions, shares, n_trials, 0, slots)


def begin(number: int, strategy: str | None = "cosine") -> TrialInfo:
    return TrialInfo(number, {}, [], strategy)


def end(
    number: int,
    *values: float,
    state: str = "complete",
    strategy: str | None = "cosine",
    **more: Any,
) -> TrialEnd:
    known: dict[str, Any] = {"params": {}, "steps": 20, "seconds": 40.0} | more
    return TrialEnd(number, state, values or None, strategy=strategy, **known)


def progress(clock: Clock, *earlier: TrialEnd, **about: Any) -> SweepProgress:
    return SweepProgress(info(**about), earlier, epochs=20, clock=clock)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)


class Screen(io.StringIO):
    """A file that a view prints to."""

    def lines(self) -> list[str]:
        return [line.rstrip() for line in plain(self.getvalue()).splitlines()]


def view(screen: Screen, clock: Clock, is_terminal: bool = False) -> LiveView:
    console = Console(
        file=screen, width=80, height=24, force_terminal=is_terminal,
        force_interactive=is_terminal, _environ={},
    )  # fmt: skip
    return LiveView(
        20, "val/accuracy", "decay", "fmnist-lab sweep decay", console=console, clock=clock
    )
