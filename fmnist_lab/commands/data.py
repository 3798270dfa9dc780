"""Pictures of the classes: the first training images of each, in the terminal or as a PNG."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from fmnist_lab.data import DataConfig, Dataset, load
from fmnist_lab.foundation.files import require_writable, whole_file

Pixels = NDArray[np.uint8]

PICTURE = Path("mlruns/fashion-mnist.png")
CELL = 15  # columns in the terminal: 14 pixels, each 2x2 of the image's, and a gap
PER_LINE = 5  # classes side by side, so that the sheet fits 80 columns
SHADES = " .:-=+*#%@"  # where there are no colours


def main(folder: str | None) -> None:
    """Gets Fashion-MNIST, from a folder if one is named, and shows it: `fmnist-lab data`.

    Raises:
        RequestError: The folder does not have its four files.
        DataUnavailableError: No source has them.
    """
    require_writable(PICTURE.parent)
    dataset = load(DataConfig(dir=folder))
    print_sheet(dataset, Console())
    save_sheet(dataset, PICTURE)
    print(
        f"Fashion-MNIST: {dataset.source}\n"
        f"The checksums of all four files hold. As a picture: {PICTURE}"
    )


def print_sheet(dataset: Dataset, console: Console, per_class: int = 3) -> None:
    """Prints `per_class` images of each class below its name, at half size, 75 columns wide."""
    halves = examples(dataset, per_class).reshape(-1, per_class, 14, 2, 14, 2).mean((3, 5))
    coloured = console.color_system is not None and not console.no_color
    for start in range(0, len(halves), PER_LINE):
        part = slice(start, start + PER_LINE)
        names = "".join(name.ljust(CELL) for name in dataset.class_names[part])
        console.print(names.rstrip(), highlight=False, style="bold")
        for column in halves[part].transpose(1, 2, 0, 3).astype(int):
            for pair in zip(column[::2], column[1::2], strict=True):
                line = Text(end="\n")
                for image in zip(*pair, strict=True):
                    for above, below in zip(*image, strict=True):
                        line.append_text(_pixels(above, below, coloured))
                    line.append(" ")
                console.print(line)
            console.print()


def save_sheet(dataset: Dataset, path: Path, per_class: int = 10) -> None:
    """Writes a PNG with a row of `per_class` images for each class."""
    from matplotlib.figure import Figure

    classes = len(dataset.class_names)
    gap = 4  # pixels between images
    tiles = np.pad(examples(dataset, per_class), ((0, 0), (0, 0), (gap, 0), (gap, 0)))
    mosaic = tiles.transpose(0, 2, 1, 3).reshape(classes * (28 + gap), per_class * (28 + gap))
    figure = Figure(figsize=(8, 8), facecolor="white")
    axes = figure.add_subplot(frame_on=False)
    axes.imshow(mosaic, cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
    axes.set_yticks(np.arange(classes) * (28 + gap) + gap + 14, dataset.class_names, fontsize=12)
    axes.set_xticks([])
    axes.tick_params(length=0, pad=8)
    axes.set_title(f"The first training images of each class ({dataset.name})", fontsize=14, pad=12)
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, bbox_inches="tight", pad_inches=0.3)


def examples(dataset: Dataset, per_class: int) -> Pixels:
    """Returns each class's first images, (classes, per_class, 28, 28); none if too few."""
    sheet = np.zeros((len(dataset.class_names), per_class, 28, 28), np.uint8)
    for label, row in enumerate(sheet):
        images = dataset.train_images[np.flatnonzero(dataset.train_labels == label)[:per_class]]
        row[: len(images)] = images
    return sheet


def _pixels(above: int, below: int, coloured: bool) -> Text:
    """Two pixels, one above the other: an upper half block on a colour, or their mean."""
    if coloured:
        style = f"rgb({above},{above},{above}) on rgb({below},{below},{below})"
        return Text("▀", style)
    return Text(SHADES[(above + below) // 2 * len(SHADES) // 256])
