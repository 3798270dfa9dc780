"""Imports TensorFlow and Keras without their start-up messages."""

import functools
import os
from importlib import metadata
from types import ModuleType

# Without it XLA copies each kernel that a step reads and updates, a seventh of the time that the
# notebook's network takes with one thread. It changes no bit of a result.
XLA_FLAG = "--xla_cpu_copy_insertion_use_region_analysis=true"
XLA_KNOWS_IT = "2.21."  # TensorFlow; XLA ends the process over a flag that it does not know


@functools.cache
def import_tensorflow() -> ModuleType:
    """TensorFlow, imported with nothing printed; about 5 s the first time.

    Its C++ start-up code writes past its own log level to file descriptor 2, so that is
    turned away during the import. Errors are exceptions and come through.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if metadata.version("tensorflow").startswith(XLA_KNOWS_IT):
        given = os.environ.get("XLA_FLAGS", "").split()  # and the last of two wins
        flags = [XLA_FLAG, *(flag for flag in given if flag != XLA_FLAG)]
        os.environ["XLA_FLAGS"] = " ".join(flags)
    kept = os.dup(2)
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        import keras  # noqa: F401
        import tensorflow
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    # Dropout asks for the generator that TensorFlow would select for it on a CPU. Where TensorFlow
    # selects, XLA works the generator's key out again for each unit, which takes some 30 times as
    # long as the mask itself. The masks of compiled code are the same. Neither Keras's layer nor
    # TensorFlow's configuration has an argument for it.
    random = tensorflow.nn.experimental
    random.stateless_dropout = functools.partial(random.stateless_dropout, rng_alg="philox")
    return tensorflow  # type: ignore[no-any-return]
