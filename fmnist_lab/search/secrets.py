"""Passwords stay out of logs and files."""

import os
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from omegaconf import DictConfig, ListConfig, OmegaConf

from fmnist_lab.search.spelling import spell

# Up to the last @ before a space, since a password may hold one that is not escaped; so may a user.
_PASSWORD = re.compile(r"(://[^:/\s]*:)\S*(?=@)")
_QUERY = re.compile(r"([?&](?:\w*password|passwd|pwd|\w*token|\w*secret)=)[^&\s'\"]*", re.I)

STORAGE = "FMNIST_LAB_STORAGE"
_TRACKING = "MLFLOW_TRACKING_URI"
_VARIABLES = {"hydra.sweeper.storage": STORAGE, "tracking.uri": _TRACKING}
_URL = re.compile(r"""(['"]?)([a-z][\w+.-]*://.*)\1""", re.I)


def mask(text: str) -> str:
    """The text with the passwords of its URLs replaced by ***."""
    return _QUERY.sub(r"\1***", _PASSWORD.sub(r"\1***", text))


def into_environment(arguments: Sequence[str]) -> list[str]:
    """The arguments without passwords, which the configuration then reads from the environment.

    Hydra copies arguments into every job's folder, and we into descriptions and MLflow.
    """
    kept = [_without_password(argument) for argument in arguments]
    _take_login()
    return kept


def masked_config(config: DictConfig) -> DictConfig:
    """The configuration without passwords; the same object where there are none."""
    if mask(text := OmegaConf.to_yaml(config)) == text:
        return config
    copy = config.copy()
    OmegaConf.set_struct(copy, False)
    OmegaConf.set_readonly(copy, False)
    _mask_values(copy)
    return copy


def masked_overrides(config: DictConfig) -> list[str]:
    """Overrides that keep a storage's password out of the files that Hydra writes for a job."""
    storage = OmegaConf.to_container(config.hydra.sweeper, resolve=False)["storage"]  # type: ignore[index,call-overload]
    text = storage if isinstance(storage, str) else repr(storage)
    return [f"hydra.sweeper.storage={spell(mask(text))}"] if mask(text) != text else []


def _without_password(argument: str) -> str:
    key, _, value = argument.partition("=")
    url, variable = _URL.fullmatch(value), _VARIABLES.get(key.lstrip("+"))
    if variable is None or url is None or mask(value) == value:
        return argument
    os.environ[variable] = url[2]
    return f'{key}="${{oc.env:{variable}}}"'


def _take_login() -> None:
    """Takes the login out of MLflow's address, as MLflow quotes that in errors and logs."""
    parts = urlsplit(os.environ.get(_TRACKING, ""))
    if parts.scheme in ("http", "https") and parts.password is not None:
        os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username or "")
        os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password)
        os.environ[_TRACKING] = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _mask_values(node: Any) -> None:
    keys = range(len(node)) if isinstance(node, ListConfig) else list(node)
    for key in keys:
        child = node._get_node(key)
        if OmegaConf.is_config(child):
            if not (child._is_none() or child._is_missing() or child._is_interpolation()):
                _mask_values(child)
        elif isinstance(value := child._value(), str) and mask(value) != value:
            child._set_flag(["readonly"], [False])
            node[key] = _mask_override(value)


def _mask_override(text: str) -> str:
    """Masks a value, which may be an override: then it must still be one that Hydra can read."""
    key, equals, value = text.partition("=")
    if not equals or "://" in key:
        return mask(text)
    return f"{key}={spell(mask(value.strip(chr(39) + chr(34))))}"
