"""What several test files share: a trial that trains in a moment, and a folder to train it in."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

import pytest
from absl import logging as absl_logging

from fmnist_lab import cli, config
from fmnist_lab.trial import Labels, Trial

TINY = (
    "data=synthetic",
    "data.train_size=320",
    "data.val_size=100",
    "architecture=mlp",
    "architecture.hidden_sizes=[16]",
    "training.epochs=3",
)
ComposeTrial = Callable[..., Trial]

# Where Hydra configures logging in a process, the handler of Absl, which Keras imports, closes its
# stream unless that is a standard one: it must not be the one in which pytest captures.
absl_logging.get_absl_handler().python_handler.setStream(sys.__stderr__)


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """Undoes what a command that ran in this process has set for all that come after it."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(autouse=True)
def heard() -> None:
    """Undoes what Hydra or Alembic did to the logging of a process that an earlier test shared."""
    logging.disable(logging.NOTSET)
    logging.root.setLevel(logging.WARNING)
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger):
            logger.disabled = False
            if name.startswith("fmnist_lab"):
                logger.propagate = True
                logger.setLevel(logging.NOTSET)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which the test runs, out of reach of the settings of whoever runs it."""
    for name in list(os.environ):
        if name.startswith(("FMNIST_LAB", "MLFLOW")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def exit_code(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Runs the program in this process as the shell would."""
    monkeypatch.setattr("sys.argv", ["fmnist-lab", *words])
    monkeypatch.setattr("signal.signal", lambda *arguments: None)
    monkeypatch.setattr("sys.path", list(sys.path))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture(scope="session")
def tiny() -> ComposeTrial:
    """Composes the tiny trial: three epochs of ten steps, after these overrides."""

    def compose(*overrides: str) -> Trial:
        return config.to_trial(config.compose([*TINY, *overrides]))

    return compose


@pytest.fixture(scope="session")
def labels() -> Labels:
    """What the tiny trial is called."""
    return Labels(
        kind="trial",
        sweep="night",
        strategy="calm",
        trial=7,
        seed=42,
        architecture="mlp",
        scheduler="constant",
        clipping="none",
        optimizer="adam",
        dataset="synthetic",
        engine="compiled",
    )


@pytest.fixture
def environment(folder: Path) -> dict[str, str]:
    """The environment of the processes that `lab` starts; may be changed before."""
    return os.environ | {"COLUMNS": "120", "NO_COLOR": "1"}


@pytest.fixture
def lab(folder: Path, environment: dict[str, str]) -> Callable[..., CompletedProcess[str]]:
    """Runs `fmnist-lab` in `folder` as a process of its own."""

    def run(*arguments: str) -> CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fmnist_lab", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return run
