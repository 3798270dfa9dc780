"""Learning-rate curves before anything is trained: as a frame, in the terminal, as a picture."""

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
_PANEL_COLUMNS, _PANEL_LINES = 40, 10
_TOGETHER_IN_TERMINAL, _TOGETHER_IN_PICTURE = len(_MARKERS), 6
_POINTS = 400  # per curve in the terminal, more than its dots


def main(request: list[str]) -> None:
    """What `fmnist-lab preview` does: draws schedulers, all if none is named, after overrides.

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
    """Every rate of a training of so many epochs and steps per epoch.

    Returns:
        A row per scheduler and update, with the columns `scheduler` (its name, and the
        assumption behind its curve, if any), `epoch` (fractional) and `learning_rate`.
    """
    positions = np.arange(epochs * steps) / steps
    frames = [
        pd.DataFrame(
            {
                "scheduler": _label(name, scheduler),
                "epoch": positions,
                "learning_rate": _rates(scheduler, epochs, steps),
            }
        )
        for name, scheduler in schedulers.items()
    ]
    return pd.concat(frames, ignore_index=True)


def print_curves(frame: pd.DataFrame, console: Console | None = None) -> None:
    """Draws the frame of `curves` with plain characters, as wide as the console.

    Up to three curves share a plot; more get a panel each, all with the same axes.
    """
    console = console or Console()
    console.print(Text(_drawn(frame, console.width)), soft_wrap=True)


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
    for axes, names in zip(grid, panels, strict=False):
        _paint(axes, frame, names)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    for axes in grid[len(panels) - columns : len(panels)]:  # the lowest plot of each column
        axes.tick_params(labelbottom=True)
    figure.supxlabel("epoch")
    figure.supylabel("learning rate")
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png")


def _label(name: str, scheduler: Scheduler) -> str:
    if isinstance(scheduler, Performance):
        return f"{name}, {ASSUMPTION.format(monitor=scheduler.monitor)}"
    return name


def _rates(scheduler: Scheduler, epochs: int, steps: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The rates of a training whose metrics never change, (epochs * steps,)."""
    scheduler = copy.deepcopy(scheduler)  # it would remember a training that never was
    metrics = _FLAT
    if isinstance(scheduler, Performance):
        metrics = {**_FLAT, scheduler.monitor: 1.0}
    rates = []
    for epoch in range(epochs):
        rates.append(scheduler.learning_rates(epoch, steps))
        scheduler.observe(epoch, metrics)
    return np.concatenate(rates)


def _panels(frame: pd.DataFrame, together: int) -> list[list[str]]:
    """Which curves share a plot: all of them if they are few, otherwise none."""
    names = list(frame["scheduler"].unique())
    return [names] if len(names) <= together else [[name] for name in names]


def _curve(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    return frame[frame["scheduler"] == name]


def _drawn(frame: pd.DataFrame, width: int) -> str:
    """The plots as text, side by side as far as the width allows."""
    panels = _panels(frame, _TOGETHER_IN_TERMINAL)
    columns = min(len(panels), max(1, width // _PANEL_COLUMNS))
    lines = _PANEL_LINES if len(panels) > 1 else 2 * _PANEL_LINES
    plots = [_draw(frame, names, width // columns, lines) for names in panels]
    rows = [plots[start : start + columns] for start in range(0, len(plots), columns)]
    text = ["".join(parts).rstrip() for row in rows for parts in zip(*row, strict=True)]
    return "\n".join(["learning rate by epoch", *text])


def _draw(frame: pd.DataFrame, names: list[str], width: int, lines: int) -> list[str]:
    """One plot, line by line; its title says which curve is which."""
    import plotext

    plotext.terminal.limit(False, False)  # a plot may be larger than the window
    plot = plotext.figure.clear().plot_size(width, lines)  # the library's one and only figure
    markers = dict(zip(names, _MARKERS, strict=False))
    for name, marker in markers.items():
        curve = _curve(frame, name)
        curve = curve.iloc[:: math.ceil(len(curve) / _POINTS)]
        signal = plot.signal(list(curve["epoch"]), list(curve["learning_rate"]), marker=marker)
        plot.draw(signal.lines())
    legend = (f"{_MARKERS[marker]} {name}" for name, marker in markers.items())
    plot.title("   ".join(legend) if len(names) > 1 else names[0])
    top, end = frame["learning_rate"].max(), frame["epoch"].max()
    rates = [0.0, top / 2, top]
    epochs = sorted({0, round(end / 2), round(end)})
    plot.ruler("y").lim(0.0, top).ticks(rates, [f"{rate:.3g}" for rate in rates])
    plot.ruler("x").lim(0.0, end).ticks(epochs, [str(epoch) for epoch in epochs])
    text: str = plot.build().string(True)
    return text.splitlines()


def _paint(axes: Any, frame: pd.DataFrame, names: list[str]) -> None:
    """One plot of the picture."""
    for name in names:
        curve = _curve(frame, name)
        axes.plot(curve["epoch"], curve["learning_rate"], label=name, linewidth=1.5)
    if len(names) == 1:
        axes.set_title(names[0], fontsize="small")
    else:
        axes.legend(fontsize="small", frameon=False)
    axes.set_ylim(bottom=0.0)
    axes.grid(alpha=0.3)
