"""Both engines keep one contract, and their curves agree."""

import json
import math
import os
import random
import subprocess
import sys
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fmnist_lab import data
from fmnist_lab.errors import RequestError
from fmnist_lab.metrics import MONITORS, RAW
from fmnist_lab.training import engines
from fmnist_lab.training.engines.backend import import_tensorflow
from fmnist_lab.training.engines.building import (
    build_loss,
    build_model,
    count_parameters,
    evaluate,
    pixels,
)
from fmnist_lab.training.engines.engine import batch_order, steps_per_epoch
from fmnist_lab.trial import (
    AugmentationConfig,
    ClippingConfig,
    StoppingConfig,
    StopReason,
    TrainingConfig,
)
from tests.support.engines import (
    ADAM,
    ARCHITECTURES,
    AVERAGING,
    CLIPPING,
    CONSTANT,
    NAMES,
    SCHEDULERS,
    SGD,
    SMALLER_LAST,
    Node,
    a_trial,
    eager_keras,
    train,
    without_time,
)

pytestmark = pytest.mark.slow


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("engine", engines.ENGINES)
class TestContract:
    """What every engine keeps."""

    def test_the_same_trial_twice_is_the_same_bit_for_bit(self, engine: str) -> None:
        trial = a_trial(architecture=ARCHITECTURES["mlp"])
        first, curve = train(trial, engine)
        other, _ = train(replace(trial, seed=8), engine)  # leaves nothing behind
        again, repeated = train(trial, engine)
        assert without_time(curve) == without_time(repeated)
        assert all((a == b).all() for a, b in zip(first.weights, again.weights, strict=True))
        assert any((a != b).any() for a, b in zip(first.weights, other.weights, strict=True))

    def test_schedule_free_takes_gradients_between_average_and_weights(self, engine: str) -> None:
        trial = a_trial(
            architecture=ARCHITECTURES["mlp"] | {"dropout": 0.0, "normalization": "none"},
            averaging=AVERAGING["schedule_free"],
            training=TrainingConfig(epochs=3, batch_size=192),  # an update each
        )
        outcome, curve = train(trial, engine)
        dataset, model = data.load(trial.data), build_model(trial)
        images, labels = pixels(dataset.train_images, dataset), dataset.train_labels
        average = weights = [weight.numpy() for weight in model.trainable_weights]
        losses = []
        for update in range(3):  # the formulas of Defazio et al. (2024), with a constant rate
            model.set_weights([0.9 * x + 0.1 * z for x, z in zip(average, weights, strict=True)])
            with import_tensorflow().GradientTape() as tape:
                loss = build_loss(trial)(labels, model(images)) + sum(model.losses)
            gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
            weights = [z - 0.01 * g.numpy() for z, g in zip(weights, gradients, strict=True)]
            share = 1 / (update + 1)
            average = [(1 - share) * x + share * z for x, z in zip(average, weights, strict=True)]
            losses.append(float(loss))
        assert [line["train/loss"] for line in curve] == pytest.approx(losses, rel=1e-5)
        for ours, theirs in zip(outcome.weights, average, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)

    @eager_keras
    def test_pruning_ends_it_after_the_epoch_that_was_reported(self, engine: str) -> None:
        outcome, curve = train(a_trial(), engine, prune_after=1)
        assert outcome.stop_reason is StopReason.PRUNED
        assert len(curve) == 2

    @eager_keras
    def test_divergence_ends_it_and_stays_nan(self, engine: str) -> None:
        wild = a_trial(scheduler=CONSTANT | {"initial_learning_rate": 1e30})
        outcome, curve = train(wild, engine)
        assert outcome.stop_reason is StopReason.DIVERGED
        assert not math.isfinite(curve[-1]["train/loss"])
        assert len(curve) < 3

    @eager_keras
    def test_early_stopping_delivers_the_best_weights(self, engine: str) -> None:
        # At a rate of zero nothing improves after the first epoch; its weights are the initial
        # ones, but for the batch normalisation's statistics, which go on moving.
        still = a_trial(
            architecture=ARCHITECTURES["notebook"],
            scheduler=CONSTANT | {"initial_learning_rate": 1e-30},
            training=TrainingConfig(epochs=9),
            stopping=StoppingConfig(name="patience", patience=2, monitor="val/accuracy",
                                    min_delta=0.5, restore_best=True),
        )  # fmt: skip
        outcome, curve = train(still, engine)
        assert outcome.stop_reason is StopReason.EARLY_STOPPED
        assert len(curve) == 3
        assert outcome.delivered_epoch == 0
        alone, _ = train(replace(still, training=TrainingConfig(epochs=1)), engine)
        assert all((a == b).all() for a, b in zip(outcome.weights, alone.weights, strict=True))

    @eager_keras
    def test_the_last_epoch_is_no_early_stop(self, engine: str) -> None:
        stopping = StoppingConfig(name="patience", patience=1, min_delta=99.0)
        outcome, _ = train(a_trial(stopping=stopping, training=TrainingConfig(epochs=2)), engine)
        assert outcome.stop_reason is StopReason.COMPLETED

    def test_averages_are_measured_and_delivered(self, engine: str) -> None:
        alone = a_trial(architecture=ARCHITECTURES["mlp"] | {"l2": 0.0})
        trial = replace(alone, averaging=AVERAGING["ema"])
        plain, before = train(alone, engine)
        outcome, curve = train(trial, engine)
        assert [set(line) for line in curve] == [{*NAMES, *RAW}] * 3
        for line, without in zip(curve, before, strict=True):  # training itself is the same
            same = {name: line[name] for name in NAMES - {"time/epoch_seconds", *MONITORS[2:]}}
            assert same == {name: without[name] for name in same}
            assert [line[name] for name in RAW] == [without[name] for name in MONITORS[2:]]
        assert curve[2]["val/loss"] != before[2]["val/loss"]
        validation = data.load(trial.data)
        asked = replace(
            validation, test_images=validation.val_images, test_labels=validation.val_labels
        )
        loss, guesses = evaluate(trial, asked, outcome.weights)
        assert curve[2]["val/loss"] == pytest.approx(loss, rel=1e-4)
        assert curve[2]["val/accuracy"] == pytest.approx((guesses == asked.test_labels).mean())
        assert any((a != b).any() for a, b in zip(outcome.weights, plain.weights, strict=True))

    @eager_keras
    def test_one_hot_labels_and_smoothing_change_the_loss(self, engine: str) -> None:
        def loss(**training: Any) -> float:
            trial = a_trial(training=TrainingConfig(epochs=1, **training))
            return train(trial, engine)[1][0]["train/loss"]

        plain = loss()
        assert loss(labels="one_hot") == pytest.approx(plain, rel=1e-5)
        assert loss(labels="one_hot", label_smoothing=0.2) != pytest.approx(plain, rel=1e-3)

    @eager_keras
    def test_standardised_pixels_reach_the_model(self, engine: str) -> None:
        raw = a_trial(training=TrainingConfig(epochs=1))
        standardised = replace(raw, data=replace(raw.data, standardize=True))
        losses = [train(trial, engine)[1][0]["train/loss"] for trial in (raw, standardised)]
        assert losses[0] != pytest.approx(losses[1])

    @pytest.mark.parametrize(
        ("changes", "key"),
        [
            ({"optimizer": SGD | {"clipnorm": 1.0}}, "`optimizer.clipnorm`"),
            (
                {"optimizer": SGD | {"momentum": 2.0}},
                "`optimizer`",
            ),
            (
                {"optimizer": SGD | {"momentun": 0.9}},
                "`optimizer`",
            ),
            ({"architecture": {"_target_": "keras.Sequential"}}, "`architecture._target_`"),
        ],
    )
    def test_what_cannot_be_built_is_refused(
        self, engine: str, changes: dict[str, Node], key: str
    ) -> None:
        with pytest.raises(RequestError, match=key):
            train(a_trial(**changes), engine)


