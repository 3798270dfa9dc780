"""Numbers and durations as text."""

import pytest

from fmnist_lab.foundation import wording


class TestWording:
    """Numbers and durations as text."""

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0.2, "0 s"), (34.4, "34 s"), (59.7, "1 min"), (725, "12 min"), (3590, "1 h 00 min"),
            (3900, "1 h 05 min"), (86_399, "1 d 00 h"), (2 * 86_400 + 3 * 3600, "2 d 03 h"),
        ],
    )  # fmt: skip
    def test_durations(self, seconds: float, text: str) -> None:
        assert wording.duration(seconds) == text

    @pytest.mark.parametrize(
        ("value", "text"),
        [(0.90084, "0.9008"), (0, "0.0000"), (-2.5, "-2.5000"), (1.234e-5, "1.23e-05")],
    )
    def test_numbers(self, value: float, text: str) -> None:
        assert wording.number(value) == text
