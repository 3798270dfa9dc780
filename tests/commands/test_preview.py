"""The frame, what a reader finds in the terminal, and a picture that is whole or absent."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from fmnist_lab import schedules
from fmnist_lab.commands import preview
from fmnist_lab.schedules import Performance, Scheduled

NAMES = ["linear", "cosine", "power", "constant", "one_cycle", "wsd", "late"]


def few(names: list[str]) -> pd.DataFrame:
    factories = {
        "linear": schedules.linear(0.01, 10),
        "cosine": schedules.cosine(0.01, 10),
        "power": schedules.power(0.01, 3),
        "constant": schedules.constant(0.01),
        "one_cycle": schedules.one_cycle(0.01, 10),
        "wsd": schedules.wsd(0.01, 10),
        "late": schedules.warmup(schedules.constant(0.01), 5),
    }
    return preview.curves({name: Scheduled(factories[name]) for name in names}, 10, 20)


def printed(frame: pd.DataFrame, width: int = 80) -> list[str]:
    file = io.StringIO()
    preview.print_curves(frame, Console(file=file, width=width, no_color=True))
    return file.getvalue().splitlines()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "koi8-r", "cp1250"])
def test_a_terminal_that_is_not_utf_8_gets_plain_characters(encoding: str) -> None:
    shown = io.BytesIO()
    file = io.TextIOWrapper(shown, encoding=encoding, errors="strict")
    preview.print_curves(few(["linear", "cosine"]), Console(file=file, width=80, no_color=True))
    file.flush()
    assert shown.getvalue().decode("ascii").count("\n") > 10


class TestCurves:
    """The tidy frame."""

    def test_a_row_per_scheduler_and_update(self) -> None:
        frame = few(["linear", "constant"])
        assert list(frame.columns) == ["scheduler", "epoch", "learning_rate"]
        assert frame.groupby("scheduler").size().to_dict() == {"linear": 200, "constant": 200}
        linear = frame[frame["scheduler"] == "linear"]
        np.testing.assert_allclose(linear["epoch"], np.arange(200) / 20)
        np.testing.assert_allclose(
            linear["learning_rate"], 0.01 * np.arange(200, 0, -1) / 200, 1e-6
        )

    @pytest.mark.parametrize("monitor", ["val/loss", "opt/grad_norm"])
    def test_performance_states_its_assumption(self, monitor: str) -> None:
        scheduler = Performance(1.0, monitor=monitor, mode="min", factor=0.5, patience=3)
        frame = preview.curves({"performance": scheduler}, epochs=8, steps=1)
        (name,) = set(frame["scheduler"])
        assert {"performance", monitor} <= set(name.replace(",", "").split())
        assert frame["learning_rate"].tolist() == [1.0] * 4 + [0.5] * 3 + [0.25]

    def test_the_scheduler_can_still_train(self) -> None:
        scheduler = Performance(1.0, factor=0.5, patience=1)
        preview.curves({"performance": scheduler}, epochs=8, steps=1)
        assert scheduler.learning_rate == 1.0


class TestPrint:
    """Plain characters."""

    def test_a_few_curves_share_a_plot_whose_title_is_the_legend(self) -> None:
        lines = printed(few(NAMES[:3]))
        assert "⠒ linear   x cosine   o power" in lines[1]
        assert sum("┌" in line for line in lines) == 1
        assert sum(line.count("x") for line in lines) > 20

    @pytest.mark.parametrize(("width", "columns"), [(30, 1), (80, 2), (130, 3)])
    def test_many_curves_get_a_panel_each(self, width: int, columns: int) -> None:
        lines = printed(few(NAMES), width)
        assert max(line.count("┌") for line in lines) == columns
        assert sum(line.count("┌") for line in lines) == len(NAMES)
        assert all(name in "\n".join(lines) for name in NAMES)

    @pytest.mark.parametrize("names", [NAMES[:1], NAMES[:3], NAMES])
    def test_it_fits_the_width_without_colour(self, names: list[str]) -> None:
        lines = printed(few(names))
        assert max(len(line) for line in lines) <= 80
        assert "\x1b" not in "".join(lines)

    def test_axes_say_where_training_and_rates_end(self) -> None:
        text = "\n".join(printed(few(["linear"])))
        assert "0.01┤" in text
        assert text.splitlines()[-1].split() == ["0", "5", "10"]


class TestSave:
    """The picture."""

    @pytest.mark.parametrize("names", [NAMES[:1], NAMES[:3], NAMES])
    def test_a_png_and_nothing_else(self, tmp_path: Path, names: list[str]) -> None:
        path = tmp_path / "new" / "curves.png"
        preview.save_curves(few(names), path)
        assert path.read_bytes().startswith(b"\x89PNG")
        assert list(path.parent.iterdir()) == [path]

    def test_a_failure_leaves_the_old_picture(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from matplotlib.figure import Figure

        path = tmp_path / "curves.png"
        path.write_bytes(b"old")

        def fail(self: Figure, target: Path, **settings: Any) -> None:
            target.write_bytes(b"half")
            raise OSError("full")

        monkeypatch.setattr(Figure, "savefig", fail)
        with pytest.raises(OSError, match="full"):
            preview.save_curves(few(["linear"]), path)
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]
