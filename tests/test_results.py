"""Frames of what trials left behind, and the table drawn from them."""

import io
import json
import math
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from fmnist_lab import leaderboard, results
from fmnist_lab.errors import RequestError
from fmnist_lab.files import write_json

RESULT: dict[str, Any] = {
    "objective": 0.5,
    "objective_metric": "val/accuracy",
    "stop_reason": "completed",
    "epochs_trained": 2,
    "best_epoch": 1,
    "best_val_loss": 1.25,
    "best_val_accuracy": 0.5,
    "delivered_epoch": 1,
    "parameters": 100,
    "seconds": 3.21,
    "mlflow_run_id": None,
    "strategy": "constant",
    "trial": 0,
    "seed": 42,
}


def leave_trial(folder: Path, **changes: Any) -> Path:
    """A trial's folder with its result and a curve of two epochs."""
    folder.mkdir(parents=True)
    write_json(folder / "result.json", RESULT | changes)
    lines = [{"epoch": epoch, "val/loss": 2.0 - epoch} for epoch in range(2)]
    (folder / "curves.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


class TestFolders:
    """Which trials belong to a multirun."""

    def test_the_latest_multirun_in_the_order_of_the_numbers(self, tmp_path: Path) -> None:
        for number in range(12):
            leave_trial(tmp_path / "multirun" / "2026-02" / str(number))
        earlier = leave_trial(tmp_path / "multirun" / "2026-01" / "0").parent
        os.utime(earlier, (0, 0))
        found = results.folders(root=tmp_path)
        assert [path.name for path in found] == [str(number) for number in range(12)]
        assert {path.parent.name for path in found} == {"2026-02"}

    def test_of_a_sweep(self, tmp_path: Path) -> None:
        wanted = leave_trial(tmp_path / "sweeps" / "demo" / "trials" / "7")
        leave_trial(tmp_path / "multirun" / "late" / "0")
        assert results.folders("demo", tmp_path) == [wanted]

    def test_by_name(self, tmp_path: Path) -> None:
        wanted = leave_trial(tmp_path / "multirun" / "early" / "0")
        leave_trial(tmp_path / "multirun" / "late" / "0")
        assert results.folders("early", tmp_path) == [wanted]

    def test_trials_without_a_result_do_not_count(self, tmp_path: Path) -> None:
        done = leave_trial(tmp_path / "multirun" / "night" / "0")
        (tmp_path / "multirun" / "night" / "1").mkdir()
        (tmp_path / "multirun" / "night" / "multirun.yaml").touch()
        assert results.folders(root=tmp_path) == [done]

    def test_an_unknown_name_lists_the_others(self, tmp_path: Path) -> None:
        leave_trial(tmp_path / "multirun" / "night" / "0")
        with pytest.raises(RequestError, match="`NAME` must be one of night, got 'nigth'"):
            results.folders("nigth", tmp_path)

    def test_nothing_at_all_says_how_to_begin(self, tmp_path: Path) -> None:
        with pytest.raises(RequestError, match="got none; start one with: fmnist-lab sweep demo"):
            results.folders(root=tmp_path)


class TestFrames:
    """A row per trial, a row per trial and epoch."""

    def test_trials(self, tmp_path: Path) -> None:
        first = leave_trial(tmp_path / "0")
        second = leave_trial(
            tmp_path / "1", objective=math.nan, best_epoch=None, stop_reason="diverged", trial=1
        )
        frame = results.trials([first, second])
        assert list(frame.columns) == [*RESULT, "folder"]
        assert frame["folder"].tolist() == [str(first), str(second)]
        assert frame["objective"].dtype == "float64"
        assert frame["objective"].isna().tolist() == [False, True]
        assert frame["best_epoch"].isna().tolist() == [False, True]
        assert frame["trial"].tolist() == [0, 1]

    def test_curves(self, tmp_path: Path) -> None:
        first, second = leave_trial(tmp_path / "0"), leave_trial(tmp_path / "1")
        (second / "curves.jsonl").write_text('{"epoch": 0, "val/loss": NaN}\n')
        frame = results.curves([first, second])
        assert frame["folder"].tolist() == [str(first)] * 2 + [str(second)]
        assert frame["epoch"].tolist() == [0, 1, 0]
        assert frame["val/loss"].tolist()[:2] == [2.0, 1.0]
        assert math.isnan(frame["val/loss"].iloc[2])

    def test_a_trial_without_a_curve_has_no_rows(self, tmp_path: Path) -> None:
        folder = leave_trial(tmp_path / "0")
        (folder / "curves.jsonl").unlink()
        assert results.curves([folder]).empty


class TestLeaderboard:
    """The table in the terminal."""

    def shown(self, *trials: dict[str, Any]) -> list[str]:
        rows = [RESULT | {"trial": number} | trial for number, trial in enumerate(trials)]
        file = io.StringIO()
        leaderboard.show(pd.DataFrame(rows), Console(file=file, width=200, no_color=True))
        return file.getvalue().splitlines()

    def order(self, lines: list[str]) -> list[str]:
        return [line.split()[1] for line in lines[1:] if "trials" not in line]

    def test_the_best_accuracy_first_and_nan_last(self) -> None:
        lines = self.shown(
            {"strategy": "middle", "objective": 0.6},
            {"strategy": "broken", "objective": math.nan, "stop_reason": "diverged"},
            {"strategy": "best", "objective": 0.7},
            {"strategy": "worst", "objective": 0.1},
        )
        assert self.order(lines) == ["best", "middle", "worst", "broken"]

    def test_the_lowest_loss_first(self) -> None:
        loss = {"objective_metric": "val/loss"}
        lines = self.shown(
            loss | {"strategy": "middle", "objective": 0.6},
            loss | {"strategy": "broken", "objective": math.nan},
            loss | {"strategy": "worst", "objective": 0.7},
            loss | {"strategy": "best", "objective": 0.1},
        )
        assert self.order(lines) == ["best", "middle", "worst", "broken"]

    def test_a_row_has_a_cell_per_column(self) -> None:
        (header, row) = self.shown({"strategy": "calm", "best_epoch": 3, "objective": 0.123456})
        for heading, _ in leaderboard.COLUMNS.values():
            assert heading in header
        cells = dict(zip(leaderboard.COLUMNS, row.split(), strict=True))
        assert cells["strategy"] == "calm"
        assert cells["objective"] == "0.1235"
        assert cells["best_val_loss"] == "1.2500"
        assert (cells["best_epoch"], cells["epochs_trained"]) == ("3", "2")
        assert cells["stop_reason"] == "completed"

    def test_what_is_missing_is_a_dash_and_counted(self) -> None:
        lines = self.shown({}, {"objective": math.nan, "best_epoch": None, "stop_reason": "failed"})
        cells = dict(zip(leaderboard.COLUMNS, lines[2].split(), strict=True))
        assert (cells["objective"], cells["best_epoch"]) == ("-", "-")
        assert "nan" not in "".join(lines)
        assert "1 of 2 trials" in lines[-1]
        assert "1 of 1" not in "".join(self.shown({}))
