"""Reads what trials left behind, as tidy pandas frames."""

import json
from pathlib import Path

import pandas as pd

from fmnist_lab.errors import RequestError

ROOT = Path("mlruns")


def folders(name: str | None = None, root: Path = ROOT) -> list[Path]:
    """The trial folders of one multirun, in the order of their numbers.

    Args:
        name: The multirun, the name of a folder in `mlruns/multirun/`; None: the latest.
        root: The folder `mlruns`.

    Raises:
        RequestError: There is no such multirun, or none at all.
    """
    multiruns = sorted(path for path in (root / "multirun").glob("*") if path.is_dir())
    names = [path.name for path in multiruns]
    if not names:
        raise RequestError(
            f"`{root / 'multirun'}` must hold a multirun to compare, got none; "
            "start one with: fmnist-lab train -m scheduler=constant,cosine."
        )
    if name is not None and name not in names:
        raise RequestError(f"`NAME` must be one of {', '.join(names)}, got {name!r}.")
    chosen = root / "multirun" / (name or names[-1])
    trials = (path.parent for path in chosen.glob("*/result.json"))
    return sorted(trials, key=lambda path: (len(path.name), path.name))


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
