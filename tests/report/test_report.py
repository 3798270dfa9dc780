"""A report: evidence from folders, verdicts in words, one file that needs no other."""

import json
import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf

import fmnist_lab
from fmnist_lab import report, results, statistics
from fmnist_lab.data import OWN, SEED_OF_SPLIT
from fmnist_lab.errors import RequestError
from fmnist_lab.export import choosing
from fmnist_lab.foundation.files import write_json
from fmnist_lab.report import cautions, figures, lengths, method, page, sentences, style, tables
from fmnist_lab.report import evidence as gathering
from fmnist_lab.results import layout
from fmnist_lab.statistics import Verdict
from tests.support.folders import leave_correct, leave_replicates, leave_run, leave_sweep, paired

RATES = (1e-4, 3e-4, 1e-3, 3e-3)
BOTH = {"constant": RATES, "cosine": RATES}
LEVELS = {"constant": 0.88, "cosine": 0.89}


def written(evidence: report.Evidence) -> str:
    """The page without the breaks between its tags."""
    return re.sub(r">\s+<", "><", page.page(evidence))


def numbers(text: str) -> list[float]:
    """The numbers in a text, without their signs."""
    return [float(found) for found in re.findall(r"(?<![\w.])\d+(?:\.\d+)?\b", text)]


def gather(place: Path, stopping: str | None = None) -> report.Evidence:
    """The evidence in a folder."""
    return report.gather(place, results.trials(results.ended(place)), stopping)


def judged(root: Path, gain: float, seeds: int = 8, spread: float = 0.001) -> report.Evidence:
    """A sweep whose cosine is better by `gain`, with replicates."""
    place = leave_sweep(root, BOTH, LEVELS)
    accuracies = {"constant": paired(0.88, seeds, 0.0, 1e-4),
                  "cosine": paired(0.88, seeds, gain, spread)}  # fmt: skip
    return gather(leave_replicates(place, accuracies))


def at_looks(
    root: Path,
    looks: Sequence[int],
    seeds: int,
    *later: Any,
    gain: float = 0.003,
    spread: float = 0.001,
) -> report.Evidence:
    """The same with planned looks."""
    place = judged(root, gain, seeds, spread).folder
    manifest = {
        "openings": [{"opened": "2026-11-01", "changed": []}, *later],
        "seeds": list(range(1000, 1000 + looks[-1])),
        "looks": list(looks),
        "wanted": dict.fromkeys(BOTH, looks[-1]),
    }
    write_json(place / "manifest.json", manifest)
    return gather(place)


