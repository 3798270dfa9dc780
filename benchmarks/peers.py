"""Times whole sweeps of this project and of its peers, in turns, with the same work.

16 trials of 5 epochs on the full data, the notebook's network, Adam, TPE over rate and decay, two
workers, curves in MLflow's SQLite store, which each finds ready. From the start of the command to
its end: seconds, processor seconds, and the largest memory of all its processes (pages that they
share are counted once; a sample each half second). A peer's environment has the newest releases.

    python -m benchmarks.peers [--rounds 3] [--batch 32 128] [--only ours jax keras]
"""

import argparse
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist_lab import data

TRIALS, EPOCHS, PROCESSES = 16, 5, 2
ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "benchmarks" / "peer_scripts"
ENVIRONMENTS = ROOT / ".cache" / "peers"


@dataclass(frozen=True)
class Cost:
    """What a whole command took."""

    seconds: float
    processor: float  # seconds
    memory: float  # MB


@dataclass(frozen=True)
class Peer:
    """A script in an environment of its own, run by as many processes, each pinned to a core."""

    script: str
    packages: Sequence[str]

    def environment(self) -> Path:
        """Makes it once; returns its Python."""
        folder = ENVIRONMENTS / self.script
        python = folder / "bin" / "python"
        if not (folder / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            install = [str(python), "-m", "pip", "install", "--quiet", *self.packages]
            subprocess.run([*install, "optuna", "mlflow", "numpy"], check=True)
            (folder / "ready").touch()
        return python

    def run(self, folder: Path, batch: int) -> tuple[Cost, Path]:
        """Runs the trials in an empty folder; returns the cost and the store."""
        python, store, arrays = self.environment(), folder / "mlflow.db", folder / "data.npz"
        write_data(arrays)
        create_store(str(python), store)
        command = [str(python), str(SCRIPTS / f"{self.script}.py"), "--data", str(arrays)]
        command += ["--study", str(folder / "study.journal"), "--mlflow", f"sqlite:///{store}"]
        command += ["--batch", str(batch), "--epochs", str(EPOCHS)]
        command += ["--trials", str(TRIALS // PROCESSES)]
        pinned = [
            ["taskset", "--cpu-list", str(core), *command, "--seed", str(core)]
            for core in range(PROCESSES)
        ]
        one_thread = dict.fromkeys(
            ("NPROC", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
        )
        kept = {"JAX_COMPILATION_CACHE_DIR": str(ENVIRONMENTS / "programs"),
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}  # fmt: skip
        return measure(pinned, folder, one_thread | kept), store


def ours(folder: Path, batch: int) -> tuple[Cost, Path]:
    """Runs `fmnist-lab sweep` with all trials on its exponential schedule."""
    store = folder / "mlruns" / "mlflow.db"
    store.parent.mkdir()
    create_store(sys.executable, store)
    left_out = [f"~hydra.sweeper.strategies.{name}" for name in ("constant", "cosine", "one_cycle")]
    task = [f"training.epochs={EPOCHS}", f"training.batch_size={batch}", "scheduler.update=step"]
    command = [sys.executable, "-m", "fmnist_lab", "sweep", "demo", *left_out, *task]
    command += [f"hydra.sweeper.n_trials={TRIALS}", "hydra/sweeper/sampler=tpe", "replicates=0"]
    return measure([command], folder, {"PYTHONPATH": str(ROOT)}), store


ROWS: dict[str, Callable[[Path, int], tuple[Cost, Path]]] = {
    "ours": ours,
    "jax": Peer("by_hand_jax", ["jax", "optax"]).run,
    "keras": Peer("optuna_keras", ["tensorflow"]).run,
}


def write_data(path: Path) -> None:
    """Writes training and validation images and labels as arrays."""
    found = data.load(data.DataConfig())
    parts = ("train_images", "train_labels", "val_images", "val_labels")
    np.savez(path, **{part: getattr(found, part) for part in parts})


def create_store(python: str, path: Path) -> None:
    """Makes MLflow's database, which takes seconds and is none of what is timed."""
    code = f"import mlflow; mlflow.set_tracking_uri('sqlite:///{path}'); "
    code += "mlflow.set_experiment('peers')"
    subprocess.run([python, "-c", code], check=True, capture_output=True)


def measure(commands: Sequence[Sequence[str]], folder: Path, variables: dict[str, str]) -> Cost:
    """Runs commands side by side until the last one ends.

    Raises:
        RuntimeError: One of them fails.
    """
    start = time.perf_counter()
    with (folder / "output.txt").open("w") as output:
        started = [
            subprocess.Popen(command, cwd=folder, env=os.environ | variables, stdout=output,
                             stderr=subprocess.STDOUT)
            for command in commands
        ]  # fmt: skip
        highest, ended, used = [0.0], threading.Event(), dict[int, float]()
        watch = threading.Thread(target=_watch, args=(started, highest, used, ended))
        watch.start()
        codes = [process.wait() for process in started]
    seconds = time.perf_counter() - start
    ended.set()
    watch.join()
    if any(codes):
        raise RuntimeError((folder / "output.txt").read_text())
    return Cost(seconds, sum(used.values()), highest[0])


def _watch(
    started: Sequence[subprocess.Popen[bytes]],
    highest: list[float],
    used: dict[int, float],
    ended: threading.Event,
) -> None:
    """Notes the memory of all processes, and the processor time of each as it was seen last.

    Not `getrusage`: it does not know a sweep's workers, which are no children of the command.
    """
    while not ended.wait(0.5):
        pids = [pid for process in started for pid in _family(process.pid)]
        highest[0] = max(highest[0], sum(map(_proportional_mb, pids)))
        used |= {pid: max(_processor_seconds(pid), used.get(pid, 0.0)) for pid in pids}


def _family(pid: int) -> Iterator[int]:
    """A process and all below it, as far as they live."""
    yield pid
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [
            int(word) for path in threads for word in (path / "children").read_text().split()
        ]
    except OSError:
        return
    for child in children:
        yield from _family(child)


def _proportional_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000


def _processor_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def require_whole(store: Path) -> None:
    """Raises `RuntimeError` unless as many runs as asked have as many epochs."""
    query = """select count(distinct step) from metrics where key = 'val/accuracy'
               group by run_uuid"""
    with sqlite3.connect(store) as connection:
        epochs = [row[0] for row in connection.execute(query)]
    if epochs != [EPOCHS] * TRIALS:
        raise RuntimeError(f"{store} has runs of {epochs} epochs, not {TRIALS} of {EPOCHS}.")


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--only", nargs="+", choices=list(ROWS), default=list(ROWS))
    asked = parser.parse_args()
    for batch in asked.batch:
        costs: dict[str, list[Cost]] = {name: [] for name in asked.only}
        for number in range(asked.rounds + 1):  # the first fills all caches, and does not count
            for name in asked.only:
                with tempfile.TemporaryDirectory() as folder:
                    cost, store = ROWS[name](Path(folder), batch)
                    require_whole(store)
                counts = "counts" if number else "does not count"
                print(f"batch {batch}, {name}: {cost}, {counts}", flush=True)
                if number:
                    costs[name].append(cost)
        print(f"\nBatch {batch}, medians of {asked.rounds} rounds: s, processor s, MB, ratio")
        own = costs.get("ours", [])
        for name, found in costs.items():
            middle = [
                statistics.median(values) for values in zip(*map(_numbers, found), strict=True)
            ]
            ratio = statistics.median(
                cost.seconds / mine.seconds for cost, mine in zip(found, own or found, strict=True)
            )
            print(f"  {name:8} {middle[0]:7.1f} {middle[1]:7.1f} {middle[2]:7.0f}  {ratio:4.2f}x")


def _numbers(cost: Cost) -> tuple[float, float, float]:
    return cost.seconds, cost.processor, cost.memory


if __name__ == "__main__":
    main()
