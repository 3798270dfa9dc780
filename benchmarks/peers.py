"""Times whole sweeps of this project and of its peers, in turns, with the same work.

16 trials of 5 epochs on the full data, the notebook's network, Adam, a search over rate and decay
by the tool's own sampler, two workers, curves in MLflow's SQLite store, which each finds ready.
From the start of the command to its end: seconds, processor seconds, and the largest memory of all
its processes (pages that they share are counted once; a sample each half second). A peer's
environment has the newest releases; its file `ready` lists them.

    python -m benchmarks.peers [--rounds 3] [--batch 32 128] [--only ours jax] [--out FILE]

Each run is a line of FILE as soon as it ends. The same command goes on where an ended one stopped.
"""

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from fmnist_lab import data

WORKERS = 2
ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "benchmarks" / "peer_scripts"
ENVIRONMENTS = ROOT / ".peers"  # `.cache` belongs to `make docs`, which empties it


class NotInstalledError(Exception):
    """A peer's packages cannot be had here; the message is the client's."""


@dataclass(frozen=True)
class Work:
    """What each tool has to do."""

    batch: int
    trials: int
    epochs: int


@dataclass(frozen=True)
class Cost:
    """What a whole command took."""

    seconds: float
    processor: float  # seconds
    memory: float  # MB


