"""The MLflow store: its address, and how a process opens it."""

import errno
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock

from fmnist_lab.config import TrackingConfig
from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.installed import require_versions
from fmnist_lab.foundation.secrets import mask
from fmnist_lab.results.layout import ARTIFACTS, MLFLOW_DATABASE, MLFLOW_RUN, ROOT

SOURCE = {"mlflow.source.name": "fmnist-lab", "mlflow.source.type": "LOCAL"}  # tags of our runs
NOTE = "mlflow.note.content"  # the tag that the UI shows as a run's description
PARENT = "mlflow.parentRunId"  # the tag that nests a run under another one
SHORT_TIMEOUT = "10"  # seconds, where the user waits for the server

log = logging.getLogger(__name__)

_addresses: dict[str, str] = {}  # of stores, with their passwords, by those without
_opened: dict[tuple[str, str], tuple[Any, str]] = {}  # by address and experiment


def open_experiment(config: TrackingConfig, root: Path = ROOT) -> tuple[Any, str]:
    """Opens the configured store; returns an MLflow client and the experiment's id.

    Args:
        config: Names the store and the experiment.
        root: The folder of the local store.

    If several processes start at once, one creates store and experiment and the others wait:
    without the lock MLflow breaks a new database.
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
        # MLflow would retry without an end, and without the reason.
        if not os.access(database(root), os.R_OK | os.W_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(database(root)))
        client = mlflow.MlflowClient(store_uri(root))
        return _experiment(client, config.experiment, artifacts(root))


@contextmanager
def connected(uri: str | None, experiment: str, root: Path) -> Iterator[tuple[Any, str]]:
    """Gives client and experiment id, opened once in a process, and again after an error.

    Args:
        uri: As `without_password` returns it.
        experiment: The experiment's name.
        root: The folder of the local store.
    """
    target = (store_name(uri, root), experiment)
    try:
        if target not in _opened:
            config = TrackingConfig(uri=uri and with_password(uri), experiment=experiment)
            _opened[target] = open_experiment(config, root)
        yield _opened[target]
    except Exception:
        _opened.pop(target, None)  # the server may return with another database
        raise


def attach(folder: Path, files: Sequence[Path]) -> str | None:
    """Copies files into the artifacts of a sweep's run; a failure is only a warning.

    Args:
        folder: The sweep's, whose `mlflow.json` names store and run; without it there is no run.
        files: The files to copy; files of the same name are replaced.

    Returns:
        The run's id if the files are there now.
    """
    if not (folder / MLFLOW_RUN).exists():
        return None
    try:
        where = json.loads((folder / MLFLOW_RUN).read_text(encoding="utf-8"))
        store, run_id = with_password(where["store"]), str(where["run_id"])
        path = urlsplit(store).path.removeprefix("/")
        if is_sqlite(store) and not Path(path).exists():  # SQLite would create it
            raise FileNotFoundError(f"the sweep's store {store} is not there.")
        client = quiet_mlflow(SHORT_TIMEOUT).MlflowClient(store)
        for file in files:
            client.log_artifact(run_id, str(file))
    except Exception as error:  # a server that is down, a store that has moved, a damaged file
        log.warning("Not in MLflow: %s", reason(error))
        return None
    return run_id


def quiet_mlflow(timeout: str = "30") -> Any:
    """Imports MLflow, without its log lines about migrations and retries.

    Calls to a server that is down give up within seconds instead of four minutes. MLflow has these
    settings in the environment alone; what the user has set there stays.

    Args:
        timeout: Seconds that a server may take for an answer.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", timeout)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    import mlflow

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # These errors are also raised.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    # It logs each retry; the sender logs one line for each outage.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    return mlflow


def without_password(config: TrackingConfig) -> str | None:
    """Returns the store's address for files and logs; None is the local store.

    The process remembers the password: see `with_password`.
    """
    if config.uri is None:
        return None
    _addresses[mask(config.uri)] = config.uri
    return mask(config.uri)


def with_password(store: str) -> str:
    """Returns a store's address with its password, if this process or its environment has it."""
    given = os.environ.get("MLFLOW_TRACKING_URI", "")
    return _addresses.get(store) or (given if mask(given) == store else store)


def store_name(uri: str | None, root: Path) -> str:
    """Returns the name of a store in messages."""
    return uri or str(database(root))


def reason(error: BaseException) -> str:
    """Returns the first cause of an error as one line without passwords."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    if isinstance(error, ImportError):
        try:
            require_versions()
        except RequestError as known:
            error = known
    return mask(str(error).strip().partition("\n")[0]).rstrip(".") or type(error).__name__


def is_sqlite(uri: str) -> bool:
    """Whether a store's address is that of an SQLite file, with whatever driver."""
    return urlsplit(uri).scheme.partition("+")[0] == "sqlite"


def database(root: Path = ROOT) -> Path:
    """Returns the SQLite file of the local store."""
    return root.absolute() / MLFLOW_DATABASE


def store_uri(root: Path = ROOT) -> str:
    """Returns the address of the local store."""
    return f"sqlite:///{database(root)}"


def artifacts(root: Path = ROOT) -> str:
    """Returns the address of the local artifact folder; absolute, for commands run elsewhere."""
    return (root.absolute() / ARTIFACTS).as_uri()


def _create_database(root: Path) -> None:
    """Creates the local store under another name: a half-made one could never be opened."""
    import mlflow

    part = database(root).with_name("mlflow.part")  # always this name: a kill leaves at most one
    for left in (part, part.with_name(f"{part.name}-journal")):
        left.unlink(missing_ok=True)
    mlflow.MlflowClient(f"sqlite:///{part}").search_experiments()
    part.replace(database(root))


def _experiment(client: Any, name: str, artifact_location: str | None) -> tuple[Any, str]:
    from mlflow import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return client, experiment.experiment_id
    try:
        identifier = client.create_experiment(name, artifact_location=artifact_location)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        identifier = client.get_experiment_by_name(name).experiment_id  # another process was first
    client.set_experiment_tag(identifier, "mlflow.experiment.primaryMetric.name", "objective")
    # The UI opens on its pages for training, not on those for language models.
    client.set_experiment_tag(identifier, "mlflow.experimentKind", "custom_model_development")
    return client, identifier
