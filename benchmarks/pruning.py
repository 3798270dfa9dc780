"""What pruning saves, and what it costs: a sweep with and without it, on real data.

    python -m benchmarks.pruning [FOLDER]

Forty trials of one strategy, spread by a Sobol sequence, with and without Optuna's median pruner,
for three seeds. What was stopped is continued, and results stay in FOLDER.
"""

import subprocess
import sys
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from fmnist_lab import results

TRIALS, EPOCHS, SEEDS = 40, 20, (0, 1, 2)
PRUNERS = {
    "none": ["hydra/sweeper/pruner=none"],
    "median": ["hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_warmup_steps=3"],
}
COMMON = [
    "scheduler=exponential",
    "optimizer.learning_rate=tag(log, interval(3e-5, 3e-2))",
    f"scheduler.decay_epochs=tag(log, interval({0.3 * EPOCHS}, {5 * EPOCHS}))",
    f"training.epochs={EPOCHS}",
    "training.batch_size=128",
    "tracking=none",
    "hydra/launcher=dask",
    "hydra/sweeper=fmnist_lab",
    "hydra/sweeper/sampler=sobol",
    "hydra.sweeper.direction=maximize",
    f"hydra.sweeper.n_trials={TRIALS}",
]


def main() -> None:
    """Runs the six sweeps and prints a row per seed."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "mlruns/benchmarks/pruning").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS:
        for pruner, chosen in PRUNERS.items():
            where = f"hydra.sweep.dir={_sweep(folder, pruner, seed)}"
            asked = [*COMMON, *chosen, f"hydra.sweeper.sampler.seed={seed}", where]
            command = [sys.executable, "-m", "fmnist_lab", "train", "-m", *asked]
            subprocess.run(command, check=True, cwd=folder)
    Console().print(_table(folder))


def _sweep(folder: Path, pruner: str, seed: int) -> Path:
    return folder / "mlruns" / "multirun" / f"{pruner}-{seed}"


def _table(folder: Path) -> Table:
    table = Table(title=f"{TRIALS} trials of at most {EPOCHS} epochs, with and without pruning")
    for heading in ("seed", "epochs", "with pruning", "share", "best", "with pruning", "lost"):
        table.add_column(heading, justify="right")
    for seed in SEEDS:
        whole, pruned = (_trials(folder, pruner, seed) for pruner in PRUNERS)
        epochs = [int(frame["epochs_trained"].sum()) for frame in (whole, pruned)]
        best = [float(frame["objective"].max()) for frame in (whole, _completed(pruned))]
        table.add_row(
            str(seed),
            str(epochs[0]),
            str(epochs[1]),
            f"{epochs[1] / epochs[0]:.0%}",
            f"{best[0]:.4f}",
            f"{best[1]:.4f}",
            f"{best[0] - best[1]:+.4f}",
        )
    return table


def _trials(folder: Path, pruner: str, seed: int) -> pd.DataFrame:
    name = _sweep(folder, pruner, seed).name
    return results.trials(results.folders(name, folder / "mlruns"))


def _completed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["stop_reason"] == "completed"]


if __name__ == "__main__":
    main()
