"""Times a whole sweep against the loop that one would write without this project.

Sixteen trials of five epochs on the full data, the notebook's architecture, from the start of the
command to its end: ours on two workers, and the same trials in `benchmarks.plain_loop`, in one
process and in two that are pinned to a core each. All find a tracking store: to create one takes
seconds, and several plain loops that do so at once would break it.

    python -m benchmarks.sweeps [--rounds 1]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

TRIALS, EPOCHS = 16, 5
LEFT_OUT = ("constant", "cosine", "one_cycle")


def ours(folder: Path) -> float:
    """Seconds of `fmnist-lab sweep demo` with all trials on its exponential schedule."""
    overrides = [f"~hydra.sweeper.strategies.{name}" for name in LEFT_OUT]
    overrides += [f"hydra.sweeper.n_trials={TRIALS}", f"training.epochs={EPOCHS}"]
    overrides += ["scheduler.update=step"]
    command = [sys.executable, "-m", "fmnist_lab", "sweep", "demo", *overrides]
    (folder / "mlruns").mkdir(parents=True)
    _create_store(f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}")
    return timed([command], folder)


def suggestions(folder: Path) -> list[dict[str, Any]]:
    """What our trials were given, in their order."""
    storage = JournalStorage(JournalFileBackend(str(folder / "mlruns/sweeps/demo/study.journal")))
    study = optuna.load_study(study_name="demo/exponential", storage=storage)
    names = {"learning_rate": "optimizer.learning_rate", "decay_epochs": "scheduler.decay_epochs"}
    return [{key: trial.params[name] for key, name in names.items()} for trial in study.trials]


def plain(folder: Path, params: Sequence[dict[str, Any]], processes: int) -> float:
    """Seconds of the plain loop, in one process or in several that are pinned to a core each."""
    folder.mkdir()
    journal = folder / "study.journal"
    storage = JournalStorage(JournalFileBackend(str(journal)))
    study = optuna.create_study(study_name="plain", storage=storage, direction="maximize")
    for given in params:
        study.enqueue_trial(given)
    share = len(params) // processes
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    command = [sys.executable, "-m", "benchmarks.plain_loop", str(journal), uri]
    command += ["--epochs", str(EPOCHS), "--trials", str(share)]
    _create_store(uri)
    if processes == 1:
        return timed([command], folder)
    pinned = [["taskset", "--cpu-list", str(core), *command] for core in range(processes)]
    return timed(pinned, folder, TF_NUM_INTRAOP_THREADS="1", OMP_NUM_THREADS="1")


def timed(commands: Sequence[Sequence[str]], folder: Path, **variables: str) -> float:
    """Seconds from the start of all commands to the end of the last one."""
    path = {"PYTHONPATH": str(Path(__file__).parents[1])}
    start = time.perf_counter()
    with (folder / "output.txt").open("w") as output:
        started = [
            subprocess.Popen(
                command,
                cwd=folder,
                env=os.environ | path | variables,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            for command in commands
        ]
        codes = [process.wait() for process in started]
    seconds = time.perf_counter() - start
    if any(codes):
        raise RuntimeError((folder / "output.txt").read_text())
    return seconds


def _create_store(uri: str) -> None:
    code = f"import mlflow; mlflow.set_tracking_uri({uri!r}); mlflow.set_experiment('plain')"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1)
    rounds = []
    for _ in range(parser.parse_args().rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            row = [ours(folder / "ours")]
            params = suggestions(folder / "ours")
            row += [plain(folder / f"plain-{count}", params, count) for count in (2, 1)]
        rounds.append(row)
        print("  ".join(f"{seconds:.1f} s" for seconds in row), flush=True)
    print(f"\n{TRIALS} trials of {EPOCHS} epochs: median seconds, median ratio")
    names = ("fmnist-lab sweep", "plain loop, two pinned processes", "plain loop, one process")
    for column, name in enumerate(names):
        own = statistics.median(row[column] for row in rounds)
        ratio = statistics.median(row[column] / row[0] for row in rounds)
        print(f"  {name:34} {own:7.1f} s  {ratio:4.1f}x")


if __name__ == "__main__":
    main()
