"""The MLflow store: where it is, and how a process opens it."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from fmnist_lab.config import TrackingConfig

ROOT = Path("mlruns")  # everything that a run leaves, in the folder where the command runs
SOURCE = {"mlflow.source.name": "fmnist-lab", "mlflow.source.type": "LOCAL"}  # tags of our runs
NOTE = "mlflow.note.content"  # the tag that the UI shows as a run's description
PARENT = "mlflow.parentRunId"  # the tag that nests a run under another one

log = logging.getLogger(__name__)


def open_experiment(config: TrackingConfig) -> tuple[Any, str]:
    """An MLflow client for the configured store, and the experiment's id.

    Of several processes that start at once, one creates store and experiment and the
    others wait: MLflow itself would let them break a new database.
    """
    import mlflow

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if config.uri:
        return _experiment(mlflow.MlflowClient(config.uri), config.experiment, None)
    ROOT.mkdir(exist_ok=True)
    ignore = ROOT / ".gitignore"
    if not ignore.exists():
        ignore.write_text("# Results stay out of git.\n*\n!.gitignore\n", encoding="utf-8")
    with FileLock(ROOT / ".mlflow.lock"):
        if not database().exists():
            log.info("Creating the tracking store %s", database())
            _create_database()
        return _experiment(mlflow.MlflowClient(store_uri()), config.experiment, artifacts())


@contextmanager
def short_waits() -> Iterator[None]:
    """In this block calls to a server that is down give up within seconds, not four minutes.

    And nothing is printed into the live view. MLflow has these settings in the environment
    alone; what the user has set there stays.
    """
    settings = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def database() -> Path:
    """The SQLite file of the local store."""
    return ROOT.absolute() / "mlflow.db"


def store_uri() -> str:
    """The address of the local store."""
    return f"sqlite:///{database()}"


def artifacts() -> str:
    """The address of the local store's artifact folder; absolute, for commands run elsewhere."""
    return (ROOT.absolute() / "artifacts").as_uri()


def _create_database() -> None:
    """Creates the local store under another name: killed midway, it could never be opened."""
    import mlflow

    part = database().with_name("mlflow.part")  # always this name: a kill leaves at most one
    for left in (part, part.with_name(f"{part.name}-journal")):
        left.unlink(missing_ok=True)
    mlflow.MlflowClient(f"sqlite:///{part}").search_experiments()
    part.replace(database())


def _experiment(client: Any, name: str, artifact_location: str | None) -> tuple[Any, str]:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        identifier = client.create_experiment(name, artifact_location=artifact_location)
        client.set_experiment_tag(identifier, "mlflow.experiment.primaryMetric.name", "objective")
        # The UI opens on its pages for training, not on those for language models.
        client.set_experiment_tag(identifier, "mlflow.experimentKind", "custom_model_development")
        return client, identifier
    return client, experiment.experiment_id
