"""What several test files share: a trial that trains in a moment, and a folder to train it in."""

import io
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

import hydra.version
import hypothesis
import pytest
from absl import logging as absl_logging
from filelock import FileLock
from hydra.core.global_hydra import GlobalHydra

from fmnist_lab import cli, config
from fmnist_lab.foundation.memory import collect_rarely
from fmnist_lab.tracking import store
from fmnist_lab.trial import Labels, Trial
from tests.support.watching import Clock

TINY = (
    "data=synthetic",
    "data.train_size=320",
    "data.val_size=100",
    "architecture=mlp",
    "architecture.hidden_sizes=[16]",
    "training.epochs=3",
)
pytest_plugins = ("tests.support.recorded",)  # fixtures that two files have in common
OWN_VARIABLES = ("FMNIST_LAB", "MLFLOW")
ComposeTrial = Callable[..., Trial]
create_database = store._create_database

# A busy machine makes any example slow.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

# Where Hydra configures logging in a process, the handler of Absl, which Keras imports, closes its
# stream unless that is a standard one: it must not be the one in which pytest captures.
absl_logging.get_absl_handler().python_handler.setStream(sys.__stderr__)


def pytest_configure(config: pytest.Config) -> None:
    """Lets XLA compile fast rather than well: most tests compile for longer than they train.

    And lets TensorFlow compute as in a sweep's workers, so that their numbers are the same here.
    """
    collect_rarely()
    # Tests send it to processes that they start, also where a script has begun them with `&`.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if "not faults" in config.option.markexpr:  # those train for longer
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a tracking store as MLflow makes it, which takes seconds; to be copied.

    The first process of the tests that needs one makes it for all.
    """
    own = tmp_path_factory.getbasetemp()
    root = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "empty-store"
    with FileLock(f"{root}.lock"):
        if not root.exists():
            root.mkdir()
            with chdir(root):  # MLflow makes a folder for artifacts where it is
                create_database(root)
    return store.database(root)


@pytest.fixture(scope="session", autouse=True)
def stores_are_copies(request: pytest.FixtureRequest) -> Iterator[None]:
    """Lets MLflow make one database per process of the tests, whose own processes make theirs."""

    def copy(root: Path) -> None:
        shutil.copy(request.getfixturevalue("empty_store"), store.database(root))

    with mock.patch.object(store, "_create_database", copy):
        yield


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """Undoes what a command that ran in this process has set for all that come after it."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(autouse=True)
def usual_logging() -> None:
    """Undoes what Hydra or Alembic did to the logging of a process that an earlier test shared."""
    logging.disable(logging.NOTSET)
    logging.root.setLevel(logging.WARNING)
    for handler in logging.root.handlers[:]:
        if type(handler).__module__.startswith("fmnist_lab"):  # its file is an earlier test's
            logging.root.removeHandler(handler)
            handler.close()
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger):
            logger.disabled = False
            if name.startswith("fmnist_lab"):
                logger.propagate = True
                logger.setLevel(logging.NOTSET)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which the test runs, without variables that its user has set for us."""
    for name in list(os.environ):
        if name.startswith(OWN_VARIABLES):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def exit_code(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Runs the program in this process as the shell would."""
    monkeypatch.setattr("sys.argv", ["fmnist-lab", *words])
    monkeypatch.setattr("signal.signal", lambda *arguments: None)
    monkeypatch.setattr("sys.path", list(sys.path))
    hydra.version.setbase("1.3")  # as in a new process; suites of Hydra's choose others
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def run_here(folder: Path, *words: str, **variables: str) -> CompletedProcess[str]:
    """Runs `fmnist-lab` in a folder and in this process, which has imported what takes seconds."""
    printed, complaint = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, {"COLUMNS": "120", "NO_COLOR": "1"}),
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(printed),
        redirect_stderr(complaint),
    ):
        for name in [name for name in os.environ if name.startswith(OWN_VARIABLES)]:
            del os.environ[name]
        os.environ |= variables
        patch.chdir(folder)
        code = exit_code(patch, *words)
    GlobalHydra.instance().clear()  # which a refused request leaves as it was
    return CompletedProcess(words, code, printed.getvalue(), complaint.getvalue())


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
def clock() -> Clock:
    return Clock()


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
