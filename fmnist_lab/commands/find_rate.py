"""`fmnist-lab find-rate`: a rate-range test of the trial that `train` would train, drawn."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.text import Text

from fmnist_lab import config, data
from fmnist_lab.commands.preview import draw
from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.files import require_writable, whole_file
from fmnist_lab.training import rate_range
from fmnist_lab.training.rate_range import RateRange

PICTURES = (".png", ".svg", ".pdf")
_LINES = 20


def main(request: list[str], low: float, high: float, updates: int, out: Path | None) -> None:
    """Tests a trial composed of these overrides, and prints and draws what it finds.

    Args:
        request: Overrides, as behind `train`.
        low: The first rate.
        high: The last rate.
        updates: How many there are, at equal factors.
        out: A file for the picture, if any.

    Raises:
        RequestError: An override or an option is refused, or the test suggests nothing.
    """
    if not 0 < low < high < math.inf:
        raise RequestError("--low", f"be positive and below --high={high:g}", low)
    trial = config.to_trial(config.compose(request))
    if out is not None:
        if out.suffix not in PICTURES:
            raise RequestError("--out", f"end with {', '.join(PICTURES)}", f"{out}")
        require_writable(out.parent)
    found = rate_range.measure(trial, data.load(trial.data), np.geomspace(low, high, updates))
    print_range(found)
    if out is not None:
        save(found, out)
        print(f"As a picture: {out}")


def space(found: RateRange) -> str:
    """Returns what a sweep may search: from the valley's rate to the one of the lowest loss."""
    low, high = sorted([found.valley, found.lowest])
    high = max(high, 10 * low)  # at least a decade
    return f"optimizer.learning_rate: tag(log, interval({low:.2g}, {high:.2g}))"


def print_range(found: RateRange, console: Console | None = None) -> None:
    """Draws the smoothed loss with plain characters, and says what it suggests."""
    console = console or Console()
    logs, losses = np.log10(found.rates), found.smoothed
    top = _top(found)
    panel = pd.DataFrame({"smoothed loss": np.minimum(np.nan_to_num(losses, nan=top), top)}, logs)
    decades = [*range(math.ceil(logs[0]), math.floor(logs[-1]) + 1)]
    names = {float(logs[0]): "", **{float(decade): f"{10.0**decade:g}" for decade in decades}}
    levels = np.linspace(np.nanmin(losses), top, 3)
    ticks = names, {float(level): f"{level:.3g}" for level in levels}
    title = f"loss by learning rate, {len(logs)} updates"
    lines = [title, *draw(panel, (console.width, _LINES), ticks, console)]
    end = "" if math.isnan(found.diverged) else f"; the loss diverges at {found.diverged:.2g}"
    lines += [
        f"Suggested rate: {found.valley:.2g}, the middle of the longest fall (fastai's valley).",
        f"The loss falls fastest at {found.steepest:.2g} and is lowest at {found.lowest:.2g}{end}.",
        "To search from there to the lowest loss, under hydra.sweeper.params of a sweep's file:",
        f"  {space(found)}",
    ]
    console.print(Text("\n".join(line.rstrip() for line in lines)), soft_wrap=True)


def save(found: RateRange, path: Path) -> None:
    """Draws the losses as a picture, which appears complete or not at all."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 4.5), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.plot(found.rates, found.losses, color="#b8c0cc", linewidth=0.8, label="of a batch")
    axes.plot(found.rates, found.smoothed, color="#3f88d6", label="smoothed")
    for name, style in (("valley", "-"), ("steepest", "--"), ("lowest", ":")):
        rate = getattr(found, name)
        axes.axvline(rate, color="#8a94a0", linestyle=style, label=f"{name}: {rate:.2g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
    axes.set_ylim(0.9 * np.nanmin(found.losses), 1.1 * _top(found))
    axes.legend(frameon=False)
    with whole_file(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:])


def _top(found: RateRange) -> float:
    """Returns the largest loss that is drawn: above the first ones there is nothing to see."""
    settled = found.smoothed[: 1 + len(found.smoothed) // 2]
    return 1.2 * float(np.nanmax(settled))
