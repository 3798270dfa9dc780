"""Calls the function that a configuration node names in `_target_`.

Only the open families (architecture, optimizer, scheduler) have such nodes. The other
keys of a node are the function's keyword arguments, checked against its signature before
it is called, so that a misspelt key is one sentence instead of a `TypeError`.
"""

import inspect
import pkgutil
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fmnist_lab.errors import Phrase, RequestError


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
    taken, called = parameters(group, function).values(), getattr(function, "__name__", "it")
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = {item.name: item.default for item in taken if item.kind in kinds}
    is_open_ended = any(item.kind is item.VAR_KEYWORD for item in taken)
    for key in arguments:
        if key not in named and not is_open_ended:
            hint = f"allowed keys: {', '.join(sorted(named)) or 'none'}"
            raise RequestError(f"{group}.{key}", f"be a key of {called}", arguments[key], hint)
    for key in sorted(named.keys() - arguments.keys()):
        if named[key] is inspect.Parameter.empty:
            raise RequestError(f"{group}.{key}", f"be given: {called} needs it", Phrase("nothing"))
    return function(**arguments)


def locate(group: str, node: Mapping[str, Any]) -> Callable[..., Any]:
    """Returns the function or class that the node's `_target_` names.

    Raises:
        RequestError: `_target_` is missing or names nothing callable.
    """
    return function_at(f"{group}._target_", node.get("_target_"))


def function_at(key: str, path: Any) -> Callable[..., Any]:
    """Returns the function or class at a dotted path that is the value of a key.

    Raises:
        RequestError: There is none.
    """
    if not isinstance(path, str):
        rule = "be a function's dotted path, such as my_module.my_function"
        raise RequestError(key, rule, path)
    try:
        found = pkgutil.resolve_name(path)
    except Exception as error:  # importing the user's module may raise anything
        raise RequestError(key, "name a function", path, explain(error)) from error
    if not callable(found):
        raise RequestError(key, "name a function", path, "it is not callable")
    return found  # type: ignore[no-any-return]  # resolve_name returns Any


def require_arguments(key: str, function: Callable[..., Any], *names: str) -> None:
    """Checks that a function, the value of a key, can be called with so many arguments.

    Raises:
        RequestError: It takes others.
    """
    try:
        takes = inspect.signature(function)
    except (TypeError, ValueError):  # some of Python's own have none
        return
    try:
        takes.bind(*names)
    except TypeError:
        rule = f"name a function of ({', '.join(names)})"
        raise RequestError(key, rule, Phrase(f"one of {takes}")) from None


def explain(error: Exception) -> str:
    """Returns what code outside this package has raised, and in which line."""
    reason = " ".join(f"{error}".split()).rstrip(".") or "no reason given"
    if isinstance(error, ImportError | AttributeError):
        return reason
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__} ({reason}){place}"


def parameters(group: str, function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Returns the arguments that the function takes.

    Raises:
        RequestError: It has no signature, as some of Python's own.
    """
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        rule = "name a function with a signature"
        raise RequestError(f"{group}._target_", rule, function) from error
