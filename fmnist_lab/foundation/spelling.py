"""Values as Hydra overrides, so that what was suggested is what arrives."""

import re
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

_PLAIN = re.compile(r"[A-Za-z_][\w./-]*", re.ASCII)
_RESERVED = ("null", "true", "false", "nan", "inf")  # words that Hydra reads as something else


def spell(value: Any) -> str:
    """Returns the text after `key=` that gives a job exactly this value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return str(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _RESERVED:
        return value
    # Escaped quotes inside of an interpolation would be an error.
    quote = Quote.double if "'" in value and '"' not in value else Quote.single
    return QuotedString(value, quote).with_quotes()


def spell_custom(value: Any) -> str:
    """Spells like `spell`, for a custom search space, where "[1, 2]" has always meant the list."""
    return value if isinstance(value, str) and value[:1] in ("[", "{") else spell(value)
