"""Tidy pandas frames of what trials have left; the names in `fmnist_lab.results`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.files import listed
from fmnist_lab.results import overrides, schema, searches
from fmnist_lab.results.layout import HYDRA, MULTIRUN, RESULT, ROOT, STAGES, SWEEP_CONFIG, SWEEPS
from fmnist_lab.results.schema import METRICS
from fmnist_lab.trial import StopReason

Source = str | Sequence[Path] | None

LABELS = ("kind", "sweep", "strategy", "trial", "seed", "search")  # the first columns
_TESTED = ("test_loss", "test_accuracy")  # of replicates
TYPES = {  # of the columns; all others are keys that jobs were given
    **dict.fromkeys(LABELS[:3], "str"),
    **dict.fromkeys(LABELS[3:], "int64"),
    **dict.fromkeys(["objective", *_TESTED], "float64"),
    **dict.fromkeys(["objective_metric", "stop_reason"], "str"),
    "superseded": "bool",
    "epochs_trained": "int64",
    **dict.fromkeys(["best_epoch", "best_val_loss", "best_val_accuracy"], "float64"),
    **dict.fromkeys(["delivered_epoch", "seconds"], "float64"),
    "parameters": "int64",
    **dict.fromkeys(["architecture", "scheduler", "clipping", "optimizer", "dataset"], "str"),
    **dict.fromkeys(["averaging", "engine", "stopping", "mlflow_run_id", "folder"], "str"),
}


def find(name: str | None = None, root: Path = ROOT) -> Path:
    """Returns the folder of a sweep or multirun.

    Args:
        name: The name of a folder in `mlruns/sweeps/` or `mlruns/multirun/`, or its path; None:
            the one that was started or continued last.
        root: The folder `mlruns`.

    Raises:
        RequestError: There is none of that name, or none at all.
    """
    below = [*listed(root / SWEEPS), *listed(root / MULTIRUN)]
    found = sorted((path for path in below if path.is_dir()), key=_started)
    if not found:
        raise RequestError(
            f"`{root}` must hold a sweep or a multirun to compare, got none; start one with: "
            "fmnist-lab sweep demo."
        )
    named = [path for path in found
             if name in (None, path.name) or path.resolve() == Path(name).resolve()]  # fmt: skip
    if not named:
        names = ", ".join(path.name for path in found)
        raise RequestError(f"`NAME` must be one of {names}, got {name!r}.")
    return named[-1]


def folders(name: str | None = None, root: Path = ROOT, kind: str = "trial") -> list[Path]:
    """Returns the folders of the runs that have ended, by search and in the order of their numbers.

    Args:
        name: As for `find`.
        root: The folder `mlruns`.
        kind: "trial" for tuning trials, "replicate" for retrained winners.

    Raises:
        RequestError: There is no sweep of that name, or none at all.
    """
    return ended(find(name, root), kind)


def ended(place: Path, kind: str = "trial") -> list[Path]:
    """Returns the same for the folder of a sweep or multirun."""
    found: list[Path] = []
    for search in searches.folders(place):
        runs = listed(search / STAGES[kind])
        if kind == "trial":  # a multirun has its trials at the top
            runs += listed(search)
        numbered = (path for path in runs if (path / RESULT).exists())
        found += sorted(numbered, key=lambda path: (len(path.name), path.name))
    return found


def trials(source: Source = None) -> pd.DataFrame:
    """Returns a row per tuning trial that has ended, by search and in the order of their numbers.

    Columns, in this order:
        kind, sweep, strategy (str), trial, seed, search (int64; 0 where there is one search);
        objective (float64), objective_metric (str), stop_reason (str, a `StopReason`),
        superseded (bool: interrupted, or failed and tried again under another number: never
        count these), epochs_trained (int64);
        best_epoch, best_val_loss, best_val_accuracy, delivered_epoch, seconds (float64, epochs
        from 0), parameters (int64, the model's);
        architecture, scheduler, clipping, optimizer, dataset, averaging, engine, stopping (str, the
        chosen options), mlflow_run_id, folder (str);
        and a column for every other key that a job was given, under its dotted name,
        `optimizer.learning_rate` say: float64 where all values are numbers, str otherwise.

    What does not exist is NaN: an objective of a trial that diverged, a parameter that a
    strategy does not have or was not given.
    """
    return _runs(source, "trial")


def replicates(source: Source = None) -> pd.DataFrame:
    """Returns a row per replicate of a tuned strategy that has ended.

    The columns of `trials`, and after `objective` test_loss and test_accuracy (float64, nats and
    a share of 1; NaN where not measured).
    """
    return _runs(source, "replicate")


def curves(source: Source | pd.DataFrame = None) -> pd.DataFrame:
    """Returns a row per trial and epoch, for the trials of a sweep or of a frame.

    Args:
        source: As everywhere, or rows of `trials` or `replicates`.

    Returns:
        kind, sweep, strategy, trial, seed, search, folder as in these frames; epoch (int64, from
        0); and the metrics of `curves.jsonl` (float64): train/loss, train/accuracy, val/loss,
        val/accuracy, opt/learning_rate, opt/grad_norm, opt/clipped_fraction, time/epoch_seconds;
        where weights are averaged also raw/val_loss and raw/val_accuracy, of what trains.
    """
    runs = source if isinstance(source, pd.DataFrame) else trials(source)
    lines = [schema.curve(Path(folder)) for folder in runs["folder"]]
    metrics = pd.DataFrame([line for trial in lines for line in trial])
    if metrics.empty:
        metrics = pd.DataFrame(columns=["epoch", *METRICS])
    types = {name: "int64" if name == "epoch" else "float64" for name in metrics}
    of_each = np.repeat(np.arange(len(runs)), list(map(len, lines)))
    labels = runs[[*LABELS, "folder"]].iloc[of_each].reset_index(drop=True)
    return pd.concat([labels, metrics.astype(types)], axis=1)


def environments(runs: pd.DataFrame) -> pd.DataFrame:
    """Returns a row per run of `trials` or `replicates`: with what, and where it was trained.

    Columns: what `environment.json` holds, `tensorflow` say; NaN where a run does not say.
    """
    found = [schema.environment(Path(folder)) for folder in runs["folder"]]
    return pd.DataFrame(found, index=runs.index)


def _runs(source: Source, kind: str) -> pd.DataFrame:
    where = folders(source, kind=kind) if source is None or isinstance(source, str) else source
    rows = [_row(folder) for folder in where]
    given = [overrides.read(row.pop("overrides")) for row in rows]
    types = {name: TYPES[name] for name in TYPES if kind == "replicate" or name not in _TESTED}
    found = pd.DataFrame(rows)
    more = found.columns.difference([*TYPES], sort=False)
    frame = found.reindex(columns=[*types, *more])
    frame["superseded"] = _superseded(frame, given)
    asked = _parameters([{key: row[key] for key in row if key not in frame} for row in given])
    return pd.concat([frame.astype(types), asked], axis=1)


def _row(folder: Path) -> dict[str, Any]:
    """Returns what `result.json` says, and what older ones leave to Hydra's files."""
    row = schema.result(folder)
    if "overrides" not in row:
        row |= overrides.from_hydra(folder / HYDRA)
    row.setdefault("averaging", "none")
    return row | {"search": row.get("search") or 0, "folder": str(folder)}


def _superseded(frame: pd.DataFrame, given: list[dict[str, Any]]) -> list[bool]:
    """Returns which runs were interrupted, or failed and were repeated later."""
    asked = [tuple(sorted((key, str(value)) for key, value in row.items())) for row in given]
    last = dict(zip(asked, frame["trial"], strict=True))
    return [
        reason == StopReason.INTERRUPTED or (reason == StopReason.FAILED and number < last[row])
        for reason, number, row in zip(frame["stop_reason"], frame["trial"], asked, strict=True)
    ]


def _parameters(given: list[dict[str, Any]]) -> pd.DataFrame:
    """Converts columns to float64 where all values are numbers."""
    frame = pd.DataFrame(given, index=range(len(given)))
    for name in frame:
        values = frame[name].dropna()
        numeric = all(isinstance(value, float) for value in values)
        frame[name] = frame[name].astype("float64" if numeric else "str")
    return frame.reindex(columns=sorted(frame.columns))


def _started(place: Path) -> float:
    """Returns when a sweep was started or continued; reports written later do not count."""
    note = place / SWEEP_CONFIG
    return (note if note.exists() else place).stat().st_mtime
