"""Rates and decisions against Keras's callbacks, and every option in conf/scheduler."""

import math
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from fmnist_lab import config, schedules
from fmnist_lab.errors import RequestError
from fmnist_lab.schedules import Performance, Scheduled, Scheduler, build
from fmnist_lab.training.engines.backend import import_tensorflow

OPTIONS = sorted((Path(__file__).parents[2] / "conf" / "scheduler").glob("*.yaml"))
RATE = 0.01


def option(name: str, epochs: int = 25, **changes: Any) -> dict[str, Any]:
    """The node `conf/scheduler/<name>.yaml`, resolved beside a training of so many epochs."""
    config.register()  # `fmnist_lab.epochs`
    stated = OmegaConf.load(next(path for path in OPTIONS if path.stem == name))
    assert isinstance(stated, DictConfig)
    del stated["space"]  # no trial has it
    parent = OmegaConf.create(
        {
            "optimizer": {"learning_rate": RATE},
            "training": {"epochs": epochs},
            "scheduler": OmegaConf.merge(stated, changes),
        }
    )
    node: dict[str, Any] = OmegaConf.to_container(parent, resolve=True)["scheduler"]  # type: ignore[assignment, index, call-overload]
    return node


def curve(scheduler: Scheduler, epochs: int, steps: int) -> Any:
    return np.concatenate([scheduler.learning_rates(epoch, steps) for epoch in range(epochs)])


class TestScheduled:
    """Rates of a schedule, per epoch and per step."""

    def test_per_epoch_the_rate_holds_for_the_epoch(self) -> None:
        scheduler = Scheduled(schedules.exponential(0.01, 20), update="epoch")
        rates = curve(scheduler, 25, 3).reshape(25, 3)
        expected = np.array([0.01 * 0.1 ** (epoch / 20) for epoch in range(25)], np.float32)
        np.testing.assert_array_equal(rates, np.repeat(expected[:, None], 3, axis=1))

    def test_per_step_it_moves_with_every_update(self) -> None:
        scheduler = Scheduled(schedules.linear(1.0, 4), update="step")
        np.testing.assert_allclose(curve(scheduler, 4, 5), np.arange(20, 0, -1) / 20, rtol=1e-6)

    def test_positions_do_not_drift_over_a_long_training(self) -> None:
        scheduler = Scheduled(schedules.piecewise(1.0, [2000], [1, 0.5]), update="step")
        np.testing.assert_array_equal(scheduler.learning_rates(2000, 1719), [1] + 1718 * [0.5])
        np.testing.assert_array_equal(scheduler.learning_rates(1999, 1719), 1)

    def test_every_training_has_whole_float32_rates(self) -> None:
        rates = Scheduled(schedules.constant(0.1), update="step").learning_rates(3, 7)
        assert rates.dtype == np.float32
        assert rates.shape == (7,)

    def test_a_warmup_per_epoch_does_not_waste_the_first_epoch(self) -> None:
        scheduler = Scheduled(schedules.constant(1.0), update="epoch", warmup_epochs=2)
        np.testing.assert_array_equal(curve(scheduler, 4, 1), [0.25, 0.75, 1, 1])

    def test_metrics_change_nothing(self) -> None:
        scheduler = Scheduled(schedules.cosine(RATE, 10))
        before = scheduler.learning_rates(1, 5)
        scheduler.observe(0, {"val/loss": float("nan")})
        np.testing.assert_array_equal(scheduler.learning_rates(1, 5), before)


losses = st.lists(
    st.one_of(
        st.sampled_from([0.5, 0.5 - 1e-4, 0.5 + 1e-8, 0.4, 0.4 - 2e-9, float("nan"), float("inf")]),
        st.floats(-2.0, 2.0, allow_subnormal=False),
    ),
    min_size=1,
    max_size=25,
)


def keras_rates(values: list[float], monitor: str, rate: float, **settings: Any) -> list[Any]:
    """The rates that ReduceLROnPlateau leaves after each epoch, on a real optimizer."""
    import keras

    optimizer = keras.optimizers.SGD(rate)
    callback = keras.callbacks.ReduceLROnPlateau(monitor=monitor, **settings)
    callback.set_model(SimpleNamespace(optimizer=optimizer))
    callback.on_train_begin()
    rates = []
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {monitor: value})
        rates.append(np.float32(optimizer.learning_rate.numpy()))
    return rates


