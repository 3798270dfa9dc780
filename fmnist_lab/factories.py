"""Calls the function that a configuration node names in `_target_`.

Only the open families (architecture, optimizer, scheduler) have such nodes. The other
keys of a node are the function's keyword arguments, checked against its signature before
it is called, so that a misspelt key is one clear sentence instead of a `TypeError`.
"""

import inspect
import pkgutil
from collections.abc import Callable, Mapping
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
    target = node.get("_target_")
    if not isinstance(target, str):
        raise RequestError(
            f"`{group}._target_` must be a function's dotted path, such as my_module.my_function, "
            f"got {target!r}."
        )
    try:
        found = pkgutil.resolve_name(target)
    except (ValueError, ImportError, AttributeError) as error:
        raise RequestError(
            f"`{group}._target_` must name a function, got {target!r}: {error}."
        ) from error
    if not callable(found):
        raise RequestError(
            f"`{group}._target_` must name a function, got {target!r}: not callable."
        )
    return found  # type: ignore[no-any-return]  # resolve_name returns Any


def _check_keys(group: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError as error:  # some builtins have none
        raise RequestError(
            f"`{group}._target_` must name a function with a signature, got {function!r}."
        ) from error
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for key in arguments:
        if key not in named and not open_ended:
            allowed = ", ".join(sorted(named)) or "none"
            raise RequestError(
                f"`{group}.{key}` must be a key of {function.__name__}, got {arguments[key]!r}; "
                f"allowed keys: {allowed}."
            )
    required = {p.name for p in parameters if p.name in named and p.default is p.empty}
    for key in sorted(required - arguments.keys()):
        raise RequestError(
            f"`{group}.{key}` must be given: {function.__name__} needs it, got nothing."
        )
