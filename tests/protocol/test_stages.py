"""The second stage of a sweep: what is trained again, and what is written down before."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from fmnist_lab import looks
from fmnist_lab.foundation.files import write_json
from fmnist_lab.protocol import stages
from fmnist_lab.results import ledger
from fmnist_lab.sweeper.observers import SweepInfo
from fmnist_lab.sweeper.sweep_end import BudgetEnd, EndReason, SweepEnd
from tests.support.folders import leave_run

pytestmark = pytest.mark.slow

TINY = ("data=synthetic", "data.train_size=10", "data.val_size=10")
RATE = "optimizer.learning_rate"


def over(*reasons: EndReason) -> dict[str, Any]:
    """The end of a sweep whose strategies have reached these limits."""
    ends = {f"way {number}": BudgetEnd(reason, 5, 6) for number, reason in enumerate(reasons)}
    return SweepEnd.of_budgets(ends, 2, 2).as_dict()


def tuned(folder: Path, **changes: Any) -> Path:
    """The folder of a sweep whose strategies were tuned."""
    strategies = {
        name: {
            "best_params": {RATE: rate},
            "best_value": 0.9,
            "best_trial": number,
            "best_overrides": [f"{RATE}={rate}", f"scheduler={name}", f"strategy={name}", *TINY],
        }
        for number, (name, rate) in enumerate({"constant": 0.001, "cosine": 0.004}.items())
    }
    content = {"ended": over(EndReason.N_TRIALS), "strategies": strategies} | changes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "optimization_results.yaml").write_text(yaml.safe_dump(content))
    sweeper = {"strategies": {"constant": "scheduler=constant", "cosine": "scheduler=cosine"}}
    (folder / "multirun.yaml").write_text(yaml.safe_dump({"hydra": {"sweeper": sweeper}}))
    write_json(folder / "spaces.json", {"constant": {RATE: {"low": 1e-4, "high": 1e-2}}})
    return folder


def planned(folder: Path, *arguments: str) -> stages.Confirmation:
    found = stages.plan("demo", folder, ["replicates=8", *TINY, *arguments])
    assert found
    return found


class TestPlan:
    """What is trained again."""

    def test_every_winner_with_the_same_fresh_seeds(self, tmp_path: Path) -> None:
        found = planned(tuned(tmp_path / "demo"), "seed=7")
        assert found.seeds == list(range(8, 16))
        assert [winner["overrides"] for winner in found.winners.values()] == [
            [f"{RATE}=0.001", "scheduler=constant"],
            [f"{RATE}=0.004", "scheduler=cosine"],
        ]
        # A pruner's own keys, which the sweep's file may set, stay where another is chosen.
        assert "hydra.sweeper.pruner=null" in found.overrides(tmp_path)

    def test_what_was_searched_is_not_searched_again(self, tmp_path: Path) -> None:
        given = (f"{RATE}=interval(0.001, 0.1)", "training.epochs=3", "hydra.sweeper.n_trials=2")
        kept = planned(tuned(tmp_path / "demo"), *given, "hydra.launcher.workers=1").arguments
        assert kept == ["sweeps=demo", "replicates=8", *TINY, "training.epochs=3",
                        "hydra.launcher.workers=1"]  # fmt: skip

    def test_what_was_added_and_searched_is_not_searched_again(self, tmp_path: Path) -> None:
        key = "+optimizer.amsgrad"
        strategy = {"best_params": {key: True}, "best_value": 0.9, "best_trial": 0,
                    "best_overrides": [f"{key}=true"]}  # fmt: skip
        folder = tuned(tmp_path / "demo", strategies={"adam": strategy})
        found = planned(folder, f"{key}=choice(true,false)")
        assert found.winners["adam"]["overrides"] == [f"{key}=true"]
        assert not any("choice" in argument for argument in found.arguments)

    def test_one_strategy_has_no_looks(self, tmp_path: Path) -> None:
        folder = tuned(tmp_path / "demo")
        strategies = yaml.safe_load((folder / "optimization_results.yaml").read_text())[
            "strategies"
        ]
        tuned(folder, strategies={"cosine": strategies["cosine"]})
        found = planned(folder, "replicates=auto")
        assert (found.looks, len(found.seeds)) == ([], 8)
        assert list(stages.batches(found, folder)) == [{"cosine": 8}]

    @pytest.mark.parametrize(
        "changes",
        [
            {"ended": over(EndReason.INTERRUPTED)},
            {"ended": over(EndReason.TIMEOUT)},
            {"ended": over(EndReason.FAILED)},
            {"ended": None},
            {"ended": "constant, cosine: timeout: 96 of 20 seconds are over"},  # of version 0.1
            {"strategies": {"constant": dict.fromkeys(["best_params", "best_overrides"])}},
            {"strategies": {}},
        ],
    )
    def test_nothing_before_all_are_tuned(self, tmp_path: Path, changes: dict[str, Any]) -> None:
        folder = tuned(tmp_path / "demo", **changes)
        assert stages.plan("demo", folder, ["replicates=8", *TINY]) is None

    @pytest.mark.parametrize("reason", [reason for reason in EndReason if not reason.is_cut_short])
    def test_any_budget_tunes(self, tmp_path: Path, reason: EndReason) -> None:
        folder = tuned(tmp_path / "demo", ended=over(reason))
        assert stages.plan("demo", folder, ["replicates=8", *TINY]) is not None

    def test_nothing_where_it_is_not_wanted_or_nothing_ran(self, tmp_path: Path) -> None:
        assert stages.plan("demo", tuned(tmp_path / "demo"), ["replicates=0"]) is None
        assert stages.plan("demo", tmp_path / "nothing", []) is None

    def test_awkward_values_reach_the_second_command_line(self, tmp_path: Path) -> None:
        from hydra.core.override_parser.overrides_parser import OverridesParser

        strategy = {
            "best_params": {"scheduler.factors": "[1.0,0.5]"},
            "best_value": 0.9,
            "best_trial": 0,
            "best_overrides": ["scheduler.factors=[1.0,0.5]", "data.dir='it\\'s, here'"],
        }
        folder = tuned(tmp_path / "demo", strategies={"odd": strategy})
        overrides = planned(folder).overrides(folder / "replicates")
        parser = OverridesParser.create()
        parsed = {found.key_or_group: found for found in parser.parse_overrides(overrides)}
        listed: Any = parsed["hydra.sweeper.strategies.odd"].value()
        listed = [getattr(item, "text", item) for item in listed]
        assert listed == strategy["best_overrides"]


class TestPrepare:
    """The test set is opened on the record."""

    @pytest.fixture(autouse=True)
    def in_a_folder(self, folder: Path) -> None:
        """Keeps the ledger apart, too."""

    def manifest(self, folder: Path) -> dict[str, Any]:
        content = json.loads((folder / "manifest.json").read_text())
        assert isinstance(content, dict)
        return content

    def test_an_opening_is_recorded_once(self, tmp_path: Path) -> None:
        folder = tuned(tmp_path / "demo")
        for _ in range(2):
            assert stages.prepare(planned(folder), folder) == folder / "replicates"
        found = self.manifest(folder)
        assert len(found["openings"]) == 1
        assert found["openings"][0]["hash"] == found["hash"]
        assert found["seeds"] == list(range(43, 51))
        assert len(found["data"]) == 64
        (line,) = ledger.read(found["test_images"])
        opening = found["openings"][0]
        assert (line["manifest"], line["opened"]) == (opening["hash"], opening["opened"])
        assert (line["subject"], line["search"], line["runs"]) == ("demo", 0, 16)
        assert opening["number"] == 1

    def test_a_plan_and_its_hash_stay_beside_the_openings(self, tmp_path: Path) -> None:
        folder = tuned(tmp_path / "demo")
        begun = {"begun": "2026-11-29T10:00:00", "hash": "planned", "plan": {"seed": 42}}
        write_json(folder / "manifest.json", begun)
        for replicates in (8, 12):
            stages.prepare(planned(folder, f"replicates={replicates}"), folder)
        found = self.manifest(folder)
        assert begun.items() <= found.items()
        assert [one["changed"] for one in found["openings"]] == [[], ["seeds"]]
        assert [one["number"] for one in found["openings"]] == [1, 2]

    def test_the_same_again_is_counted_where_it_starts_afresh(self, tmp_path: Path) -> None:
        for name in ("demo", "demo-2"):
            folder = tuned(tmp_path / name)
            stages.prepare(planned(folder), folder)
        assert len(ledger.read(self.manifest(folder)["test_images"])) == 2
        assert self.manifest(folder)["openings"][0]["number"] == 2

    def test_a_kill_between_manifest_and_ledger_loses_no_opening(self, tmp_path: Path) -> None:
        folder = tuned(tmp_path / "demo")
        stages.prepare(planned(folder), folder)
        ledger.PATH.unlink()
        stages.prepare(planned(folder), folder)
        assert len(ledger.read(self.manifest(folder)["test_images"])) == 1

    def test_more_seeds_are_another_opening_of_the_same(self, tmp_path: Path) -> None:
        folder = tuned(tmp_path / "demo")
        (stages.prepare(planned(folder), folder) / "0").mkdir(parents=True)
        stages.prepare(planned(folder, "replicates=12"), folder)
        assert len(self.manifest(folder)["openings"]) == 2
        assert (folder / "replicates" / "0").exists()

    def test_replicates_of_other_winners_are_put_aside(self, tmp_path: Path) -> None:
        folder = tuned(tmp_path / "demo")
        (stages.prepare(planned(folder), folder) / "0").mkdir(parents=True)
        first = self.manifest(folder)["hash"]
        winner = {"best_params": {}, "best_value": 1, "best_trial": 5, "best_overrides": ["seed=1"]}
        tuned(folder, strategies={"constant": winner})
        assert not stages.prepare(planned(folder), folder).exists()
        assert (folder / f"replicates-{first[:8]}" / "0").exists()

    def test_they_are_aside_before_the_manifest_names_the_others(self, tmp_path: Path) -> None:
        folder = tuned(tmp_path / "demo")
        (stages.prepare(planned(folder), folder) / "0").mkdir(parents=True)
        winner = {"best_params": {}, "best_value": 1, "best_trial": 5, "best_overrides": ["seed=1"]}
        tuned(folder, strategies={"constant": winner})
        ledger.PATH.unlink()
        ledger.PATH.mkdir()
        for _ in range(2):
            with pytest.raises(IsADirectoryError):
                stages.prepare(planned(folder), folder)
        assert not (folder / "replicates").exists()
        ledger.PATH.rmdir()
        assert not stages.prepare(planned(folder), folder).exists()

    def test_fewer_seeds_are_no_other_opening(self, tmp_path: Path) -> None:
        folder = tuned(tmp_path / "demo")
        for replicates in (12, 8, 12):
            stages.prepare(planned(folder, f"replicates={replicates}"), folder)
        assert len(self.manifest(folder)["openings"]) == 1
        assert len(self.manifest(folder)["seeds"]) == 12

    def test_fewer_seeds_after_another_commit_are_no_other_opening(self, tmp_path: Path) -> None:
        folder, wanted = tuned(tmp_path / "demo"), "replicates=12"
        place, found = stages.prepare(planned(folder, wanted), folder), planned(folder, wanted)
        for name in found.winners:
            for seed in found.seeds:
                leave_run(place / f"{name}{seed}", kind="replicate", strategy=name, seed=seed)
        older = self.manifest(folder)
        other = older["versions"] | {"git_commit": "another"}
        write_json(folder / "manifest.json", older | {"versions": other})
        stages.prepare(planned(folder, "replicates=8"), folder)
        assert len(self.manifest(folder)["openings"]) == 1
        assert self.manifest(folder)["seeds"] == list(found.seeds)

    def test_what_has_changed_is_said(self, tmp_path: Path) -> None:
        folder = tuned(tmp_path / "demo")
        stages.prepare(planned(folder), folder)
        stages.prepare(planned(folder, "replicates=12"), folder)
        write_json(folder / "spaces.json", {"constant": {RATE: {"low": 1e-4, "high": 1}}})
        stages.prepare(planned(folder, "replicates=12"), folder)
        changed = [opening["changed"] for opening in self.manifest(folder)["openings"]]
        assert changed == [[], ["seeds"], [f"spaces.constant.{RATE}.high"]]

    def test_an_older_manifest_that_says_less_is_the_same(self, tmp_path: Path) -> None:
        folder = tuned(tmp_path / "demo")
        stages.prepare(planned(folder), folder)
        older = self.manifest(folder)
        for key in ("strategies", "spaces", "search"):
            del older[key]
        older["openings"] = [{"opened": "2026-11-01", "hash": "older"}]
        ledger.PATH.unlink()
        write_json(folder / "manifest.json", older | {"hash": "older"})
        stages.prepare(planned(folder), folder)
        assert self.manifest(folder)["openings"] == older["openings"]
        assert self.manifest(folder)["strategies"]
        (line,) = ledger.read(self.manifest(folder)["test_images"])
        assert (line["opened"], line["runs"]) == ("2026-11-01", None)

    def test_where_nothing_is_left_to_train_nothing_is_opened(self, tmp_path: Path) -> None:
        folder = tuned(tmp_path / "demo")
        replicates = stages.prepare(planned(folder, "replicates=1"), folder)
        before = self.manifest(folder)
        write_json(folder / "spaces.json", {})  # or another version, say
        for number, name in enumerate(("constant", "cosine")):
            leave_run(replicates / str(number), kind="replicate", strategy=name)
        stages.prepare(planned(folder, "replicates=1"), folder)
        assert self.manifest(folder) == before
        stages.prepare(planned(folder, "replicates=2"), folder)
        assert self.manifest(folder)["openings"][1]["changed"] == ["seeds", "spaces.constant"]

    def test_an_interrupted_replicate_is_left_to_train(self, tmp_path: Path) -> None:
        folder = tuned(tmp_path / "demo")
        replicates = stages.prepare(planned(folder, "replicates=1"), folder)
        write_json(folder / "spaces.json", {})
        ends = {"constant": "completed", "cosine": "interrupted"}
        for number, (name, reason) in enumerate(ends.items()):
            leave_run(replicates / str(number), kind="replicate", strategy=name, stop_reason=reason)
        stages.prepare(planned(folder, "replicates=1"), folder)
        assert self.manifest(folder)["openings"][1]["changed"] == ["spaces.constant"]


class TestBatches:
    """What is trained from look to look."""

    gain = 0.02  # of cosine

    def train(self, folder: Path, wanted: Any, most: int = 99) -> None:
        """Leaves at most so many of the replicates that are wanted and not there."""
        for name, count in wanted.items():
            for position in range(count):
                place = folder / "replicates" / f"{2 * position + (name == 'cosine')}"
                if not place.exists() and most > 0:
                    most -= 1
                    accuracy = 0.88 + self.gain * (name == "cosine") + self.noise(name, position)
                    leave_run(place, kind="replicate", strategy=name, seed=43 + position,
                              test_accuracy=accuracy, test_loss=1.0)  # fmt: skip

    def noise(self, name: str, position: int) -> float:
        """Of a replicate's accuracy, the same each time."""
        return 0.0007 * ((5 * position + 3 * len(name)) % 7)

    def opened(self, folder: Path, replicates: str = "[8,12,16]") -> stages.Confirmation:
        found = planned(tuned(folder), f"replicates={replicates}")
        stages.prepare(found, folder)
        return found

    def looks(self, folder: Path) -> list[Any]:
        content = json.loads((folder / "manifest.json").read_text())
        return [
            (look["pairs"], look["verdicts"])
            for opening in content["openings"]
            for look in opening.get("looks", [])
        ]

    def test_a_plain_number_is_one_batch(self, tmp_path: Path) -> None:
        found = self.opened(tmp_path, "8")
        assert list(stages.batches(found, tmp_path)) == [{"constant": 8, "cosine": 8}]

    def test_what_is_decided_ends_the_sweep(self, tmp_path: Path) -> None:
        found = self.opened(tmp_path)
        for wanted in stages.batches(found, tmp_path):
            assert wanted == {"constant": 8, "cosine": 8}
            self.train(tmp_path, wanted)
        assert self.looks(tmp_path) == [(8, {"cosine": "better"})]
        assert list(stages.batches(self.opened(tmp_path), tmp_path)) == []
        assert len(json.loads((tmp_path / "manifest.json").read_text())["openings"]) == 1

    def test_what_is_open_goes_on_to_the_last_look(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(self, "gain", 0.001)
        found = self.opened(tmp_path)
        counts = []
        for wanted in stages.batches(found, tmp_path):
            counts.append(wanted["cosine"])
            self.train(tmp_path, wanted)
        assert counts == [8, 12, 16]
        assert [pairs for pairs, _ in self.looks(tmp_path)] == [8, 12, 16]

    def test_a_sweep_that_is_killed_goes_on_as_it_would_have(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(self, "gain", 0.001)
        whole, killed = tmp_path / "whole", tmp_path / "killed"
        for wanted in stages.batches(self.opened(whole), whole):
            self.train(whole, wanted)
        for most in (5, 11, 0, 3, 2, 99, 99):  # a start each; 0: killed before it trained any
            for wanted in stages.batches(self.opened(killed), killed):
                self.train(killed, wanted, most)
                break
        assert self.looks(killed) == self.looks(whole)[:-1]  # the last one is made as it goes on
        assert list(stages.batches(self.opened(killed), killed)) == []
        assert self.looks(killed) == self.looks(whole)

    def test_what_cannot_be_trained_is_not_asked_for_again_and_again(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        asked = list(stages.batches(self.opened(tmp_path), tmp_path))
        assert asked == [{"constant": 8, "cosine": 8}]
        assert capsys.readouterr().out.count("look") == 1  # it is not complete

    def test_seeds_beside_the_plan_have_a_price(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for wanted in stages.batches(self.opened(tmp_path), tmp_path):
            self.train(tmp_path, wanted)
        self.opened(tmp_path, "30")
        assert looks.COST in capsys.readouterr().out
        openings = json.loads((tmp_path / "manifest.json").read_text())["openings"]
        assert openings[1]["changed"] == ["looks", "seeds"]
        assert openings[0]["looks"]

    def test_each_strategy_has_its_limit(self, tmp_path: Path) -> None:
        overrides = self.opened(tmp_path).overrides(tmp_path, {"constant": 12, "cosine": 8})
        assert "hydra.sweeper.n_trials=12" in overrides
        assert "+hydra.sweeper.limits.cosine=8" in overrides
        (enqueued,) = (word for word in overrides if "enqueue" in word)
        assert enqueued.count("seed") == 12


class TestOutlook:
    """The warning before a sweep whose seeds are too few."""

    @pytest.mark.parametrize(
        ("strategies", "replicates", "searches", "key"),
        [(13, 5, 1, "replicates"), (2, 5, 1, "replicates"), (4, 3, 5, "searches")],
    )
    def test_too_few(self, strategies: int, replicates: int, searches: int, key: str) -> None:
        warning = stages.outlook(strategies, replicates, searches)
        assert warning is not None
        assert re.findall(rf"{key}=\d", warning) == [f"{key}=5", f"{key}=6"]

    def test_a_smaller_error_takes_more(self) -> None:
        assert stages.outlook(2, 6, 1) is None
        assert re.findall(r"=(\d)", stages.outlook(2, 6, 1, 0.01) or "") == ["6", "8"]
        assert stages.outlook(2, "auto", 1, 0.01) is not None  # a look at 8 cannot reach its share

    def test_a_look_that_can_decide_nothing(self) -> None:
        warning = stages.outlook(13, [6, 12], 1)
        assert warning is not None
        assert " 6 " in warning
        assert stages.outlook(13, "auto", 1) is None

    def test_enough_or_nothing_to_compare(self) -> None:
        assert stages.outlook(13, 6, 1) is None
        assert stages.outlook(2, 1, 6) is None
        assert stages.outlook(1, 1, 1) is None
        assert stages.outlook(0, 1, 1) is None

    def test_it_is_shown_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        def start(kind: str, folder: str, replicates: int = 5) -> str:
            shares = {f"rival{number}": 1 for number in range(13)}
            info = SweepInfo("demo", "journal", folder, ["maximize"], shares, 13, 0, 2)
            stages.Outlook(replicates, 1, kind).on_start(info, [])
            return capsys.readouterr().out

        assert "replicates=5" in start("trial", "sweeps/demo")
        assert start("trial", "sweeps/demo", 0) == ""  # no verdict is wanted
        assert start("replicate", "sweeps/demo/replicates") == ""
        assert start("trial", "sweeps/demo/searches/1") == ""
