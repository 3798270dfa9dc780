"""Hydra's own test suites for launchers, on ours."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)
from hydra.version import _UNSPECIFIED_, VersionBase

from fmnist_lab.launcher.cluster import keep_workers
from fmnist_lab.launcher.stream import close_stream

pytestmark = pytest.mark.slow

ONE = "hydra.launcher.workers=1"  # each takes a second to start; `test_stream` has several


@pytest.fixture(scope="module", autouse=True)
def _shared_worker() -> Iterator[None]:
    """The launches in this process share their worker; each command starts its own."""
    with keep_workers():
        yield
        close_stream()


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The applications of the suites start elsewhere, with or without the package installed."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.fixture(autouse=True)
def _as_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suites expect that no test before them has chosen a version of Hydra's defaults."""
    monkeypatch.setattr(VersionBase.instance(), "version_base", _UNSPECIFIED_)


def test_hydra_finds_the_launcher() -> None:
    found = {plugin.__name__ for plugin in Plugins.instance().discover(Launcher)}
    assert "DaskLauncher" in found


def test_looking_at_the_plugin_does_not_import_dask() -> None:
    code = (
        "import sys; from hydra.core.plugins import Plugins; Plugins.instance();"
        "assert 'hydra_plugins.fmnist_lab_launcher.dask_launcher' in sys.modules;"
        "sys.exit({'distributed', 'dask', 'tensorflow'} & set(sys.modules) != set())"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("launcher_name", "overrides"), [("dask", [ONE])])
class TestLauncher(LauncherTestSuite):
    """One job, many jobs, overrides, resolvers, folders."""


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [("dask", [ONE, "hydra/sweeper=basic", "hydra.sweeper.max_batch_size=2"])],
)
class TestBatches(BatchedSweeperTestSuite):
    """Several batches on the same workers."""


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [
        (
            {},
            [
                "-m",
                "hydra/launcher=dask",
                ONE,
                "hydra/job_logging=disabled",
                "hydra/hydra_logging=disabled",
            ],
        )
    ],
)
class TestIntegration(IntegrationTestSuite):
    """Applications as commands."""
