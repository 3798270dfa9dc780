"""Launchers to test with, made by Hydra as it makes them for a command."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from hydra import initialize
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from hydra.version import VersionBase

from fmnist_lab.launcher.stream import JobStream
from hydra_plugins.fmnist_lab_launcher.dask_launcher import DaskLauncher


class Launcher(DaskLauncher):
    """Type of the fixture: Hydra's scan makes classes anew, so this is never instantiated."""

    stream: JobStream


@contextmanager
def launcher(task: Callable[..., Any], sweep_dir: Path, *settings: str) -> Iterator[Launcher]:
    """A launcher for `task`, with settings such as `workers=2`; closed at the end."""
    base = VersionBase.instance()
    earlier = base.getbase()  # the suites that Hydra brings along have none
    with initialize(version_base="1.3", config_path=None, job_name="job"):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration(
            config_name=None,
            overrides=[
                "hydra/launcher=dask",
                "hydra/job_logging=disabled",
                "hydra/hydra_logging=disabled",
                f"hydra.sweep.dir={sweep_dir}",
                *(f"hydra.launcher.{setting}" for setting in settings),
            ],
            run_mode=RunMode.MULTIRUN,
        )
        context = HydraContext(config_loader=loader, callbacks=Callbacks())
        started = Plugins.instance().instantiate_launcher(
            config=config, hydra_context=context, task_function=task
        )
    try:
        yield cast("Launcher", started)
    finally:
        cast("Launcher", started).close()
        base.version_base = earlier


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    """Waits until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)
