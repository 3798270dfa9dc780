"""What the replicates of a search rest on, and each time the test set was opened for them.

`manifest.json` stands in the search's folder. Its hash covers the strategies, their spaces and
winners, the seeds, the data and the versions. Another hash is another opening, which says what
had changed: replicates of before and after it differ in more than their seeds.
"""

import datetime
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fmnist_lab.foundation.files import write_json
from fmnist_lab.results import schema, searches
from fmnist_lab.results.layout import MANIFEST, SPACES, SWEEP_CONFIG


def read(folder: Path) -> dict[str, Any]:
    """The manifest of a search; empty while the test set is closed.

    Raises:
        RequestError: It has another shape: its warnings would be lost.
    """
    remedy = "bring it back: it says how often the test set was opened"
    path = folder / MANIFEST
    content: dict[str, Any] = schema.read_if_there(path, schema.Manifest, "its sweep", remedy)
    return content


def asked(folder: Path) -> dict[str, Any]:
    """What a search was asked: its number, its strategies, and where each is searched."""
    config = yaml.safe_load((folder / SWEEP_CONFIG).read_text(encoding="utf-8"))
    return {
        "search": searches.split(folder)[1],
        "strategies": config["hydra"]["sweeper"]["strategies"],
        "spaces": json.loads((folder / SPACES).read_text(encoding="utf-8")),
    }


def changes(content: Mapping[str, Any], folder: Path) -> list[str]:
    """The dotted keys whose values have changed since the test set was opened last.

    What an older manifest does not say has not changed.
    """
    before = read(folder)
    shared = {key: value for key, value in content.items() if key in before}
    return differences({key: before[key] for key in shared}, shared)


def open_test_set(content: dict[str, Any], folder: Path) -> None:
    """Writes the manifest, and that the test set is opened unless it was for the very same."""
    openings, changed = read(folder).get("openings", []), changes(content, folder)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    if changed or not openings:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        openings = [*openings, {"opened": now, "hash": digest, "changed": changed}]
    write_json(folder / MANIFEST, {"hash": digest, "openings": openings} | content)


def differences(before: Any, after: Any, key: str = "") -> list[str]:
    """The dotted keys whose values differ."""
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        return [] if before == after else [key]
    return [
        found
        for name in sorted({**before, **after})
        for found in differences(
            before.get(name), after.get(name), f"{key}.{name}" if key else str(name)
        )
    ]
