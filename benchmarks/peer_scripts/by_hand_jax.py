"""JAX and optax by hand: an epoch is one jitted scan, compiled once for all trials."""

from functools import partial
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax

WIDTHS = (784, 300, 100, 10)
NORMALIZED = (784, 300, 100)
MOMENTUM, EPSILON = 0.99, 1e-3
ADAM = optax.scale_by_adam(eps=1e-7)


def create(seed: int) -> tuple[Any, Any]:
    """Weights, and the moving averages of each batch normalisation."""
    keys = jax.random.split(jax.random.key(seed), 3)
    he, glorot = jax.nn.initializers.he_normal(), jax.nn.initializers.glorot_uniform()
    shapes = zip(keys, (he, he, glorot), WIDTHS[:-1], WIDTHS[1:], strict=True)
    dense = [(make(key, (size, units)), jnp.zeros(units)) for key, make, size, units in shapes]
    scales = [(jnp.ones(size), jnp.zeros(size)) for size in NORMALIZED]
    averages = [(jnp.zeros(size), jnp.ones(size)) for size in NORMALIZED]
    return (dense, scales), averages


def call(weights: Any, averages: Any, images: Any, training: bool) -> tuple[Any, Any]:
    """Logits of the notebook's network, and the averages after this batch."""
    dense, scales = weights
    moved = []

    def normalize(inputs: Any, number: int) -> Any:
        mean, variance = averages[number]
        if training:
            kept = averages[number]
            mean, variance = inputs.mean(axis=0), inputs.var(axis=0)
            news = zip(kept, (mean, variance), strict=True)
            moved.append(tuple(MOMENTUM * old + (1 - MOMENTUM) * new for old, new in news))
        gamma, beta = scales[number]
        return (inputs - mean) * (jax.lax.rsqrt(variance + EPSILON) * gamma) + beta

    hidden = normalize(images, 0) @ dense[0][0] + dense[0][1]
    hidden = jax.nn.elu(normalize(hidden, 1))
    hidden = jax.nn.elu(hidden @ dense[1][0] + dense[1][1])
    return normalize(hidden, 2) @ dense[2][0] + dense[2][1], moved


def measure(logits: Any, labels: Any) -> tuple[Any, Any]:
    """Mean loss, and how many guesses are right."""
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return loss, (logits.argmax(axis=1) == labels).sum()


@partial(jax.jit, donate_argnums=0)
def train_epoch(state: Any, images: Any, labels: Any, rates: Any) -> Any:
    """Trains on batches of uint8 images, (steps, batch, 784); means of loss and accuracy."""

    def step(state: Any, batch: Any) -> Any:
        weights, averages, moments = state
        pixels, targets, rate = batch

        def loss_of(weights: Any) -> Any:
            logits, moved = call(weights, averages, pixels.astype(jnp.float32) / 255, True)
            loss, right = measure(logits, targets)
            return loss, (moved, right)

        (loss, (moved, right)), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights)
        updates, moments = ADAM.update(gradients, moments)
        weights = jax.tree.map(lambda weight, update: weight - rate * update, weights, updates)
        return (weights, moved, moments), (loss, right)

    state, (losses, right) = jax.lax.scan(step, state, (images, labels, rates))
    return state, losses.mean(), right.sum() / labels.size


@jax.jit
def evaluate(weights: Any, averages: Any, images: Any, labels: Any) -> Any:
    """Mean loss and accuracy of all images at once."""
    logits, _ = call(weights, averages, images.astype(jnp.float32) / 255, False)
    loss, right = measure(logits, labels)
    return loss, right / len(labels)


def train(data: common.Arrays, batch: int, epochs: int, rate: float, decay: float) -> common.Curve:
    """Trains a trial; the images of a last, smaller batch are left out of each epoch."""
    images = data["train_images"].reshape(-1, 784)
    val_images = data["val_images"].reshape(-1, 784)
    steps = len(images) // batch
    weights, averages = create(42)
    state = (weights, averages, ADAM.init(weights))
    random = np.random.default_rng(42)
    for epoch in range(epochs):
        order = random.permutation(len(images))[: steps * batch]
        rates = rate * 0.1 ** ((epoch + np.arange(steps, dtype=np.float32) / steps) / decay)
        state, *means = train_epoch(
            state,
            images[order].reshape(steps, batch, 784),
            data["train_labels"][order].reshape(steps, batch),
            rates.astype(np.float32),
        )
        means += evaluate(*state[:2], val_images, data["val_labels"])
        yield *map(float, means), float(rates[-1])


if __name__ == "__main__":
    common.search_with_optuna(dict, train)
