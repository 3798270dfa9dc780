"""A report's cautions: test sets opened twice, too few pairs, schedules cut short."""

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from fmnist_lab import looks, report, results
from fmnist_lab.commands import compare
from fmnist_lab.data import SEED_OF_SPLIT
from fmnist_lab.foundation.files import write_json
from fmnist_lab.report import cautions, lengths, method, page, sentences
from fmnist_lab.report.setup import Setup
from tests.support.folders import leave_replicates, leave_run, leave_sweep, paired

RATES = (1e-4, 1e-3)
BOTH = {"constant": RATES, "cosine": RATES}
LEVELS = {"constant": 0.88, "cosine": 0.89}


def gather(place: Path) -> report.Evidence:
    return report.gather(place, results.trials(results.ended(place)))


def asked(place: Path, **changes: Any) -> None:
    """Changes the sweep's configuration."""
    path = place / "multirun.yaml"
    config = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(config | changes, sort_keys=False))


def many(root: Path, strategies: int, seeds: int, gain: float = 0.0) -> report.Evidence:
    """A sweep of a constant rate and its rivals, one of them better by `gain`."""
    names = ["constant", *(f"rival{number}" for number in range(1, strategies))]
    place = leave_sweep(root, dict.fromkeys(names, RATES), dict.fromkeys(names, 0.88))
    accuracies = {name: paired(0.88, seeds, 1e-5 * index) for index, name in enumerate(names)}
    return gather(leave_replicates(place, accuracies | {"rival1": paired(0.88, seeds, gain)}))


class TestTooFewPairs:
    """Six are enough for any number of rivals, fewer never."""

    @pytest.mark.parametrize("strategies", [2, 13])
    def test_six_are_enough(self, tmp_path: Path, strategies: int) -> None:
        evidence = many(tmp_path, strategies, 6, gain=0.02)
        assert cautions.grave(evidence) == []
        assert sentences.no_verdict(evidence) is None
        assert "rival1: +" in sentences.headline(evidence)

    def test_five_are_no_verdict_at_all(self, tmp_path: Path) -> None:
        verdict = sentences.no_verdict(many(tmp_path, 13, 5))
        assert verdict is not None
        assert verdict.endswith(": fmnist-lab sweep night replicates=6.")


class TestPoints:
    """Whether all strategies were tried at the same learning rates."""

    @pytest.mark.parametrize(
        ("points", "sampler", "is_warned"),
        [(None, "QMC", True), (None, "TPE", False), ({"width": 2, "columns": {}}, "QMC", False)],
    )
    def test_an_old_sequence_is_marked(
        self, tmp_path: Path, points: Any, sampler: str, is_warned: bool
    ) -> None:
        names = {"constant": RATES, "cosine": RATES}
        place = leave_sweep(tmp_path, names, dict.fromkeys(names, 0.88),
                            sampler=f"optuna.samplers.{sampler}Sampler")  # fmt: skip
        path = place / "optimization_results.yaml"
        summaries = {"strategies": dict.fromkeys(names, {"points": points} if points else {})}
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | summaries))
        spaces = json.loads((place / "spaces.json").read_text())
        warned = cautions.warnings(gather(place))
        assert not any("(--new)" in text for text in warned)  # one key each
        spaces["cosine"] |= {"scheduler.end": {"low": 0, "high": 1, "log": False}}
        (place / "spaces.json").write_text(json.dumps(spaces))
        warned = cautions.warnings(gather(place))
        assert any("(--new)" in text for text in warned) is is_warned


