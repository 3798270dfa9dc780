"""Runs `fmnist-lab sync`: sends what could not be sent to the tracking server before."""

import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.progress import track

from fmnist_lab import tracking
from fmnist_lab.errors import ConnectionLostError


def main() -> None:
    """Sends it, and prints how many runs were sent to which store.

    Raises:
        ConnectionLostError: Some of it could not be sent.
    """
    outcome = tracking.sync(progress=_progress)
    for store, count in outcome.sent.items():
        print(f"{_runs(count)} sent to {store}.")
    if outcome.busy:
        print(f"{_runs(outcome.busy)} left to commands that are running.")
    if outcome.stuck:
        print(f"{_runs(outcome.stuck)} sent, but the run of their sweep is not there yet.")
    if not (outcome.sent or outcome.busy or outcome.stuck or outcome.failed):
        print("Nothing was missing.")
    for store, count in outcome.failed.items():
        print(f"{_runs(count)} not sent to {store}: {outcome.problems[store]}", file=sys.stderr)
    if outcome.failed:
        raise ConnectionLostError("The rest waits in mlruns; give the same command again.")


def _progress(runs: list[Path]) -> Iterable[Path]:
    return track(runs, "Sending", console=Console(stderr=True), transient=True)


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
