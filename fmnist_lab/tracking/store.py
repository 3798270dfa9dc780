"""The MLflow store: where it is, and how a process opens it."""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from fmnist_lab.config import TrackingConfig
from fmnist_lab.foundation.secrets import mask

ROOT = Path("mlruns")  # everything that a run leaves, in the folder where the command runs
SOURCE = {"mlflow.source.name": "fmnist-lab", "mlflow.source.type": "LOCAL"}  # tags of our runs
NOTE = "mlflow.note.content"  # the tag that the UI shows as a run's description
PARENT = "mlflow.parentRunId"  # the tag that nests a run under another one

_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
_WAITS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

log = logging.getLogger(__name__)


def open_experiment(config: TrackingConfig, root: Path = ROOT) -> tuple[Any, str]:
    """An MLflow client for the configured store, and the experiment's id.

    Args:
        config: Names the store and the experiment.
        root: Where the local store is.

    Of several processes that start at once, one creates store and experiment and the
    others wait: MLflow itself would let them break a new database.
    """
    mlflow = quiet_mlflow()
    if config.uri:
        return _experiment(mlflow.MlflowClient(config.uri), config.experiment, None)
    root.mkdir(exist_ok=True)
    ignore = root / ".gitignore"
    if not ignore.exists():
        ignore.write_text("# Results stay out of git.\n*\n!.gitignore\n", encoding="utf-8")
    with FileLock(root / ".mlflow.lock"):
        if not database(root).exists():
            log.info("Creating the tracking store %s", database(root))
            _create_database(root)
        # MLflow would try again and again, and never say why.
        if not os.access(database(root), os.R_OK | os.W_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(database(root)))
        client = mlflow.MlflowClient(store_uri(root))
        return _experiment(client, config.experiment, artifacts(root))


def quiet_mlflow() -> Any:
    """The module, without its log lines about migrations and retries."""
    import mlflow

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # What it tells at length is also raised.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    # This one tells of each retry; we tell of an outage once.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    return mlflow


def give_up_soon() -> None:
    """From now on calls to a server that is down give up within seconds, not four minutes.

    MLflow has these settings in the environment alone; what the user has set there stays.
    A slow server gets more time than in `short_waits`: nobody waits for it.
    """
    for name, value in _WAITS.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault(_TIMEOUT, "30")


def address(store: str) -> str:
    """The store's address, with its password if the environment still has it."""
    given = os.environ.get("MLFLOW_TRACKING_URI", "")
    return given if mask(given) == store else store


@contextmanager
def short_waits() -> Iterator[None]:
    """In this block calls to a server that is down give up within seconds, not four minutes.

    And nothing is printed into the live view. MLflow has these settings in the environment
    alone; what the user has set there stays.
    """
    settings = _WAITS | {_TIMEOUT: "10"}
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def database(root: Path = ROOT) -> Path:
    """The SQLite file of the local store."""
    return root.absolute() / "mlflow.db"


def store_uri(root: Path = ROOT) -> str:
    """The address of the local store."""
    return f"sqlite:///{database(root)}"


def artifacts(root: Path = ROOT) -> str:
    """The address of the local store's artifact folder; absolute, for commands run elsewhere."""
    return (root.absolute() / "artifacts").as_uri()


def _create_database(root: Path) -> None:
    """Creates the local store under another name: killed midway, it could never be opened."""
    import mlflow

    part = database(root).with_name("mlflow.part")  # always this name: a kill leaves at most one
    for left in (part, part.with_name(f"{part.name}-journal")):
        left.unlink(missing_ok=True)
    mlflow.MlflowClient(f"sqlite:///{part}").search_experiments()
    part.replace(database(root))


def _experiment(client: Any, name: str, artifact_location: str | None) -> tuple[Any, str]:
    from mlflow import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            identifier = client.create_experiment(name, artifact_location=artifact_location)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            identifier = client.get_experiment_by_name(name).experiment_id  # somebody was faster
        client.set_experiment_tag(identifier, "mlflow.experiment.primaryMetric.name", "objective")
        # The UI opens on its pages for training, not on those for language models.
        client.set_experiment_tag(identifier, "mlflow.experimentKind", "custom_model_development")
        return client, identifier
    return client, experiment.experiment_id
