"""`fmnist-lab find-rate`: what it draws and says, and what it refuses."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from fmnist_lab.commands import find_rate
from fmnist_lab.errors import RequestError
from fmnist_lab.sweeper.space import parse
from fmnist_lab.training.rate_range import RateRange, read
from tests.conftest import TINY, run_here


@pytest.fixture(scope="module")
def found() -> RateRange:
    rates = np.geomspace(1e-5, 1, 101)
    return read(rates, np.append(2 + np.cos(np.linspace(0, 3, 100)), np.nan))


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_drawing_fits_and_says_all_rates(found: RateRange, encoding: str) -> None:
    shown = io.BytesIO()
    file = io.TextIOWrapper(shown, encoding=encoding, errors="strict")
    find_rate.print_range(found, Console(file=file, width=80, no_color=True))
    file.flush()
    text = shown.getvalue().decode(encoding)
    drawing, _, words = text.partition("Suggested")
    assert max(map(len, drawing.splitlines())) <= 80
    numbers = re.findall(r"\d[.\d]*(?:e[-+]\d+)?", words)
    for rate in (found.valley, found.steepest, found.lowest, found.diverged):
        assert f"{rate:.2g}" in [number.rstrip(".") for number in numbers]


def test_the_space_is_one_that_a_sweep_takes(found: RateRange) -> None:
    line = find_rate.space(found).replace(": ", "=", 1)
    (distribution,) = parse([line]).distributions.values()
    low, high = (getattr(distribution, end) for end in ("low", "high"))
    assert getattr(distribution, "log", False)
    assert low == pytest.approx(found.valley, rel=0.05)
    assert high == pytest.approx(max(found.lowest, 10 * low), rel=0.05)


@pytest.mark.parametrize("name", ["a.png", "new/a.svg"])
def test_a_picture_and_nothing_else(found: RateRange, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    find_rate.save(found, path)
    assert path.stat().st_size > 1000
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("words", "key"),
    [
        ({"low": 0.0}, "--low"),
        ({"low": float("nan")}, "--low"),
        ({"low": 1.0, "high": 1.0}, "--low"),
        ({"out": Path("a.html")}, "--out"),
        ({"request": ["training.epochs=0"]}, "training.epochs"),
    ],
)
def test_a_mistake(folder: Path, words: dict[str, object], key: str) -> None:
    given = {"request": [], "low": 1e-6, "high": 1.0, "updates": 20, "out": None} | words
    with pytest.raises(RequestError, check=lambda error: error.key == key):
        find_rate.main(**given)  # type: ignore[arg-type]
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_the_command(folder: Path) -> None:
    done = run_here(folder, "find-rate", *TINY, "optimizer=sgd", "--high=1e5", "--out=a.png")
    assert done.returncode == 0, done.stderr
    assert "optimizer.learning_rate: tag(log, interval(" in done.stdout
    assert (folder / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in folder.iterdir()] == ["a.png"]
    again = run_here(folder, "find-rate", *TINY, "--updates=19")
    assert again.returncode == 2
