"""Whole curves against Keras's own schedules, and against closed forms where Keras has none."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_lab import schedules
from fmnist_lab.errors import RequestError

RATE = 0.01
STEPS = 20
EPOCHS = 10
TRAINING = np.arange(EPOCHS * STEPS) / STEPS  # every update of a training, in epochs
AND_AFTER = np.arange(2 * EPOCHS * STEPS) / STEPS


@pytest.fixture(scope="module")
def keras_schedules() -> Any:
    from keras.optimizers import schedules as keras_schedules

    return keras_schedules


def keras_curve(schedule: Any, epochs: Any = AND_AFTER) -> Any:
    return np.array([float(schedule(step)) for step in range(len(epochs))])


class TestAgainstKeras:
    """Step by step, during the training and after it."""

    @pytest.mark.parametrize("staircase", [False, True])
    def test_exponential(self, keras_schedules: Any, staircase: bool) -> None:
        theirs = keras_schedules.ExponentialDecay(RATE, 3 * STEPS, 0.3, staircase=staircase)
        ours = schedules.exponential(RATE, 3, 0.3, staircase=staircase)
        np.testing.assert_allclose(ours(AND_AFTER), keras_curve(theirs), rtol=1e-5)

    def test_piecewise_keeps_the_old_rate_on_a_boundary(self, keras_schedules: Any) -> None:
        theirs = keras_schedules.PiecewiseConstantDecay(
            [5 * STEPS, 8 * STEPS], [0.01, 0.005, 0.001]
        )
        ours = schedules.piecewise(0.01, [5, 8], [1, 0.5, 0.1])
        np.testing.assert_array_equal(ours(AND_AFTER).astype(np.float32), keras_curve(theirs))
        np.testing.assert_array_equal(ours([5, 5.05, 8, 8.05]), [0.01, 0.005, 0.005, 0.001])

    def test_power_1_is_inverse_time(self, keras_schedules: Any) -> None:
        theirs = keras_schedules.InverseTimeDecay(RATE, 5 * STEPS, 1.0)
        np.testing.assert_allclose(
            schedules.power(RATE, 5)(AND_AFTER), keras_curve(theirs), rtol=1e-5
        )

    @pytest.mark.parametrize(("power", "end"), [(1.0, 0.0), (2.0, 1e-3), (0.5, 1e-4), (1.0, 0.02)])
    def test_polynomial(self, keras_schedules: Any, power: float, end: float) -> None:
        theirs = keras_schedules.PolynomialDecay(RATE, EPOCHS * STEPS, end, power)
        ours = schedules.polynomial(RATE, EPOCHS, end_learning_rate=end, power=power)
        np.testing.assert_allclose(ours(AND_AFTER), keras_curve(theirs), rtol=1e-4, atol=1e-9)

    @pytest.mark.parametrize("alpha", [0.0, 0.1])
    def test_cosine_floor_is_a_fraction(self, keras_schedules: Any, alpha: float) -> None:
        theirs = keras_schedules.CosineDecay(RATE, EPOCHS * STEPS, alpha)
        ours = schedules.cosine(RATE, EPOCHS, alpha=alpha)
        np.testing.assert_allclose(ours(AND_AFTER), keras_curve(theirs), rtol=1e-4, atol=1e-8)
        assert ours(EPOCHS) == RATE * alpha

    def test_warmup_is_not_part_of_the_decay(self, keras_schedules: Any) -> None:
        theirs = keras_schedules.CosineDecay(
            0.0, (EPOCHS - 3) * STEPS, warmup_target=RATE, warmup_steps=3 * STEPS
        )
        ours = schedules.warmup(schedules.cosine(RATE, EPOCHS - 3), 3)
        np.testing.assert_allclose(ours(AND_AFTER), keras_curve(theirs), rtol=1e-4, atol=1e-8)

    @pytest.mark.parametrize(("t_mul", "m_mul", "alpha"), [(1.0, 1.0, 0.0), (2.0, 0.5, 0.1)])
    def test_cosine_restarts(
        self, keras_schedules: Any, t_mul: float, m_mul: float, alpha: float
    ) -> None:
        theirs = keras_schedules.CosineDecayRestarts(RATE, 37, t_mul, m_mul, alpha)
        ours = schedules.cosine_restarts(
            initial_learning_rate=RATE,
            epochs=EPOCHS,
            first_decay_epochs=37 / STEPS,
            t_mul=t_mul,
            m_mul=m_mul,
            alpha=alpha,
        )
        np.testing.assert_allclose(
            ours(TRAINING), keras_curve(theirs, TRAINING), rtol=1e-3, atol=1e-8
        )


class TestClosedForms:
    """What Keras has no schedule for."""

    def test_constant(self) -> None:
        np.testing.assert_array_equal(schedules.constant(RATE)(AND_AFTER), RATE)

    def test_exponential_of_the_notebook(self) -> None:
        curve = schedules.exponential(0.01, 20)(np.arange(25))
        np.testing.assert_allclose(curve, [0.01 * 0.1 ** (epoch / 20) for epoch in range(25)])

    def test_staircase_drops_on_time_where_the_quotient_is_a_hair_short(self) -> None:
        curve = schedules.exponential(1.0, 0.1, 0.5, staircase=True)(np.arange(10) / 10)
        np.testing.assert_array_equal(curve, 0.5 ** np.arange(10))

    def test_notebook_linear_rises_from_zero(self) -> None:
        curve = schedules.notebook_linear(0.01)(np.arange(41))
        np.testing.assert_allclose(curve, 0.01 * 0.1 * np.arange(41) / 20)
        assert curve[0] == 0
        assert np.all(np.diff(curve) > 0)

    def test_power_is_not_a_polynomial(self) -> None:
        np.testing.assert_allclose(
            schedules.power(RATE, 2, power=3)([0, 2, 6]), [RATE, RATE / 8, RATE / 64]
        )

    def test_linear_ends_at_zero_one_update_after_the_last(self) -> None:
        curve = schedules.linear(RATE, EPOCHS)(TRAINING)
        np.testing.assert_allclose(
            curve, RATE * np.arange(EPOCHS * STEPS, 0, -1) / (EPOCHS * STEPS)
        )
        assert schedules.linear(RATE, EPOCHS)(EPOCHS) == 0

    def test_one_cycle_of_the_textbook(self) -> None:
        curve = schedules.one_cycle(0.1, 20)([0, 4.5, 9, 13.5, 18, 19, 20, 25])
        expected = [0.01, 0.055, 0.1, 0.055, 0.01, 0.005005, 1e-5, 1e-5]
        np.testing.assert_allclose(curve, expected)

    @pytest.mark.parametrize(
        ("mode", "peaks", "halfway_down"),
        [
            ("triangular", [0.08, 0.08, 0.08], [0.05, 0.05, 0.05]),
            ("triangular2", [0.08, 0.05, 0.035], [0.05, 0.035, 0.0275]),
            (
                "exp_range",
                [0.02 + 0.06 * 0.9**t for t in (2, 6, 10)],
                [0.02 + 0.03 * 0.9**t for t in (3, 7, 11)],
            ),
        ],
    )
    def test_triangular(self, mode: str, peaks: list[float], halfway_down: list[float]) -> None:
        cyclic = schedules.triangular(0.08, epochs=12, cycles=3, mode=mode)
        np.testing.assert_allclose(cyclic([2, 6, 10]), peaks, rtol=1e-14)
        np.testing.assert_allclose(cyclic([3, 7, 11]), halfway_down, rtol=1e-14)
        np.testing.assert_allclose(cyclic([0, 4, 8, 12, 15]), 0.02, rtol=1e-14)

    def test_multi_step_has_the_new_rate_on_a_milestone(self) -> None:
        steps = schedules.multi_step(RATE, [5, 7.5], gamma=0.5)
        np.testing.assert_array_equal(
            steps([4.95, 5, 5.05, 7.45, 7.5]) / RATE, [1, 0.5, 0.5, 0.5, 0.25]
        )

    def test_wsd(self) -> None:
        curve = schedules.wsd(RATE, 10, decay_fraction=0.4, alpha=0.1)([0, 3, 6, 8, 10, 12])
        np.testing.assert_allclose(curve / RATE, [1, 1, 1, 0.55, 0.1, 0.1])

    def test_shape_goes_through_its_knots_and_not_beyond(self) -> None:
        factors = {"a": 3.0, "b": 0.5, "c": 0.5, "d": 2.0, "e": 0.01}
        curve = schedules.shape(RATE, 10, factors)
        knots = RATE * np.cumprod([1.0, *factors.values()])
        np.testing.assert_allclose(curve(np.linspace(0, 10, 6)), knots, rtol=1e-12)
        for number, ends in enumerate(pairwise(knots)):
            within = curve(np.linspace(2 * number, 2 * number + 2, 50))
            assert min(ends) * (1 - 1e-12) <= within.min()
            assert within.max() <= max(ends) * (1 + 1e-12)
        np.testing.assert_array_equal(curve([12, 100]), curve(10))

    @pytest.mark.parametrize("count", [1, 2, 3, 6])
    def test_shape_is_scipys_interpolation_of_the_logarithm(self, count: int) -> None:
        from scipy.interpolate import PchipInterpolator

        for seed in range(20):
            factors = np.random.default_rng(seed).lognormal(sigma=2.0, size=count)
            logs = np.log(RATE * np.cumprod([1.0, *factors]))
            ends = np.linspace(0, EPOCHS, count + 1)
            theirs = np.exp(PchipInterpolator(ends, logs)(TRAINING))
            named = {f"f{number}": factor for number, factor in enumerate(factors)}
            ours = schedules.shape(RATE, EPOCHS, named)(TRAINING)
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)

    @pytest.mark.parametrize(("t_mul", "starts"), [(1.0, [0, 4, 8]), (2.0, [0, 12 / 7, 36 / 7])])
    def test_the_last_of_the_cycles_ends_with_the_training(
        self, t_mul: float, starts: list[float]
    ) -> None:
        restarts = schedules.cosine_restarts(
            initial_learning_rate=RATE, epochs=12, cycles=3, t_mul=t_mul, m_mul=0.5
        )
        np.testing.assert_allclose(restarts(starts), [RATE, RATE / 2, RATE / 4])
        just_before = np.array([*starts[1:], 12]) - 1e-6
        np.testing.assert_allclose(restarts(just_before), 0, atol=1e-12)
        assert restarts(12) == 0
        assert restarts(15) == 0

    def test_cycles_may_be_shorter_than_any_update(self) -> None:
        restarts = schedules.cosine_restarts(
            initial_learning_rate=RATE, epochs=20, cycles=60, t_mul=2.0, m_mul=0.5
        )
        assert restarts(0) == RATE

    def test_an_unaligned_cycle_is_cut_off_at_a_high_rate(self) -> None:
        restarts = schedules.cosine_restarts(
            initial_learning_rate=RATE, epochs=10, first_decay_epochs=8, t_mul=1.0
        )
        assert restarts(10 - 1e-9) > 0.8 * RATE


# The rates of other packages at updates 0, 2, 4, ... of a training of 20, from a rate of 0.1, as
# computed by them: optax 0.2.8, PyTorch 2.13.0, transformers 5.24.0 and timm 1.0.31. The last row
# is the formula of a paper.
PEERS: list[tuple[str, schedules.Schedule, list[float]]] = [
    (
        "optax.cosine_onecycle_schedule(20, 0.1)",
        schedules.one_cycle(0.1, 20, 25, 1e4, annealing="cosine", pct_start=0.3),
        [4e-3, 0.028, 0.076, 0.1, 0.09504846, 0.08117457, 0.06112619, 0.03887419, 0.01882583,
         0.004951935, 4e-7],
    ),
    (  # whose 21st update is our end, and whose peak is at 0.3 * 21 - 1
        "torch OneCycleLR(0.1, total_steps=21)",
        schedules.one_cycle(0.1, 20, 25, 1e4, annealing="cosine", pct_start=0.265),
        [0.004, 0.03396027606, 0.08644034834, 0.09944154355, 0.09190443763, 0.07682751155,
         0.05692355327, 0.03577387757, 0.01718394091, 0.004498626449, 4e-07],
    ),
    (
        "torch OneCycleLR(0.1, total_steps=21, three_phase=True)",
        schedules.one_cycle(0.1, 20, 25, 1e4, 0.47, annealing="cosine"),
        [0.004, 0.03396027606, 0.08644034834, 0.09592698963, 0.05057760026, 0.007003856266,
         0.003785059168, 0.002841985338, 0.001536606063, 0.0004307581893, 4e-07],
    ),
    (
        "optax.exponential_decay(0.1, 4, 0.5, end_value=0.02)",
        schedules.exponential(0.1, 4, 0.5, floor=0.2),
        [0.1, 0.07071068, 0.05, 0.03535534, 0.025, 0.02, 0.02],
    ),
    (
        "transformers get_wsd_schedule, 12 stable, 8 cosine, min_lr_ratio=0.1",
        schedules.wsd(0.1, 20, 0.4, 0.1, decay_type="cosine"),
        [*6 * [0.1], 0.1, 0.08681980515, 0.055, 0.02318019485, 0.01, 0.01],
    ),
    (
        "transformers get_wsd_schedule, 12 stable, 8 1-sqrt, min_lr_ratio=0.1",
        schedules.wsd(0.1, 20, 0.4, 0.1, decay_type="1-sqrt"),
        [*6 * [0.1], 0.1, 0.055, 0.03636038969, 0.02205771366, 0.01, 0.01],
    ),
    (
        "transformers get_wsd_schedule, 10 stable, 10 cosine: a cosine that holds",
        schedules.cosine(0.1, 20, hold_fraction=0.5),
        [*6 * [0.1], 0.09045084972, 0.06545084972, 0.03454915028, 0.009549150281],
    ),
    (
        "torch MultiStepLR([3, 7], gamma=0.5)",
        schedules.multi_step(0.1, [3, 7], gamma=0.5),
        [0.1, 0.1, 0.05, 0.05, 0.025],
    ),
    (
        "torch CyclicLR(0.02, 0.1, step_size_up=5)",
        schedules.triangular(0.1, 20, 2, 5),
        [0.02, 0.052, 0.084, 0.084, 0.052, 0.02, 0.052, 0.084, 0.084, 0.052, 0.02],
    ),
    (
        "torch CyclicLR(0.02, 0.1, step_size_up=5, mode='triangular2')",
        schedules.triangular(0.1, 20, 2, 5, "triangular2"),
        [0.02, 0.052, 0.084, 0.084, 0.052, 0.02, 0.036, 0.052, 0.052, 0.036, 0.02],
    ),
    (
        "torch CyclicLR(0.02, 0.1, step_size_up=5, mode='exp_range', gamma=0.9)",
        schedules.triangular(0.1, 20, 2, 5, "exp_range", 0.9),
        [0.02, 0.04592, 0.0619904, 0.054012224, 0.03377495072, 0.02, 0.02903774517, 0.03464114717,
         0.03185932921, 0.02480302833, 0.02],
    ),
    (
        "torch CosineAnnealingWarmRestarts(4, T_mult=2)",
        schedules.cosine_restarts(
            initial_learning_rate=0.1, epochs=20, first_decay_epochs=4, t_mul=2
        ),
        [0.1, 0.05, 0.1, 0.08535533906, 0.05, 0.01464466094, 0.1, 0.09619397663, 0.08535533906,
         0.06913417162, 0.05],
    ),
    (
        "torch PolynomialLR(20, power=2)",
        schedules.polynomial(0.1, 20, 0, 2),
        [0.1, 0.081, 0.064, 0.049, 0.036, 0.025, 0.016, 0.009, 0.004, 0.001, 0],
    ),
    (
        "timm CosineLRScheduler(16, lr_min=0.01, warmup_t=4, warmup_prefix=True)",
        schedules.warmup(schedules.cosine(0.1, 16, 0.1), 4),
        [0, 0.05, 0.1, 0.09657457896, 0.08681980515, 0.07222075446, 0.055, 0.03777924554,
         0.02318019485, 0.01342542104, 0.01],
    ),
    (
        "timm CosineLRScheduler(5, cycle_limit=4, cycle_decay=0.5)",
        schedules.cosine_restarts(
            initial_learning_rate=0.1, epochs=20, cycles=4, t_mul=1, m_mul=0.5
        ),
        [0.1, 0.06545084972, 0.009549150281, 0.04522542486, 0.01727457514, 0.025, 0.01636271243,
         0.00238728757, 0.01130635621, 0.004318643785, 0],
    ),
    (
        "timm PolyLRScheduler(20, power=2, lr_min=0.01)",
        schedules.polynomial(0.1, 20, 0.01, 2),
        [0.1, 0.0829, 0.0676, 0.0541, 0.0424, 0.0325, 0.0244, 0.0181, 0.0136, 0.0109, 0.01],
    ),
    (
        "transformers get_wsd_schedule, 4 of warm-up, 10 stable, 6 linear",
        schedules.warmup(schedules.wsd(0.1, 16, 6 / 16), 4),
        [0, 0.05, *6 * [0.1], 0.06666666667, 0.03333333333, 0, 0],
    ),
    (
        "transformers get_inverse_sqrt_schedule, 4 of warm-up, timescale 10",
        schedules.warmup(schedules.power(0.1, 10, 0.5), 4),
        [0, 0.05, 0.1, 0.1 / 1.2**0.5, 0.08451542547, 0.1 / 1.6**0.5, 0.07453559925],
    ),
    (
        "optax.join_schedules([constant, linear over 10, cosine over 8], [6, 12])",
        schedules.sequential(
            [
                {"_target_": "fmnist_lab.schedules.constant", "initial_learning_rate": 0.1},
                {"_target_": "fmnist_lab.schedules.linear", "initial_learning_rate": 0.1,
                 "epochs": 10},
                {"_target_": "fmnist_lab.schedules.cosine", "initial_learning_rate": 0.05},
            ],
            [6, 12],
            20,
        ),
        [0.1, 0.1, 0.1, 0.1, 0.08, 0.06, 0.05, 0.04267767, 0.025, 0.007322331, 0.0],
    ),
    (
        "Vaswani et al. (2017), 4 of warm-up, 400 units",
        schedules.warmup(schedules.power(0.025, 4, 0.5), 4),
        [0.05 * min(max(n, 1e-9) ** -0.5, n * 4**-1.5) for n in range(0, 24, 2)],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("schedule", "table"), [row[1:] for row in PEERS], ids=[p[0] for p in PEERS]
)
def test_the_table_of_another_package(schedule: schedules.Schedule, table: list[float]) -> None:
    np.testing.assert_allclose(schedule(2 * np.arange(len(table))), table, rtol=1e-6)


class TestWarmup:
    """The ramp, and what it does to the schedule's epochs."""

    def test_per_step_it_rises_from_zero(self) -> None:
        curve = schedules.warmup(schedules.constant(RATE), 2)([0, 0.5, 1, 1.5, 2, 3])
        np.testing.assert_allclose(curve / RATE, [0, 0.25, 0.5, 0.75, 1, 1])

    def test_per_epoch_the_first_epoch_learns(self) -> None:
        curve = schedules.warmup(schedules.constant(RATE), 4, per_epoch=True)(np.arange(6))
        np.testing.assert_allclose(curve / RATE, [1 / 8, 3 / 8, 5 / 8, 7 / 8, 1, 1])

    def test_the_schedule_counts_from_its_end(self) -> None:
        late = schedules.warmup(schedules.piecewise(RATE, [5], [1, 0.5]), 2)
        np.testing.assert_array_equal(late([2, 7, 7.05]), [RATE, RATE, RATE / 2])

    @given(st.floats(0.01, 5.0), st.floats(1e-6, 10.0))
    def test_it_ends_at_the_schedules_start(self, warmup_epochs: float, rate: float) -> None:
        plain = schedules.power(rate, 3)
        warm = schedules.warmup(plain, warmup_epochs)
        assert warm(warmup_epochs) == plain(0.0)
        ramp = warm(np.linspace(0, warmup_epochs, 50))
        assert np.all(np.diff(ramp) >= 0)
        assert np.all(ramp <= plain(0.0))

    @pytest.mark.parametrize("warmup_epochs", [0, -1, float("nan")])
    def test_a_length_that_is_not_positive(self, warmup_epochs: float) -> None:
        with pytest.raises(RequestError) as refused:
            schedules.warmup(schedules.constant(RATE), warmup_epochs)
        assert refused.value.key == "scheduler.warmup_epochs"
        assert refused.value.got == str(warmup_epochs)


