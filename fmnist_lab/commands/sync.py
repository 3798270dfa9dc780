"""Runs `fmnist-lab sync`: sends what could not be sent to the tracking server before."""

import sys

from rich.console import Console
from rich.progress import track

from fmnist_lab import tracking
from fmnist_lab.errors import ConnectionLostError
from fmnist_lab.foundation.wording import count
from fmnist_lab.tracking.outbox import PREFIX, UNSENT


def main() -> None:
    """Sends it, and prints how many runs were sent to which store.

    Raises:
        ConnectionLostError: Some of it could not be sent; it says what helps.
    """
    console = Console(stderr=True)
    outcome = tracking.sync(
        progress=lambda runs: track(runs, "Sending", console=console, transient=True)
    )
    for store, runs in outcome.sent.items():
        print(f"{count(runs, 'run')} sent to {store}.")
    if outcome.busy:
        print(f"{count(outcome.busy, 'run')} left to commands that are running.")
    if outcome.stuck:
        print(f"{count(outcome.stuck, 'run')} sent, but the run of their sweep is not there yet.")
    if outcome == tracking.Outcome():
        print("Nothing was missing.")
    for store, runs in outcome.failed.items():
        print(
            f"{count(runs, 'run')} not sent to {store}: {outcome.problems[store]}", file=sys.stderr
        )
    for folder, problem in outcome.refused.items():
        print(f"MLflow refuses the run in {folder}: {problem}", file=sys.stderr)
    remedies = []
    if outcome.failed:
        remedies.append("The rest waits in mlruns; give the same command again.")
    if outcome.refused:
        remedies.append(
            "A refused run waits in its folder: restore it in MLflow if it was deleted there, or "
            f"delete its record, {PREFIX}*{UNSENT}."
        )
    if remedies:
        raise ConnectionLostError(" ".join(remedies))
