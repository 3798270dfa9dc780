"""Launchers to test with, made by Hydra as it makes them for a command."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import psutil  # type: ignore[import-untyped]
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


def workers(controller: int) -> list[Any]:
    """The worker processes that are there now, spawned or forked below the cluster's host."""
    found = []
    for process in psutil.Process(controller).children(recursive=True):
        try:
            command, parent = (" ".join(one.cmdline()) for one in (process, process.parent()))
        except psutil.Error:  # it has just ended
            continue
        if "spawn_main" in command or ("forkserver" in command and "forkserver" in parent):
            found.append(process)
    return found


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    """Waits until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)


APPLICATION = """
import os, time
from pathlib import Path
import hydra

@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    log = Path(f"job{cfg.x}")
    log.write_text(str(os.getpid()))
    nap = cfg.get("nap", 0.01)
    try:
        for _ in range(int(cfg.seconds / nap)):
            time.sleep(nap)
    except KeyboardInterrupt:
        log.with_suffix(".interrupted").touch()
        raise
    if cfg.x == 9:
        raise ValueError("nine")

main()  # not guarded: workers must not run it again
"""
ARGUMENTS = ["-m", "hydra/launcher=dask", "hydra.launcher.workers=2"]


@contextmanager
def command(folder: Path, *overrides: str) -> Iterator["subprocess.Popen[str]"]:
    """The application as a command, in a folder and a process group of its own."""
    (folder / "temporary").mkdir()
    (folder / "app.py").write_text(APPLICATION)
    process = subprocess.Popen(
        [sys.executable, "-Werror", "app.py", *ARGUMENTS, *overrides],
        cwd=folder,
        env=os.environ
        | {"PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(folder / "temporary")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def started(folder: Path) -> bool:
    return all(
        (folder / name).exists() and (folder / name).read_text() for name in ("job1", "job2")
    )
