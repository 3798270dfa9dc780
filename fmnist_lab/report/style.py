"""What all charts share: colours that serve on light and dark, and a colour per strategy."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fmnist_lab.report.evidence import Evidence

if TYPE_CHECKING:
    import plotly.graph_objects as go

BASELINE_COLOUR = "#8a94a0"  # what all others are compared with stays in the background
COLOURS = (
    "#3f88d6", "#e07b2d", "#2fa36b", "#d9556b", "#9472d4", "#c79a1f", "#25a5b5", "#d665ac",
    "#7f9a2e", "#5c6fe0", "#b0693f", "#4f9f3f", "#a85fb8",
)  # fmt: skip
DASHES = ("solid", "dash", "dot")  # where colours begin again
ROW = 30  # pixels of a strategy in charts with a row for each
HEIGHT = 380
MANY = 3000  # points; more are drawn on the graphics card


def line(evidence: Evidence, strategy: str) -> dict[str, Any]:
    """Returns the colour and dash of a strategy or schedule, the same in every chart.

    No two strategies share both, but those of several cells with the same schedule.
    """
    schedules = {name: schedule for name, (_, schedule) in evidence.in_cell.items()}
    names = {schedules.get(name, name) for name in evidence.strategies}
    first = evidence.baseline
    if evidence.cells is not None:
        first = evidence.cell_baseline
        names |= {*evidence.cells["strategy"]}  # searches of one strategy may choose another
    others = sorted(names - {first})
    if (name := schedules.get(strategy, strategy)) == first:
        return {"color": BASELINE_COLOUR, "dash": "solid", "width": 2}
    turn, place = divmod(others.index(name), len(COLOURS))
    return {"color": COLOURS[place], "dash": DASHES[turn % 3], "width": 2}


def colour(evidence: Evidence, strategy: str) -> str:
    """Returns a strategy's colour."""
    return str(line(evidence, strategy)["color"])


def named(evidence: Evidence, strategy: str, apart: bool = True) -> dict[str, Any]:
    """Returns a trace's name, and its cell and schedule, of which the page makes its legend.

    Args:
        evidence: The sweep.
        strategy: That the trace is of.
        apart: Whether the page shows one cell at a time.
    """
    name = {"name": strategy, "legendgroup": strategy}
    if evidence.cells is None or strategy not in evidence.in_cell:
        return name
    cell, schedule = evidence.in_cell[strategy]
    order = list(evidence.cells["cell"].unique()).index(cell)
    place = {"cell": cell, "order": order} if apart else {}
    return name | {"meta": place | {"schedule": schedule}}


def by_strategy(evidence: Evidence, frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yields the rows of each strategy that has some, the best strategy first."""
    for strategy in evidence.strategies:
        if len(own := frame[frame["strategy"] == strategy]):
            yield strategy, own


def lines(
    evidence: Evidence, frame: pd.DataFrame, x: str, y: str, hover: str
) -> list[dict[str, Any]]:
    """Returns a line of two columns for each strategy."""
    return [
        {"type": "scatter", "x": own[x], "y": own[y], "hovertemplate": hover,
         "mode": "lines+markers" if len(own) < 40 else "lines", "marker": {"size": 4},
         "line": line(evidence, strategy), **named(evidence, strategy)}
        for strategy, own in by_strategy(evidence, frame)
    ]  # fmt: skip


def figure(traces: Sequence[dict[str, Any]], height: int = HEIGHT, **layout: Any) -> "go.Figure":
    """Makes a figure without plotly's own look."""
    import plotly.graph_objects as go

    return go.Figure(
        traces, go.Layout(template=go.layout.Template(), height=height, dragmode="zoom", **layout)
    )


def shares(
    values: npt.NDArray[np.float64], columns: Sequence[str], rows: Sequence[str], text: str
) -> "go.Figure":
    """Draws a table of shares of 1, the larger the darker; the first row on top."""
    table = {
        "type": "heatmap", "z": values, "x": list(columns), "y": list(rows),
        "texttemplate": text, "zmin": 0, "zmax": 1, "showscale": False,
        "hoverongaps": False, "xgap": 2, "ygap": 2,
        "colorscale": [[0, "rgba(63,136,214,0.08)"], [1, "rgba(63,136,214,0.85)"]],
        "hovertemplate": "%{y}, %{x}: %{z:.2%}<extra></extra>",
    }  # fmt: skip
    return figure(
        [table],
        height=150 + ROW * len(rows),
        xaxis={"showgrid": False, "tickangle": -30, "type": "category"},
        yaxis={"autorange": "reversed", "showgrid": False, "type": "category"},
    )


def dots(how_many: int) -> dict[str, Any]:
    """Returns the kind of trace for so many points."""
    return {"type": "scattergl" if how_many > MANY else "scatter", "mode": "markers"}


def spread(how_many: int, width: float = 0.5) -> npt.NDArray[np.float64]:
    """Returns offsets that keep dots of one row apart: a golden-ratio sequence, always the same."""
    return np.asarray((np.arange(how_many) * 0.618034 % 1 - 0.5) * width, dtype=np.float64)


def whole_numbers(most: int) -> dict[str, Any]:
    """Returns an axis of epochs or trials, counted from one, with at most ten ticks."""
    steps = (step * 10**power for power in range(9) for step in (1, 2, 5))
    step = next(step for step in steps if most / step <= 10)
    first = {"tick0": 1 if step == 1 else 0, "dtick": step}
    return first | {"range": [1 - 0.02 * most, most + 0.02 * most]}


def epochs_axis(evidence: Evidence, most: int) -> dict[str, Any]:
    """Returns an axis of epochs; where cells differ in them, as long as what is shown."""
    differ = "training.epochs" in (evidence.setup.config.get("cells") or ())
    return {"nticks": 6} if differ else whole_numbers(most)


def upright(x: float) -> dict[str, Any]:
    """Returns a dotted line from bottom to top: where a row is neither ahead nor behind."""
    line = {"color": BASELINE_COLOUR, "width": 1, "dash": "dot"}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def rows_axis(names: Sequence[str]) -> dict[str, Any]:
    """Returns an axis with a row per name, the first on top."""
    return {
        "tickvals": list(range(len(names))),
        "ticktext": list(names),
        "range": [len(names) - 0.4, -0.6],
        "showgrid": False,
        "zeroline": False,
    }