class TestHeadline:
    """The answer in a sentence."""

    def test_use_the_better_one(self, tmp_path: Path) -> None:
        headline = sentences.headline(judged(tmp_path, 0.006))
        assert re.search(r"\bcosine: \+0\.60 .* constant .*\b8 .* p = 0\.008\b", headline)
        assert numbers(headline)[-4:] == [88.71, 95, 88.57, 88.84]  # accuracy and its interval

    def test_stay_with_the_baseline(self, tmp_path: Path) -> None:
        headline = sentences.headline(judged(tmp_path, -0.006))
        assert "constant" in headline
        assert "cosine" not in headline
        assert numbers(headline) == []

    def test_undecided_says_how_many_more(self, tmp_path: Path) -> None:
        headline = sentences.headline(judged(tmp_path, 0.003, spread=0.006))
        assert headline.startswith("Undecided")
        assert re.search(r"constant.* cosine, \+0\.30", headline)
        assert "(--new replicates=63)" in headline

    def test_what_is_undecided_waits_for_the_next_look(self, tmp_path: Path) -> None:
        found = at_looks(tmp_path, [8, 12], 8, spread=0.006)
        assert numbers(sentences.headline(found))[-3:] == [0.32, 1, 12]  # p, look, seeds to come
        assert found.setup.planned_replicates == 24
        assert "16 of 24" in sentences.progress(found)
        assert "8 (0.033) and 12 (0.017)" in method.measured(found)["Looks"]

    def test_after_the_last_look_it_stays_undecided(self, tmp_path: Path) -> None:
        headline = sentences.headline(at_looks(tmp_path, [6, 8], 8, spread=0.006))
        assert numbers(headline)[-2:] == [0.32, 2]  # p, look

    def test_the_look_that_decided_is_named(self, tmp_path: Path) -> None:
        found = at_looks(tmp_path, [8, 12], 8, gain=0.006)
        assert re.search(r"p = 0\.008 .*\b1\)", sentences.headline(found))
        (row,) = sentences.records(found.versus_baseline)
        assert sentences.verdict(found, row) in written(found)
        assert " 1." in sentences.verdict(found, row)

    def test_seeds_beside_the_plan_are_in_the_verdict(self, tmp_path: Path) -> None:
        later = {"opened": "2026-11-02", "changed": ["looks", "seeds"]}
        found = at_looks(tmp_path, [8, 12], 8, later, gain=0.006)
        assert found.setup.has_added_seeds
        planned = at_looks(tmp_path / "planned", [8, 12], 8, gain=0.006)
        assert sentences.headline(found).startswith(sentences.headline(planned))  # and says more
        assert sentences.headline(found) != sentences.headline(planned)
        (caution,) = cautions.openings(found.setup.manifests)
        assert all(token in caution for token in ("2026-11-02", "looks"))

    def test_a_look_that_the_results_no_longer_give(self, tmp_path: Path) -> None:
        found = at_looks(tmp_path, [8, 12], 8, gain=0.006)
        manifest = json.loads((found.folder / "manifest.json").read_text())
        look = {"made": "2026-11-01T10:00:00", "pairs": 8, "verdicts": {"cosine": "better"}}
        for verdict, words in (("better", []), ("undecided", ["cosine undecided, now better"])):
            manifest["openings"][0]["looks"] = [look | {"verdicts": {"cosine": verdict}}]
            write_json(found.folder / "manifest.json", manifest)
            said = list(cautions._changed_looks(gather(found.folder)))
            assert len(said) == len(words)
            assert all(word in text for word, text in zip(words, said, strict=True))
        manifest["openings"].append({"opened": "2026-11-02", "changed": ["looks", "seeds"]})
        write_json(found.folder / "manifest.json", manifest)
        assert not list(cautions._changed_looks(gather(found.folder)))  # it was another plan

    def test_rivals_that_may_be_as_good_are_named(self, tmp_path: Path) -> None:
        rates = dict.fromkeys(("constant", "cosine", "linear", "step"), RATES)
        place = leave_sweep(tmp_path, rates, dict.fromkeys(rates, 0.88))
        gains = {"constant": 0, "cosine": 0.0104, "linear": 0.0101, "step": -0.0198}
        accuracies = {name: paired(0.88, 10, gain) for name, gain in gains.items()}
        headline = sentences.headline(gather(leave_replicates(place, accuracies)))
        assert "cosine: +1.04 " in headline
        assert "linear" in headline
        assert "step" not in headline

    @pytest.mark.parametrize(
        ("gains", "validated", "recommended", "differs"),
        [
            (
                {"cosine": 0.02, "linear": 0.018},
                "linear",
                "linear",
                False,
            ),  # which export-best gives
            ({"cosine": 0.02, "linear": 0.006}, "linear", "cosine", True),
            ({"cosine": 0.02, "linear": 0.0}, "constant", "cosine", True),
            ({"cosine": -0.02, "linear": 0.0002}, "linear", "constant", True),
        ],
    )
    def test_it_names_what_export_best_gives_or_says_why_not(
        self, tmp_path: Path, gains: Any, validated: str, recommended: str, differs: bool
    ) -> None:
        rates = dict.fromkeys(("constant", "cosine", "linear"), RATES)
        place = leave_sweep(tmp_path, rates, dict.fromkeys(rates, 0.88))
        gains = {"constant": 0.0} | gains
        leave_replicates(place, {name: paired(0.88, 10, gains[name]) for name in rates})
        for folder in (place / "replicates").iterdir():
            result = json.loads((folder / "result.json").read_text())
            objective = 0.95 if result["strategy"] == validated else result["objective"]
            write_json(folder / "result.json", result | {"objective": objective})
        found = gather(place)
        choice = choosing.choose(place)
        assert (found.chosen, found.recommended) == (validated, recommended)
        assert choice.trial["strategy"] == found.chosen
        said = sentences.headline(found)
        assert said.startswith(("Use this configuration of ", "Stay with "))
        assert re.split(r"configuration of |with ", said)[1].startswith(recommended)
        for text in (said, choice.why):
            assert (f"export-best night --strategy {recommended}." in text) == differs
        assert choosing.choose(place, recommended).trial["strategy"] == recommended

    @pytest.mark.parametrize(
        ("seeds", "found"), [(0, [6, 8]), (1, [1, 0.05, 6, 6]), (5, [5, 0.05, 6, 6])]
    )
    def test_too_few_seeds(self, tmp_path: Path, seeds: int, found: list[float]) -> None:
        place = leave_sweep(tmp_path, BOTH, LEVELS)
        leave_replicates(place, {name: paired(0.88, seeds) for name in BOTH})
        assert sentences.no_verdict(gather(place))
        assert numbers(sentences.headline(gather(place))) == found

    def test_several_seeds_in_the_search_are_no_replicates(self, tmp_path: Path) -> None:
        for number in range(12):
            leave_run(tmp_path / "multirun/night" / str(number), trial=number, seed=number % 6,
                      strategy=("constant", "cosine")[number // 6])  # fmt: skip
        assert sentences.no_verdict(gather(tmp_path / "multirun/night"))

    def test_a_sealed_test_set(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, BOTH, LEVELS)
        leave_replicates(place, {name: paired(0.88, 8) for name in BOTH}, test_accuracy=math.nan)
        evidence = gather(place)
        assert evidence.versus_baseline is None
        assert sentences.headline(evidence) == sentences.no_verdict(evidence)

    def test_one_strategy_and_none(self, tmp_path: Path) -> None:
        alone = leave_sweep(tmp_path, {"cosine": RATES}, LEVELS)
        assert "cosine" in (sentences.no_verdict(gather(alone)) or "")
        leave_replicates(alone, {"cosine": [0.9, 0.91, 0.92]})
        assert numbers(sentences.headline(gather(alone))) == [91, 95, 88.52, 93.48]
        assert "<td>91.00 (88.52 to 93.48)</td>" in written(gather(alone))
        (tmp_path / "sweeps/empty").mkdir()
        nothing = gather(tmp_path / "sweeps/empty")
        assert sentences.headline(nothing) == sentences.no_verdict(nothing)


@pytest.mark.parametrize(
    ("p", "shown"),
    [(0.0004883, "< 0.001"), (0.001, "0.001"), (0.0127, "0.013"), (math.nan, "-")],
)
def test_a_small_p_is_not_shown_as_zero(p: float, shown: str) -> None:
    assert sentences.p_value(p) == shown


class TestVerdicts:
    """A sentence for each row."""

    @pytest.mark.parametrize(
        ("gain", "verdict", "margins"),
        [(0.006, Verdict.BETTER, []), (-0.006, Verdict.WORSE, []),
         (0.0002, Verdict.EQUIVALENT, [0.2])],
    )  # fmt: skip
    def test_decided(
        self, tmp_path: Path, gain: float, verdict: Verdict, margins: list[float]
    ) -> None:
        evidence = judged(tmp_path, gain)
        (row,) = sentences.records(evidence.versus_baseline)
        assert row["verdict"] == verdict
        assert numbers(sentences.verdict(evidence, row)) == margins
        assert "constant" in sentences.verdict(evidence, row)

    def test_lost_replicates_rank_last(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, BOTH, LEVELS)
        better = [*paired(0.9, 11), math.nan]
        constant = paired(0.88, 12)
        evidence = gather(leave_replicates(place, {"constant": constant, "cosine": better}))
        (row,) = sentences.records(evidence.versus_baseline)
        assert row["verdict"] == Verdict.BETTER
        losses = sentences.losses(evidence, row)
        assert re.search(r"cosine .*\b1\b.* \+\d", losses)
        assert losses in sentences.headline(evidence)
        assert "<td>8 (1 to 35)</td>" in written(evidence)  # of 12, Wilson's interval

    def test_who_lost_most_does_not_stand_first(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, BOTH, LEVELS)
        lossy = [*[0.9] * 3, *[math.nan] * 5]
        evidence = gather(leave_replicates(place, {"constant": [0.88] * 8, "cosine": lossy}))
        assert evidence.strategies == ["constant", "cosine"]
        assert evidence.standings["test_accuracy"].tolist() == pytest.approx([0.88, 0.9])

    def test_where_all_have_lost_one_the_best_mean_is_chosen(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, BOTH, LEVELS)
        lossy = {name: [*paired(level, 7), math.nan] for name, level in LEVELS.items()}
        evidence = gather(leave_replicates(place, lossy))
        best = max(LEVELS, key=LEVELS.__getitem__)
        assert evidence.chosen == best != min(LEVELS)
        choice = choosing.choose(place)
        assert choice.trial["strategy"] == best
        assert "nan" not in choice.why
        assert 7 in numbers(choice.why)

    def test_one_seed_has_no_interval(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, BOTH, LEVELS)
        evidence = gather(leave_replicates(place, {"constant": [0.88], "cosine": [0.89]}))
        text = written(evidence)
        assert re.search(r"<td>\+1\.00</td><td>[^<+-]*</td><td>1</td>", text)  # no interval
        assert "+nan" not in text
        assert numbers(sentences.tested(evidence, "cosine")) == [89, 1]

    def test_a_strategy_of_which_every_seed_diverged(self, tmp_path: Path) -> None:
        rates = BOTH | {"linear": RATES}
        place = leave_sweep(tmp_path, rates, dict.fromkeys(rates, 0.88))
        lost = [math.nan] * 8
        replicates = {"linear": lost, "constant": paired(0.88, 8), "cosine": paired(0.88, 8, 0.003)}
        evidence = gather(leave_replicates(place, replicates))
        rows = sentences.records(evidence.versus_baseline)
        (worst,) = (row for row in rows if row["strategy"] == "linear")
        assert worst["verdict"] == Verdict.WORSE
        assert sentences.losses(evidence, worst) in written(evidence)
        assert "cosine: +0.30" in sentences.headline(evidence)
        alone = leave_sweep(tmp_path, BOTH, LEVELS, "alone")
        leave_replicates(alone, {"cosine": lost, "constant": paired(0.88, 8)})
        assert "+nan" not in sentences.headline(gather(alone))

    def test_what_they_claim(self, tmp_path: Path) -> None:
        evidence = judged(tmp_path, 0.006)
        assert evidence.pair == "seed"
        place = leave_sweep(tmp_path, BOTH, LEVELS, "searched")
        for search in range(6):
            leave_replicates(place, {"constant": paired(0.88, 2), "cosine": paired(0.89, 2)},
                             search=search, first=10 * search)  # fmt: skip
        searched = gather(place)
        assert searched.pair == "search"
        assert sentences.claim(searched) != sentences.claim(evidence)
        assert "6 searches" in sentences.headline(searched)

    def test_the_baseline(self, tmp_path: Path) -> None:
        rates = {"zero": RATES, "none": RATES}
        place = leave_sweep(tmp_path, rates, {"none": 0.8, "zero": 0.9})
        assert gather(place).baseline == "zero"  # the first in the sweep's file
        config = yaml.safe_load((place / "multirun.yaml").read_text()) | {"baseline": "none"}
        (place / "multirun.yaml").write_text(yaml.safe_dump(config))
        assert gather(place).baseline == "none"
        usual = leave_sweep(tmp_path, {"cosine": RATES, "constant": RATES}, LEVELS, "usual")
        assert gather(usual).baseline == "constant"


class TestImages:
    """Intervals that cover other test images, and what spreads the accuracies."""

    def kept(self, root: Path, gain: float, *, searches: int = 1, seeds: int = 8) -> Path:
        """A sweep with replicates that kept which images they got right."""
        place = leave_sweep(root, BOTH, LEVELS)
        for search in range(searches):
            folder = place / "searches" / str(search) if search else place
            accuracies = {"constant": paired(0.88 + 0.001 * search, seeds),
                          "cosine": paired(0.88, seeds, gain, 0.001)}  # fmt: skip
            leave_correct(leave_replicates(folder, accuracies, search=search))
        return place

    def test_they_come_first_and_those_over_seeds_beside_them(self, tmp_path: Path) -> None:
        evidence = gather(self.kept(tmp_path, 0.01))
        (row,) = sentences.records(evidence.versus_baseline)
        assert row["images_low"] < row["low"] < row["high"] < row["images_high"]
        wide, narrow = (sentences.ends(evidence.measure, row, of) for of in ("images_", ""))
        headline = sentences.headline(evidence)
        assert headline.index(wide) < headline.index(narrow)
        html = written(evidence)
        assert re.search(rf"<td>{re.escape(wide)}<br>.*{re.escape(narrow)}</small></td><td>8", html)
        assert "<small>over seeds alone</small>" in html

    def test_what_the_winner_confuses(self, tmp_path: Path) -> None:
        place = self.kept(tmp_path, 0.01)
        found = gathering.confusion(gather(place))
        assert found is not None
        winner, names, counts = found
        assert winner == "cosine"
        assert counts.sum() == 10_000 * gather(place).replicates["strategy"].eq("cosine").sum()
        wrong = counts - np.diag(counts.diagonal())
        assert np.array_equal(np.argwhere(wrong)[:2], [[0, 1], [1, 2]])  # the next class
        most = 100 * wrong.max() / counts[wrong.max(axis=1).argmax()].sum()
        text = sentences.confusions(*found)
        assert f"({most:.1f} %)" in text
        assert names[int(wrong.max(axis=1).argmax())] in text
        assert text.rpartition("Most")[0] in written(gather(place))
        figure = figures.confusion(gather(place))
        assert figure is not None
        assert figure.data[0].z[0][0] == counts[0, 0] / counts[0].sum()

    def test_sweeps_of_earlier_versions_have_no_confusions(self, tmp_path: Path) -> None:
        place = self.kept(tmp_path, 0.01)
        for file in place.rglob("test_confusion.json"):
            file.unlink()
        assert gathering.confusion(gather(place)) is None
        assert "confused" not in written(gather(place))

    def test_a_gain_that_other_images_may_undo(self, tmp_path: Path) -> None:
        evidence = gather(self.kept(tmp_path, 0.0026))
        (row,) = sentences.records(evidence.versus_baseline)
        assert (row["verdict"], row["images_low"] < 0 < row["low"]) == (Verdict.BETTER, True)
        assert sentences.headline(evidence).count("constant") == 2  # which other images may undo

    def test_without_images_there_is_one_interval(self, tmp_path: Path) -> None:
        evidence = judged(tmp_path, 0.006)
        assert evidence.versus_baseline is not None
        assert evidence.versus_baseline["images_low"].isna().all()
        kept = gather(self.kept(tmp_path / "kept", 0.006))
        assert sentences.claim(evidence) != sentences.claim(kept)
        assert "</small>" not in written(evidence)
        assert len(written(kept).split("<table")) > len(written(evidence).split("<table"))

    def test_a_file_that_is_damaged(self, tmp_path: Path) -> None:
        place = self.kept(tmp_path, 0.006)
        (place / "replicates/0/test_correct.npy").write_bytes(b"x")
        with pytest.raises(RequestError, match=r"test_correct\.npy"):
            gather(place)

    @pytest.mark.parametrize(
        ("searches", "seeds", "parts"),
        [
            (1, 8, ["seed", "image"]),
            (3, 1, ["search", "image"]),
            (3, 2, ["seed", "search", "image"]),
        ],
    )
    def test_the_spread(self, tmp_path: Path, searches: int, seeds: int, parts: list[str]) -> None:
        evidence = gather(self.kept(tmp_path, 0.006, searches=searches, seeds=seeds))
        text = sentences.components(evidence)
        assert sorted(re.findall(r"(\w+) \d+ %", text)) == sorted(parts)
        assert f"<p>{text}</p>".replace("'", "&#x27;") in written(evidence)
        frame = gathering.summary(evidence).set_index("strategy")
        assert frame["variance_image"].gt(0).all()
        assert frame["variance_search"].notna().all() == (searches > 1)

    def test_a_seed_that_draws_the_split(self, tmp_path: Path) -> None:
        place = self.kept(tmp_path, 0.006)
        config = yaml.safe_load((place / "multirun.yaml").read_text())
        config["data"] |= {"split": "random", "split_seed": SEED_OF_SPLIT}
        (place / "multirun.yaml").write_text(yaml.safe_dump(config))
        fixed, drawn = gather(self.kept(tmp_path / "fixed", 0.006)), gather(place)
        assert drawn.setup.draws_splits
        assert sentences.components(drawn) != sentences.components(fixed)
        assert method.measured(drawn)["Replicates"] != method.measured(fixed)["Replicates"]


class TestEvidence:
    """What counts, and what is refused."""

    def test_the_best_strategy_stands_first(self, tmp_path: Path) -> None:
        standings = gather(leave_sweep(tmp_path, BOTH, LEVELS)).standings
        assert standings["strategy"].tolist() == ["cosine", "constant"]
        assert standings["best"].tolist() == [pytest.approx(0.89), pytest.approx(0.88)]
        assert standings["trial"].tolist() == [5, 4]
        assert standings["trials"].tolist() == [4, 4]

    def test_replicates_go_before_trials(self, tmp_path: Path) -> None:
        evidence = judged(tmp_path, -0.006)
        assert evidence.strategies == ["constant", "cosine"]
        assert evidence.standings["replicates"].tolist() == [8, 8]

    def test_interrupted_and_repeated_runs_count_nowhere(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, BOTH, LEVELS)
        leave_run(place / "trials/90", trial=90, objective=0.99, stop_reason="interrupted")
        leave_run(place / "trials/91", trial=91, strategy="cosine", stop_reason="failed",
                  objective=math.nan, overrides=["optimizer.learning_rate=9"])  # fmt: skip
        leave_run(place / "trials/92", trial=92, strategy="cosine", objective=0.5,
                  overrides=["optimizer.learning_rate=9"])  # fmt: skip
        leave_replicates(place, {name: paired(0.88, 8) for name in BOTH})
        leave_run(place / "replicates/90", kind="replicate", seed=1000, trial=90,
                  stop_reason="interrupted", test_accuracy=0.1, test_loss=1.0)  # fmt: skip
        evidence = gather(place)
        assert evidence.superseded == 3
        assert set(evidence.trials["trial"]) == {*range(8), 92}
        assert set(evidence.curves["trial"]) == {*range(8), 92}
        assert evidence.standings["failed"].tolist() == [0, 0]
        assert len(evidence.replicates) == 16
        assert numbers(sentences.progress(evidence))[-1] == 3

    def test_a_sweep_that_runs(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, {"constant": RATES, "cosine": RATES[:2]}, LEVELS)
        (place / "optimization_results.yaml").write_text("ended: null\n")
        (place / "trials/5").mkdir()
        evidence = gather(place)
        assert numbers(sentences.progress(evidence)) == [6, 8, 1]
        (place / "optimization_results.yaml").write_text("ended: {reason: interrupted}\n")
        interrupted = sentences.progress(gather(place))
        assert numbers(interrupted) == [6, 8, 1]
        assert interrupted != sentences.progress(evidence)
        (warning,) = cautions.warnings(evidence)
        assert re.search(r"\b2 \w+ \(cosine\) to 4 \(constant\)", warning)

    def test_replicates_that_are_still_to_come(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, BOTH, LEVELS)
        leave_replicates(place, {"constant": [0.9], "cosine": [0.8]})
        winners = {name: {"trial": 0, "overrides": []} for name in BOTH}
        write_json(place / "manifest.json", {"winners": winners, "seeds": [1, 2, 3]})
        assert numbers(sentences.progress(gather(place))) == [8, 2, 6]

    def test_what_to_do_about_it(self, tmp_path: Path) -> None:
        headline = sentences.headline(gather(leave_sweep(tmp_path, BOTH, LEVELS)))
        assert headline.endswith(": fmnist-lab sweep night replicates=8.")

    @pytest.mark.parametrize("mixed", ["trials", "replicates"])
    def test_horizons_and_early_stopping_are_not_mixed(self, tmp_path: Path, mixed: str) -> None:
        place = leave_sweep(tmp_path, BOTH, LEVELS)
        leave_run(place / mixed / "77", trial=77, strategy="cosine", stopping="patience",
                  objective=0.99)  # fmt: skip
        with pytest.raises(RequestError, check=lambda error: error.key == "stopping"):
            gather(place)
        assert gather(place, "none").standings["best"].max() == pytest.approx(0.89)
        assert gather(place, "patience").stopping == "patience"
        with pytest.raises(RequestError, check=lambda error: error.key == "--stopping"):
            gather(place, "patient")

    def test_early_stopping_is_a_caution(self, tmp_path: Path) -> None:
        leave_run(tmp_path / "multirun/night/0", stopping="patience")
        (warning,) = cautions.warnings(gather(tmp_path / "multirun/night"))
        assert "stopping=patience" in warning

    def test_objectives_are_not_mixed(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, BOTH, LEVELS)
        leave_run(place / "trials/77", trial=77, objective_metric="val/loss")
        with pytest.raises(RequestError, match=r"`objective\.metric` .*val/loss"):
            gather(place)

    def test_a_winner_at_the_edge(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, BOTH, LEVELS)
        space = {"optimizer.learning_rate": {"low": 1e-3, "high": 1.0, "log": True},
                 "scheduler": {"choices": ["a", "b"]}}  # fmt: skip
        write_json(place / "spaces.json", {"": space})
        evidence = gather(place)
        (warned,) = cautions.warnings(evidence)
        assert all(token in warned for token in ("optimizer.learning_rate", *BOTH))
        assert evidence.edges["value"].tolist() == [0.001, 0.001]
        assert set(zip(evidence.edges["low"], evidence.edges["high"], strict=True)) == {(0.001, 1)}
        assert "<td>the search space</td>" in page.page(evidence)

    def test_a_winner_at_an_end_of_what_was_tried(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, dict.fromkeys(BOTH, (1e-5, 1e-4, 5e-4)), LEVELS)
        edges = gather(place).edges
        assert edges["value"].tolist() == [0.0005] * len(BOTH)
        assert edges["is_of_space"].tolist() == [False] * len(BOTH)
        assert set(zip(edges["low"], edges["high"], strict=True)) == {(1e-5, 0.0005)}

    def test_much_divergence(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, BOTH, LEVELS)
        for number in (8, 10):
            leave_run(place / f"trials/{number}", trial=number, stop_reason="diverged",
                      objective=math.nan, epochs_trained=1)  # fmt: skip
        warnings = cautions.warnings(gather(place))
        assert any(text.startswith("2 of 6") and "constant" in text for text in warnings)

    def test_nothing_of_a_strategy_worked(self, tmp_path: Path) -> None:
        lost = {"stop_reason": "diverged", "objective": math.nan}
        place = leave_sweep(tmp_path, {"constant": RATES}, LEVELS)
        for number in range(8, 12):
            leave_run(place / f"trials/{number}", trial=number, strategy="cosine", **lost)
        (warned,) = [text for text in cautions.warnings(gather(place)) if "cosine" in text
                     if "unequal" not in text]  # fmt: skip
        assert numbers(warned) == [4]

    def test_nothing_at_all_worked(self, tmp_path: Path) -> None:
        for number, strategy in enumerate(BOTH):
            leave_run(tmp_path / f"sweeps/night/trials/{number}", trial=number, strategy=strategy,
                      stop_reason="diverged", objective=math.nan)  # fmt: skip
        evidence = gather(tmp_path / "sweeps/night")
        assert "fresh seeds" not in sentences.headline(evidence)

    def test_every_replicate_was_lost(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, BOTH, LEVELS)
        leave_replicates(place, dict.fromkeys(BOTH, [math.nan] * 6))
        assert "yet" not in sentences.headline(gather(place))

    def test_comparisons_of_those_that_are_compared(self, tmp_path: Path) -> None:
        three = dict.fromkeys((*BOTH, "exponential"), RATES)
        place = leave_sweep(tmp_path, three, LEVELS | {"exponential": 0.87})
        leave_replicates(place, {name: paired(0.88, 8) for name in BOTH})
        assert re.search(r"all\s+1\s+comparisons? ", tables.verdicts(gather(place)))

    def test_the_rows_of_the_comparison(self, tmp_path: Path) -> None:
        evidence = judged(tmp_path, 0.006)
        cosine, constant = gathering.summary(evidence).to_dict("records")
        assert (cosine["strategy"], cosine["verdict"]) == ("cosine", "better")
        assert (constant["strategy"], constant["best_verdict"]) == ("constant", "worse")
        assert isinstance(constant["verdict"], float)  # NaN: it is what others are compared with
        untested = gathering.summary(gather(leave_sweep(tmp_path, BOTH, LEVELS, "bare")))
        assert "verdict" not in untested


class TestLengths:
    """What early stopping has saved."""

    def test_a_strategy_of_another_length_saves_of_its_own(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, BOTH, LEVELS)
        longer = OmegaConf.create({"training": {"epochs": 20}})
        trials = gather(place).trials
        for folder in trials.loc[trials["strategy"] == "cosine", "folder"]:
            config = Path(folder) / layout.HYDRA / layout.CONFIG
            config.parent.mkdir()
            OmegaConf.save(longer, config)
        evidence = gather(place)
        saved = lengths.savings(evidence).set_index("strategy")["saved"]
        assert saved.to_dict() == {"constant": 0, "cosine": 0.75}


class TestMethod:
    """How it was measured."""

    def test_all_that_is_known(self, tmp_path: Path) -> None:
        evidence = judged(tmp_path, 0.006)
        winner = {"trial": 5, "value": 0.9, "overrides": ["a.b=1", "scheduler=cosine"]}
        manifest = {
            "hash": "abc", "data": {"sha256": "123"}, "seeds": [1, 2], "versions": {"keras": "3"},
            "winners": {"cosine": winner}, "openings": [{"opened": "today", "hash": "abc"}],
        }  # fmt: skip
        write_json(evidence.folder / "manifest.json", manifest)
        versions = {"python": "3.11.7", "keras": "3"}
        write_json(evidence.folder / "trials/0/environment.json", versions)
        facts = dict(method.measured(gather(evidence.folder)))
        assert facts["Architecture"] == "notebook"
        assert numbers(facts["Training"]) == [5, 32]
        assert numbers(facts["Search"]) == [4]
        assert "QMCSampler" in facts["Search"]
        assert "8 seeds" in facts["Replicates"]
        assert facts["Environment"] == "python 3.11.7, keras 3"
        shown = list(facts.values())
        assert {"123", "1, 2", "today"} <= set(shown)
        assert any("5: a.b=1 scheduler=cosine" in value for value in shown)
        assert not any("versions" in name for name in facts)

    def test_own_images_may_have_a_part_for_validation(self, tmp_path: Path) -> None:
        place = leave_sweep(tmp_path, BOTH, LEVELS)
        usual = dict(method.measured(gather(place)))["Validation"]
        asked = yaml.safe_load((place / "multirun.yaml").read_text())
        asked["data"]["name"] = OWN
        (place / "multirun.yaml").write_text(yaml.safe_dump(asked))
        own = dict(method.measured(gather(place)))["Validation"]
        assert own.endswith(usual)
        assert own != usual

    def test_a_multirun_knows_less(self, tmp_path: Path) -> None:
        leave_run(tmp_path / "multirun/night/0")
        facts = dict(method.measured(gather(tmp_path / "multirun/night")))
        assert numbers(facts["Search"]) == []
        assert not {"Replicates", "Training", "Environment"} & set(facts)


class Outline(HTMLParser):
    """Headings, text, charts and whatever would be loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.charts: list[str] = []
        self.loaded: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)
        given = dict(attrs)
        links = (given.get("src"), given.get("href"))
        self.loaded += [link for link in links if link and not link.startswith("data:")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["h2"]:
            self.headings.append(data)
        elif self.open[-2:] == ["figure", "script"]:
            self.charts.append(data)
        elif "script" not in self.open and "style" not in self.open:
            self.text += data


GAINS = {5: 0.006, 10: -0.006, 20: 0.0}  # of cosine at each length, in a sweep with cells


class TestCells:
    """Sweeps that declare cells."""

    @pytest.fixture
    def cells(self, tmp_path: Path) -> Path:
        names = [f"{name}_{epochs}" for epochs in GAINS for name in LEVELS]
        place = leave_sweep(tmp_path, dict.fromkeys(names, (1e-3,)), dict.fromkeys(names, 0.88))
        for number, name in enumerate(names):
            scheduler, _, epochs = name.partition("_")
            gain = GAINS[int(epochs)] if scheduler == "cosine" else 0.0
            leave_replicates(
                place,
                {name: paired(0.88, 8, gain, 1e-4)},
                first=8 * number,
                scheduler=scheduler,
                overrides=[f"training.epochs={epochs}", f"optimizer.learning_rate={epochs}"],
            )
        self.declare(place, ["training.epochs"])
        return place

    @staticmethod
    def declare(place: Path, keys: list[str]) -> None:
        config = yaml.safe_load((place / "multirun.yaml").read_text())
        (place / "multirun.yaml").write_text(yaml.safe_dump(config | {"cells": keys}))

    def test_verdicts_are_within_cells(self, cells: Path) -> None:
        found = gather(cells)
        assert found.versus_baseline is None
        verdicts = found.in_cells
        assert verdicts["cell"].to_list() == ["5", "10", "20"]
        assert verdicts["verdict"].to_list() == ["better", "worse", "equivalent"]
        assert set(verdicts["opponent"]) == {"constant"}
        judged_alike, ahead = sentences.headline(found).split("%")
        assert numbers(judged_alike) == [3, 1, 1, 5]  # cells, better, worse, alpha
        assert "cosine (5" in ahead
        assert "constant (10" in ahead
        assert "epochs" not in " ".join(cautions._budgets(found))

    def test_the_page_has_a_table_and_pictures(self, cells: Path) -> None:
        found = gather(cells)
        shown = outline(found)
        titles = {"Cells", "Probability of improvement", "Performance profiles"}
        assert titles <= set(shown.headings)
        lines: Any = figures.cells(found)
        assert list(lines.data[0].x) == [5, 10, 20]
        assert list(lines.data[0].y) == pytest.approx([0.6, -0.6, 0.0], abs=0.02)
        profiles: Any = figures.profiles(found)
        assert {trace.name for trace in profiles.data} == set(LEVELS)
        chances: Any = figures.improvement(found)
        (dot,) = chances.data  # constant is what it is compared with
        assert list(chances.layout.yaxis.ticktext) == ["cosine"]
        assert found.cells is not None
        expected = statistics.improvement(found.cells, "constant").iloc[0]
        ends = dot.x[0] - dot.error_x.arrayminus[0], dot.x[0] + dot.error_x.array[0]
        assert (dot.x[0], *ends) == pytest.approx(expected[["probability", "low", "high"]])
        assert "{low:.2f} to {high:.2f}".format(**expected) in tables.improvement(found)

    def test_a_schedule_has_its_colour_in_every_cell(self, cells: Path) -> None:
        found = gather(cells)
        assert found.cell_baseline == "constant"
        for strategy, (cell, schedule) in found.in_cell.items():
            assert (schedule, cell) == tuple(strategy.split("_"))
            assert style.line(found, strategy) == style.line(found, schedule)
        assert len({style.colour(found, schedule) for schedule in LEVELS}) == len(LEVELS)
        curves: Any = figures.validation(found)
        shown = {trace.name: trace.meta for trace in curves.data}
        assert shown["cosine_10"] == {"cell": "10", "order": 1, "schedule": "cosine"}

    def test_searches_may_choose_different_schedules(self, cells: Path) -> None:
        found = gather(cells)
        replicates = found.cells
        assert replicates is not None
        moved = (replicates["strategy"] == "cosine") & (replicates["seed"] % 2 == 0)
        other = replicates["strategy"].mask(moved, "cosine_norm")
        mixed = replace(found, cells=replicates.assign(strategy=other))
        assert "cosine_norm" in page.page(mixed)
        rows = gathering.summary(mixed).set_index("strategy")
        assert rows.loc[["cosine_5", "cosine_10"], "verdict"].isna().all()  # of which schedule?

    def test_nothing_to_compare_yet(self, cells: Path) -> None:
        for folder in (cells / "replicates").iterdir():
            if json.loads((folder / "result.json").read_text())["strategy"].startswith("cosine"):
                shutil.rmtree(folder)
        found = gather(cells)
        assert found.in_cells.empty
        assert "verdict" not in gathering.summary(found)
        assert fmnist_lab.compare(cells).verdicts.empty
        assert "Cells" in outline(found).headings

    def test_rates_as_cells_are_one_picture(self, cells: Path) -> None:
        self.declare(cells, ["optimizer.learning_rate"])
        found = gather(cells)
        assert style.named(found, "cosine_10", apart=False)["meta"] == {"schedule": "cosine"}
        with_rates = found.trials.assign(**{gathering.RATE: range(1, 1 + len(found.trials))})
        chart: Any = figures.sensitivity(replace(found, trials=with_rates))
        assert not any("cell" in trace.meta for trace in chart.data)

    def test_the_tables_have_the_verdicts_within_cells(self, cells: Path) -> None:
        rows = gathering.summary(gather(cells)).set_index("strategy")
        own = rows[["cell", "schedule", "opponent", "verdict"]].T
        assert [*own["cosine_5"]] == ["5", "cosine", "constant", "better"]
        assert [*own["constant_5"].dropna()] == ["5", "constant"]
        from_python = fmnist_lab.compare(cells)
        assert from_python.verdicts["verdict"].to_list() == ["better", "worse", "equivalent"]

    def test_a_row_has_the_means_of_a_schedule(self, cells: Path) -> None:
        found = gather(cells)
        assert tables.cell_means(found) in page.page(found)
        means = [float(text) for text in re.findall(r"<td>(.{5})</td>", tables.cell_means(found))]
        rows = [[0.0, 0.0, 0.0], list(GAINS.values())]
        wanted = [100 * np.mean(paired(0.88, 8, gain, 1e-4)) for row in rows for gain in row]
        assert means == pytest.approx(wanted, abs=0.006)
        replicates = found.cells
        assert replicates is not None
        lost = replicates.assign(test_accuracy=replicates["test_accuracy"].iloc[1:])
        assert tables.cell_means(replace(found, cells=lost)).count("<td>-</td>") == 1

    def test_a_schedule_that_has_lost_a_replicate_is_not_ahead(self, cells: Path) -> None:
        found = gather(cells)
        replicates = found.cells
        assert replicates is not None
        leads = (replicates["strategy"] == "cosine") & (replicates["cell"] == "5")
        lost = replicates["test_accuracy"].mask(leads & (replicates["seed"] == 1000))
        headline = sentences.headline(replace(found, cells=replicates.assign(test_accuracy=lost)))
        assert "constant (5" in headline

    def test_the_baseline_may_be_the_strategy_of_any_cell(self, cells: Path) -> None:
        config = yaml.safe_load((cells / "multirun.yaml").read_text())
        (cells / "multirun.yaml").write_text(yaml.safe_dump(config | {"baseline": "cosine_10"}))
        assert set(gather(cells).in_cells["opponent"]) == {"cosine"}

    def test_other_choices_tell_schedules_apart(self, cells: Path) -> None:
        for number, clipping in enumerate(("norm", "none"), 100):
            leave_replicates(
                cells,
                {f"{clipping}_again": [0.9]},
                first=number,
                scheduler="cosine",
                clipping=clipping,
                overrides=["training.epochs=5"],
            )
            if clipping == "norm":
                replicates = gather(cells).cells
                assert replicates is not None
                assert set(replicates["strategy"]) == {"constant", "cosine", "cosine_norm"}
        with pytest.raises(RequestError, check=lambda error: "none_again" in error.got):
            gather(cells)

    def test_several_keys_are_a_table_in_colours(self, cells: Path) -> None:
        self.declare(cells, ["optimizer", "training.epochs"])
        table: Any = figures.cells(gather(cells))
        (heatmap,) = table.data
        assert list(heatmap.x) == ["adam, 5", "adam, 10", "adam, 20"]
        assert table.layout.xaxis.type == "category"  # plotly takes "5, 32" for a number
        assert np.asarray(heatmap.z).shape == (1, 3)
        low, high = np.moveaxis(np.asarray(heatmap.customdata), 2, 0)
        shown = np.asarray(heatmap.z)[:, :2]  # in the third cell all pairs are equal
        assert (low[:, :2] < shown).all()
        assert (high[:, :2] > shown).all()

    def test_intervals_are_over_seeds_and_images(self, cells: Path) -> None:
        leave_correct(cells)
        found = gather(cells)
        verdicts = found.in_cells.iloc[:2]  # in the third cell all pairs are equal
        assert (verdicts["images_low"] < verdicts["low"]).all()
        assert (verdicts["images_high"] > verdicts["high"]).all()
        lines: Any = figures.cells(found)
        drawn = np.asarray(lines.data[0].y) + np.asarray(lines.data[0].error_y.array)
        assert drawn[:2] == pytest.approx(100 * verdicts["images_high"])

    def test_without_cells_nothing_is_said_of_them(self, tmp_path: Path) -> None:
        found = judged(tmp_path, 0.006)
        assert found.cells is None
        assert figures.cells(found) is figures.profiles(found) is figures.improvement(found) is None
        assert "Cells" not in outline(found).headings

    def test_a_key_that_nothing_was_given_is_refused(self, cells: Path) -> None:
        self.declare(cells, ["training.batch_size"])
        with pytest.raises(RequestError, check=lambda error: error.key == "cells"):
            gather(cells)


def outline(evidence: report.Evidence) -> Outline:
    parsed = Outline()
    parsed.feed(page.page(evidence))
    assert parsed.open == []
    return parsed


class TestPage:
    """The HTML file."""

    def test_everything_at_once(self, tmp_path: Path) -> None:
        parsed = outline(judged(tmp_path, 0.006))
        assert len(parsed.headings) == 10
        assert parsed.headings[0] == "Verdict"
        assert parsed.loaded == []
        assert len(parsed.charts) == 6
        for chart in parsed.charts:
            assert json.loads(chart).keys() >= {"data", "layout"}
        assert "cosine: +0.60" in parsed.text
        for name in ("constant", "cosine"):
            assert name in parsed.text

    def test_a_name_cannot_break_the_page(self, tmp_path: Path) -> None:
        name = "<b>&</script>'\""
        rates = {"constant": RATES, name: RATES}
        place = leave_sweep(tmp_path, rates, {"constant": 0.88, name: 0.9})
        evidence = gather(
            leave_replicates(place, {"constant": paired(0.88, 8), name: paired(0.9, 8)})
        )
        parsed = outline(evidence)
        assert f"{name}: +2.0" in parsed.text
        assert any(name in json.dumps(json.loads(chart), ensure_ascii=False).replace('\\"', '"')
                   for chart in parsed.charts)  # fmt: skip

    def test_without_trials(self, tmp_path: Path) -> None:
        (tmp_path / "sweeps/empty").mkdir(parents=True)
        parsed = outline(gather(tmp_path / "sweeps/empty"))
        assert len(parsed.headings) == 2
        assert parsed.charts == []

    def test_when_nothing_worked(self, tmp_path: Path) -> None:
        place = tmp_path / "sweeps/broken"
        for number in range(4):
            leave_run(place / "trials" / str(number), trial=number, objective=math.nan,
                      strategy=("constant", "cosine")[number % 2], stop_reason="failed",
                      overrides=[f"optimizer.learning_rate={number + 1}"])  # fmt: skip
            (place / "trials" / str(number) / "curves.jsonl").unlink()
        parsed = outline(gather(place))
        assert "4 tuning" in parsed.text
        assert "4 of 4" not in parsed.text

    def test_it_is_whole_or_absent(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        evidence = judged(tmp_path, 0.006)
        path = tmp_path / "report.html"
        report.write(evidence, path)
        before = path.read_text()
        assert before.startswith("<!doctype html>")
        monkeypatch.setattr(page, "page", lambda evidence: "\ud800")  # cannot be encoded
        with pytest.raises(UnicodeEncodeError):
            report.write(evidence, path)
        assert path.read_text() == before
        assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["report.html"]
