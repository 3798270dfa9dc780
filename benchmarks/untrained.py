"""Trials that are not trained, for sweeps whose size is what is measured.

Two processes take the workers' place. They leave what a trial leaves, its place in the study and
its run in MLflow included, by the same code; only the curve is invented, and a log and
Hydra's files are copies of those of a trial that was trained.
"""

import multiprocessing
import queue
import random
import shlex
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from fmnist_lab import config
from fmnist_lab.config import TrackingConfig
from fmnist_lab.launcher import stream
from fmnist_lab.sweeper import current_trial
from fmnist_lab.sweeper.job import Channel, RecordedTask
from fmnist_lab.tracking import MlflowTracker
from fmnist_lab.training import engines, runner
from fmnist_lab.training.engines import Metrics, OnEpoch, Outcome, building
from fmnist_lab.trial import Labels, StopReason, Trial

WORKERS = 2


def take_over() -> None:
    """From now on the launcher of this process gives its jobs to such processes."""
    stream.open_stream = _open  # type: ignore[assignment]


def _open(settings: Any, context: Any, task: RecordedTask, cfg: Any) -> "Untrained":
    return Untrained(task.channel, Path(cfg.hydra.sweep.dir).absolute() / "trials")


class Untrained:
    """Stands in for `fmnist_lab.launcher.stream.JobStream`."""

    slots = WORKERS
    closed = False

    def __init__(self, channel: Channel, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(WORKERS, mp_context=context)
        self._channel, self._folder = channel, folder
        self._ended: queue.SimpleQueue[tuple[int, list[str], Future[float]]] = queue.SimpleQueue()

    def submit(self, overrides: Sequence[str], job_idx: int) -> None:
        """Takes a job."""
        given = [item for item in overrides if not item.startswith("hydra")]
        future = self._pool.submit(leave, self._channel, self._folder, job_idx, given)
        future.add_done_callback(lambda future: self._ended.put((job_idx, given, future)))

    def next_result(self, timeout: float | None = None) -> tuple[int, JobReturn] | None:
        """Waits for the next job that ends."""
        try:
            number, given, future = self._ended.get(timeout=timeout)
        except queue.Empty:
            return None
        returned = JobReturn(overrides=given, status=JobStatus.COMPLETED)
        returned.return_value = future.result()
        return number, returned

    def cancel_all(self) -> None:
        """Drops waiting jobs."""
        self._pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Ends the processes."""
        self._pool.shutdown()
        self.closed = True


def leave(channel: Channel, folder: Path, number: int, given: Sequence[str]) -> float:
    """Leaves in folder, study and MLflow what a trial leaves; its objective."""
    mine = folder / str(number)
    shutil.copytree(folder / "0" / ".hydra", mine / ".hydra")
    shutil.copy(folder / "0" / "train.log", mine)
    hydra = {"job": {"num": number}, "runtime": {"output_dir": str(mine)}}
    HydraConfig.instance().cfg = OmegaConf.create({"hydra": hydra})  # type: ignore[assignment]
    task: Callable[[Any], float] = partial(_record, mine, number, given)
    return float(RecordedTask(task, channel)(None))


def _record(folder: Path, number: int, given: Sequence[str], cfg: None) -> float:
    values = dict(item.split("=", 1) for item in given)
    overrides = [item for item in given if not item.startswith("tracking.parent=")]
    chosen = values["strategy"]
    trial = _suggested(_composed(tuple(item for item in overrides if _is_fixed(item))), values)
    labels = Labels(
        kind="trial", sweep="demo", strategy=chosen, trial=number, seed=trial.seed,
        architecture="mlp", scheduler=chosen, clipping="none", optimizer="adam",
        dataset="synthetic", engine="compiled",
    )  # fmt: skip
    engines.get = lambda name: _invent
    building.count_parameters = lambda trial, dataset=None: 12730
    command = shlex.join(["fmnist-lab", "train", *overrides])
    tracker = MlflowTracker(TrackingConfig(parent=values["tracking.parent"].strip("'")), command)
    return runner.run(trial, labels, folder, tracker, _tell, overrides).objective


def _is_fixed(override: str) -> bool:
    return not override.startswith(("optimizer.", "scheduler."))


@cache
def _composed(overrides: tuple[str, ...]) -> Trial:
    return config.to_trial(config.compose(list(overrides)))


def _suggested(trial: Trial, values: dict[str, str]) -> Trial:
    """The trial with what was suggested, without the 50 ms that Hydra takes to compose it."""
    nodes = {"optimizer": dict(trial.optimizer), "scheduler": dict(trial.scheduler)}
    for key, value in values.items():
        node, _, name = key.partition(".")
        if node in nodes and name:
            nodes[node][name] = float(value)
    return replace(trial, optimizer=nodes["optimizer"], scheduler=nodes["scheduler"])


def _tell(epoch: int, metrics: Metrics) -> bool:
    trial = current_trial()
    assert trial is not None
    trial.report(metrics["val/accuracy"], epoch)
    return True


def _invent(trial: Trial, dataset: Any, on_epoch: OnEpoch, checkpoint: Any) -> Outcome:
    """One epoch that takes no time."""
    reached = random.random()
    rate = float(trial.optimizer["learning_rate"])
    on_epoch(0, {
        "train/loss": 1 - reached, "train/accuracy": reached, "val/loss": 1 - reached,
        "val/accuracy": reached, "opt/learning_rate": rate, "opt/grad_norm": 1 + reached,
        "opt/clipped_fraction": 0.0, "time/epoch_seconds": 0.01,
    })  # fmt: skip
    return Outcome(StopReason.COMPLETED, 0, [])
