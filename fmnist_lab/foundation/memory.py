"""Memory: when Python collects garbage, and what the C library keeps of what is free."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager


def collect_rarely() -> None:
    """Has the garbage collector look at what is new after 50,000 objects instead of 700.

    Most of what a command makes are modules, which stay, and configurations: a composition makes
    100,000 objects that refer to each other. Python would go through all of them again and again,
    which takes a quarter of the imports' processor time. Not for a process that trains: what Keras
    has made for a trial would stay for longer, 160 MB after six of them.
    """
    if gc.isenabled():
        gc.set_threshold(50_000, 20, 20)


@contextmanager
def without_collections() -> Iterator[None]:
    """Has the garbage collector not look at the objects of an import: not during it, nor later.

    Those of TensorFlow are 400,000 and stay. It would go through them again and again, which takes
    a fifth of the import's processor time and a twentieth of each later composition of a
    configuration.
    """
    if not gc.isenabled():  # the user's choice
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()


def return_free_memory() -> None:
    """Has the C library give memory that is free back to the system, where it can (glibc).

    XLA's compiler frees 100 MB that the process would otherwise keep.
    """
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
