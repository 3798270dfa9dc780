"""Two curves of one trial, side by side."""

import json
import math
from pathlib import Path

import pytest

from fmnist_lab.results import curve_diff
from tests.support.folders import leave_run

CURVE: curve_diff.Curve = {"val/loss": [0.5, 0.4, 0.3], "val/accuracy": [0.7, 0.8, None]}


def test_the_same_curve_departs_nowhere() -> None:
    assert curve_diff.departures(CURVE, dict(CURVE), exact=True) == []


def test_the_last_bit_counts_here_and_not_elsewhere() -> None:
    now = {**CURVE} | {"val/loss": [0.5, 0.4 + 1e-16, 0.3 + 1e-3]}
    for exact in (True, False):
        (found,) = curve_diff.departures(CURVE, now, exact)
        assert (found.metric, found.epoch, found.recorded) == ("val/loss", 1, 0.4)
        assert found.largest == pytest.approx(1e-3)
        assert found.is_allowed is not exact


@pytest.mark.parametrize("now", [[0.5, 0.4], [0.5, 0.4, 0.3, 0.2], [0.5, 0.4, None]])
def test_another_length_or_a_missing_value_is_never_allowed(now: list[float | None]) -> None:
    (found,) = curve_diff.departures(CURVE, {**CURVE} | {"val/loss": now}, exact=False)
    assert not found.is_allowed


def test_a_missing_epoch_is_not_one_whose_value_is_missing() -> None:
    (found,) = curve_diff.departures(CURVE, {**CURVE} | {"val/accuracy": [0.7, 0.8]}, exact=False)
    assert (found.epoch, found.largest, found.is_allowed) == (2, math.inf, False)


def test_nan_repeats_nan_and_nothing_else(tmp_path: Path) -> None:
    folder = leave_run(tmp_path / "0", epochs_trained=2)
    metrics = dict.fromkeys((*curve_diff.COMPARED, curve_diff.VARIES), 0.5)
    lines = [{"epoch": 0, **metrics}, {"epoch": 1, **metrics, "opt/grad_norm": math.nan}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "curves.jsonl").write_text(text)
    recorded = curve_diff.read(folder)
    assert list(recorded) == list(curve_diff.COMPARED)
    assert recorded["opt/grad_norm"] == [0.5, None]
    again = {**recorded} | {"opt/grad_norm": [0.5, None]}
    assert curve_diff.departures(recorded, again, exact=True) == []
    (found,) = curve_diff.departures(recorded, again | {"opt/grad_norm": [0.5, 0.5]}, exact=True)
    assert (found.metric, found.recorded, found.now) == ("opt/grad_norm", None, 0.5)
