"""Calls the function that a configuration node names in `_target_`.

Only the open families (architecture, optimizer, scheduler) have such nodes. The other
keys of a node are the function's keyword arguments, checked against its signature before
it is called, so that a misspelt key is one clear sentence instead of a `TypeError`.
"""

import inspect
import pkgutil
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fmnist_lab.errors import RequestError


def create(group: str, node: Mapping[str, Any], **given: Any) -> Any:
    """Returns what the node's `_target_` returns, called with the node's other keys.

    Args:
        group: The configuration group, for messages, such as `scheduler`.
        node: Plain values; `_target_` is a dotted path such as `keras.optimizers.Adam`.
        **given: Further arguments, which win over the node's.

    Raises:
        RequestError: `_target_` names nothing callable, or a key is unknown or missing.
    """
    function = locate(group, node)
    arguments = {key: value for key, value in node.items() if key != "_target_"} | given
    _check_keys(group, function, arguments)
    return function(**arguments)


def locate(group: str, node: Mapping[str, Any]) -> Callable[..., Any]:
    """The function or class that the node's `_target_` names.

    Raises:
        RequestError: `_target_` is missing or names nothing callable.
    """
    return function_at(f"{group}._target_", node.get("_target_"))


def function_at(key: str, path: Any) -> Callable[..., Any]:
    """The function or class at a dotted path that is the value of a key.

    Raises:
        RequestError: There is none.
    """
    if not isinstance(path, str):
        raise RequestError(
            f"`{key}` must be a function's dotted path, such as my_module.my_function, "
            f"got {path!r}."
        )
    try:
        found = pkgutil.resolve_name(path)
    except Exception as error:  # a module of the user's own may raise whatever it likes
        raise RequestError(
            f"`{key}` must name a function, got {path!r}: {explain(error)}."
        ) from error
    if not callable(found):
        raise RequestError(f"`{key}` must name a function, got {path!r}: not callable.")
    return found  # type: ignore[no-any-return]  # resolve_name returns Any


def require_arguments(key: str, function: Callable[..., Any], *names: str) -> None:
    """Refuses a function, the value of a key, that cannot be called with so many arguments.

    Raises:
        RequestError: It takes others.
    """
    try:
        takes = inspect.signature(function)
    except (TypeError, ValueError):  # some of Python's own do not say
        return
    try:
        takes.bind(*names)
    except TypeError:
        raise RequestError(
            f"`{key}` must name a function of ({', '.join(names)}), got one of {takes}."
        ) from None


def explain(error: Exception) -> str:
    """What somebody else's code has raised, and in which line."""
    reason = " ".join(f"{error}".split()).rstrip(".") or "no reason given"
    if isinstance(error, ImportError | AttributeError):
        return reason
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__} ({reason}){place}"


def parameters(group: str, function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The arguments that the function takes.

    Raises:
        RequestError: It does not say, as some of Python's own do not.
    """
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise RequestError(
            f"`{group}._target_` must name a function with a signature, got {function!r}."
        ) from error


def _check_keys(group: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    taken, called = parameters(group, function).values(), getattr(function, "__name__", "it")
    named = {p.name for p in taken if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in taken)
    for key in arguments:
        if key not in named and not open_ended:
            allowed = ", ".join(sorted(named)) or "none"
            raise RequestError(
                f"`{group}.{key}` must be a key of {called}, got {arguments[key]!r}; "
                f"allowed keys: {allowed}."
            )
    required = {p.name for p in taken if p.name in named and p.default is p.empty}
    for key in sorted(required - arguments.keys()):
        raise RequestError(f"`{group}.{key}` must be given: {called} needs it, got nothing.")
