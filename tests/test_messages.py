"""The sentences that users read most: the only file in which tests pin English.

A call makes each message; all other tests assert keys, numbers, values and exit codes.
"""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fmnist_lab import architectures, config, looks, results, schedules
from fmnist_lab.commands import compare, export_best, promote, sweep
from fmnist_lab.config import config_files
from fmnist_lab.data import DataConfig, load
from fmnist_lab.errors import RequestError, full_disk
from fmnist_lab.export import choosing
from fmnist_lab.foundation import instantiate
from fmnist_lab.launcher.options import Settings
from fmnist_lab.protocol import stages
from fmnist_lab.report import cautions, gather, sentences
from fmnist_lab.sweeper.space import parse
from fmnist_lab.training import engines
from tests.support.folders import leave_replicates, leave_run, leave_sweep, paired

NIGHT = Path("mlruns/sweeps/night")


def composed(*overrides: str) -> Callable[[], Any]:
    """Composes and checks a trial with overrides."""
    return lambda: config.to_trial(config.compose(list(overrides)))


def with_sweep(call: Callable[[], Any]) -> Callable[[], Any]:
    """Calls where a sweep has left two strategies."""

    def run() -> Any:
        leave_sweep(Path("mlruns"), dict.fromkeys(("constant", "cosine"), (1e-3,)), LEVELS)
        return call()

    return run


