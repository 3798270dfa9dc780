"""The MLflow store: its address, and how a process opens it."""

import errno
import json
import logging
import os
import shlex
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from filelock import FileLock

from fmnist_lab.config import TrackingConfig
from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.foundation.installed import require_versions
from fmnist_lab.foundation.secrets import mask
from fmnist_lab.results.layout import ARTIFACTS, MLFLOW_DATABASE, MLFLOW_RUN, ROOT

SOURCE = {"mlflow.source.name": "fmnist-lab", "mlflow.source.type": "LOCAL"}  # tags of our runs
NOTE = "mlflow.note.content"  # the tag that the UI shows as a run's description
PARENT = "mlflow.parentRunId"  # the tag that nests a run under another one
ADDRESSES = (  # of artifacts: tables and columns of MLflow's database
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
LOCK_SECONDS = 60.0  # that other processes may write for
SHORT_TIMEOUT = "10"  # seconds, where the user waits for the server

log = logging.getLogger(__name__)

_addresses: dict[str, str] = {}  # of stores, with their passwords, by those without
_opened: dict[tuple[str, str], tuple[Any, str]] = {}  # by address and experiment


def open_experiment(config: TrackingConfig, root: Path = ROOT) -> tuple[Any, str]:
    """Opens the configured store; returns an MLflow client and the experiment's id.

    Args:
        config: Names the store and the experiment.
        root: The folder of the local store.

    Raises:
        RequestError: Its schema is another MLflow's, or the experiment is deleted.
    """
    if config.uri is None:
        return _experiment(open_store(root), config.experiment, artifacts(root))
    mlflow = quiet_mlflow()
    if is_sqlite(config.uri):
        _require_schema(_file(config.uri), config.uri)
    return _experiment(mlflow.MlflowClient(config.uri), config.experiment, None)


def open_store(root: Path = ROOT) -> Any:
    """Opens the local store, or makes it; returns an MLflow client.

    If several processes start at once, one creates it and the others wait: without the lock MLflow
    breaks a new database.

    Raises:
        RequestError: Its schema is another MLflow's, or it cannot be opened.
    """
    mlflow = quiet_mlflow()
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
        try:
            _require_schema(database(root), store_uri(root))
            _follow(root)
            return mlflow.MlflowClient(store_uri(root))
        except (RequestError, OSError):
            raise
        except Exception as error:  # a damaged file, whatever library finds it so
            rule, got = "be a store that MLflow can open", Phrase(reason(error))
            raise RequestError(str(database(root)), rule, got) from error


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
        run_id = str(where["run_id"])
        client = _client(where["store"], run_id, folder)
        for file in files:
            client.log_artifact(run_id, str(file))
    except Exception as error:  # a server that is down, a store that is gone, a damaged file
        log.warning("Not in MLflow: %s", reason(error))
        return None
    return run_id


def _client(store: str | None, run_id: str, folder: Path) -> Any:
    """Returns a client of the store that a sweep's `mlflow.json` names.

    None is the local one. Earlier versions wrote down its file: where the folder was moved or
    copied since, the run is in the store beside it.
    """
    mlflow = quiet_mlflow(SHORT_TIMEOUT)
    if store is None or is_sqlite(store):
        above = (path for path in folder.absolute().parents if path.name == ROOT.name)
        root = next(above, ROOT)
        if database(root).exists():  # else it would be created
            client = open_store(root)
            with suppress(mlflow.MlflowException):  # it has no such run
                client.get_run(run_id)
                return client
        if store is None or not _file(store).exists():
            raise FileNotFoundError(f"{_file(store) if store else database(root)} has no such run")
    return mlflow.MlflowClient(with_password(store))


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
    """Returns whether a store's address is that of an SQLite file, with whatever driver."""
    return urlsplit(uri).scheme.partition("+")[0] == "sqlite"


def database(root: Path = ROOT) -> Path:
    """Returns the SQLite file of the local store."""
    return root.absolute() / MLFLOW_DATABASE


def store_uri(root: Path = ROOT) -> str:
    """Returns the address of the local store, whatever characters its path has."""
    return _address(database(root))


def artifacts(root: Path = ROOT) -> str:
    """Returns the address of the local artifact folder; absolute, for commands run elsewhere."""
    return (root.absolute() / ARTIFACTS).as_uri()


def _address(file: Path) -> str:
    """Returns an SQLite file's address.

    SQLAlchemy unquotes it. MLflow does not where it makes the folders of a file that is named
    without a driver, which would be others.
    """
    return f"sqlite+pysqlite:///{quote(str(file))}"


def _file(address: str) -> Path:
    """Returns the file of an SQLite address."""
    return Path(unquote(urlsplit(address).path.removeprefix("/")))


def _require_schema(file: Path, address: str) -> None:
    """Requires the schema of the installed MLflow, if a file has one.

    MLflow upgrades some older files at once, without a copy, and is vague about the others.
    """
    from alembic.script import ScriptDirectory
    from mlflow import __file__ as mlflow_file
    from mlflow import __version__ as mlflow_version

    if not file.exists():
        return
    with closing(sqlite3.connect(file, timeout=LOCK_SECONDS)) as store:
        if not store.execute("PRAGMA table_info(alembic_version)").fetchall():
            return
        found = store.execute("SELECT version_num FROM alembic_version").fetchone()
    scripts = ScriptDirectory(str(Path(mlflow_file).with_name("store") / "db_migrations"))
    if found is None or found[0] == scripts.get_current_head():
        return
    if found[0] in (script.revision for script in scripts.walk_revisions()):
        got, hint = "an older one", f"copy the file, then: mlflow db upgrade {mask(address)}"
    else:
        got, hint = "a newer one", "use the MLflow that made it"
    rule = f"have the schema of MLflow {mlflow_version}"
    raise RequestError(str(file), rule, Phrase(got), hint)


def _follow(root: Path) -> None:
    """Lets the addresses of artifacts follow a store that was moved or copied with its folder.

    MLflow makes them absolute and has no call that changes them. Relative ones would depend on
    the folder in which a process runs.
    """
    here = root.absolute()
    with closing(sqlite3.connect(database(root), timeout=LOCK_SECONDS)) as store, store:
        if not store.execute("PRAGMA table_info(experiments)").fetchall():
            return
        ours = f"file:///%/{here.name}/{ARTIFACTS}"
        query = "SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE ?"
        for (location,) in store.execute(query, (ours,)).fetchall():
            there = location.removesuffix(f"/{ARTIFACTS}")
            before = Path(unquote(urlsplit(there).path))
            with suppress(OSError):  # it is gone, or another user's
                if before.samefile(root):  # by another path, of a mount or a link
                    continue
            log.info("The tracking store has moved: its artifacts are in %s", here)
            moves = {there: here.as_uri(), str(before): str(here)}  # as addresses and as paths
            for (table, column), (old, new) in product(ADDRESSES, moves.items()):
                store.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE substr({column}, 1, ?) = ?",
                    (new, len(old) + 1, len(old) + 1, f"{old}/"),
                )


def _create_database(root: Path) -> None:
    """Creates the local store under another name: a half-made one could never be opened."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    part = database(root).with_name("mlflow.part")  # always this name: a kill leaves at most one
    for left in (part, part.with_name(f"{part.name}-journal")):
        left.unlink(missing_ok=True)
    # A client would write the working folder's name into SQL as it is, quotes and all.
    SqlAlchemyStore(_address(part), artifacts(root))
    part.replace(database(root))


def require_active(client: Any, experiment: Any) -> None:
    """Requires an experiment that is not deleted.

    Raises:
        RequestError: It is deleted.
    """
    if experiment.lifecycle_stage == "deleted":
        restore = f"mlflow experiments restore -x {experiment.experiment_id}"
        address = shlex.quote(mask(client.tracking_uri))
        hint = f"restore it: MLFLOW_TRACKING_URI={address} {restore}, or name another one"
        rule, got = "name an experiment that is not deleted", experiment.name
        raise RequestError("tracking.experiment", rule, got, hint)


def _experiment(client: Any, name: str, artifact_location: str | None) -> tuple[Any, str]:
    from mlflow import MlflowException

    if experiment := client.get_experiment_by_name(name):
        require_active(client, experiment)
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
