"""Code that runs inside a worker process: one job at a time.

The application (task function, configuration, Hydra's state) comes once, as a Dask plugin that
every present and future worker is given. A job is then a few overrides and a number, and its
outcome goes back pickled.
"""

import ctypes
import inspect
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import cloudpickle
from distributed import Worker, WorkerPlugin, get_worker
from hydra.core.singleton import Singleton
from hydra.core.utils import (
    JobReturn,
    JobStatus,
    configure_log,
    env_override,
    run_job,
    setup_globals,
)
from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException
from tblib import pickling_support

from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.foundation.files import whole_file
from fmnist_lab.foundation.interruption import interrupted
from fmnist_lab.launcher.options import GRACE
from fmnist_lab.launcher.script import Script, dumps

T = TypeVar("T")

COPIED = "application-copied"  # an event's action, as `DIED` is

# Of an attempt at a job: its result, or what Hydra lets pass and ends more than the job, such as
# SystemExit.
Outcome = JobReturn | BaseException


class Interruptible:
    """Runs one job at a time in a process, and interrupts it from outside its thread.

    Dask runs jobs in a thread, where signals do not arrive. KeyboardInterrupt is therefore raised
    there with the interpreter's own means: it arrives with the next line of Python the job runs.
    """

    def __init__(self) -> None:
        self.idle = threading.Event()
        self.idle.set()
        self._one_at_a_time = threading.Lock()
        # Reentrant: a signal handler may come while the main thread holds it.
        self._guard = threading.RLock()
        self._key: object = None
        self._thread: int | None = None

    def run(self, key: str, work: Callable[[], T]) -> T | None:
        """Does the work in this thread; returns None if it was interrupted."""
        with self._one_at_a_time:
            done: T | None = None
            try:
                with self._guard:
                    self._key, self._thread = key, threading.get_ident()
                    interrupted.clear()
                    self.idle.clear()
                done = work()
                self._leave()
                time.sleep(0)  # an interrupt on its way arrives here, and nowhere later
            except KeyboardInterrupt:
                self._leave()
            return done

    def interrupt(self, key: object = None) -> None:
        """Raises KeyboardInterrupt in the job that runs, once; any job unless `key` names it."""
        with self._guard:
            if self._thread is None or interrupted.is_set() or key not in (None, self._key):
                return
            interrupted.set()
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._thread), ctypes.py_object(KeyboardInterrupt)
            )

    def _leave(self) -> None:
        with self._guard:
            self._key = self._thread = None
            self.idle.set()


# One for the process, whichever applications use it: run_job changes its folder and its logs.
_slot = Interruptible()


def encode(outcome: Outcome, job_idx: int) -> bytes:
    """Pickles an outcome; what cannot be pickled is replaced by an error that says so."""
    error: BaseException | None
    if isinstance(outcome, BaseException):
        error = outcome
    else:
        error = outcome._return_value if outcome.status == JobStatus.FAILED else None
    try:
        if error is not None:
            pickling_support.install(error)  # tracebacks, those of causes included
        pickled: bytes = cloudpickle.dumps(outcome)
        if error is not None:
            cloudpickle.loads(pickled)  # an exception with arguments of its own may fail only here
    except Exception as problem:
        if error is not None:
            # The words survive even if the exception itself cannot travel.
            substitute: Exception = RuntimeError("".join(traceback.format_exception(error)))
        else:
            kind = type(getattr(outcome, "_return_value", None)).__name__
            substitute = TypeError(
                f"Job {job_idx} returned a {kind}, which cannot be sent back from its worker "
                f"process ({problem}); return plain values such as numbers."
            )
        if isinstance(outcome, JobReturn):
            outcome = replace(outcome, status=JobStatus.FAILED, _return_value=substitute)
        else:
            outcome = substitute
        pickled = cloudpickle.dumps(outcome)
    return pickled


def decode(pickled: bytes) -> Outcome:
    """Returns the outcome as the worker had it, tracebacks included."""
    outcome: Outcome = cloudpickle.loads(pickled)
    if isinstance(outcome, SystemExit):
        outcome.code = next(iter(outcome.args), None)  # tblib drops it
    return outcome


@dataclass(frozen=True)
class Application:
    """What a worker must know of a Hydra application to run its jobs."""

    task_function: TaskFunction
    hydra_context: HydraContext
    config: DictConfig
    singletons: Any
    environment: dict[str, str] = field(repr=False)  # may hold passwords


class PickledApplication:
    """An application on its way: by the names that its script gives, and whole.

    Raises:
        Exception: Some part of it cannot be pickled; whatever that raises.
    """

    def __init__(self, application: Application) -> None:
        self._script, self._by_names = Script.here(), dumps(application)
        try:
            self._whole = cloudpickle.dumps(application)
        except Exception:  # a lock among the script's variables, say: each worker makes its own
            self._whole = None

    def load(self, say: Callable[[str], object]) -> Application:
        """Runs the script and takes the application from it, or else takes copies and says why."""
        before = sys.modules["__main__"]
        try:
            self._script.run()
            application: Application = self._script.loads(self._by_names)
        except BaseException as error:  # the script is not there, or has its names only as main
            if interrupted.is_set() or self._whole is None:
                raise
            sys.modules["__main__"] = before
            say(f"{type(error).__name__}: {error}")
            return self._script.loads(self._whole)  # type: ignore[no-any-return]
        missing = self._script.names - vars(sys.modules["__main__"]).keys()
        if missing and self._whole is not None:
            # Variables that the script sets where it is the main module, and that its task reads.
            copied = _globals(self._script.loads(self._whole))
            for there in (_globals(application), vars(sys.modules["__main__"])):
                there.update({name: copied[name] for name in missing & copied.keys()})
        return application


