"""`export-best`: which trial is chosen, what its file says, and what a file may not say."""

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from fmnist_lab import config
from fmnist_lab.commands import export_best
from fmnist_lab.config import config_files
from fmnist_lab.errors import RequestError
from fmnist_lab.export import choosing
from fmnist_lab.export import document as recipe
from fmnist_lab.trial import AveragingConfig, StoppingConfig
from tests.support.exporting import document, leave_trial
from tests.support.folders import leave_replicates, leave_run, leave_sweep, paired

pytestmark = pytest.mark.slow

RATES = {"constant": [1e-4, 1e-3], "cosine": [1e-3, 1e-2]}
TUNED = ("scheduler=exponential", "scheduler.decay_epochs=2.5", "optimizer.learning_rate=0.004",
         "stopping=patience", "stopping.patience=4")  # fmt: skip


@pytest.fixture
def night(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A multirun of two trials, with as many threads as there are; the second one is the best."""
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    place = folder / "mlruns/multirun/night"
    leave_trial(place, 0, objective=0.6)
    leave_trial(place, 1, *TUNED, objective=0.7, stop_reason="early_stopped", stopping="none")
    return place


class TestChoosing:
    """One trial, and what is said about it."""

    def test_without_replicates_the_best_objective_which_decides_nothing(
        self, folder: Path
    ) -> None:
        leave_sweep(folder / "mlruns", RATES, {"constant": 0.888, "cosine": 0.89})
        choice = choosing.choose(None)
        assert (choice.trial["strategy"], choice.trial["trial"]) == ("cosine", 1)
        assert choice.why == (
            "Trial 1 (cosine) has the best val/accuracy, 0.8900, of 4 trials trained to the end."
        )
        assert choice.noise == (
            "One seed decides nothing: 5000 images alone leave 0.44 points to chance (one standard "
            "error), and seeds add to that. Within that: constant #2 0.8880."
        )
        assert choice.replicates is None

    def test_replicates_decide_between_strategies(self, folder: Path) -> None:
        place = leave_sweep(folder / "mlruns", RATES, {"constant": 0.888, "cosine": 0.89})
        leave_replicates(place, {"constant": paired(0.88, 8, 0.02), "cosine": paired(0.88, 8)})
        choice = choosing.choose("night")
        assert (choice.trial["strategy"], choice.trial["trial"]) == ("constant", 2)
        assert "constant has the best mean val/accuracy of its 8 replicates, 0.9051" in choice.why
        assert choice.noise == "All others are worse, with 8 seeds each."
        assert choice.replicates is not None
        interval = choice.replicates["test_accuracy"]
        assert interval["low"] < interval["mean"] < interval["high"]
        assert interval["mean"] == pytest.approx(0.9011, abs=1e-4)

    def test_a_strategy_that_may_be_as_good_is_named(self, folder: Path) -> None:
        place = leave_sweep(folder / "mlruns", RATES, {"constant": 0.888, "cosine": 0.89})
        leave_replicates(
            place, {"constant": paired(0.88, 8, 0.001, 0.01), "cosine": paired(0.88, 8, 0, 0.01)}
        )
        assert (
            "Not shown to be worse: cosine (-0.10 points, interval " in choosing.choose(None).noise
        )

    def test_one_seed_has_no_interval(self, folder: Path) -> None:
        place = leave_sweep(folder / "mlruns", RATES, {"constant": 0.888, "cosine": 0.89})
        leave_replicates(place, {"constant": [0.9], "cosine": [0.88]})
        choice = choosing.choose(None)
        assert choice.noise == (
            "A verdict takes 6 seeds, here 1 seed: any of the others may be as good."
        )
        assert choice.replicates is not None
        assert choice.replicates["test_accuracy"] == {"mean": 0.9, "low": None, "high": None}
        record: dict[str, Any] = {"chosen": choice.why, "noise": choice.noise, "warnings": []}
        environment = dict.fromkeys(("fmnist-lab", "tensorflow", "keras", "numpy", "machine",
                                     "git_commit"))  # fmt: skip
        record |= {"replicates": choice.replicates, "environment": environment}
        record |= {"mlflow_run_id": None}
        _, told, _ = recipe.remarks(record)
        assert told == (
            "With 1 fresh seed: objective 0.9040, test accuracy 0.9000, test loss 0.1000. "
            "No interval of objective, test accuracy, test loss: 1 value shows no spread."
        )
        assert choosing.choose(None, strategy="cosine").noise == (
            "Ahead of it is constant: -2.00 points, no interval: 1 seed shows no spread, undecided."
        )

    def test_a_strategy_or_a_metric_that_was_asked_for(self, folder: Path) -> None:
        place = leave_sweep(folder / "mlruns", RATES, {"constant": 0.888, "cosine": 0.89})
        assert choosing.choose(None, strategy="constant").trial["trial"] == 2
        assert choosing.choose(None, by="val/loss").trial["trial"] == 1
        leave_replicates(place, {"constant": paired(0.88, 8, 0.02), "cosine": paired(0.88, 8)})
        asked = choosing.choose(None, strategy="cosine")
        assert asked.trial["strategy"] == "cosine"
        assert asked.noise.startswith("Ahead of it is constant: -2.00 points")
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
        with pytest.raises(RequestError, match="must hold a trial that was trained to its end"):
            choosing.choose(None)

    def test_drawn_images_never_beat_real_ones(self, folder: Path) -> None:
        place = folder / "mlruns/multirun/night"
        leave_run(place / "0", objective=0.99, dataset="synthetic")
        alone = choosing.choose(None)
        assert alone.warnings == ["The images are SYNTHETIC: nothing here is about Fashion-MNIST."]
        leave_run(place / "1", objective=0.5, trial=1)
        choice = choosing.choose(None)
        assert choice.trial["trial"] == 1
        assert choice.warnings == [
            "1 trial on synthetic images left out: not comparable with real ones."
        ]

    @pytest.mark.parametrize(
        ("asked", "sentence"),
        [
            ({"strategy": "linear"}, "`--strategy` must be one of constant, cosine, got 'linear'"),
            ({"by": "speed"}, "`--by` must be one of val/accuracy, .*, got 'speed'"),
            ({"by": "test/loss"}, "`--by` must be .* no replicates have seen the test set"),
            ({"sweep": "day"}, "`NAME` must be one of night, got 'day'"),
        ],
    )
    def test_a_mistake(self, folder: Path, asked: dict[str, Any], sentence: str) -> None:
        leave_sweep(folder / "mlruns", RATES, {"constant": 0.888, "cosine": 0.89})
        with pytest.raises(RequestError, match=sentence):
            choosing.choose(**({"sweep": None} | asked))


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
        assert content["exported"]["configuration"]["averaging"]["name"] == "swa"
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
        assert "Trial 1 (exponential) has the best val/accuracy, 0.7000, of 2 trials" in printed
        assert "One seed decides nothing" in printed
        assert "Beware: The images are SYNTHETIC" in printed
        assert "fmnist-lab verify conf/best/night.yaml" in printed
        assert "fmnist-lab train best=night" in printed
        export_best.main(out=Path("there/best/a b.yaml"))
        assert (
            "fmnist-lab train --config-dir there 'best='\"'\"'a b'\"'\"''"
            in capsys.readouterr().out
        )
        lines = Path("conf/best/night.yaml").read_text().splitlines()
        assert lines[0] == "# @package _global_"
        assert lines[1].startswith("# Choose this for the best trial of night: number 1")
        shown = lines[: lines.index("exported:")]
        # A command is copied, so it stays whole.
        assert max(len(line) for line in shown if not line.startswith("# fmnist-lab")) <= 100
        assert "  # decay_rate: 0.1" in lines

    def test_a_file_is_never_replaced_unasked(self, night: Path) -> None:
        export_best.main()
        path = Path("conf/best/night.yaml")
        path.write_text("mine")
        with pytest.raises(
            RequestError, match=r"`--out` must be a new file, .* to replace it: --force"
        ):
            export_best.main()
        assert path.read_text() == "mine"
        export_best.main(force=True)
        assert path.read_text().startswith("# @package")

    @pytest.mark.parametrize(
        ("out", "sentence"),
        [("x.txt", "must end in one of .yaml, .json, .py"), ("mlruns", "must end in"),
         ("x/y.yaml", "must be a file that can be written")],
    )  # fmt: skip
    def test_nowhere_to_write(self, night: Path, out: str, sentence: str) -> None:
        Path("x").touch()
        with pytest.raises(RequestError, match=f"`--out` {sentence}"):
            export_best.main(out=Path(out))
        assert not Path("conf").exists()

    def test_what_options_and_values_cannot_tell_is_not_exported(self, folder: Path) -> None:
        place = folder / "mlruns/multirun/night"
        leave_trial(place, 0, "optimizer._target_=keras.optimizers.Adamax")
        with pytest.raises(
            RequestError, match=r"`optimizer\._target_` .* conf/optimizer/NAME.yaml"
        ):
            document(place)

    def test_an_option_that_has_changed_since(self, night: Path) -> None:
        path = night / "1/.hydra/config.yaml"
        path.write_text(path.read_text().replace("  staircase: false\n", ""))
        with pytest.raises(
            RequestError, match=r"`scheduler\.staircase` .* the options have changed"
        ):
            document(night)


def test_a_json_file_is_plain(night: Path) -> None:
    export_best.main(out=Path("x.json"))
    content = json.loads(Path("x.json").read_text())
    assert content["exported"]["strategy"] == "exponential"
    assert content["exported"]["replicates"] is None
