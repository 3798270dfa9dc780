"""Numbers that stay honest: what diverged, what was drawn, and what is of another manifest."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fmnist_lab import report, results
from fmnist_lab.commands import compare, leaderboard, promote, sweep
from fmnist_lab.errors import RequestError
from fmnist_lab.export import choosing
from fmnist_lab.foundation.files import write_json
from fmnist_lab.report import cautions
from fmnist_lab.sweeper.strategy import from_record
from fmnist_lab.tracking.outbox import Header, Record
from fmnist_lab.tracking.store import NOTE
from fmnist_lab.trial import StopReason, TrialResult
from tests.support.folders import leave_replicates, leave_run, leave_sweep, paired

pytestmark = pytest.mark.slow

RATES = {"constant": [1e-4, 1e-3], "cosine": [1e-3, 1e-2]}
DIVERGED: dict[str, Any] = {
    "stop_reason": "diverged", "objective": math.nan, "best_val_accuracy": 0.99,
    "best_val_loss": 1e-9, "best_epoch": 0, "strategy": "wild",
}  # fmt: skip


@pytest.fixture
def night(folder: Path) -> Path:
    """Two trials: the one that diverged was far ahead in its first epoch."""
    place = folder / "mlruns/multirun/night"
    leave_run(place / "0", trial=0, objective=0.6)
    leave_run(place / "1", trial=1, overrides=["optimizer.learning_rate=9"], **DIVERGED)
    return place


class TestDiverged:
    """A trial whose loss is no longer a number is not a good one, whatever it was before."""

    @pytest.mark.parametrize("sort", [None, "best_val_accuracy", "best_val_loss", "-best_val_loss"])
    def test_stands_last_in_every_table(self, night: Path, sort: str | None) -> None:
        shown = leaderboard.select(results.trials("night"), sort=sort)
        assert list(shown["trial"]) == [0, 1]

    @pytest.mark.parametrize("by", ["val/accuracy", "val/loss"])
    def test_is_never_taken_home_nor_promoted(self, night: Path, by: str) -> None:
        assert choosing.choose("night", by=by).trial["trial"] == 0
        assert Path(choosing.choose(night, model=True).trial["folder"]).name == "0"
        with pytest.raises(RequestError, match=r"constant, .*'wild'"):
            choosing.choose("night", strategy="wild")

    def test_has_no_best_in_the_standings_but_is_counted(self, night: Path) -> None:
        evidence = report.gather(night, results.trials("night"))
        standings = evidence.standings.set_index("strategy")
        assert evidence.strategies == ["constant", "wild"]
        assert standings["best"].isna()["wild"]
        assert standings["diverged"]["wild"] == 1

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_is_a_failure_to_the_study(self, value: float) -> None:
        assert from_record({"values": [value], "pruned": False, "dir": "x"}, 1).state == "failed"

    def test_leaves_no_best_value_in_mlflow_and_nothing_infinite(self, tmp_path: Path) -> None:
        result = TrialResult(
            objective=math.nan, objective_metric="val/loss", stop_reason=StopReason.DIVERGED,
            epochs_trained=1, best_epoch=0, best_val_loss=math.inf, best_val_accuracy=0.1,
            delivered_epoch=0, parameters=1, seconds=1.0,
        )  # fmt: skip
        record = Record.create(tmp_path, Header("trial", None, "night", "calm", {NOTE: ""}))
        record.finish(result, 0)
        summary = record.lines[0]["metrics"]
        assert summary.keys() == {"objective", "stop/epoch"}
        lasting = replace(
            result, stop_reason=StopReason.COMPLETED, objective=0.5, test_accuracy=0.1,
            test_loss=math.inf,
        )  # fmt: skip
        record.finish(lasting, 0)
        summary = record.lines[2]["metrics"]
        record.close()
        assert not any(map(math.isinf, summary.values()))

    def test_takes_its_strategys_verdict_away(self, folder: Path) -> None:
        place = leave_sweep(folder / "mlruns", RATES, {"constant": 0.888, "cosine": 0.89})
        better = paired(0.89, 8, 0.05)
        leave_replicates(place, {"constant": paired(0.88, 8), "cosine": [math.nan, *better[1:]]})
        verdicts = report.gather(place, results.trials("night")).versus_baseline
        assert verdicts is not None
        assert verdicts.set_index("strategy").loc["cosine", "verdict"] == "undecided"
        chosen = choosing.choose(place, model=True).trial
        assert (chosen["kind"], chosen["strategy"]) == ("replicate", "constant")


class TestDrawn:
    """A trial on synthetic images is never ranked beside one on real ones."""

    @pytest.fixture
    def mixed(self, folder: Path) -> Path:
        place = folder / "mlruns/multirun/mixed"
        leave_run(place / "0", trial=0, objective=0.6)
        leave_run(place / "1", trial=1, objective=0.99, dataset="synthetic", strategy="drawn")
        return place

    def test_in_the_terminal_and_in_the_report(
        self, mixed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        compare.main()
        printed = capsys.readouterr().out
        assert "0.9900" not in printed
        assert "drawn" not in printed
        assert "1 trial " in printed
        assert "1 trial " in (mixed / "report.html").read_text()
        assert "0.99" not in (mixed / "trials.csv").read_text()

    def test_when_one_is_taken_home_or_promoted(self, mixed: Path) -> None:
        assert choosing.choose("mixed").trial["trial"] == 0
        assert Path(choosing.choose(mixed, model=True).trial["folder"]).name == "0"

    def test_alone_they_are_called_what_they_are(self, folder: Path) -> None:
        place = folder / "mlruns/multirun/drawn"
        leave_run(place / "0", dataset="synthetic")
        evidence = report.gather(place, results.trials("drawn"))
        (caution,) = cautions.grave(evidence)
        assert "SYNTHETIC" in caution

    @pytest.mark.parametrize(
        "asked", ["data=choice(synthetic,fashion_mnist)", "data=synthetic,fashion_mnist"]
    )
    def test_no_study_may_choose_them(self, folder: Path, asked: str) -> None:
        with pytest.raises(RequestError, match="`data` "):
            sweep.main("demo", ["hydra/launcher=basic", asked])
        assert list(folder.iterdir()) == []


def test_replicates_of_different_manifests_are_not_compared_without_saying_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = leave_sweep(folder / "mlruns", RATES, {"constant": 0.888, "cosine": 0.89})
    leave_replicates(place, {"constant": paired(0.88, 8, 0.02), "cosine": paired(0.88, 8)})
    opening = {"opened": "2026-11-27T00:00:00", "hash": "x", "changed": []}
    later = opening | {"opened": "2026-11-28T00:00:00", "changed": ["versions.tensorflow"]}
    write_json(place / "manifest.json", {"hash": "x", "openings": [opening, later]})
    compare.main(with_report=False)
    assert "2026-11-28" in capsys.readouterr().out
    promote._choose(place.name, None, None)
    assert "2026-11-28" in capsys.readouterr().out
    assert any("2026-11-28" in warning for warning in choosing.choose("night").warnings)