def keras(name: str, **settings: Any) -> Node:
    return {"_target_": f"keras.optimizers.{name}", "learning_rate": 0.01} | settings


# Each optimizer, average and augmentation once, every other option twice or more: an engine
# compiles for seconds. A smaller last batch, once per architecture, costs a second compilation.
TWINS: list[tuple[str, str, str, bool, Node, dict[str, Any]]] = [
    ("notebook", "none", "per epoch", True, ADAM, {"averaging": AVERAGING["ema"]}),
    ("notebook", "global_norm", "performance", False, keras("SGD", momentum=0.9), {}),
    ("mlp", "value", "performance", True, keras("RMSprop", learning_rate=1e-3),
     {"averaging": AVERAGING["swa"]}),
    ("mlp", "norm", "per step", False, keras("SGD", momentum=0.9, nesterov=True), {}),
    ("mlp", "none", "relative", False, keras("Lion", learning_rate=1e-3), {}),
    ("cnn", "global_norm", "per step", True, keras("AdamW", weight_decay=0.01),
     {"augmentation": AugmentationConfig("shift_flip", shift=2, flip=True)}),
    ("cnn", "value", "per epoch", False, keras("Nadam"), {}),
    ("notebook", "none", "per epoch", False, SGD, {"averaging": AVERAGING["schedule_free"]}),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
class TestTwins:
    """Both engines see the same batches and agree to rounding, epoch after epoch."""

    @pytest.mark.parametrize(
        ("architecture", "clipping", "scheduler", "smaller", "optimizer", "more"), TWINS
    )
    def test_curves_agree(
        self,
        architecture: str,
        clipping: str,
        scheduler: str,
        smaller: bool,
        optimizer: Node,
        more: dict[str, Any],
    ) -> None:
        trial = a_trial(
            data=SMALLER_LAST if smaller else a_trial().data,
            architecture=ARCHITECTURES[architecture],
            clipping=CLIPPING[clipping],
            scheduler=SCHEDULERS[scheduler] | {"initial_learning_rate": optimizer["learning_rate"]},
            optimizer=optimizer,
            **more,
        )
        names = NAMES | set(RAW if "averaging" in more else ())
        curves = []
        for engine in engines.ENGINES:
            outcome, curve = train(trial, engine)
            assert [set(line) for line in curve] == [names] * 3
            assert outcome.stop_reason is StopReason.COMPLETED
            assert outcome.delivered_epoch == 2
            curves.append(curve)
        compiled, reference = curves
        for mine, theirs in zip(compiled, reference, strict=True):
            for name in names - {"time/epoch_seconds", "opt/learning_rate"}:
                assert mine[name] == pytest.approx(theirs[name], rel=2e-3, abs=2e-3), name
            assert mine["opt/learning_rate"] == theirs["opt/learning_rate"]
        assert compiled[0]["train/loss"] != compiled[2]["train/loss"]


COUNT_COMPILATIONS = """
import json, sys
from pathlib import Path
from tests.support.engines import SCHEDULERS, SGD, a_trial, train, without_time
from fmnist_lab.trial import ClippingConfig
dump = Path(sys.argv[1])
compiled = lambda: len(list(dump.glob("*before_optimizations.txt")))
counts = [compiled()]
first = a_trial(clipping=ClippingConfig("norm", 0.3))
curves = [without_time(train(first, "compiled")[1])]
counts.append(compiled())
second = a_trial(
    seed=8, clipping=ClippingConfig("norm", 0.01),
    optimizer=SGD | {"learning_rate": 0.5}, scheduler=SCHEDULERS["performance"],
)
curves.append(without_time(train(second, "compiled")[1]))
counts.append(compiled())
print(json.dumps([counts, curves]))
"""

FULL_SIZE = """
from pathlib import Path
from dataclasses import replace
from tests.support.engines import ADAM, ARCHITECTURES, a_trial, train
from fmnist_lab.data import DataConfig
from fmnist_lab.trial import TrainingConfig
trial = a_trial(
    data=DataConfig(name="synthetic"), architecture=ARCHITECTURES["notebook"], optimizer=ADAM,
    training=TrainingConfig(epochs=2),
)
train(trial, "compiled")
# Not ru_maxrss, which begins at the size of the process that started this one.
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) * 1024)
"""


def run_script(script: str, *arguments: str, **environment: str) -> Any:
    """Runs Python in a process of its own, and returns the JSON that it prints last."""
    answer = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=os.environ | {"PYTHONPATH": "."} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(answer.stdout.splitlines()[-1])


def test_a_second_trial_of_the_same_shape_compiles_nothing(tmp_path: Any) -> None:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={tmp_path} --xla_dump_hlo_as_text"
    counts, curves = run_script(
        COUNT_COMPILATIONS, str(tmp_path), XLA_FLAGS=flags, FMNIST_LAB_PROGRAM_CACHE="off"
    )
    assert counts[0] == 0 < counts[1] == counts[2]
    assert curves[0] != curves[1]
    # And the second trial is what it would have been as the first of another process.
    second = a_trial(
        seed=8, clipping=ClippingConfig("norm", 0.01), scheduler=SCHEDULERS["performance"]
    )
    assert without_time(train(second, "compiled")[1]) == curves[1]


@pytest.mark.slow
def test_training_the_notebook_on_full_size_data_stays_within_1500_mb() -> None:
    as_for_users = {"XLA_FLAGS": "", "TF_NUM_INTRAOP_THREADS": ""}
    assert run_script(FULL_SIZE, **as_for_users) < 1.5e9


def test_batch_order_is_a_permutation_that_seed_and_epoch_decide() -> None:
    order = batch_order(3, 5, 100).tolist()
    assert sorted(order) == list(range(100))
    assert order == batch_order(3, 5, 100).tolist()
    assert order != batch_order(3, 6, 100).tolist()
    assert order != batch_order(4, 5, 100).tolist()


def test_steps_per_epoch_count_the_smaller_last_batch() -> None:
    assert steps_per_epoch(55_000, 32) == 1719
    assert steps_per_epoch(64, 32) == 2
    assert steps_per_epoch(1, 32) == 1


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(RequestError, check=lambda error: error.key == "training.engine"):
        engines.get("torch")


def test_parameters_are_counted_before_training() -> None:
    assert count_parameters(a_trial(architecture=ARCHITECTURES["notebook"])) == 271_346


def test_the_class_of_each_test_image_is_what_the_model_says() -> None:
    trial = a_trial()
    dataset = data.load(trial.data)
    dataset = replace(
        dataset, test_images=dataset.test_images[:99], test_labels=dataset.test_labels[:99]
    )
    model = build_model(trial)
    loss, guesses = evaluate(trial, dataset, model.get_weights())
    images = (dataset.test_images.astype(np.float32) / 255 - dataset.mean) / dataset.std
    answers = np.asarray(model(images)).argmax(axis=1)
    assert guesses.tolist() == answers.tolist()
    assert len({*guesses}) > 1
    assert loss > 0


def test_threads_that_draw_random_numbers_leave_the_first_weights_alone() -> None:
    trial = a_trial(architecture=ARCHITECTURES["mlp"])
    alone = build_model(trial).get_weights()
    ended = threading.Event()

    def draw() -> None:
        while not ended.wait(0.001):
            random.random()

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        beside = [build_model(trial).get_weights() for _ in range(4)]
    finally:
        ended.set()
        thread.join()
    for weights in beside:
        assert all((a == b).all() for a, b in zip(alone, weights, strict=True))
