"""Files that are made after a sweep, beside its run's other artifacts."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from fmnist_lab.tracking.delivery import RUN_FILE
from fmnist_lab.tracking.store import address, short_waits

log = logging.getLogger(__name__)


def attach(folder: Path, files: Sequence[Path]) -> str | None:
    """Copies files into the artifacts of a sweep's run; what goes wrong is only a warning.

    Args:
        folder: The sweep's, whose `mlflow.json` names store and run; without it there is no run.
        files: What to copy; files of the same name are replaced.

    Returns:
        The run's id if the files are there now.
    """
    if not (folder / RUN_FILE).exists():
        return None
    try:
        where = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
        with short_waits():
            _send(address(where["store"]), where["run_id"], files)
    except Exception as error:  # a server that is down, a store that has moved, a damaged file
        reason = str(error).strip().partition("\n")[0]
        log.warning("Not in MLflow: %s", reason or type(error).__name__)
        return None
    return str(where["run_id"])


def _send(store: str, run_id: str, files: Sequence[Path]) -> None:
    parts = urlsplit(store)
    # SQLite would make a new database where there is none.
    if parts.scheme == "sqlite" and not Path(parts.path.removeprefix("/")).exists():
        raise FileNotFoundError(f"the sweep's store {store} is not there.")
    import mlflow

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    client = mlflow.MlflowClient(store)
    for file in files:
        client.log_artifact(run_id, str(file))
