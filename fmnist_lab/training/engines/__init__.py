"""Engines: the two ways to train a trial, with one signature and one contract.

`compiled` runs each epoch as one XLA program. `keras` runs plain `model.fit` with
Keras's own callbacks and is the reference: both see the same batches in the same order,
and their curves agree to rounding. Importing this package does not import TensorFlow.
"""

from fmnist_lab.errors import RequestError
from fmnist_lab.metrics import Metrics
from fmnist_lab.training.engines import program_cache
from fmnist_lab.training.engines.engine import Engine, OnEpoch, Outcome, batch_order

__all__ = ["ENGINES", "Engine", "Metrics", "OnEpoch", "Outcome", "batch_order", "get"]

ENGINES = ("compiled", "keras")


def get(name: str) -> Engine:
    """Returns the engine called `training.engine`; TensorFlow is imported here, in about 5 s.

    Raises:
        RequestError: There is no engine of that name.
    """
    if name in ENGINES:
        program_cache.start()
    if name == "compiled":
        from fmnist_lab.training.engines import compiled

        return compiled.train
    if name == "keras":
        from fmnist_lab.training.engines import keras_fit

        return keras_fit.train
    raise RequestError("training.engine", f"be one of {', '.join(ENGINES)}", name)
