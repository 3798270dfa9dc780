"""Controls on trainings that took place, resampled: what the simulations assume is not needed."""

import pytest

from benchmarks import resampled


def test_the_table_is_whole() -> None:
    table = resampled.trainings()
    assert table.shape == (24, 16)
    assert ((table > 0.8) & (table < 0.92)).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", resampled.EQUALS)
def test_equals_are_rarely_found_to_differ(kind: str) -> None:
    false = resampled.share(resampled.EQUALS[kind], 100)
    assert false <= 0.05 + 3 * 0.022  # three standard errors of the share


@pytest.mark.slow
def test_a_point_among_twelve_rivals_is_found_by_ten_seeds() -> None:
    assert resampled.share(resampled.planted(0.01), 40) >= 0.85
