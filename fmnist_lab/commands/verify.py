"""What `fmnist-lab verify` does: trains an exported file again and compares the curves.

On the machine and with the versions of the record the curve must be the same bit for bit; how a
sum of floats is rounded depends on the number of threads, so the trial is trained in a process
with as many as the record says. Elsewhere it must stay within a tolerance.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from fmnist_lab import config, data
from fmnist_lab.config import config_files
from fmnist_lab.errors import NotReproducedError, Phrase, RequestError
from fmnist_lab.export import document as recipe
from fmnist_lab.export.document import train_again
from fmnist_lab.foundation.spelling import spell
from fmnist_lab.results import curve_diff, schema
from fmnist_lab.results.curve_diff import TOLERANCES, Departure, shown
from fmnist_lab.training import environment


def main(path: Path, tracking: str = "none", images: str | None = None) -> None:
    """Trains the file's trial again, shows where the curves part, and says whether they may.

    Args:
        path: The file.
        tracking: Where the repetition is recorded.
        images: `data.path`, which the file does not say.

    Raises:
        RequestError: The file is not what `export-best` has written, or the data is another.
        NotReproducedError: The trial does not reproduce.
    """
    document = config_files.read(path)
    config.to_tracking(config.compose([f"tracking={tracking}"]))
    record = document["exported"]
    if changed := recipe.differing(document):
        key, before, now = changed[0]
        more = f" (and {len(changed) - 1} more keys)" if len(changed) > 1 else ""
        raise RequestError(
            f"{path.name}: {key}",
            f"be {before!r}, as recorded with the curve",
            Phrase(f"{now!r}{more}"),
            "the file, or an option that it builds on, was changed since; such a recipe can be "
            "trained, but there is nothing to compare it with",
        )
    trained_on = recipe.to_trial(document).data
    if trained_on.is_nowhere and images is None:
        rule = "be the file or the folder of the images, which an exported file does not name"
        raise RequestError("--data", rule, None)
    dataset = data.load(replace(trained_on, path=images or trained_on.path))
    if dataset.checksum != record["data_checksum"]:
        raise RequestError(
            f"{path.name}: exported.data_checksum",
            f"be {dataset.checksum}, that of the images here ({dataset.source})",
            Phrase(record["data_checksum"]),
            "it was trained on other images",
        )
    threads = record["environment"].get("threads")
    other = differences(record["environment"], environment.describe() | {"threads": threads})
    print(
        f"Trial {record['trial']} of {record['sweep']} ({record['strategy']}), "
        f"{record['epochs_trained']} epochs, objective {record['objective']:.4f}."
    )
    if other:
        listed = "; ".join(f"{key} {before}, here {now}" for key, (before, now) in other.items())
        allowed = ", ".join(f"{metric} {limit:g}" for metric, limit in TOLERANCES.items())
        print(f"Recorded with {listed}. The curve may differ by at most: {allowed}.\n", flush=True)
    else:
        print("Same machine and versions: the curve must be the same bit for bit.\n", flush=True)
    places = [f"data.path={spell(images)}"] if images else []
    folder = train_again(document, threads, f"tracking={tracking}", *places)
    found = curve_diff.departures(record["curve"], curve_diff.read(folder), exact=not other)
    if found:
        show(found, exact=not other)
    _conclude(record, folder, found)


def differences(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Returns what a curve depends on and is not the same: recorded, here.

    What an older record does not say counts as the same, but for the number of threads.
    """
    return {
        key: (recorded.get(key), here.get(key))
        for key in environment.DECIDING
        if (key in recorded and recorded[key] != here.get(key))
        or (key == "threads" and recorded.get(key) is None)
    }


def show(found: Sequence[Departure], exact: bool, console: Console | None = None) -> None:
    """Prints where the curves part, a line per metric."""
    console = console or Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    headings = ("from epoch", "recorded", "now", "largest difference", "allowed")
    numbers = (Column(heading, justify="right") for heading in headings)
    table = Table("metric", *numbers, box=None, pad_edge=False)
    for row in found:
        limit = 0 if exact else TOLERANCES.get(row.metric)
        table.add_row(
            row.metric,
            str(row.epoch + 1),
            shown(row.recorded),
            shown(row.now),
            f"{row.largest:.3g}",
            "any" if limit is None else f"{limit:g}",
            style=None if row.is_allowed else "bold red",
        )
    console.print(table)


def _conclude(record: Mapping[str, Any], folder: Path, found: Sequence[Departure]) -> None:
    """Says whether the trial reproduces."""
    result = schema.result(folder)
    if result["stop_reason"] != record["stop_reason"]:
        raise NotReproducedError(
            f"Not reproduced: the trial has {result['stop_reason']}, not {record['stop_reason']} "
            f"as recorded; see {folder}."
        )
    if wrong := [departure for departure in found if not departure.is_allowed]:
        names = ", ".join(departure.metric for departure in wrong)
        first = min(departure.epoch for departure in wrong) + 1
        raise NotReproducedError(
            f"Not reproduced: {names} differ{'s' * (len(wrong) == 1)} too much, from epoch {first} "
            f"on; see {folder}."
        )
    how = " within the tolerance" if found else ": identical bit for bit"
    count = f"{record['epochs_trained']} epochs, {len(record['curve'])} metrics"
    print(f"Reproduced{how} ({count}); see {folder}.")