LEVELS = {"constant": 0.88, "cosine": 0.89}
REFUSED: list[tuple[Callable[[], Any], str]] = [
    (
        composed("training.epochs=0"),
        "`training.epochs` must be positive, got 0.",
    ),
    (
        composed("training.engine=fast"),
        "`training.engine` must be compiled or keras, got 'fast'.",
    ),
    (
        composed("training.label_smoothing=0.1"),
        "`training.label_smoothing` must be 0 with training.labels=integer, got 0.1; "
        "smoothing needs training.labels=one_hot.",
    ),
    (
        composed("optimizer.learning_rate=nan"),
        "`optimizer.learning_rate` must be a finite number, got nan.",
    ),
    (
        composed("clipping=norm", "clipping.threshold=0"),
        "`clipping.threshold` must be a positive number, got 0.0.",
    ),
    (
        composed("clipping.threshold=1"),
        "`clipping.threshold` must be null with clipping=none, got 1.0.",
    ),
    (
        composed("scheduler.warmup_epochs=20"),
        "`scheduler.warmup_epochs` must be shorter than the training of 20 epochs, got 20.",
    ),
    (
        composed("scheduler=cosine", "scheduler.alpha=1.5"),
        "`scheduler.alpha` must be from 0 to 1, got 1.5.",
    ),
    (
        composed("+scheduler.typo=1"),
        "`scheduler.typo` must be a key of constant, got 1; allowed keys: initial_learning_rate.",
    ),
    (
        composed("scheduler=nope"),
        "In 'trial': Could not find 'scheduler/nope' Available options in 'scheduler': "
        "constant cosine cosine_restarts exponential exponential_step inverse_sqrt linear "
        "multi_step notebook_linear one_cycle performance piecewise polynomial power sequential "
        "shape triangular wsd.",
    ),
    (
        composed("training.epoch=3"),
        "Could not override 'training.epoch'. To append to your config use "
        "+training.epoch=3 Key 'epoch' not in 'TrainingConfig' full_key: training.epoch.",
    ),
    (
        composed("data.train_size=55001"),
        "`data.train_size` must be from 1 to 55000 (or null, for all) when 5000 images "
        "validate, got 55001.",
    ),
    (
        composed("scheduler=cosine_restarts", "scheduler.cycles=null"),
        "`scheduler.cycles` must be a number and `scheduler.first_decay_epochs` null, or "
        "the other way round, got None and None.",
    ),
    (
        lambda: config.to_tracking(config.compose(["tracking.uri=nonsense"])),
        "`tracking.uri` must be the address of an MLflow server or database, beginning "
        "with one of http://, https://, databricks://, sqlite://, postgresql://, mysql://, "
        "mssql://, got 'nonsense'.",
    ),
    (
        lambda: schedules.exponential(0.1, decay_epochs=0),
        "`scheduler.decay_epochs` must be positive, got 0.",
    ),
    (
        lambda: schedules.piecewise(0.1, [9, 5], [1, 1, 1]),
        "`scheduler.boundaries` must be one or more increasing epochs, got [9, 5].",
    ),
    (
        lambda: architectures.mlp([]),
        "`architecture.hidden_sizes` must be positive numbers, at most 65536, got [].",
    ),
    (
        lambda: architectures.cnn([8, 8], kernel_size=9),
        "`architecture.kernel_size` must be from 1 to 7, got 9.",
    ),
    (
        lambda: load(DataConfig(dir="nowhere")),
        "`data.dir` must be a folder with the four Fashion-MNIST files, got 'nowhere'; "
        "there is no folder nowhere; put sound files there, or unset data.dir and "
        "FMNIST_LAB_DATA_DIR.",
    ),
    (
        lambda: engines.get("torch"),
        "`training.engine` must be one of compiled, keras, got 'torch'.",
    ),
    (
        lambda: instantiate.create("scheduler", {"_target_": "no.such.module"}),
        "`scheduler._target_` must name a function, got 'no.such.module'; No module named 'no'.",
    ),
    (
        lambda: Settings.checked({"workers": 0}),
        "`hydra.launcher.workers` must be at least 1, got 0.",
    ),
    (
        lambda: Settings.checked({"memory_limit": "much"}),
        "`hydra.launcher.memory_limit` must be a size such as 4GB, got 'much'.",
    ),
    (
        lambda: parse(["x=range(3,1)"]),
        "`x` must be something that can be searched, got range(3,1); a range must hold at "
        "least one value.",
    ),
    (
        lambda: looks.planned("often"),
        "`replicates` must be a number, auto, or a list of ascending looks of which the "
        "last has at least 6, got 'often'.",
    ),
    (
        lambda: config.validate_stages("auto", 6, None),
        "`replicates` must be a number with several searches, got 'auto'; looks are at the "
        "seeds of one search; here each search is a pair, so ask for more.",
    ),
    (
        compare.main,
        "`mlruns` must hold a sweep or a multirun to compare, got none; start one with: "
        "fmnist-lab sweep demo.",
    ),
    (
        with_sweep(lambda: compare.main("nigth")),
        "`NAME` must be one of night, got 'nigth'.",
    ),
    (
        with_sweep(lambda: choosing.choose(None, strategy="linear")),
        "`--strategy` must be one of constant, cosine, got 'linear'.",
    ),
    (
        with_sweep(lambda: choosing.choose(None, by="test/loss")),
        "`--by` must be val/accuracy or val/loss where no replicates have seen the test "
        "set, got 'test/loss'.",
    ),
    (
        with_sweep(lambda: export_best.main(out=Path("x.txt"))),
        "`--out` must end in one of .yaml, .json, .py, got 'x.txt'.",
    ),
    (
        with_sweep(lambda: promote.main("night", run="abc")),
        "`--run` must stand alone, got 'abc' beside a sweep or strategy.",
    ),
    (
        with_sweep(lambda: promote.main(run="abc")),
        "`--run` must be the MLflow id of a trial under mlruns, got 'abc'; the UI shows it "
        "on the trial's page.",
    ),
    (
        lambda: sweep.main("demi", []),
        "`NAME` must be one of architectures, budgets, clipping, control, demo, early_stopping, "
        "factors, learning_rate, mlp, notebook, robustness, schedules, shape, textbook, "
        "textbook_confounded, got 'demi'.",
    ),
    (
        lambda: sweep.main("demo", ["hydra/launcher=basic", "scheduler=linear"]),
        "`scheduler` must be left to the strategies of this sweep, got scheduler=linear.",
    ),
    (
        lambda: config_files.read(Path("x.py")),
        "`FILE` must end in .yaml or .json, got 'x.py'.",
    ),
    (
        lambda: config_files.read(Path("x.yaml")),
        "`x.yaml` must be a readable text file, got no such file.",
    ),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_a_wrong_request(folder: Path, call: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(RequestError) as refused:
        call()
    assert str(refused.value) == sentence


def judged(gain: float, seeds: int = 8, spread: float = 0.001) -> Any:
    """The evidence of a sweep whose cosine is better by `gain`."""
    place = leave_sweep(Path("mlruns"), dict.fromkeys(LEVELS, (1e-3,)), LEVELS)
    accuracies = {"constant": paired(0.88, seeds, 0.0, 1e-4),
                  "cosine": paired(0.88, seeds, gain, spread)}  # fmt: skip
    leave_replicates(place, accuracies)
    return gather(place, results.trials(results.ended(place)))


def differing(**changes: str) -> Any:
    """The evidence of a sweep with two more trials, of other data settings."""
    place = leave_sweep(Path("mlruns"), dict.fromkeys(LEVELS, (1e-3,)), LEVELS)
    for number, size in enumerate((20, 100), 8):
        leave_run(place / "trials" / str(number), trial=number, overrides=[f"data.val_size={size}"])
    return gather(place, results.trials(results.ended(place)))


SAID: list[tuple[Callable[[], str | None], str]] = [
    (
        lambda: sentences.headline(judged(0.006)),
        "Use this configuration of cosine: +0.60 points over constant (95 % interval +0.54 "
        "to +0.66, 8 seeds, joint p = 0.008). Its test accuracy is 88.71 % (95 % interval "
        "88.57 to 88.84 over seeds).",
    ),
    (
        lambda: sentences.headline(judged(-0.006)),
        "Stay with constant: no other strategy is better.",
    ),
    (
        lambda: sentences.headline(judged(0.003, spread=0.006)),
        "Undecided: no strategy is shown to be better than constant. Ahead is cosine, "
        "+0.30 points over constant (95 % interval -0.43 to +1.03, 8 seeds, joint p = "
        "0.320); a new sweep of about 63 seeds would decide (--new replicates=63).",
    ),
    (
        lambda: sentences.headline(judged(0.006, seeds=5)),
        "No verdict: 5 seeds per strategy. The ranking may be chance; a difference with p < 0.05 "
        "takes at least 6 seeds, with: fmnist-lab sweep night replicates=6.",
    ),
    (
        lambda: sentences.progress(judged(0.006)),
        "2 tuning trials and 16 replicates have ended.",
    ),
    (
        lambda: sentences.claim(judged(0.006)),
        "The verdicts are about these tuned configurations, the ones that this search has "
        "found; another search might find others, and more seeds do not cover that. They "
        "hold for one architecture, one number of epochs and these test images; "
        "the intervals cover seeds alone.",
    ),
    (
        lambda: cautions.grave(differing())[0],
        "The trials differ in data.val_size: their objectives are of different images.",
    ),
    (
        lambda: stages.outlook(2, 5, 1),
        "With replicates=5 no strategy can be found better or worse than the baseline: "
        "that takes at least replicates=6, which may be given later, too.",
    ),
    (
        lambda: full_disk(OSError(errno.ENOSPC, "full", "x.json")),
        "No space is left for x.json; what was written before is whole. Make room and give "
        "the same command again.",
    ),
]


@pytest.mark.parametrize(("call", "sentence"), SAID)
def test_an_answer(folder: Path, call: Callable[[], str | None], sentence: str) -> None:
    assert call() == sentence
