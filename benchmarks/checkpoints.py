"""What a checkpoint costs: time and size of each, against the epochs between two of them.

python -m benchmarks.checkpoints [--epochs 10] [OVERRIDE ...]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fmnist_lab import config, data
from fmnist_lab.config import Config
from fmnist_lab.foundation.threads import threads
from fmnist_lab.training import engines, environment
from fmnist_lab.training.checkpoint import FILE, Attempts, Checkpoint, State, basis
from fmnist_lab.training.engines import Metrics


class Timed(Checkpoint):
    """Writes after every epoch and notes how long that takes."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.seconds: list[float] = []

    def offer(self, state: Callable[[], State]) -> None:
        """Writes the state and the curve."""
        start = time.perf_counter()
        super().offer(state)
        self.seconds.append(time.perf_counter() - start)


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_args()
    trial = config.to_trial(config.compose([f"training.epochs={given.epochs}", *given.overrides]))
    dataset = data.load(trial.data)
    with tempfile.TemporaryDirectory() as folder:
        here = environment.describe() | {"threads": threads()}
        here["data_checksum"] = dataset.checksum
        kept = Timed(Path(folder), basis(trial, here), Attempts(checkpoint_seconds=0))

        def on_epoch(epoch: int, metrics: Metrics) -> bool:
            kept.curve.append(metrics)
            return True

        engines.get(trial.training.engine)(trial, dataset, on_epoch, kept)
        size = (Path(folder) / FILE).stat().st_size
    epoch = statistics.median(line["time/epoch_seconds"] for line in kept.curve[1:])
    write = statistics.median(kept.seconds)
    between = max(Config.checkpoint_seconds or 0.0, epoch)
    print(f"{dataset.name}, {len(dataset.train_labels)} images, {len(kept.seconds)} checkpoints")
    print(f"an epoch      {epoch:9.3f} s (median)")
    print(f"a checkpoint  {write:9.4f} s (median; longest {max(kept.seconds):.4f} s), {size} bytes")
    print(f"after every epoch: {write / epoch:.3%} of the time")
    print(f"every {between:.0f} s, the default: {write / between:.4%} of the time")


if __name__ == "__main__":
    main()