def performance_rates(values: list[float], scheduler: Performance) -> list[Any]:
    rates = []
    for epoch, value in enumerate(values):
        scheduler.observe(epoch, {scheduler.monitor: value})
        rates.append(scheduler.learning_rates(epoch + 1, 1)[0])
    return rates


class TestPerformance:
    """Cuts on a plateau."""

    @pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
    @settings(max_examples=100)
    @given(
        losses,
        st.fixed_dictionaries(
            {
                "factor": st.sampled_from([0.1, 0.3, 0.5, 0.999]),
                "patience": st.integers(0, 4),
                "min_delta": st.sampled_from([0.0, 1e-8, 1e-4, 0.1]),
                "cooldown": st.integers(0, 3),
                "min_lr": st.sampled_from([0.0, 0.003, 0.01, 0.02]),
                "mode": st.sampled_from(["min", "max"]),
            }
        ),
    )
    @pytest.mark.slow
    def test_keras_decides_the_same(self, values: list[float], chosen: dict[str, Any]) -> None:
        ours = performance_rates(values, Performance(RATE, monitor="any", **chosen))
        np.testing.assert_array_equal(ours, keras_rates(values, "any", RATE, **chosen))

    @pytest.mark.parametrize(
        ("cooldown", "cuts"), [(0, [4, 7, 10]), (1, [4, 7, 10]), (2, [4, 8, 12])]
    )
    def test_a_flat_metric(self, cooldown: int, cuts: list[int]) -> None:
        scheduler = Performance(RATE, patience=3, cooldown=cooldown)
        rates = performance_rates(12 * [0.5], scheduler)
        fallen = np.flatnonzero(np.diff([np.float32(RATE), *rates])) + 1
        assert fallen.tolist() == cuts

    @pytest.mark.parametrize(
        ("mode", "values", "expected"),
        [  # the rates of PyTorch 2.13.0 with patience=0: it cuts after patience + 1
            (
                "min",
                [1.0, 0.91, 0.9, 0.89, 0.79, 0.8, 0.7],
                [1, 0.5, 0.25, 0.25, 0.25, 1 / 8, 1 / 8],
            ),
            (
                "max",
                [0.5, 0.54, 0.55, 0.56, 0.6, 0.617, 0.7],
                [1, 0.5, 0.25, 0.25, 1 / 8, 1 / 8, 1 / 8],
            ),
        ],
    )
    def test_a_relative_threshold_is_a_share_of_the_best(
        self, mode: str, values: list[float], expected: list[float]
    ) -> None:
        scheduler = Performance(
            1.0, monitor="any", mode=mode, factor=0.5, patience=1, min_delta=0.1,
            threshold_mode="rel",
        )  # fmt: skip
        assert performance_rates(values, scheduler) == expected

    @pytest.mark.parametrize(("monitor", "rising"), [("val/loss", False), ("val/accuracy", True)])
    def test_auto_knows_what_is_better(self, monitor: str, rising: bool) -> None:
        values = [0.1, 0.2, 0.3, 0.4]
        scheduler = Performance(1.0, monitor=monitor, factor=0.5, patience=1)
        assert performance_rates(values, scheduler)[-1] == (1.0 if rising else 0.125)

    def test_warmup_comes_first_and_is_not_observed(self) -> None:
        scheduler = Performance(1.0, factor=0.5, patience=1, warmup_epochs=2, update="step")
        np.testing.assert_array_equal(scheduler.learning_rates(0, 2), [0, 0.25])
        rates = performance_rates([0.1, 0.2, 0.9, 0.9], scheduler)
        assert rates == [0.5, 1.0, 1.0, 0.5]

    def test_a_metric_that_is_not_measured(self) -> None:
        scheduler = Performance(RATE, monitor="val/los", mode="min")
        with pytest.raises(RequestError) as refused:
            scheduler.observe(0, {"val/loss": 0.1, "train/loss": 0.2})
        assert (refused.value.key, refused.value.got) == ("scheduler.monitor", "'val/los'")
        assert "train/loss, val/loss" in refused.value.rule

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("factor", 1.0),
            ("factor", 0),
            ("patience", 1.5),
            ("patience", -1),
            ("min_delta", -1e-4),
            ("cooldown", -1),
            ("min_lr", -1),
            ("mode", "down"),
            ("threshold_mode", "relative"),
            ("update", "batch"),
            ("warmup_epochs", -1),
            ("initial_learning_rate", 0),
        ],
    )
    def test_a_mistake_is_named(self, key: str, value: Any) -> None:
        with pytest.raises(RequestError) as refused:
            Performance(**{"initial_learning_rate": RATE, key: value})
        assert (refused.value.key, refused.value.got) == (f"scheduler.{key}", repr(value))

    def test_a_metric_without_a_direction(self) -> None:
        with pytest.raises(RequestError, check=lambda error: error.key == "scheduler.mode"):
            Performance(RATE, monitor="opt/grad_norm")


