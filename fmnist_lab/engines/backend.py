"""Imports TensorFlow and Keras without their start-up messages."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


def import_tensorflow() -> ModuleType:
    """TensorFlow, imported with nothing printed; about 5 s the first time.

    Its C++ start-up code writes past its own log level to file descriptor 2, so that is
    turned away during the import. Errors are exceptions and come through.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with _quiet_stderr():
        import keras  # noqa: F401
        import tensorflow
    return tensorflow  # type: ignore[no-any-return]


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
