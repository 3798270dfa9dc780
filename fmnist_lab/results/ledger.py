"""The project's ledger of the test set: a line for each time that it was opened, and for what.

`mlruns/test-openings.jsonl` only grows. Whatever evaluates test images adds its line first: a sweep
before its replicates start, on whichever machines they train, and `promote` before it measures a
model. The lines are keyed by the checksum of the test images.
"""

import datetime
import fcntl
import json
import logging
import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import NotRequired

from pydantic import TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from fmnist_lab.foundation import wording
from fmnist_lab.foundation.files import append_whole
from fmnist_lab.results import schema
from fmnist_lab.results.layout import OPENINGS, ROOT

log = logging.getLogger(__name__)

PATH = ROOT / OPENINGS


class Command(StrEnum):
    """What opens the test set."""

    SWEEP = "sweep"
    PROMOTE = "promote"


@with_config(schema.STRICT)
class Entry(TypedDict):
    """A line: an opening of the test set, for all replicates of a manifest or for one model."""

    opened: str  # the time, in UTC
    images: str  # SHA-256 of the test images and labels
    command: Command
    subject: str  # the sweep's name; of a model the id of its run
    search: NotRequired[int]  # of the sweep
    manifest: NotRequired[str]  # hash of the opening in the search's manifest
    runs: int | None  # how many are evaluated; None: not known


_ENTRY = TypeAdapter(Entry)


def now() -> str:
    """Returns the time as the ledger has it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def record(*entries: Entry, path: Path = PATH) -> None:
    """Adds the entries that the ledger does not have yet; several processes may do so at once.

    Args:
        *entries: What is about to be opened.
        path: The ledger.

    Raises:
        RequestError: A line of the ledger is no entry.
        OSError: It cannot be written: the test set must stay closed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        content = file.read()
        known = _entries(content, path)
        lines = [json.dumps(entry).encode() + b"\n" for entry in entries if entry not in known]
        if lines:
            torn = bool(content) and not content.endswith(b"\n")
            append_whole(file, b"\n" * torn + b"".join(lines))
            os.fsync(file.fileno())


def read(images: str | None, path: Path = PATH) -> list[Entry]:
    """Reads the openings of the test set with this checksum, in order; none without a ledger.

    Raises:
        RequestError: A line of the ledger is no entry.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    return [entry for entry in _entries(content, path) if entry["images"] == images]


def _entries(content: bytes, path: Path) -> list[Entry]:
    """Returns the lines but for those that a kill has cut off, which opened nothing."""
    found = []
    for number, line in enumerate(content.splitlines(), 1):
        try:
            found.append(_ENTRY.validate_json(line))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            if first["type"] == "json_invalid":
                log.warning("Line %d of %s is not whole: left out.", number, path)
                continue
            got = f"another line {number}: {' '.join(map(str, first['loc']))}: {first['msg']}"
            remedy = "bring it back: it says how often the test set was opened"
            raise schema.refusal(path, got, "the project", remedy) from None
    return found


def sentence(entries: Sequence[Entry]) -> str:
    """Returns how often a test set was opened in this project, and for what; "" if it never was.

    Example:
        >>> entry = {"opened": "2026-11-29T10:00:00.000+00:00", "images": "5e1", "runs": 26}
        >>> sentence([entry | {"command": Command.SWEEP, "subject": "schedules"}])
        'The test set was opened 1 time in this project since 2026-11-29: for 1 sweep.'
    """
    if not entries:
        return ""
    subjects = {command: {e["subject"] for e in entries if e["command"] == command}
                for command in Command}  # fmt: skip
    words = {Command.SWEEP: "sweep", Command.PROMOTE: "promoted model"}
    what = [wording.count(len(found), words[key]) for key, found in subjects.items() if found]
    return (
        f"The test set was opened {wording.count(len(entries), 'time')} in this project since "
        f"{min(entry['opened'] for entry in entries)[:10]}: for {' and '.join(what)}."
    )
