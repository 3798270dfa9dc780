"""`export-best`: which trial is chosen, what its file says, and what a file may not say."""

import json
import math
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from fmnist_lab import config
from fmnist_lab.commands import export_best
from fmnist_lab.config import config_files
from fmnist_lab.errors import RequestError
from fmnist_lab.export import choosing
from fmnist_lab.export import document as recipe
from fmnist_lab.statistics import Verdict
from fmnist_lab.trial import AveragingConfig, StoppingConfig
from tests.support.exporting import document, leave_trial
from tests.support.folders import leave_replicates, leave_run, leave_sweep, paired

pytestmark = pytest.mark.slow

RATES = {"constant": [1e-4, 1e-3], "cosine": [1e-3, 1e-2]}
TUNED = ("scheduler=exponential", "scheduler.decay_epochs=2.5", "optimizer.learning_rate=0.004",
         "stopping=patience", "stopping.patience=4")  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A multirun of two trials, with as many threads as there are; the second one is the best."""
    place = tmp_path_factory.mktemp("made") / "night"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place.parent)
        patch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
        leave_trial(place, 0, objective=0.6)
        leave_trial(place, 1, *TUNED, objective=0.7, stop_reason="early_stopped", stopping="none")
    return place


@pytest.fixture
def night(folder: Path, made: Path) -> Path:
    """A copy of it, to be changed."""
    return shutil.copytree(made, folder / "mlruns/multirun/night")


class TestChoosing:
    """One trial, and the reasons for it."""

    def test_without_replicates_the_best_objective_which_decides_nothing(
        self, folder: Path
    ) -> None:
        place = leave_sweep(folder / "mlruns", RATES, {"constant": 0.888, "cosine": 0.89})
        choice = choosing.choose(None)
        assert (choice.trial["strategy"], choice.trial["trial"]) == ("cosine", 1)
        assert all(token in choice.why for token in ("val/accuracy", "0.8900", " 4 "))
        assert "0.44" in choice.noise  # points: the standard error of 5000 images
        assert "constant #2 0.8880" in choice.noise
        assert choice.replicates is None
        setup = yaml.safe_load((place / "multirun.yaml").read_text())
        own = {"data": {"name": "images", "val_size": 0.15}}  # a share, of an unknown number
        (place / "multirun.yaml").write_text(yaml.safe_dump(setup | own))
        assert choosing.choose(None).noise.startswith("One seed decides nothing. Next: ")

    def test_replicates_decide_between_strategies(self, folder: Path) -> None:
        place = leave_sweep(folder / "mlruns", RATES, {"constant": 0.888, "cosine": 0.89})
        leave_replicates(place, {"constant": paired(0.88, 8, 0.02), "cosine": paired(0.88, 8)})
        choice = choosing.choose("night")
        assert (choice.trial["strategy"], choice.trial["trial"]) == ("constant", 2)
        assert all(token in choice.why for token in ("constant", " 8 ", "0.9051"))
        assert "cosine" not in choice.noise  # it is worse
        assert choice.replicates is not None
        interval = choice.replicates["test_accuracy"]
        assert interval["low"] < interval["mean"] < interval["high"]
        assert interval["mean"] == pytest.approx(0.9011, abs=1e-4)

    def test_a_strategy_that_may_be_as_good_is_named(self, folder: Path) -> None:
        place = leave_sweep(folder / "mlruns", RATES, {"constant": 0.888, "cosine": 0.89})
        leave_replicates(
            place, {"constant": paired(0.88, 8, 0.001, 0.01), "cosine": paired(0.88, 8, 0, 0.01)}
        )
        assert "cosine (-0.10" in choosing.choose(None).noise

    def test_one_seed_has_no_interval(self, folder: Path) -> None:
        place = leave_sweep(folder / "mlruns", RATES, {"constant": 0.888, "cosine": 0.89})
        leave_replicates(place, {"constant": [0.9], "cosine": [0.88]})
        choice = choosing.choose(None)
        assert all(token in choice.noise for token in (" 6 ", " 1 "))
        assert choice.replicates is not None
        assert choice.replicates["test_accuracy"] == {"mean": 0.9, "low": None, "high": None}
        record: dict[str, Any] = {"chosen": choice.why, "noise": choice.noise, "warnings": []}
        environment = dict.fromkeys(("fmnist-lab", "tensorflow", "keras", "numpy", "machine",
                                     "git_commit"))  # fmt: skip
        record |= {"replicates": choice.replicates, "environment": environment}
        record |= {"mlflow_run_id": None}
        _, seeds, _ = recipe.remarks(record)
        assert re.findall(r"\d\.\d+", seeds) == ["0.9040", "0.9000", "0.1000"]  # and no interval
        noise = choosing.choose(None, strategy="cosine").noise
        assert re.findall(r"[\d.+-]*\d\.\d+", noise) == ["-2.00"]
        assert Verdict.UNDECIDED in noise

    def test_a_strategy_or_a_metric_that_was_asked_for(self, folder: Path) -> None:
        place = leave_sweep(folder / "mlruns", RATES, {"constant": 0.888, "cosine": 0.89})
        assert choosing.choose(None, strategy="constant").trial["trial"] == 2
        assert choosing.choose(None, by="val/loss").trial["trial"] == 1
        leave_replicates(place, {"constant": paired(0.88, 8, 0.02), "cosine": paired(0.88, 8)})
        asked = choosing.choose(None, strategy="cosine")
        assert asked.trial["strategy"] == "cosine"
        assert all(token in asked.noise for token in ("constant", "-2.00"))
        assert choosing.choose(None, by="val/accuracy").trial["strategy"] == "cosine"

    def test_what_did_not_train_to_its_end_is_never_chosen(self, folder: Path) -> None:
        place = folder / "mlruns/multirun/night"
        leave_run(place / "0", objective=0.5)
        for number, reason in enumerate(["pruned", "failed", "interrupted", "diverged"], 1):
            objective = math.nan if reason == "diverged" else 0.9
            leave_run(place / str(number), trial=number, stop_reason=reason, objective=objective,
                      overrides=[f"seed={number}"])  # fmt: skip
        assert choosing.choose(None).trial["trial"] == 0
        shutil.rmtree(place / "0")
        with pytest.raises(RequestError, check=lambda error: error.key.endswith("night")):
            choosing.choose(None)

    def test_drawn_images_never_beat_real_ones(self, folder: Path) -> None:
        place = folder / "mlruns/multirun/night"
        leave_run(place / "0", objective=0.99, dataset="synthetic")
        alone = choosing.choose(None)
        (warning,) = alone.warnings
        assert "SYNTHETIC" in warning
        leave_run(place / "1", objective=0.5, trial=1)
        choice = choosing.choose(None)
        assert choice.trial["trial"] == 1
        (warning,) = choice.warnings
        assert warning.startswith("1 ")

    def test_a_metric_that_is_finite_nowhere(self, folder: Path) -> None:
        path = leave_run(folder / "mlruns/multirun/night/0", objective=0.5) / "curves.jsonl"
        path.write_text(re.sub(r'("val/loss"): [^,}]+', r"\1: Infinity", path.read_text()))
        with pytest.raises(RequestError, check=lambda error: error.key == "--by"):
            choosing.choose(None, by="val/loss")

    @pytest.mark.parametrize(
        ("asked", "key"),
        [
            ({"strategy": "linear"}, "--strategy"),
            ({"by": "speed"}, "--by"),
            ({"by": "test/loss"}, "--by"),  # replicates have it
            ({"sweep": "day"}, "NAME"),
        ],
    )
    def test_a_mistake(self, folder: Path, asked: dict[str, Any], key: str) -> None:
        leave_sweep(folder / "mlruns", RATES, {"constant": 0.888, "cosine": 0.89})
        with pytest.raises(RequestError) as refused:
            choosing.choose(**({"sweep": None} | asked))
        (value,) = asked.values()
        assert f"`{key}`" in str(refused.value)
        assert repr(value) in str(refused.value)


class TestFile:
    """What is written, and what it composes to."""

    def test_it_is_a_recipe_and_a_record(self, night: Path) -> None:
        content = document(night)
        assert {"override /scheduler": "exponential"} in content["defaults"]
        assert content["scheduler"] == {"decay_epochs": 2.5}
        assert content["optimizer"] == {"learning_rate": 0.004}
        assert content["stopping"] == {"patience": 4}
        record = content["exported"]
        assert (record["sweep"], record["trial"], record["objective"]) == ("night", 1, 0.7)
        assert record["configuration"]["scheduler"]["initial_learning_rate"] == 0.004
        assert record["environment"]["tensorflow"]
        assert record["environment"]["threads"] == len(os.sched_getaffinity(0))
        assert record["command"].endswith(" ".join(["training.epochs=3", *TUNED]))
        assert [len(values) for values in record["curve"].values()] == [3] * 7

    @pytest.mark.parametrize("ending", ["yaml", "json"])
    def test_what_is_read_is_what_was_written(self, night: Path, ending: str) -> None:
        content = document(night)
        path = Path(f"x.{ending}")
        path.write_text(
            {"yaml": recipe.to_yaml(content, "x"), "json": recipe.to_json(content)}[ending]
        )
        assert config_files.read(path) == content
        assert recipe.differing(config_files.read(path)) == []

    def test_averages_are_told_and_folders_that_know_of_none_are_read(self, folder: Path) -> None:
        place = Path("mlruns/multirun/mean")
        own = leave_trial(place, 0, "averaging=swa", "averaging.start_from_epoch=1", objective=0.7)
        content = document(place)
        assert content["averaging"] == {"start_from_epoch": 1.0}
        recorded = content["exported"]["configuration"]["averaging"]
        assert recorded == {"name": "swa", "decay": None, "start_from_epoch": 1.0}  # no beta
        assert recipe.to_trial(content).averaging == AveragingConfig("swa", None, 1.0)
        Path("x.yaml").write_text(recipe.to_yaml(content, "x"))
        assert recipe.differing(config_files.read(Path("x.yaml"))) == []
        shutil.rmtree(own)
        old = leave_trial(place, 1, objective=0.7)
        for name, where in (("config", "averaging"), ("hydra", "hydra.runtime.choices.averaging")):
            written: Any = OmegaConf.load(old / f".hydra/{name}.yaml")
            node, _, key = where.rpartition(".")
            del (OmegaConf.select(written, node) if node else written)[key]
            OmegaConf.save(written, old / f".hydra/{name}.yaml")
        content = document(place)
        assert "averaging" not in content["exported"]["configuration"]
        assert recipe.to_trial(content).averaging == AveragingConfig()
        Path("x.json").write_text(recipe.to_json(content))
        assert config_files.read(Path("x.json")) == content

    def test_it_composes_and_overrides_work_on_top(self, night: Path) -> None:
        export_best.main()
        assert Path("conf/best/night.yaml").exists()
        assert config.options("best") == ["night"]
        trial = config.to_trial(config.compose(["best=night"]))
        assert trial == recipe.to_trial(document(night))
        assert trial.scheduler["decay_epochs"] == 2.5
        assert trial.stopping == StoppingConfig("patience", patience=4, restore_best=True)
        more = ["training.epochs=9", "optimizer.learning_rate=1", "stopping=none", "clipping=norm"]
        longer = config.to_trial(config.compose(["best=night", *more]))
        assert (longer.scheduler["epochs"], longer.scheduler["initial_learning_rate"]) == (9, 1)
        assert (longer.stopping.name, longer.clipping.threshold) == ("none", 1.0)
        other = config.compose(["best=night", "scheduler=linear", "~scheduler.decay_epochs"])
        assert config.to_trial(other).scheduler["_target_"] == "fmnist_lab.schedules.linear"
        assert "exported" not in config.compose(["best=night"])

    def test_it_says_what_to_do_with_it(
        self, night: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        export_best.main()
        printed = capsys.readouterr().out
        tokens = ("exponential", "0.7000", "SYNTHETIC", "verify conf/best/night.yaml", "best=night")
        assert all(token in printed for token in tokens)
        export_best.main(out=Path("there/best/a b.yaml"))
        assert "--config-dir there 'best='\"'\"'a b'\"'\"''" in capsys.readouterr().out
        lines = Path("conf/best/night.yaml").read_text().splitlines()
        assert lines[0] == "# @package _global_"
        assert lines[1].startswith("# Choose")
        assert "night" in lines[1]
        shown = lines[: lines.index("exported:")]
        # A command is copied, so it stays whole.
        assert max(len(line) for line in shown if not line.startswith("# fmnist-lab")) <= 100
        assert "  # decay_rate: 0.1" in lines

    def test_a_file_is_never_replaced_unasked(self, night: Path) -> None:
        export_best.main()
        path = Path("conf/best/night.yaml")
        path.write_text("mine")
        with pytest.raises(RequestError, check=lambda error: error.key == "--out") as refused:
            export_best.main()
        assert "--force" in str(refused.value)
        assert path.read_text() == "mine"
        export_best.main(force=True)
        assert path.read_text().startswith("# @package")

    @pytest.mark.parametrize(
        ("out", "allowed"), [("x.txt", ".yaml, .json, .py"), ("mlruns", ".json"), ("x/y.yaml", "")]
    )
    def test_nowhere_to_write(self, night: Path, out: str, allowed: str) -> None:
        Path("x").touch()
        with pytest.raises(RequestError, check=lambda error: error.key == "--out") as refused:
            export_best.main(out=Path(out))
        assert allowed in refused.value.rule
        assert not Path("conf").exists()

    def test_what_options_and_values_cannot_tell_is_not_exported(self, folder: Path) -> None:
        place = folder / "mlruns/multirun/night"
        leave_trial(place, 0, "optimizer._target_=keras.optimizers.Adamax")
        with pytest.raises(RequestError) as refused:
            document(place)
        assert "`optimizer._target_`" in str(refused.value)
        assert "conf/optimizer/NAME.yaml" in str(refused.value)
        shutil.rmtree(place)
        leave_trial(place, 0, "architecture.activation={module: os, class_name: system}")
        with pytest.raises(RequestError, match=r"`architecture\.activation`"):
            document(place)

    def test_an_option_that_has_changed_since(self, night: Path) -> None:
        path = night / "1/.hydra/config.yaml"
        path.write_text(path.read_text().replace("  staircase: false\n", ""))
        with pytest.raises(RequestError, match=r"scheduler\.staircase"):
            document(night)


def test_a_json_file_is_plain(night: Path) -> None:
    export_best.main(out=Path("x.json"))
    content = json.loads(Path("x.json").read_text())
    assert content["exported"]["strategy"] == "exponential"
    assert content["exported"]["replicates"] is None
