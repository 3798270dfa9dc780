"""Frames of what trials left behind."""

import json
import math
import os
from pathlib import Path

import pandas as pd
import pytest
import yaml

from fmnist_lab import results
from fmnist_lab.errors import RequestError
from fmnist_lab.results.schema import METRICS
from tests.support.folders import leave_run as leave_trial
from tests.support.folders import leave_sweep


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
        with pytest.raises(RequestError, match=r"night, .*'nigth'"):
            results.folders("nigth", tmp_path)

    def test_nothing_at_all_says_how_to_begin(self, tmp_path: Path) -> None:
        with pytest.raises(RequestError, match="fmnist-lab sweep demo"):
            results.folders(root=tmp_path)

    def test_the_latest_is_the_one_that_was_started_last(self, tmp_path: Path) -> None:
        for position, name in enumerate(("early", "late")):
            leave_trial(tmp_path / "sweeps" / name / "trials" / "0")
            note = tmp_path / "sweeps" / name / "multirun.yaml"
            note.touch()
            os.utime(note, (position, position))
        (tmp_path / "sweeps" / "early" / "report.html").touch()  # looked at, not continued
        assert results.find(root=tmp_path).name == "late"

    def test_replicates_have_a_folder_of_their_own(self, tmp_path: Path) -> None:
        trial = leave_trial(tmp_path / "sweeps" / "demo" / "trials" / "0")
        replicate = leave_trial(tmp_path / "sweeps" / "demo" / "replicates" / "0")
        assert results.folders("demo", tmp_path) == [trial]
        assert results.folders("demo", tmp_path, "replicate") == [replicate]


