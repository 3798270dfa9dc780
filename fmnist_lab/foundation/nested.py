"""Nested mappings, by dotted keys."""

from collections.abc import Mapping
from typing import Any


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    """Joins nested keys by dots.

    Example:
        >>> flatten({"a": {"b": 1}, "c": [2], "d": {}})
        {'a.b': 1, 'c': [2], 'd': {}}
    """
    if not isinstance(node, Mapping) or not node:
        return {prefix: node}
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def differences(before: Any, now: Any, key: str = "") -> list[tuple[str, Any, Any]]:
    """Returns the dotted keys whose values differ, each with both values; None for a missing one.

    Example:
        >>> differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})
        [('a.b', 1, 3)]
    """
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        return [] if before == now else [(key, before, now)]
    parts = (
        differences(before.get(name), now.get(name), f"{key}.{name}" if key else str(name))
        for name in sorted({**before, **now})
    )
    return [found for part in parts for found in part]