rates = st.floats(1e-8, 10.0)
horizons = st.floats(0.5, 200.0)
fractions = st.floats(0.0, 1.0)
falling = st.one_of(
    st.builds(schedules.constant, rates),
    st.builds(
        schedules.exponential, rates, st.floats(0.1, 100.0), st.floats(0.01, 1.0), st.booleans()
    ),
    st.builds(schedules.power, rates, st.floats(0.1, 100.0), st.floats(0.1, 5.0)),
    st.builds(schedules.polynomial, rates, horizons, st.just(0.0), st.floats(0.1, 5.0)),
    st.builds(schedules.linear, rates, horizons),
    st.builds(schedules.cosine, rates, horizons, fractions, st.floats(0, 0.9)),
    st.builds(
        schedules.wsd,
        rates,
        horizons,
        st.floats(0.01, 1.0),
        fractions,
        st.sampled_from(["linear", "cosine", "1-sqrt"]),
    ),
    st.builds(schedules.multi_step, rates, st.just([3, 5.5]), st.floats(0.01, 1.0)),
)
not_falling = st.one_of(
    st.builds(schedules.notebook_linear, rates, st.floats(0.1, 100.0)),
    st.builds(
        schedules.one_cycle,
        rates,
        horizons,
        st.floats(1, 100),
        st.floats(1, 1e4),
        annealing=st.sampled_from(["linear", "cosine"]),
        pct_start=st.none() | st.floats(0.01, 0.99),
    ),
    st.builds(
        schedules.shape,
        rates,
        horizons,
        st.dictionaries(st.text(max_size=2), st.floats(1e-3, 10.0), min_size=1, max_size=7),
    ),
    st.builds(
        schedules.triangular,
        rates,
        horizons,
        st.integers(1, 1000),
        st.floats(1, 100),
        st.sampled_from(["triangular", "triangular2", "exp_range"]),
        st.floats(0.01, 1.0),
    ),
    st.builds(
        schedules.cosine_restarts,
        initial_learning_rate=rates,
        epochs=horizons,
        cycles=st.integers(1, 6),
        t_mul=st.floats(1.0, 3.0),
        m_mul=st.floats(0.1, 1.0),
        alpha=fractions,
    ),
)
epochs = st.lists(st.floats(0.0, 400.0), min_size=1, max_size=30)