class TestRules:
    """Baseline, margin and alpha are those that the sweep was planned with."""

    def test_verdicts_follow_them(self, tmp_path: Path) -> None:
        evidence = many(tmp_path, 2, 8, gain=0.004)
        assert "rival1: +" in sentences.headline(evidence)
        assert "95 %" in sentences.headline(evidence)
        asked(evidence.folder, margin=0.02, alpha=0.01)
        wide = gather(evidence.folder)
        assert wide.versus_baseline is not None
        assert wide.versus_baseline["verdict"].tolist() == ["equivalent"]
        rule = method.measured(wide)["Verdicts"]
        assert all(token in rule for token in (" 98 %", " 2 points", " 0.01"))
        asked(evidence.folder, margin=0.0001, alpha=0.2)
        assert "80 %" in sentences.headline(gather(evidence.folder))

    def test_others_than_those_of_the_plan_are_a_caution(self, tmp_path: Path) -> None:
        place = many(tmp_path, 2, 8).folder
        plan = {"baseline": None, "margin": 0.002, "alpha": 0.05, "n_trials": 2, "question": "?"}
        begun = "2026-11-01T10:00:00.000+00:00"
        write_json(place / "manifest.json", {"begun": begun, "hash": "a1" * 32, "plan": plan})
        asked(place, baseline=None, margin=0.002, alpha=0.05)
        evidence = gather(place)
        assert cautions.grave(evidence) == []
        assert "Changed since the plan" not in method.measured(evidence)
        assert re.search(r"2026-11-01\b.*\ba1a1a1a1a1a1\b", page.page(evidence))
        asked(place, baseline=None, margin=0.01, alpha=0.05, searches=3)
        (caution,) = cautions.grave(evidence := gather(place))
        assert "margin from 0.002 to 0.01" in caution
        changed = method.measured(evidence)["Changed since the plan"]
        assert changed == "margin 0.002 to 0.01, searches None to 3"


class TestBudgets:
    """What tuning took of each strategy, in epochs and seconds."""

    def leave(self, place: Path, epochs: int) -> report.Evidence:
        """Two trials of each strategy; one of cosine's trained for so long."""
        folder = leave_sweep(place, BOTH, LEVELS)
        shutil.rmtree(folder / "trials/3")
        leave_run(folder / "trials/3", objective=0.8, epochs_trained=epochs, strategy="cosine",
                  scheduler="cosine", trial=3, sweep="night", seconds=61.0)  # fmt: skip
        return gather(folder)

    def test_a_tenth_is_nothing(self, tmp_path: Path) -> None:
        assert cautions.warnings(self.leave(tmp_path, 6)) == []

    @pytest.mark.parametrize("epochs", [3, 7])
    def test_more_is_a_caution(self, tmp_path: Path, epochs: int) -> None:
        (caution,) = cautions.warnings(self.leave(tmp_path, epochs))
        few, more = (("8 (cosine)", "10 (constant)") if epochs == 3
                     else ("10 (constant)", "12 (cosine)"))  # fmt: skip
        assert f"{few} to {more}" in caution

    def test_the_table(self, tmp_path: Path) -> None:
        evidence = self.leave(tmp_path, 5)
        spent = lengths.spent(evidence).set_index("strategy")
        assert list(spent.loc["cosine"]) == [2, 10, pytest.approx(64.21)]
        assert "<td>1 min</td>" in page.page(evidence)


class TestCommand:
    """What continues a sweep is what it was started with."""

    def test_the_users_overrides_stay(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, BOTH, LEVELS)
        config = yaml.safe_load((place / "multirun.yaml").read_text())
        config["hydra"]["overrides"] = {
            "task": ["sweeps=night", "training.epochs=5", "replicates=2"],
            "hydra": ["hydra.sweep.dir=x", "hydra.sweeper.n_trials=4", "hydra.mode=MULTIRUN"],
        }
        asked(place, **config)
        assert sentences.headline(gather(place)).endswith(
            ": fmnist-lab sweep night training.epochs=5 hydra.sweeper.n_trials=4 replicates=8."
        )

    def test_replicates_to_come_are_waited_for(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, BOTH, LEVELS)
        leave_replicates(place, {name: paired(0.88, 4) for name in BOTH})
        asked(place, replicates=8)
        winners = {name: {"trial": 0, "overrides": []} for name in BOTH}
        write_json(place / "manifest.json", {"winners": winners, "seeds": list(range(8))})
        headline = sentences.headline(gather(place))
        assert " 8 seeds" in headline
        assert "fmnist-lab" not in headline  # nothing is to be done

    def test_a_sweep_that_runs_will_do_it_itself(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, BOTH | {"linear": RATES[:1]}, LEVELS | {"linear": 0.9})
        asked(place, replicates=8)
        (place / "optimization_results.yaml").write_text("ended: null\n")
        evidence = gather(place)
        assert "fmnist-lab" not in sentences.headline(evidence)
        assert cautions.warnings(evidence) == []  # strategies take turns


