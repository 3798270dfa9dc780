"""What a run leaves: with its tracker, and in its folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fmnist_lab.data import Dataset
from fmnist_lab.training import runner
from fmnist_lab.trial import Labels, Trial, TrialResult


class Notebook(runner.Tracker):
    """A tracker that keeps what it receives."""

    run_id = "run-1"

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self.parameters = 0
        self.finished: list[TrialResult] = []
        self.files: set[str] = set()

    def start(
        self, trial: Trial, labels: Labels, dataset: Dataset, parameters: int, folder: Path
    ) -> None:
        self.parameters = parameters

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        assert epoch == len(self.epochs)
        self.epochs.append(dict(metrics))

    def finish(self, result: TrialResult, folder: Path) -> None:
        self.finished.append(result)
        self.files = {path.name for path in folder.iterdir()}


def read_curve(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "curves.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def read_result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())  # type: ignore[no-any-return]
