"""Times epochs of the compiled engine against `model.fit`, as a user would call it.

Each round times one epoch, validation included, of: the compiled engine, stock `model.fit`
on float arrays, and `model.fit` with `steps_per_execution=100`. Rounds alternate, so that a
machine whose speed drifts slows all three; what counts is the median of each round's ratios.

    python -m benchmarks.epochs [--rounds 7]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fmnist_lab import config, data
from fmnist_lab.training.engines.backend import import_tensorflow
from fmnist_lab.training.engines.building import build_loss, build_model, build_optimizer
from fmnist_lab.training.engines.compiled import program_for
from fmnist_lab.training.engines.engine import batch_order, steps_per_epoch
from fmnist_lab.trial import Trial

WEIGHTS = 784 * 300 + 300 * 100 + 100 * 10  # of the notebook's dense layers
Epoch = Callable[[int], None]


def compiled_epoch(trial: Trial, dataset: data.Dataset) -> Epoch:
    """One epoch of our default engine."""
    program = program_for(trial, dataset)
    size = len(dataset.train_labels)
    rates = np.full(steps_per_epoch(size, trial.training.batch_size), 1e-3, np.float32)

    def epoch(number: int) -> None:
        order = batch_order(trial.seed, number, size)
        program.train_epoch(dataset.train_images, dataset.train_labels, order, rates)
        program.evaluate(dataset.val_images, dataset.val_labels)

    return epoch


def fit_epoch(trial: Trial, dataset: data.Dataset, **compile_options: Any) -> Epoch:
    """One epoch of `model.fit` on arrays in memory."""
    model = build_model(trial)
    model.compile(
        build_optimizer(trial), build_loss(trial), metrics=["accuracy"], **compile_options
    )
    train = (dataset.train_images.astype(np.float32) / 255, dataset.train_labels)
    validation = (dataset.val_images.astype(np.float32) / 255, dataset.val_labels)
    size = trial.training.batch_size

    def epoch(number: int) -> None:
        model.fit(*train, batch_size=size, epochs=1, validation_data=validation, verbose=0)

    return epoch


def seconds(epoch: Epoch, number: int) -> float:
    """Wall-clock seconds of one epoch."""
    start = time.perf_counter()
    epoch(number)
    return time.perf_counter() - start


def arithmetic_floor() -> tuple[float, float]:
    """What the machine multiplies, in FLOP/s, and the least seconds for an epoch's products.

    Forward, gradients of weights and gradients of inputs are three products of two FLOP per
    weight and image; batch normalisation of the input needs the first layer's third one too.
    """
    tf = import_tensorflow()
    size = 2048
    matrix = tf.random.normal([size, size])
    multiply = tf.function(lambda a: tf.matmul(a, a), jit_compile=True)
    multiply(matrix).numpy()
    rates = []
    for _ in range(7):
        start = time.perf_counter()
        multiply(matrix).numpy()
        rates.append(2 * size**3 / (time.perf_counter() - start))
    rate = statistics.median(rates)
    return rate, 6 * WEIGHTS * 55_000 / rate


def measure(trial: Trial, dataset: data.Dataset, rounds: int) -> None:
    """Prints medians and ratios for one batch size."""
    kinds = {
        "compiled engine": compiled_epoch(trial, dataset),
        "model.fit": fit_epoch(trial, dataset),
        "model.fit, steps_per_execution=100": fit_epoch(trial, dataset, steps_per_execution=100),
    }
    for epoch in kinds.values():  # tracing and compiling are not epochs
        epoch(0)
    times = [[seconds(epoch, number + 1) for epoch in kinds.values()] for number in range(rounds)]
    size = trial.training.batch_size
    print(f"\nbatch {size}, {rounds} rounds: median seconds, median ratio (range)")
    for column, name in enumerate(kinds):
        own = statistics.median(row[column] for row in times)
        ratios = [row[column] / row[0] for row in times]
        spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
        print(f"  {name:36} {own:6.2f} s   {statistics.median(ratios):4.1f}x  ({spread})")


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    trial = config.to_trial(config.compose([]))
    dataset = data.load(trial.data)
    print("Notebook architecture, Adam, 55,000 images and 5,000 to validate, one epoch")
    for batch_size in (32, 128):
        training = replace(trial.training, batch_size=batch_size)
        measure(replace(trial, training=training), dataset, rounds)
    rate, floor = arithmetic_floor()
    print(f"\nA 2048x2048 matrix product runs at {rate / 1e9:.0f} GFLOP/s here.")
    print(f"At that rate the products of an epoch alone would take {floor:.2f} s.")


if __name__ == "__main__":
    main()
