"""The default engine: one XLA program per epoch, kept between trials of the same shape."""

import time

from fmnist_lab import scheduling
from fmnist_lab.data import Dataset
from fmnist_lab.engines.base import OnEpoch, Outcome, batch_order, steps_per_epoch, stop_reason
from fmnist_lab.engines.program import Program, program_for
from fmnist_lab.stopping import EarlyStopping, diverged
from fmnist_lab.trial import Trial


def train(trial: Trial, dataset: Dataset, on_epoch: OnEpoch) -> Outcome:
    """Trains one trial; see `Engine` for the contract."""
    scheduler = scheduling.build(trial.scheduler)
    stopping = EarlyStopping(trial.stopping)
    program = program_for(trial, dataset)
    best_weights = None
    for epoch in range(trial.training.epochs):
        metrics = _train_epoch(program, trial, dataset, scheduler, epoch)
        early = stopping.observe(epoch, metrics)
        if stopping.restores and stopping.best_epoch == epoch:
            best_weights = program.model.get_weights()
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
    assert reason is not None  # the last epoch has one
    if best_weights is not None and stopping.best_epoch is not None:
        return Outcome(reason, stopping.best_epoch, best_weights)
    return Outcome(reason, epoch, program.model.get_weights())


def _train_epoch(
    program: Program, trial: Trial, dataset: Dataset, scheduler: scheduling.Scheduler, epoch: int
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
