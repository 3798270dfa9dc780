"""Shows how a sweep and its MLflow store grow: the demo's strategies with thousands of tiny trials.

The command is the one that a user gives, on drawn images, with everything that it records; this
process is its controller. Processor time says more than the clock on a machine that has other
work: `ask` and `tell` are what the controller's main thread spends in the study, `controller` is
all that its process does in the meantime, the sending of the sweep's own run included.

    python -m benchmarks.scale [--untrained] [--trials 10000] [--part 1000] [--folder FOLDER]
"""

import argparse
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from benchmarks import untrained
from fmnist_lab.commands import sweep
from fmnist_lab.sweeper.strategy import Strategy
from fmnist_lab.tracking.outbox import unsent

STRATEGIES = 4
TINY = (
    "data=synthetic", "data.train_size=320", "data.val_size=100", "architecture=mlp",
    "architecture.hidden_sizes=[16]", "training.epochs=1", "training.batch_size=32",
)  # fmt: skip
FOLDER = Path("mlruns/sweeps/demo")
HEADER = "trials   ms/trial   ask    tell   controller   workers   memory   not sent yet"


class Meter:
    """Puts clocks around what asks and tells, and writes a line for each part of a sweep."""

    def __init__(self, part: int) -> None:
        self._part = part
        self._spent: dict[str, list[float]] = {"ask": [], "conclude": []}
        self._ends: list[float] = []
        self._told = 0
        self._process = psutil.Process()
        self._mark = self._cpu()

    def attach(self) -> None:
        """Starts to measure."""
        for name in self._spent:
            setattr(Strategy, name, self._clocked(getattr(Strategy, name)))

    def _clocked(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            start = time.thread_time()
            returned = method(*arguments)
            self._spent[method.__name__].append(time.thread_time() - start)
            if method.__name__ == "conclude":
                self._ends.append(time.monotonic())
                if len(self._ends) > self._part:
                    self._report()
            return returned

        return call

    def _report(self) -> None:
        apart = [
            later - earlier for earlier, later in zip(self._ends, self._ends[1:], strict=False)
        ]
        self._told += len(apart)
        own, workers = (now - then for now, then in zip(self._cpu(), self._mark, strict=True))
        ask, tell = map(statistics.median, self._spent.values())
        per_trial = (statistics.median(apart), ask, tell, own / len(apart), workers / len(apart))
        clock, ask, tell, own, workers = (1000 * seconds for seconds in per_trial)
        memory = self._process.memory_info().rss / 2**20
        missing = sum(1 for _ in unsent(FOLDER / "trials"))
        say(f"{self._told:6}   {clock:8.1f}   {ask:4.1f}   {tell:4.1f}   {own:10.1f}   "
            f"{workers:7.1f}   {memory:4.0f} MB   {missing:12}")  # fmt: skip
        self._ends = self._ends[-1:]
        for values in self._spent.values():
            values.clear()
        self._mark = self._cpu()

    def _cpu(self) -> tuple[float, float]:
        """Seconds of this process, and of those below it that live."""
        below = 0.0
        for process in self._process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                below += sum(process.cpu_times()[:2])
        return time.process_time(), below


def say(line: str) -> None:
    """Prints beside what the sweep prints, which goes elsewhere."""
    print(line, file=sys.__stdout__, flush=True)


def run(given: argparse.Namespace) -> None:
    """Runs the sweep in the working directory."""
    sweep.load()
    with Path("sweep.out").open("w", encoding="utf-8") as out, contextlib.redirect_stdout(out):
        if given.untrained:  # but for one trial of each strategy
            _run_to(STRATEGIES)
            untrained.take_over()
        say(f"{HEADER}\n{'':9}median     {'processor ms for each trial':44}in MLflow")
        Meter(given.part).attach()
        _run_to(given.trials)


def _run_to(trials: int) -> None:
    sweep.main("demo", [*TINY, f"hydra.sweeper.n_trials={trials // STRATEGIES}"])


def compare() -> None:
    """Times `fmnist-lab compare` of the sweep."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "fmnist_lab", "compare", "demo"]
    with Path("compare.out").open("w", encoding="utf-8") as out:
        subprocess.run(command, check=True, stdout=out)
    seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    say(f"\nfmnist-lab compare: {seconds:.1f} s, of which {cpu:.1f} s on a processor")


def sizes(trials: int) -> None:
    """Says what the sweep takes on the disk."""
    say("\non disk          MB   KB per trial    files")
    for path in (FOLDER / "study.journal", FOLDER / "trials", Path("mlruns/mlflow.db"),
                 Path("mlruns/artifacts"), Path("mlruns")):  # fmt: skip
        files = [file for file in (path, *path.rglob("*")) if not file.is_symlink()]
        size = sum(file.stat().st_blocks * 512 for file in files)
        count = sum(file.is_file() for file in files)
        say(f"{path.name:14} {size / 1e6:7.1f}   {size / 1e3 / trials:11.1f}   {count:6}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark from the command line, in a temporary folder or in a given one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--part", type=int, default=1000, help="trials for each line")
    parser.add_argument("--untrained", action="store_true", help="leave what trials leave, only")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args(arguments)
    root = str(Path(__file__).parents[1])
    os.environ["PYTHONPATH"] = root
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
        run(given)
        compare()
        sizes(given.trials)


if __name__ == "__main__":
    main()