@dataclass(frozen=True)
class Peer:
    """A script in an environment of its own, run by one process for each entry of `cores`."""

    script: str
    packages: Sequence[str]
    cores: Sequence[str] = tuple(map(str, range(WORKERS)))

    def environment(self) -> Path:
        """Makes it once; returns its Python.

        Raises:
            NotInstalledError: A package cannot be installed.
        """
        folder = ENVIRONMENTS / self.script
        python, ready = folder / "bin" / "python", folder / "ready"
        if not ready.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            pip = [str(python), "-m", "pip", "--quiet"]
            packages = [*self.packages, "optuna", "mlflow", "numpy"]
            install = [*pip, "install", *packages]
            done = subprocess.run(install, stderr=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                raise NotInstalledError(done.stderr)
            ready.write_bytes(subprocess.check_output([*pip, "freeze"]))
        return python

    def run(self, folder: Path, work: Work) -> tuple[Cost, Path]:
        """Runs the trials in an empty folder; returns the cost and the store."""
        python, store, arrays = self.environment(), folder / "mlflow.db", folder / "data.npz"
        write_data(arrays)
        create_store(str(python), store)
        command = [str(python), str(SCRIPTS / f"{self.script}.py"), "--data", str(arrays)]
        command += ["--folder", str(folder), "--mlflow", f"sqlite:///{store}"]
        command += [f"--{key}={value}" for key, value in asdict(work).items()]
        command += [f"--workers={WORKERS}"]
        pinned = [
            ["taskset", "--cpu-list", cores, *command, f"--process={number}"]
            for number, cores in enumerate(self.cores)
        ]
        one_thread = dict.fromkeys(
            ("NPROC", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
        )
        kept = {"JAX_COMPILATION_CACHE_DIR": str(ENVIRONMENTS / "programs"),
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}  # fmt: skip
        return measure(pinned, folder, one_thread | kept), store


def ours(folder: Path, work: Work) -> tuple[Cost, Path]:
    """Runs `fmnist-lab sweep` with all trials on its exponential schedule."""
    store = folder / "mlruns" / "mlflow.db"
    store.parent.mkdir()
    create_store(sys.executable, store)
    left_out = [f"~hydra.sweeper.strategies.{name}" for name in ("constant", "cosine", "one_cycle")]
    task = [f"training.epochs={work.epochs}", f"training.batch_size={work.batch}"]
    command = [sys.executable, "-m", "fmnist_lab", "sweep", "demo", *left_out, *task]
    command += ["scheduler.update=step", f"hydra.sweeper.n_trials={work.trials}"]
    command += ["hydra/sweeper/sampler=tpe", "replicates=0"]
    return measure([command], folder, {"PYTHONPATH": str(ROOT)}), store


ALL_CORES = ",".join(map(str, range(WORKERS)))
# Releases that a plain name does not bring: PyTorch without CUDA, which pip prefers where it finds
# a wheel `+cpu` of the same release, and Hydra's plugins for the Optuna of today.
TORCH = "torch==2.13.0"
HYDRA = ["hydra-optuna-sweeper>=1.4.0rc3", "hydra-joblib-launcher>=1.4.0rc3"]
ROWS: dict[str, Callable[[Path, Work], tuple[Cost, Path]]] = {
    "ours": ours,
    "jax": Peer("by_hand_jax", ["jax", "optax"]).run,
    "torch": Peer("optuna_torch", [TORCH]).run,
    "ray": Peer("ray_tune", ["ray[tune]", TORCH], [ALL_CORES]).run,
    "hydra": Peer("hydra_keras", [*HYDRA, "tensorflow"], [ALL_CORES]).run,
    "keras": Peer("optuna_keras", ["tensorflow"]).run,
    "tuner": Peer("tuner_keras", ["keras-tuner", "tensorflow"], ["0", "1", ALL_CORES]).run,
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


def require_whole(store: Path, work: Work) -> None:
    """Raises `RuntimeError` unless as many runs as asked have as many epochs."""
    query = """select count(distinct step) from metrics where key = 'val/accuracy'
               group by run_uuid"""
    with sqlite3.connect(store) as connection:
        epochs = [row[0] for row in connection.execute(query)]
    if epochs != [work.epochs] * work.trials:
        raise RuntimeError(f"{store} has runs of {epochs} epochs instead of {work}.")


@dataclass(frozen=True)
class Turn:
    """A row's turn in a round; round 0 fills all caches, and does not count."""

    row: str
    round: int
    work: Work

    def take(self) -> Cost:
        """Runs the row in a folder of its own."""
        with tempfile.TemporaryDirectory() as folder:
            cost, store = ROWS[self.row](Path(folder), self.work)
            require_whole(store, self.work)
        return cost


def read(path: Path) -> dict[Turn, Cost]:
    """The turns that a file has, which need not exist."""
    lines = path.read_text().splitlines() if path.exists() else []
    found = {}
    for turn, cost in map(json.loads, lines):
        found[Turn(turn["row"], turn["round"], Work(**turn["work"]))] = Cost(**cost)
    return found


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--out", type=Path, help="a new file in .peers by default")
    asked = parser.parse_args()
    out = asked.out or ENVIRONMENTS / f"{datetime.now():%Y-%m-%d-%H-%M-%S}.jsonl"
    out.parent.mkdir(parents=True, exist_ok=True)
    print(f"Results are in {out}.", flush=True)
    rows, costs = list(asked.only), read(out)
    for batch in asked.batch:
        work = Work(batch, asked.trials, asked.epochs)
        for number in range(asked.rounds + 1):
            for row in list(rows):
                turn = Turn(row, number, work)
                if turn in costs:
                    continue
                try:
                    costs[turn] = turn.take()
                except NotInstalledError as error:
                    print(f"{row} is left out: {error}", flush=True)
                    rows.remove(row)
                    continue
                with out.open("a") as file:
                    file.write(json.dumps([asdict(turn), asdict(costs[turn])]) + "\n")
                print(turn, costs[turn], flush=True)
        if asked.rounds:
            show(costs, rows, asked.rounds, work)


def show(costs: dict[Turn, Cost], rows: Sequence[str], rounds: int, work: Work) -> None:
    """Prints a row's medians, and the median of its ratios to ours, each of the same round."""
    print(f"\n{work}, medians of {rounds} rounds: s, processor s, MB, ratio to ours")
    for row in rows:
        found = [costs[Turn(row, number + 1, work)] for number in range(rounds)]
        middle = map(statistics.median, zip(*map(astuple, found), strict=True))
        line = "  {:8} {:7.1f} {:7.1f} {:7.0f}".format(row, *middle)
        if "ours" in rows:
            mine = [costs[Turn("ours", number + 1, work)] for number in range(rounds)]
            pairs = zip(found, mine, strict=True)
            line += f"  {statistics.median(cost.seconds / own.seconds for cost, own in pairs):.2f}x"
        print(line)


if __name__ == "__main__":
    main()
