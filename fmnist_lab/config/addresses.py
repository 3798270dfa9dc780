"""Addresses at which MLflow can record; checked without MLflow, whose import takes 2 s."""

import os
from importlib.metadata import entry_points
from urllib.parse import urlsplit

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.secrets import mask

_SERVERS = ("http", "https")
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")  # with a driver, too: mysql+pymysql
_ALLOWED = ", ".join(f"{scheme}://" for scheme in (*_SERVERS, "databricks", *_DATABASES))
_FILES = "MLFLOW_ALLOW_FILE_STORE"  # without it MLflow refuses to record in plain files


def require_store(key: str, uri: str) -> None:
    """Raises `RequestError` for an address at which MLflow can never record."""
    # A database may be a file in a folder with spaces.
    is_web = uri.lower().startswith(tuple(f"{scheme}://" for scheme in _SERVERS))
    if uri.strip() and (uri != uri.strip() or (is_web and len(uri.split()) > 1)):
        rule = "be an address without spaces (a password may have them as %20)"
        raise RequestError(key, rule, mask(uri))
    if not _is_store(uri):
        rule = f"be the address of an MLflow server or database, beginning with one of {_ALLOWED}"
        raise RequestError(key, rule, mask(uri))


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
    if "databricks" in (uri, parts.scheme):
        return True
    if parts.scheme in ("", "file"):
        return bool(uri.strip()) and os.environ.get(_FILES, "").lower() in ("true", "1")
    return parts.scheme in entry_points(group="mlflow.tracking_store").names  # of plugins
