"""Checks of requested values; each raises a RequestError that names the key.

Values are passed by name: `require_positive("scheduler", decay_epochs=0)` raises
"`scheduler.decay_epochs` must be positive, got 0."
"""

import math
import re
from collections.abc import Callable, Collection
from numbers import Real
from typing import Any

from fmnist_lab.errors import RequestError

MOST = 2.0**63  # nothing that is counted or measured here is larger; Python's integers may be
_NAME = re.compile(r"\w[\w-]{0,99}", re.ASCII)


def require_number(
    group: str, rule: str, is_allowed: Callable[[Any], bool], **values: object
) -> None:
    """Checks that every value is a finite number that obeys `rule`."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Real) or not _is_finite(value):
            raise RequestError(f"{group}.{name}", "be a finite number", value)
        if not is_allowed(value):
            raise RequestError(f"{group}.{name}", f"be {rule}", value)


def require_positive(group: str, **values: object) -> None:
    """Checks that every value is a finite number above zero."""
    require_number(group, "positive", lambda value: value > 0, **values)


def require_non_negative(group: str, **values: object) -> None:
    """Checks that every value is a finite number from zero upwards."""
    require_number(group, "zero or more", lambda value: value >= 0, **values)


def require_share(group: str, **values: object) -> None:
    """Checks that every value is a finite number from zero to below one."""
    require_number(group, "at least 0 and below 1", lambda value: 0 <= value < 1, **values)


def require_whole(group: str, **values: object) -> None:
    """Checks that every value is an integer from zero upwards."""
    require_number(
        group,
        "a whole number, zero or more",
        lambda value: isinstance(value, int) and value >= 0,
        **values,
    )


def require_choice(group: str, choices: Collection[str], **values: object) -> None:
    """Checks that every value is one of the choices."""
    for name, value in values.items():
        if value not in choices:
            raise RequestError(f"{group}.{name}", f"be {' or '.join(choices)}", value)


def require_name(key: str, value: str) -> None:
    """Checks that a name may stand in a file's name, an override and a database."""
    if not _NAME.fullmatch(value):
        raise RequestError(key, "have at most 100 letters a to z, digits, _ and -", value)


def require_text(key: str, value: str) -> None:
    """Checks that a text is a line that can be printed."""
    if not (value.strip() and value.isprintable() and len(value) <= 100):
        raise RequestError(key, "be a name of at most 100 printable characters", value)


def _is_finite(value: Real) -> bool:
    return abs(value) <= MOST if isinstance(value, int) else math.isfinite(value)