class TestProperties:
    """What holds for every schedule."""

    @given(st.one_of(falling, not_falling), epochs)
    def test_rates_are_finite_and_never_negative(
        self, schedule: schedules.Schedule, epochs: list[float]
    ) -> None:
        curve = schedule(epochs)
        assert curve.shape == (len(epochs),)
        assert curve.dtype == np.float64
        assert np.all(np.isfinite(curve))
        assert np.all(curve >= 0)

    @given(falling, epochs)
    def test_decays_never_rise(self, schedule: schedules.Schedule, epochs: list[float]) -> None:
        curve = schedule(np.sort(epochs))
        assert np.all(np.diff(curve) <= 1e-12 * curve[0])

    @given(rates, horizons, fractions)
    def test_they_end_where_they_say(self, rate: float, horizon: float, alpha: float) -> None:
        assert schedules.linear(rate, horizon)(horizon) == 0
        assert schedules.cosine(rate, horizon, alpha)(horizon) == rate * alpha
        assert schedules.wsd(rate, horizon, 0.3, alpha)(horizon) == rate * alpha
        assert schedules.polynomial(rate, horizon, rate / 2)(horizon) == rate / 2
        assert schedules.one_cycle(rate, horizon)(horizon) == pytest.approx(rate / 1e4)
        assert schedules.triangular(rate, horizon)(horizon) == rate / 4

    def test_a_number_gives_a_number_of_the_same_shape(self) -> None:
        assert schedules.constant(RATE)(2.5).shape == ()
        assert schedules.cosine(RATE, 3)(np.zeros((2, 3))).shape == (2, 3)