class TestConfounding:
    """Strategies that differ in more than a schedule."""

    def leave(self, place: Path, **training: Any) -> None:
        """Lets the first trials say how they were trained: the second one's values are given."""
        for number, changes in enumerate(({}, training)):
            content = {"training": {"epochs": 5, "batch_size": 32} | changes}
            (place / f"trials/{number}/.hydra").mkdir()
            path = place / f"trials/{number}/.hydra/config.yaml"
            path.write_text(yaml.safe_dump(content))

    def test_longer_training_in_other_batches(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, BOTH, LEVELS)
        self.leave(place, epochs=25, batch_size=128)
        (caution,) = cautions.grave(gather(place))
        assert "training.epochs (5 or 25) and training.batch_size (32 or 128)" in caution

    def test_what_is_searched_may_differ(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, BOTH, LEVELS)
        self.leave(place, batch_size=128)
        write_json(place / "spaces.json", {"": {"training.batch_size": {"choices": [32, 128]}}})
        assert cautions.grave(gather(place)) == []

    def test_nothing_differs(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, BOTH, LEVELS)
        self.leave(place)
        assert cautions.grave(gather(place)) == []


@pytest.mark.parametrize("runs", ["trials", "replicates"])
def test_trials_that_were_judged_on_different_images(tmp_path: Path, runs: str) -> None:
    place = leave_sweep(tmp_path, BOTH, LEVELS)
    for number, size in enumerate((20, 100), 8):
        given = [f"data.val_size={size}", f"data.dir=d{size}", "data.split=last"]
        kind = runs.removesuffix("s")
        leave_run(place / runs / str(number), kind=kind, trial=number, overrides=given)
    caution = cautions.grave(gather(place))[0]
    keys = ["data.split", "data.val_size"] if runs == "trials" else ["data.val_size"]
    assert re.findall(r"data\.\w+", caution) == keys
    assert runs in caution


@pytest.mark.parametrize(
    ("changed", "dataset", "split", "differ"),
    [
        ("train_size", "fashion_mnist", "random", False),
        ("train_size", "synthetic", "first", False),
        ("train_size", "synthetic", "last", True),
        ("split_seed", "fashion_mnist", "last", False),
        ("split_seed", "fashion_mnist", "random", True),
    ],
)
def test_more_of_the_data_may_differ_than_what_validates(
    tmp_path: Path, changed: str, dataset: str, split: str, differ: bool
) -> None:
    for number in range(2):
        given = [f"data.{changed}={number}"]
        run = leave_run(tmp_path / str(number), trial=number, dataset=dataset, overrides=given)
        checksum = str(number if changed == "train_size" else differ)
        write_json(run / "environment.json", {"data_checksum": checksum})
    trials = results.trials(results.ended(tmp_path))
    setup = Setup(config={"data": {"split": split}})
    found = [
        re.findall(r"data\.\w+", text) for text in cautions.mixed_images({"trials": trials}, setup)
    ]
    assert found == ([[f"data.{changed}"]] if differ else [])


