"""The launcher as Hydra sees it; Hydra imports this before every command, so Dask comes later."""

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, configure_log, filter_overrides, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from fmnist_lab.foundation.installed import beside, installed_first
from fmnist_lab.launcher.options import Settings
from fmnist_lab.launcher.returned import TARGET, RecordReturns
from fmnist_lab.sweeper.settings import sweep_request

if TYPE_CHECKING:
    from fmnist_lab.launcher.cluster import Host
    from fmnist_lab.launcher.stream import JobStream

log = logging.getLogger(__name__)


@dataclass
class DaskLauncherConf(Settings):
    """The node that Hydra makes the launcher from."""

    _target_: str = "hydra_plugins.fmnist_lab_launcher.dask_launcher.DaskLauncher"


ConfigStore.instance().store(
    group="hydra/launcher", name="dask", node=DaskLauncherConf, provider="fmnist_lab_launcher"
)
ConfigStore.instance().store(
    group="hydra/callbacks",
    name="record_returns",
    node={"record_returns": {"_target_": TARGET}},
    provider="fmnist_lab_launcher",
)


class DaskLauncher(Launcher):
    """Runs jobs on Dask workers, in batches for Hydra, one by one for a sweeper that can.

    It is a `fmnist_lab.launcher.streaming.StreamingLauncher`.
    """

    def __init__(self, **values: Any) -> None:
        self._values = values
        self.stream: JobStream | None = None
        self._host: Host | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Called by Hydra before anything else."""
        with sweep_request(), installed_first(beside()):
            self._settings = Settings.checked(self._values)
        callbacks = hydra_context.callbacks.callbacks
        # Our own application leaves more than this, and a user may have asked for it.
        if not any(getattr(callback, "leaves_results", False) for callback in callbacks):
            callbacks.append(RecordReturns())
        self._hydra_context = hydra_context
        self._task_function = task_function
        self.config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Runs a batch and returns the results in the order of the jobs."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        log.info("Launching %d jobs on Dask workers", len(job_overrides))
        results: dict[int, JobReturn] = {}
        try:
            for idx, overrides in enumerate(job_overrides, initial_job_idx):
                log.info("\t#%d : %s", idx, " ".join(filter_overrides(overrides)))
                self.submit(overrides, idx)
            while (ended := self.next_result()) is not None:
                results[ended[0]] = ended[1]
        except BaseException:  # KeyboardInterrupt too
            with contextlib.suppress(Exception):
                self.close()
            raise
        return [results[initial_job_idx + i] for i in range(len(job_overrides))]

    @property
    def slots(self) -> int:
        """How many jobs can run at once; on a running cluster, as of now."""
        if self.stream is None and self._settings.address is None:
            with installed_first(beside()):
                from fmnist_lab.launcher.cluster import count_workers

            return count_workers(self._settings)
        return self._opened().slots

    def prepare(self) -> None:
        """Starts local workers, without waiting for them."""
        if self._host is None and self.stream is None and self._settings.address is None:
            with installed_first(beside()):
                from fmnist_lab.launcher.cluster import local_host
            with sweep_request():
                self._host = local_host(self._settings)

    def submit(self, overrides: Sequence[str], job_idx: int) -> None:
        """Takes a job; the first one starts the workers."""
        self._opened().submit(overrides, job_idx)

    def next_result(self, timeout: float | None = None) -> tuple[int, JobReturn] | None:
        """Waits for the next job that ends; None if the time is over or no job is left."""
        return None if self.stream is None else self.stream.next_result(timeout)

    def cancel_all(self) -> None:
        """Interrupts running jobs and drops waiting ones; results of jobs that ended stay."""
        if self.stream is not None:
            self.stream.cancel_all()

    def close(self) -> None:
        """Ends the workers; the next job starts new ones."""
        stream, self.stream = self.stream, None
        host, self._host = self._host, None
        if stream is not None:
            stream.close()
        elif host is not None:
            host.end()

    def _opened(self) -> "JobStream":
        if self.stream is None or self.stream.closed:
            with installed_first(beside()):
                from fmnist_lab.launcher.stream import open_stream

            host, self._host = self._host, None
            with sweep_request():  # without a traceback in any application
                self.stream = open_stream(
                    self._settings, self._hydra_context, self._task_function, self.config, host
                )
        return self.stream
