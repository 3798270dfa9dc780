"""Imports TensorFlow and Keras without their start-up messages."""

import functools
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from types import ModuleType
from typing import Any

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.memory import without_collections
from fmnist_lab.training.engines import program_cache

# Without it XLA copies each kernel that a step reads and updates, a seventh of the time that the
# notebook's network takes with one thread. It changes no bit of a result.
XLA_FLAG = "--xla_cpu_copy_insertion_use_region_analysis=true"
XLA_KNOWS_IT = "2.21."  # TensorFlow; XLA ends the process over a flag that it does not know

_WITHOUT_XLA = "XLA cannot compile this model, which trains without it, slower"

log = logging.getLogger(__name__)


@functools.cache
def import_tensorflow() -> ModuleType:
    """Imports TensorFlow and Keras with nothing printed, in about 5 s the first time.

    The start-up code of TensorFlow writes past its own log level to file descriptor 2, so that is
    turned away during the import. Errors are exceptions and come through. The user's settings of
    Keras (`keras.json`, `KERAS_*`) are other programs' and would change results: they do not count.

    Raises:
        RequestError: Code of the user's own has imported Keras before, with another backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if metadata.version("tensorflow").startswith(XLA_KNOWS_IT):
        given = os.environ.get("XLA_FLAGS", "").split()  # and the last of two wins
        flags = [XLA_FLAG, *(flag for flag in given if flag != XLA_FLAG)]
        os.environ["XLA_FLAGS"] = " ".join(flags)
    program_cache.start()
    with (
        _quiet_stderr(),
        _without_settings_of_keras(),
        _without_what_keras_can_do_without(),
        without_collections(),
    ):
        import keras
        import tensorflow
    if (backend := keras.config.backend()) != "tensorflow":
        rule = "be imported with its backend tensorflow"
        hint = "a module of yours has imported it before, with KERAS_BACKEND or keras.json"
        raise RequestError("keras", rule, backend, hint)
    # Once: what an architecture's module sets afterwards, such as mixed precision, stays.
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)
    # Dropout asks for the generator that TensorFlow would select for it on a CPU. Where TensorFlow
    # selects, XLA works the generator's key out again for each unit, which takes some 30 times as
    # long as the mask itself. The masks of compiled code are the same. Neither Keras's layer nor
    # TensorFlow's configuration has an argument for it.
    random = tensorflow.nn.experimental
    random.stateless_dropout = functools.partial(random.stateless_dropout, rng_alg="philox")
    return tensorflow  # type: ignore[no-any-return]


def is_not_compiled(error: Exception) -> bool:
    """Returns whether XLA may have refused to compile what was called; if so, the log says it.

    It refuses before anything is computed: the same call without XLA starts from the same state.
    """
    import tensorflow as tf

    if not isinstance(error, tf.errors.InvalidArgumentError | tf.errors.UnimplementedError):
        return False
    log.warning("%s: %s ...", _WITHOUT_XLA, " ".join(error.message.split())[:200])
    return True


def compile_model(model: Any, **settings: Any) -> bool:
    """Calls `model.compile`, with XLA unless one of the layers declares that it cannot.

    Returns:
        Whether it is with XLA; if not, the log says it. `jit_compile="auto"` never is on a CPU.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Model doesn't support `jit_compile=True`")
        model.compile(jit_compile=True, **settings)
    if not model.jit_compile:
        log.warning("%s: one of its layers declares so.", _WITHOUT_XLA)
    return bool(model.jit_compile)


@contextmanager
def _without_settings_of_keras() -> Iterator[None]:
    """Has Keras, which is about to be imported, read an empty folder instead of `~/.keras`."""
    if "keras" in sys.modules:
        yield
        return
    given = {key: value for key, value in os.environ.items() if key.startswith("KERAS_")}
    with tempfile.TemporaryDirectory(prefix="keras-") as empty:
        for key in given:
            del os.environ[key]
        os.environ |= {"KERAS_HOME": empty, "KERAS_BACKEND": "tensorflow"}
        try:
            yield
        finally:
            del os.environ["KERAS_HOME"]  # `data` still looks for images where the user's says
            os.environ |= given


@contextmanager
def _without_what_keras_can_do_without() -> Iterator[None]:
    """Has the import of Keras skip optional packages that nothing here uses: a third of its time.

    They are scikit-learn, for Keras's wrappers around it, and pyplot, for its image galleries. A
    module that is None in `sys.modules` counts as not installed; what is imported already stays.
    """
    skipped = {"sklearn", "matplotlib.pyplot"} - set(sys.modules)
    sys.modules |= dict.fromkeys(skipped)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in skipped:
            del sys.modules[name]


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