class TestOptions:
    """The files in conf/scheduler."""

    @pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.stem)
    @pytest.mark.parametrize("epochs", [1, 25])
    @pytest.mark.parametrize("update", ["epoch", "step"])
    def test_it_builds(self, path: Path, epochs: int, update: str) -> None:
        scheduler = build(option(path.stem, epochs, update=update, warmup_epochs=0.5))
        rates = curve(scheduler, epochs, 4)
        assert isinstance(scheduler, Scheduler)
        assert np.all(np.isfinite(rates))
        assert np.all(rates >= 0)
        assert path.read_text().startswith("# Choose")

    def test_the_notebooks_piecewise(self) -> None:
        rates = curve(build(option("piecewise")), 25, 1719).reshape(25, 1719)
        notebook = np.array([0.01] * 5 + [0.005] * 10 + [0.001] * 10, np.float32)
        np.testing.assert_array_equal(rates[:, 1:], np.repeat(notebook[:, None], 1718, axis=1))

    def test_the_notebooks_one_cycle(self) -> None:
        epochs, steps = 25, 400
        rates = curve(build(option("one_cycle", epochs)), epochs, steps)
        total = epochs * steps
        last = total // 10
        half = (total - last) // 2
        corners = [(0, 0.001), (half, 0.01), (2 * half, 0.001), (total, 1e-6)]
        steps_at, rates_at = zip(*corners, strict=True)
        np.testing.assert_allclose(
            rates, np.interp(np.arange(total), steps_at, rates_at), rtol=1e-5
        )

    def test_per_step_and_per_epoch_exponentials_meet_at_epoch_starts(self) -> None:
        per_step = curve(build(option("exponential_step")), 25, 10).reshape(25, 10)
        per_epoch = curve(build(option("exponential")), 25, 10).reshape(25, 10)
        np.testing.assert_array_equal(per_step[:, 0], per_epoch[:, 0])
        assert np.all(per_step[:, 1:] < per_epoch[:, 1:])

    @pytest.mark.parametrize("name", ["linear", "cosine", "cosine_restarts", "wsd", "one_cycle"])
    def test_after_a_warmup_it_still_ends_with_the_training(self, name: str) -> None:
        scheduler = build(option(name, epochs=10, warmup_epochs=3))
        assert scheduler.learning_rates(9, 1000)[-1] < 1e-4 * RATE * 60
        assert scheduler.learning_rates(10, 1)[0] <= RATE / 1e4

    def test_a_warmup_delays_what_has_no_horizon(self) -> None:
        late = build(option("power", warmup_epochs=2))
        np.testing.assert_array_equal(
            late.learning_rates(7, 10), build(option("power")).learning_rates(5, 10)
        )


def my_schedule(peak: float, **others: float) -> schedules.Schedule:
    """A user's own factory, which takes any further key."""
    return lambda epochs: np.asarray(peak + sum(others.values()))


def no_schedule() -> list[float]:
    """A user's own mistake."""
    return []


class MyScheduler:
    """A user's own scheduler, which applies `update` itself."""

    def __init__(self, epochs: int, update: str) -> None:
        self.settings = (epochs, update)

    def learning_rates(self, epoch: int, steps: int) -> Any:
        return np.full(steps, 0.1, np.float32)

    def observe(self, epoch: int, metrics: Mapping[str, float]) -> None:
        pass


