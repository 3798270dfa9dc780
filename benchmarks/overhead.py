"""What a trial costs beside its training: a task that does nothing, on two workers.

python -m benchmarks.overhead [--trials 1000]
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

APPLICATION = """
import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path=None)
def main(cfg: DictConfig) -> float:
    return float(cfg.x)


if __name__ == "__main__":
    main()
"""


class Clock:
    """An observer of the sweep that writes down when each trial ends."""

    def __init__(self, file: str) -> None:
        self._file = Path(file)

    def on_trial_end(self, trial: Any) -> None:
        """Adds a line."""
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{time.monotonic()}\n")


def ends(folder: Path, trials: int) -> list[float]:
    """When each trial ended, in seconds of the machine's clock."""
    (folder / "nothing.py").write_text(APPLICATION, encoding="utf-8")
    overrides = [
        "hydra/sweeper=fmnist_lab",
        "hydra/launcher=dask",
        "hydra.launcher.workers=2",
        "+x=interval(0, 1)",
        f"hydra.sweeper.n_trials={trials}",
        f"hydra.sweep.dir={folder / 'sweep'}",
        f"hydra.sweeper.observers=[{{_target_: benchmarks.overhead.Clock, file: {folder}/ends}}]",
    ]
    command = [sys.executable, "-m", "nothing", "-m", *overrides]
    root = str(Path(__file__).parents[1])
    subprocess.run(
        command,
        cwd=folder,
        env={"PYTHONPATH": f"{root}:{folder}", "PATH": ""},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return [float(line) for line in (folder / "ends").read_text().splitlines()]


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    with tempfile.TemporaryDirectory() as folder:
        times = ends(Path(folder), parser.parse_args().trials)
    apart = [later - earlier for earlier, later in itertools.pairwise(times)]
    print("milliseconds per trial (mean, median)")
    for first in range(0, len(apart), 100):
        part = [1000 * seconds for seconds in apart[first : first + 100]]
        print(f"  {first:5} to {first + len(part):5}  {statistics.mean(part):6.1f}"
              f"  {statistics.median(part):6.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
