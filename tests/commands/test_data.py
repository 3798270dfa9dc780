"""The pictures of the classes, read back."""

import io
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console

from fmnist_lab.commands.data import examples, print_sheet, save_sheet
from fmnist_lab.data import DataConfig, Dataset, load

Colors = Literal["truecolor"] | None


@pytest.fixture
def dataset() -> Dataset:
    return load(DataConfig(name="synthetic", val_size=10, train_size=300))


def printed(dataset: Dataset, color_system: Colors) -> str:
    text = io.StringIO()
    console = Console(file=text, width=80, force_terminal=True, color_system=color_system)
    print_sheet(dataset, console)
    return text.getvalue()


def test_examples_are_the_first_of_each_class(dataset: Dataset) -> None:
    sheet = examples(dataset, 4)
    assert sheet.shape == (10, 4, 28, 28)
    threes = dataset.train_images[dataset.train_labels == 3]
    np.testing.assert_array_equal(sheet[3], threes[:4])


def test_a_class_with_too_few_images_leaves_room() -> None:
    tiny = load(DataConfig(name="synthetic", val_size=10, train_size=5))
    sheet = examples(tiny, 4)
    assert sum(image.any() for row in sheet for image in row) == 5


@pytest.mark.parametrize("color_system", [None, "truecolor"])
def test_sheet_fits_a_terminal_and_names_every_class(
    dataset: Dataset, color_system: Colors
) -> None:
    text = printed(dataset, color_system)
    assert all(name in text for name in dataset.class_names)
    plain = [line for line in text.splitlines() if "\x1b" not in line]
    assert max(map(len, plain), default=0) <= 75


def test_colours_show_two_rows_of_pixels_in_a_line(dataset: Dataset) -> None:
    text = printed(dataset, "truecolor")
    upper, lower = examples(dataset, 1)[0, 0].reshape(14, 2, 14, 2).mean((1, 3))[:2, 0].astype(int)
    assert f"38;2;{upper};{upper};{upper};48;2;{lower};{lower};{lower}m▀" in text
    assert text.count("▀") == 10 * 3 * 14 * 7


def test_without_colours_bright_pixels_are_dense(dataset: Dataset) -> None:
    lines = printed(dataset, None).splitlines()
    image = [line.ljust(75)[:14] for line in lines[1:8]]
    dense = np.array([[" .:-=+*#%@".index(mark) for mark in line] for line in image])
    pixels = examples(dataset, 1)[0, 0].reshape(7, 4, 14, 2).mean((1, 3))
    assert np.corrcoef(dense.ravel(), pixels.ravel())[0, 1] > 0.98


def test_picture_shows_every_example_on_a_light_ground(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "new" / "classes.png"
    save_sheet(dataset, path)
    picture = imread(path)
    assert min(picture.shape[:2]) > 900
    assert picture[0, 0, :3].tolist() == [1, 1, 1]
    dark = picture[..., 0] < 0.3
    assert np.count_nonzero(dark) > 10_000
    assert [file.name for file in path.parent.iterdir()] == ["classes.png"]


def test_a_picture_that_fails_leaves_the_old_one(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, target: Path, **_: object) -> None:
        Path(target).write_bytes(b"half")
        raise OSError("full")

    path = tmp_path / "classes.png"
    path.write_bytes(b"old")
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    with pytest.raises(OSError, match="full"):
        save_sheet(dataset, path)
    assert path.read_bytes() == b"old"
