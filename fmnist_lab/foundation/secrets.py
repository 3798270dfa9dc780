"""Passwords stay out of logs and files."""

import os
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from omegaconf import DictConfig, ListConfig, OmegaConf

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.spelling import spell

# In all patterns the group is what comes before the secret.
# A number is a port, though not in a database's URL: for SQLAlchemy all up to the @ is a password.
_DATABASE = r"(?:postgres(?:ql)?|mysql|mariadb|mssql|oracle|redis)(?:\+\w+)?"
_PORT = r"(?<!/:)\d{1,5}(?:[/?#]|$)"
_SIX = r"\[[\da-f:.]+\]"  # an address of IPv6, whose colons are no user's
_PASSWORD = re.compile(
    # Up to the last @ before a space, since a password may hold one that is not escaped; so may a
    # user. If there is none, the password has a space: up to the last one in the line.
    rf"({_DATABASE}://[^:/\s]*:)\S*(?=@)"
    rf"|(://(?!{_SIX})[^:/\s]*:)(?:(?!{_PORT}|\d+\s)\S*|(?!\s|(?<!/:)\d+\b).*)(?=@)"
    r"|((?:(?<=http)|(?<=https))://)[^:/?#\s'\"]+(?=@)",  # a user alone is a token
    re.I,
)
_WHOLE_PASSWORD = re.compile(  # of a text that is a URL: its spaces are all the URL's
    rf"({_DATABASE}://[^:/]*:).*(?=@)|(://(?!{_SIX})[^:/]*:)(?!{_PORT}).*(?=@)"
    r"|((?:(?<=http)|(?<=https))://)[^:/?#]+(?=@)",
    re.I | re.S,
)
_SECRET = (
    r"(?:pass|auth|sig|key|[\w-]*(?:passw(?:or)?d|passphrase|pwd|token|secret|signature"
    r"|credentials?|(?:api|access|account|private)[_-]?key))"
)
# ODBC's settings are one value, in which = and ; may be escaped.
_QUERY_KEY = rf"((?:[?&;]|%3B|odbc_connect=){_SECRET}(?:=|%3D))"
_QUERY = re.compile(rf"{_QUERY_KEY}(?:[^&\s'\"]|['\"](?![\s,;:.)\]}}]|$))*", re.I)
_WHOLE_QUERY = re.compile(rf"{_QUERY_KEY}[^&]*", re.I)
_FROM_ENVIRONMENT = re.compile(r"\$\{oc\.env:(\w+)\}")  # with a default it may hold a secret
_NAME = re.compile("\ue000(\\w+)\ue001")  # stands for it: its colon and braces would mislead
_NAMES = re.compile(f"(?:{_NAME.pattern})+['\"]?")  # maybe with the quote that ends a value

STORAGE = "FMNIST_LAB_STORAGE"
_TRACKING = "MLFLOW_TRACKING_URI"
_VARIABLES = {"hydra.sweeper.storage": STORAGE, "tracking.uri": _TRACKING}
_SCHEME = r"[a-z][\w+.-]*://"
_START = re.compile(rf"\s*['\"]?{_SCHEME}", re.I)
_ADDRESS = re.compile(  # alone, or the whole of it in quotes
    rf"""(?P<quote>['"])(?P<quoted>{_SCHEME}(?:\\.|(?!(?P=quote)).)*)(?P=quote)"""
    rf"|(?P<bare>{_SCHEME}.*)",
    re.I | re.S,
)


def mask(text: str) -> str:
    """Returns the text with the passwords and tokens of its URLs replaced by ***."""
    whole = _START.match(text)
    text = _FROM_ENVIRONMENT.sub("\ue000\\1\ue001", text)
    for secret in (_WHOLE_PASSWORD, _WHOLE_QUERY) if whole else (_PASSWORD, _QUERY):
        text = secret.sub(_hide, text)
    return _NAME.sub(r"${oc.env:\1}", text)


def into_environment(arguments: Sequence[str]) -> list[str]:
    """Moves passwords into the environment, where the configuration reads them.

    Hydra copies arguments into every job's folder, and we into descriptions and MLflow.

    Raises:
        RequestError: One holds a password that cannot be moved there.
    """
    kept = [_without_password(argument) for argument in arguments]
    _take_login()
    return kept


def masked_config(config: DictConfig) -> DictConfig:
    """Returns the configuration without passwords; the same object where there are none."""
    copy = config.copy()
    OmegaConf.set_struct(copy, False)
    OmegaConf.set_readonly(copy, False)
    return copy if _mask_values(copy) else config


def masked_overrides(config: DictConfig) -> list[str]:
    """Overrides that keep a storage's password out of the files that Hydra writes for a job."""
    storage = OmegaConf.to_container(config.hydra.sweeper, resolve=False)["storage"]  # type: ignore[index,call-overload]
    text = storage if isinstance(storage, str) else repr(storage)
    return [f"hydra.sweeper.storage={spell(mask(text))}"] if mask(text) != text else []


def _without_password(argument: str) -> str:
    key, _, value = argument.partition("=")
    if "://" not in argument or not (_is_secret(argument) or _is_secret(value)):
        return argument
    named = f"{key.lstrip('+')}."
    variable = next((_VARIABLES[name] for name in _VARIABLES if named.startswith(f"{name}.")), None)
    if variable and (found := _ADDRESS.fullmatch(value)):
        quote = found["quote"]
        address = found["quoted"].replace(f"\\{quote}", quote) if quote else value
        os.environ[variable] = address
        return f'{key}="${{oc.env:{variable}}}"'
    if "://" in key or not value:
        raise RequestError(f"An argument must hold no password, got {mask(argument)}.")
    raise RequestError(
        f"`{key}` must take its password from the environment, as in "
        f"'${{oc.env:{variable or 'NAME'}}}' once this variable is set, got {mask(value)}."
    )


def _is_secret(text: str) -> bool:
    return mask(text) != text


def _hide(found: re.Match[str]) -> str:
    before = found[found.lastindex or 0]
    return found[0] if _NAMES.fullmatch(found[0].removeprefix(before)) else f"{before}***"


def _take_login() -> None:
    """Takes the login out of MLflow's address, as MLflow quotes that in errors and logs."""
    parts = urlsplit(os.environ.get(_TRACKING, ""))
    if parts.scheme in ("http", "https") and parts.password is not None:
        os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username or "")
        os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password)
        os.environ[_TRACKING] = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _mask_values(node: Any) -> bool:
    """Masks the values in a node, and says whether there was anything to mask."""
    masked = False
    for key in range(len(node)) if isinstance(node, ListConfig) else list(node):
        child = node._get_node(key)
        if OmegaConf.is_config(child):
            if not (child._is_none() or child._is_missing() or child._is_interpolation()):
                masked |= _mask_values(child)
        elif isinstance(value := child._value(), str) and "://" in value and _is_secret(value):
            child._set_flag(["readonly"], [False])
            node[key] = _mask_override(value)
            masked = True
    return masked


def _mask_override(text: str) -> str:
    """Masks a value, which may be an override: then it must still be one that Hydra can read."""
    key, equals, value = text.partition("=")
    if not equals or "://" in key:
        return mask(text)
    return f"{key}={spell(mask(value.strip(chr(39) + chr(34))))}"