@pytest.mark.parametrize(("checksums", "warned"), [("aabb", False), ("aaab", True)])
def test_a_split_that_seeds_draw_is_alike_for_all_strategies(
    tmp_path: Path, checksums: str, warned: bool
) -> None:
    for number, checksum in enumerate(checksums):
        run = leave_run(tmp_path / str(number), trial=number, seed=number // 2)
        write_json(run / "environment.json", {"data_checksum": checksum})
    trials = {"trials": results.trials(results.ended(tmp_path))}
    drawn = Setup(config={"data": {"split": "random", "split_seed": SEED_OF_SPLIT}})
    assert bool([*cautions.mixed_images(trials, drawn)]) is warned
    assert [*cautions.mixed_images(trials, Setup(config={"data": {"split": "random"}}))]


class TestVersions:
    """A sweep that went on after an upgrade."""

    def leave(self, root: Path, *keras: str) -> report.Evidence:
        place = leave_sweep(root, BOTH, LEVELS)
        for number, version in enumerate(keras):
            write_json(
                place / "trials" / str(number) / "environment.json",
                {"keras": version, "tensorflow": "2.21.0", "mlflow": f"3.{number}", "cpus": number},
            )
        return gather(place)

    def test_they_are_named(self, tmp_path: Path) -> None:
        evidence = self.leave(tmp_path, "3.15.0", "3.15.1", "3.15.0")  # the last does not say
        (caution,) = cautions.grave(evidence)
        assert "keras (3.15.0 or 3.15.1)" in caution
        assert caution in page.page(evidence)

    def test_the_terminal_has_them_too(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.leave(tmp_path / "mlruns", "3.15.0", "3.15.1")
        monkeypatch.chdir(tmp_path)
        compare.main("night", with_report=False)
        assert "(3.15.0 or 3.15.1)" in " ".join(capsys.readouterr().out.split())

    @pytest.mark.parametrize("runs", ["trials", "replicates"])
    def test_of_trials_and_of_replicates(self, tmp_path: Path, runs: str) -> None:
        place = leave_sweep(tmp_path, BOTH, LEVELS)
        leave_replicates(place, {name: paired(0.88, 8) for name in BOTH})
        write_json(place / "trials/3/environment.json", {"git_commit": None})  # installed
        for number in range(3):
            here = {"git_commit": f"{number % 2}" * 40, "data_checksum": "ab"[number % 2] * 64}
            write_json(place / runs / str(number) / "environment.json", here | {"keras": "3.15.0"})
        images, versions = cautions.grave(gather(place))
        assert all(runs in caution for caution in (images, versions))
        assert "checksums" in images
        assert "(00000000 or 11111111)" in versions

    def test_what_computes_nothing_may_differ(self, tmp_path: Path) -> None:
        assert cautions.grave(self.leave(tmp_path, "3.15.0", "3.15.0")) == []


class TestOpenings:
    """A test set that was opened more than once."""

    def warned(self, place: Path, *changed: str, **more: Any) -> list[str]:
        first = {"opened": "2026-11-01T10:00:00", "hash": "a", "changed": []}
        second = {"opened": "2026-11-02T10:00:00", "hash": "b", "changed": list(changed)} | more
        openings = [first, second] if changed else [first]
        write_json(place / "manifest.json", {"openings": openings})
        return cautions.grave(gather(place))

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        accuracies = {name: paired(0.88, 8) for name in BOTH}
        return leave_replicates(leave_sweep(tmp_path, BOTH, LEVELS), accuracies)

    def test_once(self, place: Path) -> None:
        assert self.warned(place) == []

    @pytest.mark.parametrize(
        ("changed", "token"),
        [
            (("seeds",), looks.COST),
            (("seeds", "winners.cosine.trial"), "winners"),
            (("seeds", "versions.keras", "data"), "versions.keras and data "),
        ],
    )
    def test_what_had_changed(self, place: Path, changed: tuple[str, ...], token: str) -> None:
        (caution,) = self.warned(place, *changed)
        assert "2026-11-02" in caution
        assert token in caution

    def test_searches_that_were_added(self, place: Path) -> None:
        first = {"opened": "2026-11-01T10:00:00.000+00:00", "hash": "a", "changed": []}
        write_json(place / "manifest.json", {"openings": [first]})
        late = place / "searches/1/manifest.json"
        write_json(late, {"begun": "2026-11-01T09:59:59.999+00:00"})
        assert cautions.grave(gather(place)) == []
        write_json(late, {"begun": "2026-11-03T10:00:00.000+00:00"})
        (caution,) = cautions.grave(gather(place))
        assert "2026-11-03 1 more search " in caution

    def test_an_older_manifest_does_not_say(self, place: Path) -> None:
        openings = [{"opened": "2026-11-01", "hash": "a"}, {"opened": "2026-11-02", "hash": "b"}]
        write_json(place / "manifest.json", {"openings": openings})
        (caution,) = cautions.grave(gather(place))
        assert "2026-11-02" in caution


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("spaces.json", "[]"),
        ("spaces.json", '{"constant": {"a.b": {"low": "x", "high": 1, "log": true}}}'),
        ("multirun.yaml", "{bad"),
        ("multirun.yaml", "hydra: {sweeper: [1]}"),
        ("optimization_results.yaml", "5"),
    ],
)
def test_a_damaged_file_is_a_caution(tmp_path: Path, name: str, content: str) -> None:
    place = leave_sweep(tmp_path, BOTH, LEVELS)
    (place / name).write_text(content)
    evidence = gather(place)
    (caution,) = cautions.grave(evidence)
    assert name in caution
    assert caution in page.page(evidence)