class TestSequential:
    """Parts of a whole, which says how often the rate is read."""

    def parts(self, **keys: Any) -> dict[str, Any]:
        flat = {"_target_": "fmnist_lab.schedules.constant", "initial_learning_rate": 1.0}
        return option("sequential", 8, schedules=[flat, flat | keys], boundaries=[4])

    @pytest.mark.parametrize("update", ["epoch", "step"])
    def test_the_warmup_of_a_part_is_that_of_a_whole(self, update: str) -> None:
        alone = option("constant", 4, initial_learning_rate=1.0, warmup_epochs=2, update=update)
        joined = curve(build(self.parts(warmup_epochs=2) | {"update": update}), 8, 2)
        np.testing.assert_array_equal(joined, [*[1.0] * 8, *curve(build(alone), 4, 2)])
        assert joined[8] == (0.25 if update == "epoch" else 0)

    def test_a_part_with_another_update(self) -> None:
        with pytest.raises(RequestError) as refused:
            build(self.parts(update="epoch"))
        assert (refused.value.key, refused.value.got) == ("scheduler.schedules", "'epoch'")


class TestBuild:
    """From a configuration node to a scheduler."""

    def test_your_own_factory(self) -> None:
        node = {"_target_": f"{__name__}.my_schedule", "peak": 0.25, "extra": 0.25, "epochs": 3}
        np.testing.assert_array_equal(build(node).learning_rates(0, 3), 0.5)

    def test_your_own_scheduler(self) -> None:
        made = build({"_target_": f"{__name__}.MyScheduler", "epochs": 9, "update": "step"})
        assert isinstance(made, MyScheduler)
        assert made.settings == (9, "step")

    @pytest.mark.parametrize(
        ("key", "neutral", "value"), [("update", "step", "epoch"), ("warmup_epochs", 0, 2)]
    )
    def test_your_own_scheduler_without_a_shared_key(
        self, monkeypatch: pytest.MonkeyPatch, key: str, neutral: Any, value: Any
    ) -> None:
        monkeypatch.setattr(MyScheduler, "__init__", lambda self: None)
        node = {"_target_": f"{__name__}.MyScheduler", "epochs": 9}
        assert isinstance(build(node | {key: neutral}), MyScheduler)
        with pytest.raises(RequestError) as refused:
            build(node | {key: value})
        assert (refused.value.key, refused.value.got) == (f"scheduler.{key}", repr(value))

    def test_performance_shows_its_settings(self) -> None:
        made = build(option("performance", warmup_epochs=1, min_lr=1e-5))
        assert isinstance(made, Performance)
        assert (made.factor, made.patience, made.min_lr) == (0.5, 3, 1e-5)
        assert (made.monitor, made.warmup_epochs) == ("val/loss", 1)

    @pytest.mark.parametrize("target", [None, 3, "cosine", "fmnist_lab.schedules.cosin", "math.pi"])
    def test_a_target_that_is_no_factory(self, target: Any) -> None:
        with pytest.raises(RequestError) as refused:
            build({"_target_": target})
        assert (refused.value.key, refused.value.got) == ("scheduler._target_", repr(target))

    def test_a_target_that_returns_no_schedule(self) -> None:
        with pytest.raises(RequestError) as refused:
            build({"_target_": f"{__name__}.no_schedule"})
        assert refused.value.key == "scheduler._target_"
        assert refused.value.hint.endswith("[]")

    def test_a_misspelt_key(self) -> None:
        with pytest.raises(RequestError) as refused:
            build(option("cosine", alhpa=0.1))
        assert (refused.value.key, refused.value.got) == ("scheduler.alhpa", "0.1")
        assert "alpha" in refused.value.hint

    def test_a_missing_key(self) -> None:
        node = option("exponential")
        del node["decay_epochs"]
        with pytest.raises(RequestError, check=lambda error: error.key == "scheduler.decay_epochs"):
            build(node)

    @pytest.mark.parametrize("name", ["constant", "cosine", "performance"])
    @pytest.mark.parametrize("warmup_epochs", [5, 7])
    def test_a_warmup_as_long_as_the_training(self, name: str, warmup_epochs: int) -> None:
        with pytest.raises(RequestError) as refused:
            build(option(name, epochs=5, warmup_epochs=warmup_epochs))
        assert refused.value.key == "scheduler.warmup_epochs"
        assert refused.value.got == str(warmup_epochs)

    def test_an_unknown_update(self) -> None:
        with pytest.raises(RequestError, check=lambda error: error.key == "scheduler.update"):
            build(option("cosine", update="batch"))


