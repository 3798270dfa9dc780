"""One trial from its data to its files, however it ends; trained for real, on very little."""

import json
import math
import threading
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from fmnist_lab.errors import RequestError
from fmnist_lab.training import engines, plots, runner
from fmnist_lab.trial import Labels, StopReason, TrialResult
from tests.conftest import ComposeTrial
from tests.support.runs import Notebook, read_curve, read_result

pytestmark = pytest.mark.slow

KEYS = {field.name for field in (*fields(TrialResult), *fields(Labels))} | {"stopping", "overrides"}


class TestCompleted:
    """The usual end."""

    @pytest.fixture(scope="class")
    @staticmethod
    def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
        return tmp_path_factory.mktemp("trial")

    @pytest.fixture(scope="class")
    @staticmethod
    def tracker() -> Notebook:
        return Notebook()

    @pytest.fixture(scope="class")
    @staticmethod
    def result(tiny: ComposeTrial, labels: Labels, folder: Path, tracker: Notebook) -> TrialResult:
        trial = tiny("optimizer.learning_rate=0.01")
        return runner.run(trial, labels, folder, tracker, overrides=["seed=42"])

    def test_a_line_per_epoch_with_every_metric(self, result: TrialResult, folder: Path) -> None:
        curve = read_curve(folder)
        assert [line["epoch"] for line in curve] == [0, 1, 2]
        assert set(curve[0]) == {
            "epoch", "train/loss", "train/accuracy", "val/loss", "val/accuracy",
            "opt/learning_rate", "opt/grad_norm", "opt/clipped_fraction", "time/epoch_seconds",
        }  # fmt: skip
        assert curve[2]["train/loss"] < curve[0]["train/loss"]

    def test_the_result_follows_from_the_curve(self, result: TrialResult, folder: Path) -> None:
        curve = read_curve(folder)
        best = min(range(3), key=lambda epoch: float(curve[epoch]["val/loss"]))
        assert result.stop_reason is StopReason.COMPLETED
        assert (result.epochs_trained, result.delivered_epoch) == (3, 2)
        assert result.objective == curve[2]["val/accuracy"]
        assert result.best_epoch == best
        assert result.best_val_loss == curve[best]["val/loss"]
        assert result.best_val_accuracy == curve[best]["val/accuracy"]
        assert result.parameters == 784 * 16 + 16 + 16 * 10 + 10
        assert result.seconds >= sum(line["time/epoch_seconds"] for line in curve)

    def test_result_json_has_result_and_labels(
        self, result: TrialResult, labels: Labels, folder: Path
    ) -> None:
        written = read_result(folder)
        asked = {"stopping": "none", "overrides": ["seed=42"]}
        expected = asdict(result) | asdict(labels) | asked
        assert json.dumps(written) == json.dumps(expected)  # as text NaN equals NaN
        assert written["mlflow_run_id"] == "run-1"

    def test_the_tracker_hears_everything(
        self, result: TrialResult, folder: Path, tracker: Notebook
    ) -> None:
        assert tracker.parameters == result.parameters
        assert tracker.finished == [result]
        without_epoch = [
            {key: value for key, value in line.items() if key != "epoch"}
            for line in read_curve(folder)
        ]
        assert tracker.epochs == without_epoch
        # What it copies to the server is there before it is asked to.
        assert tracker.files >= {"curves.jsonl", "result.json", "environment.json"}

    def test_a_picture_unless_a_report_draws_it(
        self, tiny: ComposeTrial, labels: Labels, folder: Path, tmp_path: Path
    ) -> None:
        assert labels.sweep
        assert not (folder / "curves.png").exists()
        runner.run(tiny(), replace(labels, sweep=None), tmp_path, runner.Tracker())
        assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")

    def test_versions(self, result: TrialResult, folder: Path) -> None:
        environment = json.loads((folder / "environment.json").read_text())
        assert {"python", "tensorflow", "keras", "mlflow", "cpus", "git_commit"} <= set(environment)
        assert environment["tensorflow"].startswith("2.")

    def test_without_its_picture_it_is_no_less_complete(
        self, tiny: ComposeTrial, labels: Labels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise ValueError("Invalid bounding box")

        monkeypatch.setattr(plots, "save_trial", fail)
        runner.run(tiny(), replace(labels, sweep=None), tmp_path, runner.Tracker())
        assert read_result(tmp_path)["stop_reason"] == "completed"


class TestObjective:
    """Measured on the weights that the trial delivers."""

    def test_the_best_epochs_where_it_is_restored(
        self, tiny: ComposeTrial, labels: Labels, tmp_path: Path
    ) -> None:
        trial = tiny(
            "training.epochs=30",
            "stopping=patience",
            "stopping.patience=2",
            "optimizer.learning_rate=0.05",
            "objective.metric=val/loss",
        )
        result = runner.run(trial, labels, tmp_path, runner.Tracker())
        curve = [line["val/loss"] for line in read_curve(tmp_path)]
        assert result.stop_reason is StopReason.EARLY_STOPPED
        assert result.epochs_trained == len(curve) < 30
        assert result.best_epoch == len(curve) - 3 == curve.index(min(curve))
        assert result.delivered_epoch == result.best_epoch
        assert result.objective_metric == "val/loss"
        assert result.objective == min(curve) < curve[-1]

    def test_the_last_epochs_otherwise(
        self, tiny: ComposeTrial, labels: Labels, tmp_path: Path
    ) -> None:
        trial = tiny(
            "training.epochs=30",
            "stopping=patience",
            "stopping.patience=2",
            "stopping.restore_best=false",
            "optimizer.learning_rate=0.05",
            "objective.metric=val/loss",
        )
        result = runner.run(trial, labels, tmp_path, runner.Tracker())
        assert result.delivered_epoch == result.epochs_trained - 1
        assert result.objective == read_curve(tmp_path)[-1]["val/loss"] > result.best_val_loss

    def test_nan_for_a_diverged_trial(
        self, tiny: ComposeTrial, labels: Labels, tmp_path: Path
    ) -> None:
        trial = tiny("optimizer=sgd", "optimizer.learning_rate=1e30", "training.epochs=10")
        tracker = Notebook()
        result = runner.run(trial, labels, tmp_path, tracker)
        curve = read_curve(tmp_path)
        assert result.stop_reason is StopReason.DIVERGED
        assert len(curve) == result.epochs_trained < 10
        assert not math.isfinite(curve[-1]["train/loss"])
        assert math.isnan(result.objective)
        assert "NaN" in (tmp_path / "result.json").read_text()
        assert tracker.finished == [result]


class TestOtherEnds:
    """The study, Ctrl-C, and errors."""

    def test_pruned(self, tiny: ComposeTrial, labels: Labels, tmp_path: Path) -> None:
        asked: list[tuple[int, float]] = []

        def keep_training(epoch: int, metrics: Mapping[str, float]) -> bool:
            asked.append((epoch, metrics["val/accuracy"]))
            return epoch < 1

        result = runner.run(tiny(), labels, tmp_path, runner.Tracker(), keep_training)
        curve = read_curve(tmp_path)
        assert result.stop_reason is StopReason.PRUNED
        assert asked == [(line["epoch"], line["val/accuracy"]) for line in curve]
        assert len(curve) == result.epochs_trained == 2
        assert result.objective == curve[1]["val/accuracy"]

    @pytest.mark.parametrize(
        ("error", "reason"),
        [(KeyboardInterrupt, StopReason.INTERRUPTED), (OSError, StopReason.FAILED)],
    )
    def test_an_exception_passes_and_leaves_what_was_trained(
        self,
        tiny: ComposeTrial,
        labels: Labels,
        tmp_path: Path,
        error: type[BaseException],
        reason: StopReason,
    ) -> None:
        def keep_training(epoch: int, metrics: Mapping[str, float]) -> bool:
            if epoch == 1:
                raise error
            return True

        tracker = Notebook()
        with pytest.raises(error):
            runner.run(tiny(), labels, tmp_path, tracker, keep_training)
        written = read_result(tmp_path)
        assert written.keys() == KEYS
        assert (written["stop_reason"], written["epochs_trained"]) == (reason.value, 2)
        assert written["best_epoch"] is not None
        curve = read_curve(tmp_path)
        assert len(curve) == len(tracker.epochs) == 2
        objective = curve[1]["val/accuracy"]
        if reason is StopReason.FAILED:
            assert math.isnan(written["objective"])
        else:
            assert written["objective"] == objective
        assert [result.stop_reason for result in tracker.finished] == [reason]

    def test_an_interruption_before_an_epoch_is_written_loses_none(
        self, tiny: ComposeTrial, labels: Labels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(path: Path, content: object) -> None:
            monkeypatch.undo()
            raise KeyboardInterrupt

        monkeypatch.setattr(runner, "append_line", interrupt)
        tracker = Notebook()
        with pytest.raises(KeyboardInterrupt):
            runner.run(tiny(), labels, tmp_path, tracker)
        assert len(read_curve(tmp_path)) == len(tracker.epochs) == 1
        assert read_result(tmp_path)["epochs_trained"] == 1

    def test_an_interruption_may_come_out_as_another_error(
        self, tiny: ComposeTrial, labels: Labels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def keep_training(epoch: int, metrics: Mapping[str, float]) -> bool:
            interrupted.set()
            raise ValueError

        monkeypatch.setattr(runner, "interrupted", interrupted := threading.Event())
        with pytest.raises(KeyboardInterrupt):
            runner.run(tiny(), labels, tmp_path, runner.Tracker(), keep_training)
        assert read_result(tmp_path)["stop_reason"] == "interrupted"

    def test_before_the_first_epoch(
        self,
        tiny: ComposeTrial,
        labels: Labels,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def broken(*arguments: object) -> engines.Outcome:
            raise MemoryError

        monkeypatch.setattr(engines, "get", lambda name: broken)
        with pytest.raises(MemoryError):
            runner.run(tiny(), labels, tmp_path, runner.Tracker())
        written = read_result(tmp_path)
        assert (written["stop_reason"], written["epochs_trained"]) == ("failed", 0)
        assert (written["best_epoch"], written["delivered_epoch"]) == (None, None)
        assert not (tmp_path / "curves.jsonl").exists()

    @pytest.mark.parametrize(
        "override", ["architecture.activation=spiky", "+optimizer.nope=1", "data.dir=/nowhere"]
    )
    def test_what_cannot_be_built_is_not_recorded(
        self, tiny: ComposeTrial, labels: Labels, tmp_path: Path, override: str
    ) -> None:
        group = ["data=fashion_mnist"] if override.startswith("data") else []
        tracker = Notebook()
        with pytest.raises(RequestError):
            runner.run(tiny(*group, override), labels, tmp_path, tracker)
        assert tracker.parameters == 0
        assert list(tmp_path.iterdir()) == []


class TestASecondAttempt:
    """A launcher repeats the trial of a worker that died in the same folder."""

    LEFT = ("curves.jsonl", "curves.png", "result.json")

    def test_starts_afresh(self, tiny: ComposeTrial, labels: Labels, tmp_path: Path) -> None:
        for name in self.LEFT:
            (tmp_path / name).write_text('{"epoch": 0}\n{"epo')

        def look(epoch: int, metrics: Mapping[str, float]) -> bool:
            seen.update({name: (tmp_path / name).exists() for name in self.LEFT})
            return True

        seen: dict[str, bool] = {}
        runner.run(tiny(), labels, tmp_path, runner.Tracker(), look)
        assert seen == {"curves.jsonl": True, "curves.png": False, "result.json": False}
        assert [line["epoch"] for line in read_curve(tmp_path)] == [0, 1, 2]

    def test_takes_nothing_away_if_it_is_refused(
        self, tiny: ComposeTrial, labels: Labels, tmp_path: Path
    ) -> None:
        for name in self.LEFT:
            (tmp_path / name).write_text("precious")
        with pytest.raises(RequestError):
            runner.run(tiny("+optimizer.nope=1"), labels, tmp_path, runner.Tracker())
        assert {path.name for path in tmp_path.iterdir()} == set(self.LEFT)


def test_a_progress_line_per_epoch(
    tiny: ComposeTrial, labels: Labels, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="fmnist_lab")
    runner.run(tiny("training.epochs=12"), labels, tmp_path, runner.Tracker())
    lines = [line for line in caplog.messages if line.startswith("epoch")]
    last = read_curve(tmp_path)[-1]
    assert len(lines) == 12
    assert lines[0].startswith("epoch  1/12  rate 1.00e-03  train ")
    assert f"val {last['val/loss']:.4f} {last['val/accuracy']:.4f}" in lines[-1]
    assert "0:00" in lines[-1]
