"""Measures which share of a trial its recording takes: MLflow, the picture, the files.

One trial trains first, so that imports, the store's creation and compilation are not counted;
the second one is measured, every call of the tracker and of the picture on its own clock. What
the sender does beside the training is measured in seconds of its thread's processor time.

    python -m benchmarks.tracking [--epochs 20]
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fmnist_lab import config
from fmnist_lab.tracking import MlflowTracker
from fmnist_lab.tracking.outbox import Record
from fmnist_lab.training import plots, runner
from fmnist_lab.trial import Labels, Trial

LABELS = Labels(
    kind="trial", sweep=None, strategy="constant", trial=0, seed=42, architecture="notebook",
    scheduler="constant", clipping="none", optimizer="adam", dataset="fashion_mnist",
    engine="compiled",
)  # fmt: skip


def clocked(
    function: Callable[..., Any],
    spent: dict[str, float],
    clock: Callable[[], float] = time.perf_counter,
) -> Callable[..., Any]:
    """The function, its seconds added up under its name."""

    def call(*arguments: Any) -> Any:
        start = clock()
        try:
            return function(*arguments)
        finally:
            name = function.__name__
            spent[name] = spent.get(name, 0.0) + clock() - start

    return call


def run(trial: Trial, folder: Path) -> tuple[dict[str, float], float]:
    """Seconds spent in each call of the recording, and in the whole trial."""
    folder.mkdir(parents=True)
    spent: dict[str, float] = {}
    tracker = MlflowTracker(config.TrackingConfig(), "fmnist-lab train")
    for name in ("start", "log", "finish"):
        setattr(tracker, name, clocked(getattr(tracker, name), spent))
    draw, plots.save_trial = plots.save_trial, clocked(plots.save_trial, spent)
    send = Record.send
    Record.send = clocked(send, spent, time.thread_time)  # type: ignore[method-assign]
    start = time.perf_counter()
    try:
        runner.run(trial, LABELS, folder, tracker)
    finally:
        plots.save_trial, Record.send = draw, send  # type: ignore[method-assign]
    return spent, time.perf_counter() - start


def main() -> None:
    """Runs the benchmark from the command line, in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    epochs = parser.parse_args().epochs
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        run(config.to_trial(config.compose(["training.epochs=1"])), Path("warm"))
        trial = config.to_trial(config.compose([f"training.epochs={epochs}"]))
        spent, total = run(trial, Path("measured"))
    print(f"A trial of {epochs} epochs took {total:.1f} s, of which")
    for name, seconds in spent.items():
        print(f"  {name:12} {seconds * 1000:6.0f} ms")
    whole = sum(spent.values()) - spent["send"]
    print(f"  in all       {whole * 1000:6.0f} ms = {whole / total:.2%}, without the sender's")


if __name__ == "__main__":
    main()
