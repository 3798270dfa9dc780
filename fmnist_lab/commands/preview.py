"""Learning-rate curves before anything is trained: as a frame, in the terminal, as a picture."""

import copy
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.text import Text

from fmnist_lab import config, schedules
from fmnist_lab.foundation.files import require_writable, whole_file
from fmnist_lab.schedules import Performance, Scheduler

PICTURE = Path("mlruns/preview.png")
ASSUMPTION = "if {monitor} never improves"
"""Performance scheduling answers to training, so its curve is drawn for the worst one."""

_STEPS = 100  # updates per epoch: enough for a smooth curve
_FLAT = dict.fromkeys(("train/loss", "train/accuracy", "val/loss", "val/accuracy"), 1.0)
_MARKERS = {"braille": "⠒", "x": "x", "o": "o"}  # plotext's name, and what it looks like
_PLAIN_MARKERS = {".": ".", "x": "x", "o": "o"}  # for terminals that are not UTF-8
_PLAIN_FRAME = str.maketrans("┌┐└┘├┤┬┴┼─│", "+++++++++-|")
_PANEL_COLUMNS, _PANEL_LINES = 40, 10
_TOGETHER_IN_PICTURE = 6
_POINTS = 400  # per curve in the terminal, more than its dots


def main(request: list[str]) -> None:
    """Draws schedulers, all if none is named, after overrides: `fmnist-lab preview`.

    Raises:
        RequestError: There is no such scheduler, or an override is refused.
    """
    require_writable(PICTURE.parent)
    words = [word.removeprefix("scheduler=") for word in request]
    overrides = [word for word in words if "=" in word]
    names = [word for word in words if "=" not in word] or config.options("scheduler")
    trials = {
        name: config.to_trial(config.compose([*overrides, f"scheduler={name}"])) for name in names
    }
    epochs = max(trial.training.epochs for trial in trials.values())
    schedulers = {name: schedules.build(trial.scheduler) for name, trial in trials.items()}
    frame = curves(schedulers, epochs, _STEPS)
    print_curves(frame)
    save_curves(frame, PICTURE)
    print(f"As a picture: {PICTURE}")


def curves(schedulers: Mapping[str, Scheduler], epochs: int, steps: int) -> pd.DataFrame:
    """Returns every rate of a training of so many epochs and steps per epoch.

    Returns:
        A row per scheduler and update, with the columns `scheduler` (its name, and the
        assumption behind its curve, if any), `epoch` (fractional) and `learning_rate`.
    """
    frames = []
    for name, scheduler in schedulers.items():
        followed = copy.deepcopy(scheduler)  # it would remember a training that never was
        label, metrics = name, _FLAT
        if isinstance(followed, Performance):
            label = f"{name}, {ASSUMPTION.format(monitor=followed.monitor)}"
            metrics = _FLAT | {followed.monitor: 1.0}
        rates = []
        for epoch in range(epochs):
            rates.append(followed.learning_rates(epoch, steps))
            followed.observe(epoch, metrics)
        columns = {
            "epoch": np.arange(epochs * steps) / steps,
            "learning_rate": np.concatenate(rates),
        }
        frames.append(pd.DataFrame({"scheduler": label} | columns))
    return pd.concat(frames, ignore_index=True)


def print_curves(frame: pd.DataFrame, console: Console | None = None) -> None:
    """Draws the frame of `curves` with plain characters, as wide as the console.

    Up to three curves share a plot; more get a panel each, all with the same axes.
    """
    console = console or Console()
    panels, top = _panels(frame, len(_MARKERS)), frame["learning_rate"].max()
    columns = min(len(panels), max(1, console.width // _PANEL_COLUMNS))
    size = console.width // columns, _PANEL_LINES if len(panels) > 1 else 2 * _PANEL_LINES
    end = frame["epoch"].max()
    epochs = {epoch: str(epoch) for epoch in (0, round(end / 2), round(end))}
    rates = {rate: f"{rate:.3g}" for rate in (0.0, top / 2, top)}
    plots = [draw(panel, size, (epochs, rates), console) for panel in panels]
    rows = [plots[start : start + columns] for start in range(0, len(plots), columns)]
    text = ["".join(parts).rstrip() for row in rows for parts in zip(*row, strict=True)]
    console.print(Text("\n".join(["learning rate by epoch", *text])), soft_wrap=True)


def save_curves(frame: pd.DataFrame, path: Path) -> None:
    """Draws the frame of `curves` as a PNG, which appears complete or not at all.

    Up to six curves share a plot; more get a panel each, all with the same axes.
    """
    from matplotlib.figure import Figure

    panels = _panels(frame, _TOGETHER_IN_PICTURE)
    columns = min(len(panels), 4)
    rows = math.ceil(len(panels) / columns)
    size = (8.0, 4.5) if len(panels) == 1 else (3.2 * columns, 2.1 * rows + 0.5)
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, panel in zip(grid, panels, strict=False):
        axes.plot(panel.index, panel, label=list(panel), linewidth=1.5)
        if panel.shape[1] == 1:
            axes.set_title(panel.columns[0], fontsize="small")
        else:
            axes.legend(fontsize="small", frameon=False)
        axes.set_ylim(bottom=0.0)
        axes.grid(alpha=0.3)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    for axes in grid[len(panels) - columns : len(panels)]:  # the lowest plot of each column
        axes.tick_params(labelbottom=True)
    figure.supxlabel("epoch")
    figure.supylabel("learning rate")
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png")


def _panels(frame: pd.DataFrame, together: int) -> list[pd.DataFrame]:
    """Which curves share a plot, as a column each: all of them if they are few, otherwise none."""
    names = frame["scheduler"].unique()
    wide = frame.pivot(index="epoch", columns="scheduler", values="learning_rate")[names]
    return [wide] if len(names) <= together else [wide[[name]] for name in names]


def draw(
    panel: pd.DataFrame,
    size: tuple[int, int],
    ticks: tuple[Mapping[float, str], Mapping[float, str]],
    console: Console,
) -> list[str]:
    """Returns a plot in characters that the console can show, line by line.

    Args:
        panel: A curve in each column, by position; the title says which is which.
        size: Columns and lines of the plot.
        ticks: Of both axes, by position, ascending; an axis ends with the last one.
        console: Where the plot is to be printed.
    """
    import plotext

    plotext.terminal.limit(False, False)  # a plot may be larger than the window
    plot = plotext.figure.clear().plot_size(*size)  # the library's one and only figure
    is_plain = not console.encoding.startswith("utf")
    markers = _PLAIN_MARKERS if is_plain else _MARKERS
    drawn = panel.iloc[:: math.ceil(len(panel) / _POINTS)]
    for name, marker in zip(panel, markers, strict=False):
        plot.draw(plot.signal(list(drawn.index), list(drawn[name]), marker=marker).lines())
    legend = [f"{mark} {name}" for name, mark in zip(panel, markers.values(), strict=False)]
    plot.title("   ".join(legend) if len(legend) > 1 else panel.columns[0])
    for axis, own, end in (("x", ticks[0], panel.index.max()), ("y", ticks[1], max(ticks[1]))):
        plot.ruler(axis).lim(min(own), end).ticks(list(own), list(own.values()))
    text: str = plot.build().string(True)
    return text.translate(_PLAIN_FRAME if is_plain else {}).splitlines()
