"""The default engine: one XLA program per epoch, kept between trials of the same shape."""

import time

from fmnist_lab import schedules
from fmnist_lab.data import Dataset
from fmnist_lab.training.early_stopping import EarlyStopping, diverged
from fmnist_lab.training.engines.base import (
    NOT_KEPT,
    Keeper,
    OnEpoch,
    Outcome,
    batch_order,
    steps_per_epoch,
    stop_reason,
)
from fmnist_lab.training.engines.program import Program, program_for
from fmnist_lab.trial import Trial


def train(trial: Trial, dataset: Dataset, on_epoch: OnEpoch, keeper: Keeper = NOT_KEPT) -> Outcome:
    """Trains one trial; see `Engine` for the contract."""
    scheduler, stopping = schedules.build(trial.scheduler), EarlyStopping(trial.stopping)
    program = program_for(trial, dataset)
    _catch_up(keeper, program, scheduler, stopping, len(dataset.train_labels))
    best = {key: keeper.state[key] for key in keeper.state.keys() & {"best"}}
    for epoch in range(len(keeper.curve), trial.training.epochs):
        metrics = _train_epoch(program, trial, dataset, scheduler, epoch)
        early = stopping.observe(epoch, metrics)
        if stopping.restores and stopping.best_epoch == epoch:
            best["best"] = program.model.get_weights()
        scheduler.observe(epoch, metrics)
        reason = stop_reason(
            diverged=diverged(metrics),
            pruned=not on_epoch(epoch, metrics),
            early=early,
            epoch=epoch,
            epochs=trial.training.epochs,
        )
        if reason:
            break
        keeper.offer(lambda: program.state() | best)
    assert reason is not None  # the last epoch has one
    if best and stopping.best_epoch is not None:
        return Outcome(reason, stopping.best_epoch, list(best["best"]))
    return Outcome(reason, epoch, program.model.get_weights())


def _catch_up(
    keeper: Keeper,
    program: Program,
    scheduler: schedules.Scheduler,
    stopping: EarlyStopping,
    size: int,
) -> None:
    """Puts all to where an earlier attempt was; what watches the curve is shown it again."""
    for epoch, metrics in enumerate(keeper.curve):
        scheduler.learning_rates(epoch, steps_per_epoch(size, program.batch_size))
        stopping.observe(epoch, metrics)
        scheduler.observe(epoch, metrics)
    if keeper.curve:
        program.restore(keeper.state)


def _train_epoch(
    program: Program, trial: Trial, dataset: Dataset, scheduler: schedules.Scheduler, epoch: int
) -> dict[str, float]:
    start = time.perf_counter()
    size = len(dataset.train_labels)
    rates = scheduler.learning_rates(epoch, steps_per_epoch(size, program.batch_size))
    metrics = program.train_epoch(
        dataset.train_images, dataset.train_labels, batch_order(trial.seed, epoch, size), rates
    )
    loss, accuracy = program.evaluate(dataset.val_images, dataset.val_labels)
    return metrics | {
        "val/loss": loss,
        "val/accuracy": accuracy,
        "opt/learning_rate": float(rates[-1]),
        "time/epoch_seconds": time.perf_counter() - start,
    }