class TestTrials:
    """A row per trial."""

    def test_types_do_not_depend_on_what_happened(self, tmp_path: Path) -> None:
        usual = leave_trial(tmp_path / "0", overrides=["optimizer.learning_rate=0.001"])
        lost = leave_trial(
            tmp_path / "1", trial=1, objective=math.nan, best_epoch=None, delivered_epoch=None,
            stop_reason="diverged", best_val_loss=math.nan,
        )  # fmt: skip
        frame = results.trials([usual, lost])
        alone = results.trials([lost])
        nothing = results.trials([])
        shared = [name for name in frame if name != "optimizer.learning_rate"]
        assert frame[shared].dtypes.equals(alone.dtypes)
        assert nothing.dtypes.equals(alone.dtypes)
        assert (len(frame), len(nothing)) == (2, 0)
        kinds = {name: str(frame[name].dtype) for name in frame}
        assert kinds["trial"] == kinds["search"] == kinds["epochs_trained"] == "int64"
        assert kinds["objective"] == kinds["best_epoch"] == kinds["seconds"] == "float64"
        assert kinds["strategy"] == kinds["stopping"] == kinds["mlflow_run_id"] == "str"
        assert kinds["superseded"] == "bool"
        assert frame["objective"].isna().tolist() == [False, True]
        assert frame["folder"].tolist() == [str(usual), str(lost)]
        assert list(frame)[:6] == ["kind", "sweep", "strategy", "trial", "seed", "search"]

    def test_what_a_job_was_given_becomes_columns(self, tmp_path: Path) -> None:
        first = leave_trial(
            tmp_path / "0",
            overrides=["optimizer.learning_rate=1e-3", "+scheduler.epochs=7", "scheduler=linear",
                       "architecture.activation='leaky relu'", "strategy=calm", "sweeps=night"],
        )  # fmt: skip
        second = leave_trial(
            tmp_path / "1", trial=1, overrides=["optimizer.learning_rate=2", "data.dir=null"]
        )
        frame = results.trials([first, second])
        assert frame["optimizer.learning_rate"].tolist() == [0.001, 2.0]
        assert frame["scheduler.epochs"].tolist()[0] == 7.0
        assert frame["scheduler.epochs"].isna().tolist() == [False, True]
        assert frame["architecture.activation"].tolist()[0] == "leaky relu"
        assert frame["strategy"].tolist() == ["constant", "constant"]  # a label, not an override
        assert "sweeps" not in frame

    def test_older_results_leave_it_to_hydra(self, tmp_path: Path) -> None:
        folder = leave_trial(tmp_path / "0")
        result = json.loads((folder / "result.json").read_text())
        for key in ("overrides", "stopping", "search", "averaging"):
            del result[key]
        (folder / "result.json").write_text(json.dumps(result))
        (folder / ".hydra").mkdir()
        given = ["optimizer.learning_rate=0.5", "tracking.parent='abc'", "hydra.job.num=1"]
        (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(given))
        config = {"stopping": {"name": "patience"}}
        (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
        (row,) = results.trials([folder]).to_dict("records")
        assert row["optimizer.learning_rate"] == 0.5
        assert (row["stopping"], row["search"]) == ("patience", 0)
        assert "tracking.parent" not in row

    @pytest.mark.parametrize(
        ("reasons", "superseded"),
        [
            (["completed", "completed"], [False, False]),
            (["interrupted", "completed"], [True, False]),
            (["failed", "completed"], [True, False]),  # tried again
            (["failed", "failed"], [True, False]),
            (["completed", "failed"], [False, False]),
            (["completed", "interrupted"], [False, True]),
            (["diverged", "completed"], [False, False]),  # that is a result
        ],
    )
    def test_superseded(self, tmp_path: Path, reasons: list[str], superseded: list[bool]) -> None:
        same = ["optimizer.learning_rate=1", "strategy=calm"]
        for number, reason in enumerate(reasons):
            given = same if number == 0 else same[::-1]
            leave_trial(tmp_path / str(number), trial=number, stop_reason=reason, overrides=given)
        frame = results.trials([tmp_path / "0", tmp_path / "1"])
        assert frame["superseded"].tolist() == superseded

    def test_a_failure_with_other_parameters_is_a_trial(self, tmp_path: Path) -> None:
        first = leave_trial(tmp_path / "0", stop_reason="failed", overrides=["a.b=1"])
        second = leave_trial(tmp_path / "1", trial=1, overrides=["a.b=2"])
        assert results.trials([first, second])["superseded"].tolist() == [False, False]

    @pytest.mark.parametrize("value", ["Infinity", "-Infinity", "1e999"])
    def test_an_infinite_objective_is_none(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, value: str
    ) -> None:
        path = leave_trial(tmp_path / "0") / "result.json"
        path.write_text(path.read_text().replace('"objective": 0.5', f'"objective": {value}'))
        assert results.trials([tmp_path / "0"])["objective"].isna().tolist() == [True]
        assert "`objective` in" in caplog.text

    def test_by_name(self, folder: Path) -> None:
        leave_sweep(Path("mlruns"), {"constant": [1e-3], "cosine": [1e-3, 1e-2]},
                    {"constant": 0.8, "cosine": 0.9})  # fmt: skip
        frame = results.trials("night")
        assert frame["strategy"].tolist() == ["constant", "cosine", "cosine"]
        assert results.trials().equals(frame)


def test_replicates_have_test_scores(tmp_path: Path) -> None:
    measured = leave_trial(tmp_path / "0", test_accuracy=0.875, test_loss=0.5, kind="replicate")
    sealed = leave_trial(tmp_path / "1", trial=1, kind="replicate")
    frame = results.replicates([measured, sealed])
    assert frame["test_accuracy"].tolist()[0] == 0.875
    assert frame["test_accuracy"].isna().tolist() == [False, True]
    nothing = results.replicates([])
    assert {"test_accuracy", "test_loss", "superseded"} <= set(nothing)
    assert nothing["test_loss"].dtype == "float64"
    assert "test_loss" not in results.trials([measured])


class TestCurves:
    """A row per trial and epoch."""

    def test_each_row_knows_its_trial(self, tmp_path: Path) -> None:
        first = leave_trial(tmp_path / "0", epochs_trained=2)
        second = leave_trial(tmp_path / "1", trial=1, strategy="cosine", epochs_trained=3)
        frame = results.curves([first, second])
        assert frame["epoch"].tolist() == [0, 1, 0, 1, 2]
        assert frame["trial"].tolist() == [0, 0, 1, 1, 1]
        assert frame["strategy"].tolist() == ["constant"] * 2 + ["cosine"] * 3
        assert frame["epoch"].dtype == "int64"
        assert frame["val/accuracy"].iloc[1] == pytest.approx(0.5)

    def test_of_the_rows_of_a_frame(self, tmp_path: Path) -> None:
        folders = [leave_trial(tmp_path / str(number), trial=number) for number in range(3)]
        frame = results.trials(folders)
        assert results.curves(frame[frame["trial"] == 2])["trial"].unique().tolist() == [2]

    def test_nan_and_infinity_come_back(self, tmp_path: Path) -> None:
        folder = leave_trial(tmp_path / "0")
        lines = [dict.fromkeys(METRICS, value) for value in (math.nan, math.inf)]
        for epoch, line in enumerate(lines):
            lines[epoch] = {"epoch": epoch} | line
        (folder / "curves.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        values = results.curves([folder])["val/loss"].tolist()
        assert math.isnan(values[0])
        assert values[1] == math.inf

    def test_epochs_out_of_order_are_refused(self, tmp_path: Path) -> None:
        folder = leave_trial(tmp_path / "0")
        line = json.dumps({"epoch": 0} | dict.fromkeys(METRICS, 0.5))
        (folder / "curves.jsonl").write_text(f"{line}\n{line}\n")
        with pytest.raises(RequestError, check=lambda error: "line 2 " in error.got):
            results.curves([folder])

    def test_a_line_that_a_kill_cut_off_is_no_epoch(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = leave_trial(tmp_path / "0", epochs_trained=2)
        with (folder / "curves.jsonl").open("a") as file:
            file.write('{"epoch": 2, "val/lo')
        assert results.curves([folder])["epoch"].tolist() == [0, 1]
        assert "curves.jsonl" in caplog.text

    def test_a_trial_without_a_curve_has_no_rows(self, tmp_path: Path) -> None:
        folder = leave_trial(tmp_path / "0")
        (folder / "curves.jsonl").unlink()
        frame = results.curves([folder])
        assert frame.empty
        assert frame.dtypes.drop(["train/loss"]).equals(
            results.curves([leave_trial(tmp_path / "1")])
            .dtypes.reindex(frame.columns)
            .drop(["train/loss"])
        )
        assert isinstance(frame, pd.DataFrame)
