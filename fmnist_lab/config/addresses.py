"""Addresses at which MLflow can record; told from others without MLflow, which loads slowly."""

import os
from importlib.metadata import entry_points
from urllib.parse import urlsplit

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.secrets import mask

_SERVERS = ("http", "https")
_WEB = tuple(f"{scheme}://" for scheme in _SERVERS)
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")  # with a driver, too: mysql+pymysql
_FILES = "MLFLOW_ALLOW_FILE_STORE"  # without it MLflow refuses to record in plain files


def require_store(key: str, uri: str) -> None:
    """Raises `RequestError` for an address where nothing can be recorded, on any day."""
    is_web = uri.lower().startswith(_WEB)  # a database may be a file in a folder with spaces
    if uri.strip() and (uri != uri.strip() or (is_web and len(uri.split()) > 1)):
        raise RequestError(
            f"`{key}` must be an address without spaces (a password may have them as %20), "
            f"got {mask(uri)!r}."
        )
    if not _is_store(uri):
        allowed = ", ".join(f"{scheme}://" for scheme in (*_SERVERS, "databricks", *_DATABASES))
        raise RequestError(
            f"`{key}` must be the address of an MLflow server or database, beginning with one of "
            f"{allowed}, got {mask(uri)!r}."
        )


def _is_store(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port  # a port that is no number is an error
    except ValueError:
        return False
    if parts.scheme in _SERVERS:
        return bool(host)
    if parts.scheme.partition("+")[0] in _DATABASES:
        return f"{parts.scheme}://" in uri.lower()
    if uri == "databricks" or parts.scheme == "databricks":
        return True
    if parts.scheme in ("", "file"):
        return bool(uri.strip()) and os.environ.get(_FILES, "").lower() in ("true", "1")
    return parts.scheme in entry_points(group="mlflow.tracking_store").names  # of plugins