NAN, INFINITY = float("nan"), float("inf")
NODE = {"_target_": "fmnist_lab.schedules.constant", "initial_learning_rate": RATE}
PLATEAU = NODE | {"_target_": "fmnist_lab.schedules.Performance"}
restarts = schedules.cosine_restarts


def joined(*nodes: dict[str, Any]) -> Callable[..., Any]:
    return lambda initial_learning_rate, **keys: schedules.sequential(list(nodes), **keys)


MISTAKES: list[tuple[Callable[..., Any], dict[str, Any], str, str]] = [
    (schedules.constant, {"initial_learning_rate": 0}, "initial_learning_rate", "0"),
    (schedules.constant, {"initial_learning_rate": "a"}, "initial_learning_rate", "'a'"),
    (schedules.constant, {"initial_learning_rate": True}, "initial_learning_rate", "True"),
    (schedules.exponential, {"decay_epochs": 0}, "decay_epochs", "0"),
    (schedules.exponential, {"decay_epochs": NAN}, "decay_epochs", "nan"),
    (schedules.exponential, {"decay_epochs": 5, "decay_rate": 0}, "decay_rate", "0"),
    (schedules.notebook_linear, {"decay_epochs": -1}, "decay_epochs", "-1"),
    (schedules.piecewise, {"boundaries": [5, 5], "factors": [1, 1, 1]}, "boundaries", "[5, 5]"),
    (schedules.piecewise, {"boundaries": [], "factors": [1]}, "boundaries", "[]"),
    (schedules.piecewise, {"boundaries": [-5], "factors": [1, 1]}, "boundaries", "-5"),
    (schedules.piecewise, {"boundaries": [5], "factors": [1]}, "factors", "[1]"),
    (schedules.piecewise, {"boundaries": [5], "factors": [1, INFINITY]}, "factors", "inf"),
    (schedules.piecewise, {"boundaries": [5], "factors": [1, -1]}, "factors", "-1"),
    (schedules.power, {"decay_epochs": 5, "power": 0}, "power", "0"),
    (schedules.polynomial, {"epochs": 10, "end_learning_rate": -1}, "end_learning_rate", "-1"),
    (schedules.linear, {"epochs": 0}, "epochs", "0"),
    (schedules.cosine, {"epochs": 10, "alpha": 1.5}, "alpha", "1.5"),
    (restarts, {"epochs": 10}, "cycles", "None and None"),
    (restarts, {"epochs": 10, "cycles": 2, "first_decay_epochs": 5}, "cycles", "2 and 5"),
    (restarts, {"epochs": 10, "cycles": 1.5}, "cycles", "1.5"),
    (restarts, {"epochs": 10, "cycles": 0}, "cycles", "0"),
    (restarts, {"epochs": 10, "first_decay_epochs": 0}, "first_decay_epochs", "0"),
    (restarts, {"epochs": 10, "cycles": 2, "t_mul": 0.5}, "t_mul", "0.5"),
    (schedules.wsd, {"epochs": 10, "decay_fraction": 0}, "decay_fraction", "0"),
    (schedules.wsd, {"epochs": 10, "decay_type": "sqrt"}, "decay_type", "'sqrt'"),
    (schedules.cosine, {"epochs": 10, "hold_fraction": 1}, "hold_fraction", "1"),
    (schedules.exponential, {"decay_epochs": 5, "floor": 2}, "floor", "2"),
    (joined(NODE, NODE), {"epochs": 10, "boundaries": [2, 4]}, "schedules", str([NODE, NODE])),
    (
        joined(NODE, PLATEAU),
        {"epochs": 10, "boundaries": [5]},
        "schedules",
        "fmnist_lab.schedules.Performance",
    ),
    (schedules.multi_step, {"milestones": [5, 5]}, "milestones", "[5, 5]"),
    (schedules.multi_step, {"milestones": 5}, "milestones", "5"),
    (schedules.multi_step, {"milestones": [5], "gamma": 0}, "gamma", "0"),
    (schedules.shape, {"epochs": 0, "factors": {"a": 1}}, "epochs", "0"),
    (schedules.shape, {"epochs": 10, "factors": {}}, "factors", "{}"),
    (schedules.shape, {"epochs": 10, "factors": [1, 2]}, "factors", "[1, 2]"),
    (schedules.shape, {"epochs": 10, "factors": {"a": 1, "b": 0}}, "factors.b", "0"),
    (schedules.one_cycle, {"epochs": 10, "annealing": 0}, "annealing", "0"),
    (schedules.one_cycle, {"epochs": 10, "pct_start": 0}, "pct_start", "0"),
    (schedules.one_cycle, {"epochs": 10, "div_factor": 0}, "div_factor", "0"),
    (schedules.one_cycle, {"epochs": 10, "final_div_factor": 0}, "final_div_factor", "0"),
    (schedules.one_cycle, {"epochs": 10, "final_fraction": 0}, "final_fraction", "0"),
    (schedules.triangular, {"epochs": 10, "cycles": 0}, "cycles", "0"),
    (schedules.triangular, {"epochs": 10, "cycles": 2.5}, "cycles", "2.5"),
    (schedules.triangular, {"epochs": 10, "cycles": 1001}, "cycles", "1001"),
    (schedules.triangular, {"epochs": 10, "div_factor": 0.5}, "div_factor", "0.5"),
    (schedules.triangular, {"epochs": 10, "mode": "up"}, "mode", "'up'"),
    (schedules.triangular, {"epochs": 10, "gamma": 1.1}, "gamma", "1.1"),
    (schedules.triangular, {"epochs": 10, "mode": "exp_range", "gamma": 0}, "gamma", "0"),
]


@pytest.mark.parametrize(("factory", "arguments", "key", "got"), MISTAKES)
def test_a_mistake_is_named(
    factory: Callable[..., Any], arguments: dict[str, Any], key: str, got: str
) -> None:
    (rate, *_) = inspect.signature(factory).parameters
    with pytest.raises(RequestError) as refused:
        factory(**{rate: RATE, **arguments})
    assert (refused.value.key, refused.value.got) == (f"scheduler.{key}", got)


def test_it_imports_without_tensorflow() -> None:
    code = (
        "import sys\n"
        "from fmnist_lab import metrics, schedules, scheduling\n"
        "from fmnist_lab.commands import preview\n"
        "from fmnist_lab.training import early_stopping\n"
        "sys.exit(not sys.modules.keys().isdisjoint({'keras', 'tensorflow', 'matplotlib'}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
