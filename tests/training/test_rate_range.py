"""A rate-range test: what is read off losses, and real ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist_lab import data
from fmnist_lab.errors import RequestError
from fmnist_lab.training import engines
from fmnist_lab.training.checkpoint import ONLY, Checkpoint
from fmnist_lab.training.engines import Metrics
from fmnist_lab.training.rate_range import has_diverged, longest_fall, measure, read, smooth

RATES = np.geomspace(1e-5, 10, 121)


def fallen(lowest: float = 0.1) -> Any:
    """Losses that fall along half a cosine, over two decades up to the lowest, and then rise."""
    decades = np.clip(np.log10(RATES / lowest), -2, 0)
    return 1.5 + np.cos(np.pi * (decades + 2) / 2) + 50 * np.maximum(RATES - lowest, 0)


class TestRead:
    """Losses to suggestions."""

    def test_the_suggestions_are_in_order(self) -> None:
        losses = fallen()[: np.searchsorted(RATES, 0.3)]
        found = read(RATES[: len(losses)], losses)
        assert 1e-3 < found.steepest < 0.1
        assert 1e-3 < found.valley < found.lowest
        assert found.lowest == RATES[found.smoothed.argmin()]
        assert np.isnan(found.diverged)

    @pytest.mark.parametrize("last", [1e3, np.inf, np.nan])
    def test_a_loss_that_diverges_suggests_nothing_itself(self, last: float) -> None:
        losses = fallen()[:90]
        plain = read(RATES[:90], losses)
        found = read(RATES[:91], np.append(losses, last))
        assert found.diverged == RATES[90]
        assert (found.valley, found.steepest, found.lowest) == (
            plain.valley, plain.steepest, plain.lowest,
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("losses", "key"),
        [(np.linspace(1, 2, 50), "--high"), (np.ones(50), "--high"), ([1.0, 9e9], "--low")],
    )
    def test_what_suggests_nothing_is_refused(self, losses: Any, key: str) -> None:
        with pytest.raises(RequestError) as refused:
            read(RATES[: len(losses)], np.asarray(losses))
        assert refused.value.key == key

    def test_smoothed_is_fastais_debiased_mean(self) -> None:
        losses, mean = np.random.default_rng(0).normal(2, 0.1, 50), 0.0
        for count, loss in enumerate(losses, 1):
            mean = 0.98 * mean + 0.02 * loss
            assert smooth(losses[:count])[-1] == pytest.approx(mean / (1 - 0.98**count))

    def test_diverged_is_above_four_times_the_smallest(self) -> None:
        assert not has_diverged([1.0, 1.0, 6.9])
        assert has_diverged([1.0, 1.0, 20.0])
        assert has_diverged([1.0, np.nan])

    @pytest.mark.parametrize(
        ("values", "ends"),
        [([3, 2, 1], (0, 2)), ([1, 2, 3], (0, 0)), ([9, 1, 8, 7, 6, 2], (1, 5)), ([1], (0, 0))],
    )
    def test_the_longest_fall(self, values: list[float], ends: tuple[int, int]) -> None:
        assert longest_fall(np.asarray(values, np.float64)) == ends


@pytest.mark.slow
class TestMeasure:
    """Real training."""

    def test_it_trains_as_a_trial_begins_and_stops_where_it_diverges(self, tiny: Any) -> None:
        trial = tiny("optimizer=sgd", "training.batch_size=32", "averaging=ema")
        dataset = data.load(trial.data)
        found = measure(trial, dataset, np.geomspace(1e-3, 1e6, 40))
        assert found.diverged == found.rates[-1] < 1e6
        assert found.losses[0] == pytest.approx(np.log(10), rel=0.3)
        assert found.valley <= found.lowest < found.diverged
        again = measure(trial, dataset, np.geomspace(1e-3, 1e6, 40))
        np.testing.assert_array_equal(again.losses, found.losses)
        other = measure(tiny("optimizer=sgd", "seed=7"), dataset, np.geomspace(1e-3, 1e6, 40))
        assert other.losses[0] != found.losses[0]

    def test_constant_rates_are_the_first_epochs_of_training(
        self, tiny: Any, tmp_path: Path
    ) -> None:
        trial = tiny("optimizer.learning_rate=0.003")
        dataset = data.load(trial.data)
        rates = np.float64(0.003) * (1 + 1e-12 * np.arange(20.0))  # one number in single precision
        losses = measure(trial, dataset, rates).losses
        curve: list[Metrics] = []

        def keep(epoch: int, metrics: Metrics) -> bool:
            curve.append(metrics)
            return True

        engines.get("compiled")(trial, dataset, keep, Checkpoint(tmp_path, {}, ONLY))
        expected = [metrics["train/loss"] for metrics in curve[:2]]
        np.testing.assert_allclose(losses.reshape(2, 10).mean(axis=1), expected, rtol=1e-5)
