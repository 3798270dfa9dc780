"""Curves over epochs."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fmnist_lab.report.evidence import Evidence
from fmnist_lab.report.figures import style

if TYPE_CHECKING:
    import plotly.graph_objects as go

RATE = "opt/learning_rate"
DECADES = 4  # a rate that has fallen further is as good as zero
PANELS = {"val/accuracy": "validation accuracy", "val/loss": "validation loss"}
_RUN = ["strategy", "search", "trial"]


def learning_rates(evidence: Evidence) -> "go.Figure | None":
    """The learning rate of each strategy's best trial, at every epoch's last step."""
    import plotly.graph_objects as go

    best = _best(evidence)
    if best.empty or RATE not in best or not (best[RATE] > 0).any():
        return None
    colours, dashes = style.colours(evidence), style.dashes(evidence)
    traces = [
        go.Scatter(
            x=curve["epoch"].to_numpy() + 1,
            y=curve[RATE].where(curve[RATE] > 0).to_numpy(),
            name=strategy,
            mode="lines+markers",
            line={"color": colours[strategy], "dash": dashes[strategy], "width": 2},
            marker={"size": 5},
            hovertemplate="%{y:.3g} after epoch %{x}",
        )
        for strategy in evidence.strategies
        if len(curve := best[best["strategy"] == strategy])
    ]
    top = best[RATE].max()
    lowest = max(best.loc[best[RATE] > 0, RATE].min(), top / 10**DECADES)
    return style.figure(
        traces,
        hovermode="x unified",
        xaxis={"title": "epoch"} | style.whole_numbers(best["epoch"].max() + 1),
        yaxis={"title": "learning rate", "type": "log", "range": _log_range(lowest, top),
               "exponentformat": "power", "dtick": 1},
    )  # fmt: skip


def validation(evidence: Evidence) -> "go.Figure | None":
    """Validation curves, aligned by epoch: a line and a band for each strategy.

    Of replicates their mean, and a band from the worst to the best; without replicates the best
    trial, and a band over the middle half of all trials.
    """
    curves = evidence.replicate_curves
    of_replicates = not curves.empty
    lines = curves if of_replicates else _best(evidence)
    bands = curves if of_replicates else evidence.curves
    panels = [metric for metric in PANELS if metric in lines and lines[metric].notna().any()]
    if lines.empty or not panels:
        return None
    lines, bands = (_finite(frame, panels) for frame in (lines, bands))
    mean, runs = lines.mean(), bands.count()
    low, high = (bands.quantile(end) for end in ((0.0, 1.0) if of_replicates else (0.25, 0.75)))
    traces: list[Any] = []
    for row, metric in enumerate(panels, 1):
        columns = {"mean": mean[metric], "runs": runs[metric], "low": low[metric]}
        frame = pd.DataFrame(columns | {"high": high[metric]})
        known = frame.dropna(subset="mean").index.unique("strategy")
        for strategy in reversed(evidence.strategies):  # the best on top
            if strategy in known:
                traces += _banded(evidence, strategy, pd.DataFrame(frame.loc[strategy]), row)
    return style.figure(
        traces, 310 * len(panels), hovermode="x unified", **_panels(mean.reset_index(), panels)
    )


def _finite(curves: pd.DataFrame, panels: list[str]) -> Any:
    """The metrics by strategy and epoch; infinity is no value."""
    known = curves[["strategy", "epoch", *panels]].replace([np.inf, -np.inf], np.nan)
    return known.groupby(["strategy", "epoch"])[panels]


def _panels(lines: pd.DataFrame, panels: list[str]) -> dict[str, Any]:
    """A panel below the other, with their epochs aligned."""
    grid = {"rows": len(panels), "columns": 1, "pattern": "independent", "ygap": 0.16}
    axes: dict[str, Any] = {}
    for row, metric in enumerate(panels, 1):
        axes[f"yaxis{row}"] = {"title": PANELS[metric]} | _focus(lines, metric)
        axes[f"xaxis{row}"] = style.whole_numbers(lines["epoch"].max() + 1)
        if row > 1:
            axes[f"xaxis{row}"]["matches"] = "x"
    axes[f"xaxis{len(panels)}"]["title"] = "epoch"
    return axes | {"grid": grid}


def _banded(evidence: Evidence, strategy: str, frame: pd.DataFrame, row: int) -> list[Any]:
    """A line over its band."""
    import plotly.graph_objects as go

    colour, dash = style.colours(evidence)[strategy], style.dashes(evidence)[strategy]
    alpha = 0.18 if len(evidence.strategies) < 6 else 0.07
    known = frame.dropna(subset=["low", "high"])
    around = [*(known.index + 1), *(known.index[::-1] + 1)]
    axes = {"xaxis": f"x{row}", "yaxis": f"y{row}", "legendgroup": strategy, "name": strategy}
    band = go.Scatter(
        x=around, y=[*known["high"], *known["low"][::-1]], fill="toself", mode="lines",
        line={"width": 0}, fillcolor=style.faint(colour, alpha), hoverinfo="skip", showlegend=False,
        **axes,
    )  # fmt: skip
    line = go.Scatter(
        x=frame.index + 1, y=frame["mean"].to_numpy(), customdata=frame["runs"].to_numpy(),
        mode="lines+markers", line={"color": colour, "dash": dash, "width": 2},
        marker={"size": 4}, showlegend=row == 1,
        legendrank=evidence.strategies.index(strategy),
        hovertemplate="%{y:.4f} (%{customdata} runs)", **axes,
    )  # fmt: skip
    return [band, line]


def _best(evidence: Evidence) -> pd.DataFrame:
    """The curve of each strategy's best trial."""
    best = evidence.standings[_RUN].dropna().astype({"trial": "int64", "search": "int64"})
    return evidence.curves.merge(best, on=_RUN)


def _log_range(low: float, high: float) -> list[float]:
    return [float(np.log10(low)) - 0.1, float(np.log10(high)) + 0.1]


def _focus(lines: pd.DataFrame, metric: str) -> dict[str, Any]:
    """The axis' range: all that happens after the first epoch, whose values dwarf the rest."""
    later = lines.loc[lines["epoch"] >= min(1, lines["epoch"].max()), metric].dropna()
    if later.empty:
        return {}
    low, high = later.quantile([0.01, 0.99])
    room = max(high - low, 1e-3) * 0.2
    return {"range": [low - room, high + room]}