def _globals(application: Application) -> dict[str, Any]:
    return getattr(inspect.unwrap(application.task_function), "__globals__", {})


class JobRunner(WorkerPlugin):  # type: ignore[misc]  # Dask is half typed
    """An application on a worker; Dask brings it there under the name of the launch."""

    def __init__(self, application: PickledApplication, results: Path) -> None:
        # Unpickled late: what it imports is found only once folder and path are as here.
        self._pickled = application
        self._folder = str(Path.cwd())
        self._path = [entry or self._folder for entry in sys.path]
        self._results = results
        self._application: Application | None = None

    def setup(self, worker: Worker) -> None:
        """Called by Dask in the worker's main thread: SIGTERM ends the job, then the worker."""

        def close() -> None:
            _slot.idle.wait(GRACE)
            worker.loop.add_callback(worker.close, nanny=False, reason="SIGTERM")

        process = os.getpid()

        def end(number: int, frame: object) -> None:
            if os.getpid() != process:  # a job has forked it
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            _slot.interrupt()
            threading.Thread(target=close, daemon=True).start()

        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, end)

    def teardown(self, worker: Worker) -> None:
        """Called by Dask when the worker closes: a job that still runs may record that."""
        _slot.interrupt()

    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        """Called by Dask; a running job is cancelled when nothing waits for it any more."""
        if finish == "released":  # while it runs, that is; else the slot has another key
            _slot.interrupt(key)

    def run(self, key: str, overrides: Sequence[str], job_idx: int) -> bytes | None:
        """Runs one job and returns its pickled outcome, None if it was interrupted."""
        outcome = _slot.run(key, lambda: self._attempt(overrides, job_idx))
        if outcome is None:
            return None
        pickled = encode(outcome, job_idx)
        if self._results.is_dir():
            with whole_file(self._results / key) as file:
                file.write_bytes(pickled)
        return pickled

    def _attempt(self, overrides: Sequence[str], job_idx: int) -> Outcome | None:
        try:
            self._enter_folder()
            application = self._load()
            with env_override(application.environment):
                loader = application.hydra_context.config_loader
                try:
                    config = loader.load_sweep_config(application.config, list(overrides))
                except (HydraException, OmegaConfBaseException) as error:
                    return failed(overrides, error)
                with open_dict(config):
                    config.hydra.job.id = str(job_idx)
                    config.hydra.job.num = job_idx
                result = _run_job(application, config)
            if result.status == JobStatus.FAILED and interrupted.is_set():
                return None
            return result
        except BaseException as error:  # SystemExit, say: it ends the command, as without workers
            return None if interrupted.is_set() else error

    def _enter_folder(self) -> None:
        try:
            Path(self._folder).mkdir(parents=True, exist_ok=True)  # where no disk is shared
            os.chdir(self._folder)
        except OSError as error:
            rule = f"lead to workers that can work in {self._folder}"
            got = Phrase(f"{error.strerror} on {socket.gethostname()}")
            raise RequestError("hydra.launcher.address", rule, got) from error

    def _load(self) -> Application:
        if self._application is None:
            sys.path[:] = [*self._path, *(p for p in sys.path if p not in self._path)]
            application = self._pickled.load(_report_copy)
            setup_globals()
            Singleton.set_state(application.singletons)
            self._application = application
        return self._application


def run(launch: str, key: str, overrides: Sequence[str], job_idx: int) -> bytes | None:
    """Runs a job of the application that was brought under the name `launch`: the Dask task."""
    runner: JobRunner = get_worker().plugins[launch]
    return runner.run(key, overrides, job_idx)


def _report_copy(reason: str) -> None:
    worker = get_worker()
    event = {"action": COPIED, "worker": worker.address, "reason": reason}
    worker.log_event("all", event)


def is_busy() -> bool:
    """Returns whether this worker process is in the middle of a job."""
    return not _slot.idle.is_set()


def failed(overrides: Sequence[str], error: Exception) -> JobReturn:
    """Returns the result of a job that never came to its task function."""
    task = [override for override in overrides if not override.lstrip("+~").startswith("hydra.")]
    return JobReturn(overrides=task, status=JobStatus.FAILED, _return_value=error)


def _run_job(application: Application, config: DictConfig) -> JobReturn:
    """Runs a job; closes its log file afterwards, and goes back to the launcher's own logging."""
    try:
        return run_job(
            hydra_context=application.hydra_context,
            task_function=application.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
    finally:
        for handler in logging.root.handlers[:]:
            logging.root.removeHandler(handler)
            handler.close()
        logging.root.setLevel(logging.WARNING)
        launcher = application.config.hydra
        configure_log(launcher.hydra_logging, launcher.verbose)
        sys.stdout.flush()
