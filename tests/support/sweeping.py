"""Runs the applications of `tests/apps` as a user would, and reads what they leave."""

import os
import runpy
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import optuna
import yaml
from hydra.core.global_hydra import GlobalHydra
from optuna.trial import FrozenTrial, TrialState

from fmnist_lab.sweeper.storage import StorageAddress, open_storage

ROOT = Path(__file__).parents[2]
APPS = ROOT / "tests" / "apps"
MINE = """# @package _global_
# Question: is my schedule any good?
# 2 strategies, 1 trial each, 3 epochs.
defaults:
  - override /data: synthetic
  - override /architecture: mlp
  - override /hydra/sweeper: fmnist_lab
  - override /hydra/sweeper/sampler: qmc

data: {train_size: 320, val_size: 100}
architecture: {hidden_sizes: [16]}
training: {epochs: 3}
replicates: 0

hydra:
  sweeper:
    n_trials: 1
    sampler: {seed: 0, scramble: true}
    strategies:
      plain: scheduler=constant
      own: scheduler=mine
"""


def start(app: str, folder: Path, *overrides: str, **variables: str) -> subprocess.Popen[bytes]:
    """Starts `python app.py -m ...` with the sweep in `folder`."""
    folder.parent.mkdir(exist_ok=True)
    return _start(APPS / f"{app}.py", _log(folder), *_words(folder, overrides), **variables)


def _start(script: Path, log: Path, *words: str, **variables: str) -> subprocess.Popen[bytes]:
    # Not a pipe: workers that outlive a killed controller would keep it open.
    with log.open("w") as output:
        return subprocess.Popen(
            [sys.executable, str(script), *words],
            env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes], sent: signal.Signals) -> int:
    """Sends a signal to the controller alone, and then ends what it has left behind."""
    process.send_signal(sent)
    code = process.wait(timeout=60)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return code


def run(app: str, folder: Path, *overrides: str, code: int = 0, **variables: str) -> str:
    """Runs an application to its end and returns what it printed."""
    folder.parent.mkdir(exist_ok=True)
    words = _words(folder, overrides)
    return run_script(APPS / f"{app}.py", _log(folder), *words, code=code, **variables)


def run_script(script: Path, log: Path, *words: str, code: int = 0, **variables: str) -> str:
    """Runs `python script.py ...` to its end and returns what it printed, which is in `log`."""
    # With another launcher, jobs look for the application in the main module of a process. What
    # this package stores for its own application would be in the way of a project's groups.
    if (script.parents[1] / "configs").is_dir() or any(
        word.startswith("hydra/launcher=") and word[-5:] != "basic" for word in words
    ):
        returned = _start(script, log, *words, **variables).wait(timeout=250)
    else:
        returned = _run_here(script, log, *words, **variables)
    output = log.read_text()
    assert returned == code, output
    return output


def refuse_script(script: Path, log: Path, *words: str) -> str:
    """Runs a script that is refused before any job, whatever the launcher; what it printed."""
    code = _run_here(script, log, *words)
    output = log.read_text()
    assert code == 1, output
    return output


def _run_here(script: Path, log: Path, *words: str, **variables: str) -> int:
    """Runs a script without the seconds that another Python takes for imports."""
    with (
        log.open("w") as output,
        redirect_stdout(output),
        redirect_stderr(output),
        mock.patch.dict(os.environ, variables),
        mock.patch.object(sys, "argv", [str(script), *words]),
        mock.patch.object(sys, "path", [str(script.parent), *sys.path]),
    ):
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as ended:
            return int(ended.code or 0)
        finally:
            GlobalHydra.instance().clear()
    return 0


def _words(folder: Path, overrides: Iterable[str]) -> list[str]:
    return ["-m", f"hydra.sweep.dir={folder}", *overrides]


def results(folder: Path) -> dict[str, Any]:
    content = yaml.safe_load((folder / "optimization_results.yaml").read_text())
    assert isinstance(content, dict)
    return content


def study(folder: Path, name: str) -> optuna.Study:
    storage = open_storage(StorageAddress(f"journal://{folder / 'study.journal'}"))
    return optuna.load_study(study_name=name, storage=storage)


def trials(folder: Path, name: str, *states: str) -> list[FrozenTrial]:
    wanted = [TrialState[state] for state in states] or None
    return study(folder, name).get_trials(states=wanted)


def _log(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.log")


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def first_start(folder: Path) -> "subprocess.Popen[str]":
    """Starts a process that opens the store in the folder and creates a run there."""
    code = textwrap.dedent("""
        from fmnist_lab.config import TrackingConfig
        from fmnist_lab.tracking import open_experiment
        client, experiment = open_experiment(TrackingConfig())
        client.create_run(experiment)
        print(len(client.search_experiments()), experiment)
    """)
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