def with_an_if(rate: float, drop: int) -> Any:
    return lambda epoch: rate if epoch < drop else rate / 10


def with_math(rate: float) -> Any:
    return lambda epoch: rate * math.exp(-epoch)


def of_an_epoch(epoch: Any, rate: float = 0.1) -> Any:
    return rate * 0.9**epoch


def from_a_list(epoch: int) -> float:
    return [0.3, 0.2, 0.1][epoch]


def of_a_step(step: Any, rate: float = 0.1) -> Any:
    return rate / (1 + step)


def of_keras_kind() -> Any:
    from keras.optimizers.schedules import LearningRateSchedule

    class Inverse(LearningRateSchedule):  # type: ignore[misc]  # Keras has no types
        def __call__(self, n: Any) -> Any:  # not named step, as Keras's own is
            return 0.1 / (1 + n)

    return Inverse()


class TestPlainFunctions:
    """Functions that know one number, and count it in epochs or in updates."""

    @pytest.mark.parametrize(
        ("name", "keys", "expected"),
        [
            ("with_an_if", {"rate": 0.1, "drop": 1}, [0.1, 0.1, 0.01, 0.01, 0.01, 0.01]),
            ("with_math", {"rate": 0.1}, [0.1 * math.exp(-step / 2) for step in range(6)]),
            ("of_an_epoch", {"rate": 0.2}, [0.2 * 0.9 ** (step / 2) for step in range(6)]),
            ("from_a_list", {"update": "epoch"}, [0.3, 0.3, 0.2, 0.2, 0.1, 0.1]),
            ("of_a_step", {}, [0.1 / (1 + step) for step in range(6)]),
            ("of_a_step", {"warmup_epochs": 1}, [0, 0.05, 0.1, 0.1 / 2, 0.1 / 3, 0.1 / 4]),
        ],
    )
    def test_they_are_schedules(
        self, name: str, keys: dict[str, Any], expected: list[float]
    ) -> None:
        scheduler = build({"_target_": f"{__name__}.{name}"} | keys)
        np.testing.assert_allclose(curve(scheduler, 3, 2), expected, rtol=1e-6)

    def test_a_wrong_key_is_named(self) -> None:
        with pytest.raises(RequestError, check=lambda error: error.key == "scheduler.speed"):
            build({"_target_": f"{__name__}.of_an_epoch", "speed": 1})

    @pytest.mark.parametrize(
        ("name", "keys"),
        [
            ("ExponentialDecay", {"decay_steps": 4, "decay_rate": 0.5, "staircase": True}),
            ("InverseTimeDecay", {"decay_steps": 4, "decay_rate": 0.5}),
            ("PolynomialDecay", {"decay_steps": 4, "cycle": True}),
            ("CosineDecay", {"decay_steps": 7}),
            ("CosineDecay", {"decay_steps": 7, "warmup_target": 0.2, "warmup_steps": 5}),
            ("CosineDecayRestarts", {"first_decay_steps": 5}),
        ],
    )
    def test_those_of_keras_count_updates(self, name: str, keys: dict[str, Any]) -> None:
        import_tensorflow()
        from keras.optimizers import schedules as keras_schedules

        keys |= {"initial_learning_rate": 0.1}
        theirs = getattr(keras_schedules, name)(**keys)
        ours = build({"_target_": f"keras.optimizers.schedules.{name}"} | keys)
        expected = [float(theirs(step)) for step in range(12)]
        np.testing.assert_allclose(curve(ours, 3, 4), expected, rtol=1e-6, atol=1e-9)

    def test_one_of_keras_counts_updates_by_its_type(self) -> None:
        import_tensorflow()
        scheduler = build({"_target_": f"{__name__}.of_keras_kind"})
        np.testing.assert_allclose(curve(scheduler, 3, 2), 0.1 / np.arange(1, 7), rtol=1e-6)