class TestSearches:
    """Several searches in one report."""

    def searched(self, root: Path, searches: int) -> report.Evidence:
        place = leave_sweep(root, BOTH, LEVELS)
        leave_replicates(place, {"constant": [0.88, 0.881], "cosine": [0.885, 0.886]})
        for number in range(1, searches):
            folder = place / "searches" / str(number)
            for index, name in enumerate(BOTH):
                leave_run(folder / "trials" / str(index), strategy=name, trial=index,
                          seed=42 + 1000 * number, search=number, objective=0.9 + 0.001 * number,
                          overrides=["optimizer.learning_rate=0.1"])  # fmt: skip
            (folder / "optimization_results.yaml").write_text("ended: all 2 trials are done\n")
            common = 1e-4 * number
            leave_replicates(folder, {"constant": [0.88 + common, 0.881], "cosine": [0.885, 0.886]},
                             search=number)  # fmt: skip
        asked(place, searches=searches)
        return gather(place)

    def test_too_few_are_no_verdict(self, tmp_path: Path) -> None:
        verdict = sentences.no_verdict(self.searched(tmp_path, 3))
        assert verdict is not None
        assert verdict.endswith(": fmnist-lab sweep night searches=6.")

    def test_the_first_of_six_has_replicates(self, tmp_path: Path) -> None:
        place = self.searched(tmp_path, 1).folder
        asked(place, searches=6)
        assert "searches=6" in (sentences.no_verdict(gather(place)) or "")

    def test_searches_with_their_best_at_ends_of_other_kinds(self, tmp_path: Path) -> None:
        """Of what was searched in four of them, of what was tried in one."""
        place = self.searched(tmp_path, 6).folder
        shutil.rmtree(place / "searches/1/trials")
        for number, rate in enumerate((1e-4, 1e-3, 1e-2)):
            leave_run(place / f"searches/1/trials/{number}", trial=number, search=1,
                      objective=0.9 + 0.01 * number,
                      overrides=[f"optimizer.learning_rate={rate}"])  # fmt: skip
        edges = gather(place).edges
        own = edges[edges["strategy"] == "constant"].set_index("is_of_space")["searches"]
        assert own.to_dict() == {True: 4, False: 1}

    def test_six_speak_about_the_strategies(self, tmp_path: Path) -> None:
        evidence = self.searched(tmp_path, 6)
        assert evidence.pair == "search"
        assert " cosine: +0.4" in sentences.headline(evidence)
        assert evidence.versus_baseline is not None
        assert evidence.versus_baseline["pairs"].tolist() == [6]
        assert evidence.standings["search"].tolist() == [5, 5]  # where the best trials are
        means = evidence.replicates.groupby(["strategy", "search"])["test_accuracy"].mean()
        spread = means.groupby("strategy").std()[evidence.strategies]
        assert evidence.standings["test_sd"].tolist() == pytest.approx(spread.tolist())
        assert not evidence.is_running
        (edges,) = (text for text in cautions.warnings(evidence) if "learning_rate" in text)
        assert "optimizer.learning_rate of constant and cosine" in edges
        assert evidence.edges.set_index("strategy").loc["constant", "searches"] == 5
        assert "6 searches" in page.page(evidence)

    def test_those_to_come_are_counted(self, tmp_path: Path) -> None:
        place = self.searched(tmp_path, 2).folder
        asked(place, searches=4)
        evidence = gather(place)
        assert evidence.is_running
        assert re.findall(r"\d+", sentences.progress(evidence))[:3] == ["6", "16", "8"]


