"""Keras as its best users write it: model and tensors are kept, 100 steps a call."""

import functools
import math
from typing import Any

import common
import keras
import numpy as np
import tensorflow as tf


@functools.cache
def prepare() -> tuple[Any, list[Any], list[Any]]:
    """The notebook's network, compiled once; its weights and optimizer's state as they begin."""
    keras.utils.set_random_seed(42)
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(300, kernel_initializer="he_normal"),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("elu"),
            keras.layers.Dense(100, kernel_initializer="he_normal"),
            keras.layers.Activation("elu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.Adam(0.001)
    optimizer.build(model.trainable_variables)
    model.compile(
        optimizer,
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=100,
        jit_compile=False,  # with it Keras is slower here
    )
    return model, model.get_weights(), [np.array(value) for value in optimizer.variables]


def to_tensors(data: common.Arrays) -> Any:
    """The data as TensorFlow keeps it, scaled once."""
    scaled = {key: tf.constant(value) for key, value in data.items()}
    for key in ("train_images", "val_images"):
        scaled[key] = tf.cast(scaled[key], tf.float32) / 255
    return scaled


def train(data: Any, batch: int, epochs: int, rate: float, decay: float) -> common.Curve:
    """Trains a trial; the rate falls once an epoch."""
    model, weights, slots = prepare()
    model.set_weights(weights)
    for variable, value in zip(model.optimizer.variables, slots, strict=True):
        variable.assign(value)
    schedule = keras.callbacks.LearningRateScheduler(
        lambda epoch: rate * math.pow(0.1, epoch / decay)
    )
    history = model.fit(
        data["train_images"],
        data["train_labels"],
        batch_size=batch,
        epochs=epochs,
        validation_data=(data["val_images"], data["val_labels"]),
        validation_batch_size=1000,
        callbacks=[schedule],
        verbose=0,
    ).history
    keys = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
    yield from zip(*(map(float, history[key]) for key in keys), strict=True)
