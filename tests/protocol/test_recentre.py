"""The second stage of tuning: when it begins, where it searches, how it goes on after a cut."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from typer.testing import CliRunner

from fmnist_lab import cli, config, report, results
from fmnist_lab.foundation.files import write_json
from fmnist_lab.hydra_app import run as hydra_run
from fmnist_lab.protocol import recentre
from fmnist_lab.report import cautions, method
from tests.conftest import TINY
from tests.support.folders import leave_run, leave_sweep

pytestmark = pytest.mark.slow

PLACE = Path("mlruns/sweeps/demo")
RATE = "optimizer.learning_rate"
SMALL = (
    *TINY[:-1],
    "training.epochs=1",
    "hydra/launcher=basic",  # in this process
    "tracking=none",
    "recentre=true",
    "hydra.sweeper.n_trials=3",
    "~hydra.sweeper.strategies.exponential",
    "~hydra.sweeper.strategies.cosine",
)
INSIDE = {"constant": [1e-4, 1e-3, 1e-2], "cosine": [1e-4, 1e-3, 1e-2]}
AT_THE_END = INSIDE | {"cosine": [1e-5 * 1.5, 1e-4, 9e-4]}


def tuned(folder: Path, rates: Any, **changes: Any) -> Path:
    """A search that is tuned, with what its second stage is decided by."""
    place = leave_sweep(folder, rates, dict.fromkeys(rates, 0.9))
    strategies = {
        name: {
            "best_overrides": [f"{RATE}=0.001", f"scheduler={name}", *TINY],
            "intervals": [RATE],
        }
        for name in rates
    }
    content = yaml.safe_load((place / "optimization_results.yaml").read_text())
    content["strategies"] = strategies
    (place / "optimization_results.yaml").write_text(yaml.safe_dump(content))
    cfg = yaml.safe_load((place / "multirun.yaml").read_text()) | {"recentre": True}
    cfg["hydra"]["sweeper"] |= changes.pop("sweeper", {})
    (place / "multirun.yaml").write_text(yaml.safe_dump(cfg | changes))
    return place


class TestBegin:
    """Whether a second stage is due, and where it is."""

    def test_all_strategies_where_one_is_at_an_end(self, tmp_path: Path) -> None:
        place = tuned(tmp_path, AT_THE_END)
        found = recentre.begin("demo", place)
        assert found is not None
        assert found["constant"][RATE] == pytest.approx([1e-5, 1e-1])  # where it was
        assert found["cosine"][RATE] == pytest.approx([9e-6, 9e-2], rel=1e-3)
        stage = json.loads((place / "manifest.json").read_text())["recentred"]
        assert stage["at_edge"] == {"cosine": [RATE]}
        assert stage["winners"] == {"constant": 2, "cosine": 5}
        assert recentre.begun(place) == found

    @pytest.mark.parametrize(
        "changes",
        [{}, {"recentre": False}, {"sweeper": {"target": 0.9}}, {"sweeper": {"plateau": 2}}],
    )
    def test_none_is_due(self, tmp_path: Path, changes: dict[str, Any]) -> None:
        place = tuned(tmp_path, AT_THE_END if changes else INSIDE, **changes)
        assert recentre.begin("demo", place) is None
        assert recentre.begun(place) is None

    def test_none_begins_once_test_results_can_be_seen(self, tmp_path: Path) -> None:
        place = tuned(tmp_path, AT_THE_END)
        write_json(place / "manifest.json", {"openings": [{"opened": "2026-11-29T10:00:00"}]})
        assert recentre.begin("demo", place) is None

    def test_steps_stay_where_they_are(self, tmp_path: Path) -> None:
        place = tuned(tmp_path, AT_THE_END)
        content = yaml.safe_load((place / "optimization_results.yaml").read_text())
        for found in content["strategies"].values():
            found["intervals"] = []
        (place / "optimization_results.yaml").write_text(yaml.safe_dump(content))
        assert recentre.begin("demo", place) is None


class TestRanges:
    """Ranges as wide as before, cut where a trial would be refused."""

    @pytest.mark.parametrize(
        ("space", "best", "moved"),
        [
            ((1e-4, 1e-2, True), 1e-2, (1e-3, 1e-1)),
            ((0.0, 1.0, False), 0.75, (0.25, 1.25)),
            ((1, 9, False), 9, (5, 13)),
            ((1, 100, True), 2, (1, 20)),
        ],
    )
    def test_the_best_is_at_the_centre(self, space: Any, best: float, moved: Any) -> None:
        found = recentre._around(best, *space)
        assert found == pytest.approx(moved)
        assert [type(end) for end in found] == [type(space[0])] * 2

    def test_what_a_key_refuses_is_cut_off(self) -> None:
        best = config.compose(["scheduler=one_cycle", "scheduler.final_fraction=0.06", *TINY])
        key = "scheduler.final_fraction"
        ((low, high),) = recentre._allowed(best, {key: (0.05, 0.4)}, {key: (-0.1, 0.2)}).values()
        assert 0 < low < 0.05
        assert high == 0.2

    def test_hydra_reads_them(self) -> None:
        found = {"a": {RATE: [1e-5, 0.25]}, "b": {}}
        (parsed,) = OverridesParser.create().parse_overrides([recentre.override(found)])
        assert parsed.value() == found


class TestAsBegun:
    """A sweep goes on with or without the stage, as it began."""

    @pytest.mark.parametrize(
        ("begun", "given", "added"),
        [
            (None, [], []),
            ({}, [], ["recentre=false"]),  # by an earlier version
            ({"recentre": True}, [], []),
            ({}, ["recentre=true"], []),
        ],
    )
    def test_it(self, tmp_path: Path, begun: Any, given: list[str], added: list[str]) -> None:
        if begun is not None:
            (tmp_path / "multirun.yaml").write_text(yaml.safe_dump({"seed": 1} | begun))
        cfg = OmegaConf.create({"recentre": True})
        assert recentre.as_begun(tmp_path, given, cfg) == [*added, *given]


class TestReport:
    """The sentences about the second stage."""

    def place(self, folder: Path, *further: tuple[str, float, float]) -> Path:
        place = tuned(folder, AT_THE_END)
        assert recentre.begin("demo", place)
        for number, (name, rate, objective) in enumerate(further, 6):
            leave_run(
                place / "trials" / str(number),
                strategy=name,
                trial=number,
                sweep="night",
                objective=objective,
                overrides=[f"{RATE}={rate}", f"strategy={name}"],
            )
        return place

    def sentences(self, place: Path) -> str:
        evidence = report.gather(place, results.trials(results.ended(place)))
        assert evidence.setup.planned == 12
        assert not evidence.setup.is_independent
        return "\n".join(cautions.warnings(evidence))

    def test_which_strategies_have_moved(self, tmp_path: Path) -> None:
        place = self.place(tmp_path, ("constant", 0.005, 0.95), ("cosine", 0.004, 0.1))
        assert "found better configurations of constant." in self.sentences(place)

    def test_none_has(self, tmp_path: Path) -> None:
        assert "found no better configuration of any strategy." in self.sentences(
            self.place(tmp_path)
        )

    @pytest.mark.parametrize(("rate", "is_flagged"), [(0.02, True), (0.0005, False)])
    def test_who_is_still_at_an_end(self, tmp_path: Path, rate: float, *, is_flagged: bool) -> None:
        place = self.place(tmp_path, ("cosine", rate, 0.95), ("constant", 1e-4, 0.1))
        edges = report.gather(place, results.trials(results.ended(place))).edges
        found = list(edges[["strategy", "parameter", "value"]].itertuples(index=False, name=None))
        assert found == [("cosine", RATE, rate)] * is_flagged

    def test_ranges_are_those_of_both_stages(self, tmp_path: Path) -> None:
        place = self.place(tmp_path)
        evidence = report.gather(place, results.trials(results.ended(place)))
        found = evidence.setup.space("cosine")[RATE]
        assert (found["low"], found["high"]) == (pytest.approx(9e-6, rel=1e-3), 0.1)
        assert evidence.setup.space("cosine", 3)[RATE]["low"] == 1e-5
        assert "Second stage" in method.measured(evidence)


def lab(*words: str) -> str:
    """Runs a command to its end; what it printed."""
    result = CliRunner().invoke(cli.app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_sweep_is_tuned_twice_and_goes_on_after_a_cut(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, started = hydra_run.run, 0

    def cut(*given: Any, **more: Any) -> None:
        nonlocal started
        started += 1
        if started == 2:  # the ranges are written, no trial has begun
            raise KeyboardInterrupt
        run(*given, **more)

    with monkeypatch.context() as patched:
        patched.setattr(hydra_run, "run", cut)
        assert CliRunner().invoke(cli.app, ("sweep", "demo", *SMALL)).exit_code == 130
    first = results.trials("demo")
    ranges = recentre.begun(PLACE)
    assert ranges is not None
    assert set(ranges) == set(first["strategy"]) == {"constant", "one_cycle"}
    printed = lab("sweep", "demo", *SMALL)
    assert "12 of 12" in printed or "All 12 trials are done" in printed
    both = results.trials("demo")
    assert both["strategy"].value_counts().to_dict() == {"constant": 6, "one_cycle": 6}
    assert both["trial"].is_unique
    assert both[both["trial"].isin(first["trial"])][RATE].equals(first[RATE])
    second = both[~both["trial"].isin(first["trial"])]
    for name, own in ranges.items():
        for key, (low, high) in own.items():
            assert second.loc[second["strategy"] == name, key].between(low, high).all()
    # Points are the same within each stage: in the second at the same share of each range.
    place = second.assign(low=second["strategy"].map(lambda name: ranges[name][RATE][0]))
    shares = (place[RATE] / place["low"]).round(3).groupby(place["strategy"]).agg(list)
    assert len(set(map(tuple, shares))) == 1
    assert recentre.begun(PLACE) == ranges
    evidence = report.gather(PLACE, results.trials("demo"))
    assert evidence.setup.planned == len(evidence.trials) == 12
    assert not evidence.is_running
    lab("compare", "demo")
    lab("export-best", "demo")
