"""What a job was asked for, read from overrides without Hydra: thousands of them in a moment."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from fmnist_lab.results import layout, schema
from fmnist_lab.results.manifest import RULES

PRIVATE = ("hydra.", "hydra/", "tracking.", "tracking=")  # they make no other trial of it
# Its file, stages and verdicts.
_OF_THE_SWEEP = ("sweeps", "replicates", "searches", "recentre", *RULES)
_NULL, _QUOTES = ("null", ""), ("'", '"')


def asked(overrides: Sequence[str]) -> list[str]:
    """Returns the overrides without those that say where a trial runs and is recorded."""
    return [word for word in overrides if not word.lstrip("+~").startswith(PRIVATE)]


def read(overrides: Sequence[str], without: Sequence[str] = _OF_THE_SWEEP) -> dict[str, Any]:
    """Returns the values by dotted key: float for numbers, None for null, text for all else."""
    return {key: _value(text) for key, text in typed(overrides).items() if key not in without}


def typed(overrides: Sequence[str]) -> dict[str, str]:
    """Returns the values by dotted key, as they were typed."""
    pairs = (word.partition("=") for word in overrides if not word.startswith("~"))
    return {key.lstrip("+"): text for key, _, text in pairs}


@lru_cache(maxsize=100_000)
def _value(text: str) -> float | str | None:
    if text.lower() in _NULL:
        return None
    if text[0] in _QUOTES and text[-1] == text[0] and len(text) > 1:
        return text[1:-1]
    try:
        return float(text) if "_" not in text else text  # Python's 1_000 is a word in Hydra
    except ValueError:
        return text


def from_hydra(folder: Path) -> dict[str, Any]:
    """Reads `stopping` and `overrides` of a trial of an earlier version from its `.hydra/`."""
    given = schema.read_if_there(folder / layout.OVERRIDES, list[Any] | None) or []
    config = schema.read_if_there(folder / layout.CONFIG, dict[str, Any] | None) or {}
    stopping = config.get("stopping")
    name = stopping.get("name", "none") if isinstance(stopping, dict) else "none"
    return {"stopping": str(name), "overrides": asked(list(map(str, given)))}
