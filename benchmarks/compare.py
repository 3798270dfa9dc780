"""Times the comparison of a large sweep, and reading its trials against asking MLflow for them.

The trials are invented: 13 strategies, 20 epochs each. MLflow gets fewer of them, in a SQLite
store of its own, because recording takes long; its times are compared trial by trial.

    python -m benchmarks.compare [--trials 10000] [--in-mlflow 1000]
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fmnist_lab import results
from fmnist_lab.commands import compare
from fmnist_lab.results.schema import METRICS

STRATEGIES, EPOCHS = 13, 20
LABELS = {
    "objective_metric": "val/accuracy", "epochs_trained": EPOCHS, "best_epoch": EPOCHS - 1,
    "best_val_loss": 0.3, "best_val_accuracy": 0.9, "delivered_epoch": EPOCHS - 1,
    "parameters": 271346, "seconds": 30.0, "mlflow_run_id": None, "kind": "trial",
    "sweep": "large", "seed": 42, "search": 0, "architecture": "notebook", "clipping": "none",
    "optimizer": "adam", "dataset": "fashion_mnist", "engine": "compiled", "stopping": "none",
}  # fmt: skip


def invent(trials: int) -> Iterator[tuple[dict[str, Any], list[dict[str, float]]]]:
    """Results and curves of trials, some of which diverged."""
    random = np.random.default_rng(0)
    for number in range(trials):
        rate, decay = 10 ** random.uniform(-5, -1), random.uniform(1, 20)
        accuracy = 0.9 - 0.02 * abs(np.log10(rate) + 3) + random.normal(0, 0.002)
        lost = rate > 0.05
        strategy = f"schedule_{number % STRATEGIES}"
        result = LABELS | {
            "trial": number, "strategy": strategy, "scheduler": strategy,
            "objective": float("nan") if lost else accuracy,
            "stop_reason": "diverged" if lost else "completed",
            "overrides": [f"optimizer.learning_rate={rate}", f"scheduler.decay_epochs={decay}",
                          f"scheduler={strategy}", f"strategy={strategy}"],
        }  # fmt: skip
        values = accuracy - 0.1 * np.exp(-np.arange(EPOCHS) / 4)
        curve = [
            {"epoch": epoch} | {name: float(value) for name in METRICS}
            for epoch, value in enumerate(values)
        ]
        yield result, curve


def leave(root: Path, trials: int) -> None:
    """Writes a folder for each trial, as training leaves it."""
    for result, curve in invent(trials):
        folder = root / "sweeps/large/trials" / str(result["trial"])
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(result, indent=2))
        (folder / "curves.jsonl").write_text("".join(json.dumps(line) + "\n" for line in curve))


def record(uri: str, trials: int) -> tuple[Any, str]:
    """Records as many trials in MLflow; the client and the experiment."""
    import mlflow
    from mlflow.entities import Metric, Param, RunTag

    client = mlflow.MlflowClient(uri)
    experiment = client.create_experiment("large")
    for result, curve in invent(trials):
        run = client.create_run(experiment)
        points = [
            Metric(name, line[name], 0, int(line["epoch"])) for line in curve for name in METRICS
        ]
        params = [Param(*override.split("=")) for override in result["overrides"]]
        tags = [RunTag(key, str(value)) for key, value in result.items() if key in LABELS]
        client.log_batch(run.info.run_id, metrics=points, params=params, tags=tags)
    return client, experiment


def curves_of(client: Any, experiment: str) -> int:
    """Asks MLflow for every run's curves; the number of points."""
    found = 0
    token = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        found += sum(
            len(client.get_metric_history(run.info.run_id, name))
            for run in page
            for name in METRICS
        )
        token = page.token
        if not token:
            return found


def timed(function: Callable[..., object], *arguments: object) -> float:
    """Wall-clock seconds of a call."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def main() -> None:
    """Runs the benchmark from the command line, in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--in-mlflow", type=int, default=1_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        leave(Path("mlruns"), given.trials)
        before = time.process_time()
        whole = timed(compare.main, "large")
        cpu = time.process_time() - before
        trials = timed(results.trials, "large") / given.trials
        curves = timed(results.curves, "large") / given.trials
        print(f"\n{given.trials} trials compared in {whole:.1f} s, imports and report included")
        print(f"(on a processor for {cpu:.1f} s)")
        if not given.in_mlflow:
            return
        import mlflow

        uri = f"sqlite:///{folder}/mlflow.db"
        client, experiment = record(uri, given.in_mlflow)
        mlflow.set_tracking_uri(uri)
        asked = timed(lambda: mlflow.search_runs([experiment], max_results=given.in_mlflow))
        history = timed(curves_of, client, experiment)
    for name, ours, theirs in (("trials", trials, asked), ("curves", curves, history)):
        per_trial = theirs / given.in_mlflow
        print(
            f"{name}: {1e3 * ours:.3f} ms per trial from the folders, {1e3 * per_trial:.3f} ms "
            f"from MLflow, {per_trial / ours:.1f} times as long"
        )


if __name__ == "__main__":
    main()
