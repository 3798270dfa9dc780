"""Reads what trials left behind, as tidy pandas frames."""

import json
from pathlib import Path

import pandas as pd

from fmnist_lab.errors import RequestError

ROOT = Path("mlruns")


def folders(name: str | None = None, root: Path = ROOT) -> list[Path]:
    """The trial folders of one sweep or multirun, in the order of their numbers.

    Args:
        name: A sweep or a multirun, the name of a folder in `mlruns/sweeps/` or
            `mlruns/multirun/`; None: the latest.
        root: The folder `mlruns`.

    Raises:
        RequestError: There is none of that name, or none at all.
    """
    found = [path for path in (*root.glob("sweeps/*"), *root.glob("multirun/*")) if path.is_dir()]
    found.sort(key=lambda path: path.stat().st_mtime)
    if not found:
        raise RequestError(
            f"`{root}` must hold a sweep or a multirun to compare, got none; start one with: "
            "fmnist-lab sweep demo."
        )
    named = [path for path in found if name in (None, path.name)]
    if not named:
        names = ", ".join(path.name for path in found)
        raise RequestError(f"`NAME` must be one of {names}, got {name!r}.")
    results = [*named[-1].glob("trials/*/result.json"), *named[-1].glob("*/result.json")]
    return sorted((path.parent for path in results), key=lambda path: (len(path.name), path.name))


def trials(trial_folders: list[Path]) -> pd.DataFrame:
    """A row per finished trial: the keys of `result.json`, and `folder`.

    Numbers are float64 or int64, names are strings; what does not exist is NaN or None.
    """
    rows = [
        json.loads((folder / "result.json").read_text(encoding="utf-8")) | {"folder": str(folder)}
        for folder in trial_folders
    ]
    return pd.DataFrame(rows)


def curves(trial_folders: list[Path]) -> pd.DataFrame:
    """A row per trial and epoch: `folder`, `epoch` (0-based) and the metrics of `curves.jsonl`."""
    frames = [
        pd.read_json(folder / "curves.jsonl", lines=True).assign(folder=str(folder))
        for folder in trial_folders
        if (folder / "curves.jsonl").exists()
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
