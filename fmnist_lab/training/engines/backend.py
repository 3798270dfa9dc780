"""Imports TensorFlow and Keras without their start-up messages."""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from types import ModuleType
from typing import Any

from fmnist_lab.training.engines import program_cache

# Without it XLA copies each kernel that a step reads and updates, a seventh of the time that the
# notebook's network takes with one thread. It changes no bit of a result.
XLA_FLAG = "--xla_cpu_copy_insertion_use_region_analysis=true"
XLA_KNOWS_IT = "2.21."  # TensorFlow; XLA ends the process over a flag that it does not know


def import_tensorflow() -> ModuleType:
    """TensorFlow, imported with nothing printed; about 5 s the first time.

    Its C++ start-up code writes past its own log level to file descriptor 2, so that is
    turned away during the import. Errors are exceptions and come through.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if metadata.version("tensorflow").startswith(XLA_KNOWS_IT):
        given = os.environ.get("XLA_FLAGS", "").split()  # and the last of two wins
        os.environ["XLA_FLAGS"] = " ".join(
            [XLA_FLAG, *(flag for flag in given if flag != XLA_FLAG)]
        )
    program_cache.start()
    with _quiet_stderr():
        import keras  # noqa: F401
        import tensorflow
    _name_the_generator(tensorflow.nn.experimental)
    return tensorflow  # type: ignore[no-any-return]


@functools.cache
def _name_the_generator(module: Any) -> None:
    """Has dropout ask for the generator that TensorFlow would select for it on a CPU.

    Where TensorFlow selects, XLA works the generator's key out again for each unit, which takes
    some 30 times as long as the mask itself. The masks of compiled code are the same. Neither
    Keras's layer nor TensorFlow's configuration has an argument for it.
    """
    module.stateless_dropout = functools.partial(module.stateless_dropout, rng_alg="philox")


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    kept = os.dup(2)
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