class TestHorizon:
    """Early stopping and the length that was meant."""

    def stopped(self, root: Path, target: str, **more: str) -> report.Evidence:
        place = root / "multirun" / "night"
        folder = leave_run(place / "0", stopping="patience", stop_reason="early_stopped",
                           epochs_trained=5)  # fmt: skip
        node = {"_target_": f"fmnist_lab.schedules.{target}", "epochs": "${training.epochs}",
                "initial_learning_rate": "${optimizer.learning_rate}",
                "space": {"warmup_epochs": "${only_known_while_composing:0.1}"}} | more  # fmt: skip
        content = {"scheduler": node, "training": {"epochs": 20},
                   "optimizer": {"learning_rate": 0.01}}  # fmt: skip
        (folder / ".hydra").mkdir()
        (folder / ".hydra/config.yaml").write_text(yaml.safe_dump(content))
        (place / "multirun.yaml").write_text(yaml.safe_dump({"training": {"epochs": 20}}))
        return gather(place)

    def test_a_schedule_that_was_cut_short_is_named(self, tmp_path: Path) -> None:
        evidence = self.stopped(tmp_path, "cosine")
        assert lengths.cut_short(evidence) == ["constant"]  # what the strategy is called
        caution = cautions.warnings(evidence)[-1]
        assert caution.startswith("constant ")
        assert "stopping=none" in caution

    def test_keys_that_follow_the_length_are_computed(self, tmp_path: Path) -> None:
        OmegaConf.clear_resolver("fmnist_lab.epochs")  # nothing has composed, as in `compare`
        evidence = self.stopped(tmp_path, "cosine", warmup_epochs="${fmnist_lab.epochs:0.1}")
        assert lengths.cut_short(evidence) == ["constant"]

    def test_one_that_knows_no_horizon_is_not(self, tmp_path: Path) -> None:
        evidence = self.stopped(tmp_path, "constant")
        assert lengths.cut_short(evidence) == []
        assert len(cautions.warnings(evidence)) == 1

    def test_what_was_saved_is_in_the_report(self, tmp_path: Path) -> None:
        evidence = self.stopped(tmp_path, "constant")
        (row,) = lengths.savings(evidence).to_dict("records")
        assert (row["epochs"], row["horizon"], row["saved"]) == (5, 20, 0.75)
        text = page.page(evidence)
        assert "<td>5 of 20</td>" in text
        assert "<td>75%</td>" in text

    def test_how_soon_the_baseline_is_reached(self, tmp_path: Path) -> None:
        evidence = many(tmp_path, 3, 8, gain=0.02)
        found = lengths.speed(evidence)
        assert found is not None
        ends = evidence.replicates.loc[evidence.replicates["strategy"] == "constant", "objective"]
        assert found[0] == pytest.approx(ends.median())
        rows = found[1].set_index("strategy")
        assert rows.index.tolist() == evidence.strategies
        assert (rows.at["rival1", "reached"], rows.at["rival1", "median_epochs"]) == (8, 5)
        assert rows.at["constant", "reached"] == 4  # half of them: that makes the median

    def test_a_baseline_that_diverged_is_no_target(self, tmp_path: Path) -> None:
        names = ("constant", "cosine")
        place = leave_sweep(tmp_path, dict.fromkeys(names, RATES), dict.fromkeys(names, 0.88))
        lossy = [*paired(0.88, 4), *[math.nan] * 4]
        found = lengths.speed(gather(leave_replicates(place, dict.fromkeys(names, lossy))))
        assert found is not None
        assert found[0] > 0.8

    @pytest.mark.parametrize(
        ("target", "more", "follows"),
        [
            ("schedules.cosine", {}, True),
            ("schedules.one_cycle", {}, True),
            ("schedules.wsd", {"warmup_epochs": 0.5}, True),
            ("schedules.cosine_restarts", {"cycles": 2}, True),
            ("schedules.cosine_restarts", {"first_decay_epochs": 3}, False),
            ("schedules.exponential", {"decay_epochs": 3, "decay_rate": 0.1}, False),
            ("scheduling.Performance", {}, False),
            ("schedules.of_another_package", {}, False),
        ],
    )
    def test_which_schedules_follow_it(
        self, target: str, more: dict[str, Any], follows: bool
    ) -> None:
        rate = "max_learning_rate" if target.endswith("one_cycle") else "initial_learning_rate"
        node = {"_target_": f"fmnist_lab.{target}", "epochs": 10, rate: 0.01} | more
        assert lengths.follows_horizon(node) is follows
