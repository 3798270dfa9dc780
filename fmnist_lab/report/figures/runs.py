"""Charts of what runs did: their rates, their validation, where and how well they ended."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fmnist_lab import statistics
from fmnist_lab.report.evidence import Evidence
from fmnist_lab.report.figures import style
from fmnist_lab.trial import StopReason

if TYPE_CHECKING:
    import plotly.graph_objects as go

RATE = "opt/learning_rate"
DECADES = 4  # a rate that has fallen further is as good as zero
PANELS = {"val/accuracy": "validation accuracy", "val/loss": "validation loss"}
REASONS = {
    StopReason.COMPLETED: ("#8a94a0", "circle"),
    StopReason.EARLY_STOPPED: ("#3f88d6", "diamond"),
    StopReason.PRUNED: ("#c79a1f", "square"),
    StopReason.DIVERGED: ("#d9556b", "x"),
    StopReason.FAILED: ("#b0693f", "cross"),
}


def learning_rates(evidence: Evidence) -> "go.Figure | None":
    """Draws the learning rate of each strategy's best trial, at every epoch's last step."""
    import plotly.graph_objects as go

    best = _best(evidence)
    if best.empty or RATE not in best or not (best[RATE] > 0).any():
        return None
    traces = [
        go.Scatter(
            x=curve["epoch"].to_numpy() + 1,
            y=curve[RATE].where(curve[RATE] > 0).to_numpy(),
            name=strategy,
            mode="lines+markers",
            line=style.line(evidence, strategy),
            marker={"size": 5},
            hovertemplate="%{y:.3g} after epoch %{x}",
        )
        for strategy in evidence.strategies
        if len(curve := best[best["strategy"] == strategy])
    ]
    top = best[RATE].max()
    lowest = max(best.loc[best[RATE] > 0, RATE].min(), top / 10**DECADES)
    ends = [float(np.log10(lowest)) - 0.1, float(np.log10(top)) + 0.1]
    return style.figure(
        traces,
        hovermode="x unified",
        xaxis={"title": "epoch"} | style.whole_numbers(best["epoch"].max() + 1),
        yaxis={"title": "learning rate", "type": "log", "range": ends,
               "exponentformat": "power", "dtick": 1},
    )  # fmt: skip


def _best(evidence: Evidence) -> pd.DataFrame:
    """Returns the curve of each strategy's best trial."""
    run = ["strategy", "search", "trial"]
    best = evidence.standings[run].dropna().astype({"trial": "int64", "search": "int64"})
    return evidence.curves.merge(best, on=run)


def validation(evidence: Evidence) -> "go.Figure | None":
    """Draws validation curves, aligned by epoch: a line and a band for each strategy.

    With replicates the line is their mean, and the band reaches from the worst to the best. Without
    them the line is the best trial, and the band holds the middle half of all trials.
    """
    curves = evidence.replicate_curves
    of_replicates = not curves.empty
    lines = curves if of_replicates else _best(evidence)
    bands = curves if of_replicates else evidence.curves
    panels = [metric for metric in PANELS if metric in lines and lines[metric].notna().any()]
    if lines.empty or not panels:
        return None
    by_epoch = [
        frame[["strategy", "epoch", *panels]]
        .replace([np.inf, -np.inf], np.nan)
        .groupby(["strategy", "epoch"])[panels]
        for frame in (lines, bands)
    ]
    mean, runs = by_epoch[0].mean(), by_epoch[1].count()
    ends = (0.0, 1.0) if of_replicates else (0.25, 0.75)
    low, high = (by_epoch[1].quantile(end) for end in ends)
    whole_epochs = style.whole_numbers(mean.index.get_level_values("epoch").max() + 1)
    grid = {"rows": len(panels), "columns": 1, "pattern": "independent", "ygap": 0.16}
    layout: dict[str, Any] = {"grid": grid}
    traces: list[Any] = []
    for row, metric in enumerate(panels, 1):
        columns = {"mean": mean[metric], "runs": runs[metric], "low": low[metric]}
        frame = pd.DataFrame(columns | {"high": high[metric]})
        known = frame.dropna(subset="mean").index.unique("strategy")
        for strategy in reversed(evidence.strategies):  # the best on top
            if strategy in known:
                traces += _banded(evidence, strategy, pd.DataFrame(frame.loc[strategy]), row)
        layout[f"yaxis{row}"] = {"title": PANELS[metric]} | _focus(mean[metric])
        layout[f"xaxis{row}"] = whole_epochs | ({"matches": "x"} if row > 1 else {})
    layout[f"xaxis{len(panels)}"]["title"] = "epoch"
    return style.figure(traces, 310 * len(panels), hovermode="x unified", **layout)


def _banded(evidence: Evidence, strategy: str, frame: pd.DataFrame, row: int) -> list[Any]:
    """Returns a line and the band below it."""
    import plotly.graph_objects as go

    line = style.line(evidence, strategy)
    alpha = 0.18 if len(evidence.strategies) < 6 else 0.07
    known = frame.dropna(subset=["low", "high"])
    around = [*(known.index + 1), *(known.index[::-1] + 1)]
    axes = {"xaxis": f"x{row}", "yaxis": f"y{row}", "legendgroup": strategy, "name": strategy}
    band = go.Scatter(
        x=around, y=[*known["high"], *known["low"][::-1]], fill="toself", mode="lines",
        line={"width": 0}, fillcolor=style.faint(line["color"], alpha), hoverinfo="skip",
        showlegend=False, **axes,
    )  # fmt: skip
    above = go.Scatter(
        x=frame.index + 1, y=frame["mean"].to_numpy(), customdata=frame["runs"].to_numpy(),
        mode="lines+markers", line=line, marker={"size": 4}, showlegend=row == 1,
        legendrank=evidence.strategies.index(strategy),
        hovertemplate="%{y:.4f} (%{customdata} runs)", **axes,
    )  # fmt: skip
    return [band, above]


def _focus(values: pd.Series) -> dict[str, Any]:
    """Returns the range of all that happens after the first epoch, whose values dwarf the rest."""
    epochs = values.index.get_level_values("epoch")
    later = values[epochs >= min(1, epochs.max())].dropna()
    if later.empty:
        return {}
    low, high = later.quantile([0.01, 0.99])
    room = max(high - low, 1e-3) * 0.2
    return {"range": [low - room, high + room]}


def test_accuracies(evidence: Evidence) -> "go.Figure | None":
    """Draws every replicate as a dot, and each strategy's mean with its 95 % t-interval."""
    import plotly.graph_objects as go

    tested = evidence.replicates.dropna(subset=["test_accuracy"])
    if tested.empty:
        return None
    names = [name for name in evidence.strategies if name in set(tested["strategy"])]
    traces: list[Any] = []
    for row, strategy in enumerate(names):
        colour = style.colour(evidence, strategy)
        own = tested[tested["strategy"] == strategy]
        percent = 100 * own["test_accuracy"]
        units = percent  # what the mean is of: the seeds, or the means of whole searches
        if evidence.pair == "search":
            units = percent.groupby(own["search"]).mean()
        mean = units.mean()
        low, high = statistics.t_interval(np.asarray(units, dtype=np.float64))
        stroke = {"color": colour}
        traces += [
            go.Scatter(
                x=percent.to_numpy(), y=row + style.spread(len(own), 0.4), mode="markers",
                marker={"color": colour, "size": 9, "opacity": 0.55}, showlegend=False,
                customdata=own[["seed", "search"]].to_numpy(),
                hovertemplate=f"{strategy}, seed %{{customdata[0]}}: %{{x:.2f}} %<extra></extra>",
            ),
            go.Scatter(
                x=[mean], y=[row], mode="markers", showlegend=False,
                marker=stroke | {"size": 13, "symbol": "line-ns", "line": stroke | {"width": 3}},
                error_x=stroke | {"array": [high - mean], "arrayminus": [mean - low],
                                  "thickness": 2},
                hovertemplate=f"{strategy}: mean %{{x:.2f}} %<extra></extra>",
            ),
        ]  # fmt: skip
    baseline = 100 * tested.loc[tested["strategy"] == evidence.baseline, "test_accuracy"].mean()
    line = {"color": style.BASELINE_COLOUR, "width": 1, "dash": "dot"}
    upright = {"type": "line", "x0": baseline, "x1": baseline, "y0": 0, "y1": 1, "yref": "paper"}
    return style.figure(
        traces,
        height=110 + 4 * style.ROW // 3 * len(names),
        xaxis={"title": "test accuracy, %"},
        yaxis=style.rows_axis(names),
        shapes=[] if np.isnan(baseline) else [upright | {"line": line}],
    )


def stopping_epochs(evidence: Evidence) -> "go.Figure | None":
    """Draws how long every run trained, by why it stopped; None where all trained equally long."""
    runs = pd.concat([evidence.trials, evidence.replicates], ignore_index=True)
    if runs["epochs_trained"].nunique() < 2:
        return None
    names = [name for name in evidence.strategies if name in set(runs["strategy"])]
    runs["row"] = runs["strategy"].map(names.index) + style.spread(len(runs))
    scatter = style.dots(len(runs))
    traces = [
        scatter(
            x=own["epochs_trained"].to_numpy(), y=own["row"].to_numpy(), mode="markers",
            name=reason.replace("_", " "),
            marker={"color": colour, "symbol": symbol, "size": 8, "opacity": 0.75},
            customdata=own[["strategy", "kind", "trial"]].to_numpy(),
            hovertemplate="%{customdata[0]}, %{customdata[1]} %{customdata[2]}: %{x} epochs",
        )
        for reason, (colour, symbol) in REASONS.items()
        if len(own := runs[runs["stop_reason"] == reason])
    ]  # fmt: skip
    return style.figure(
        traces,
        height=130 + style.ROW * len(names),
        xaxis={"title": "epochs trained"} | style.whole_numbers(int(runs["epochs_trained"].max())),
        yaxis=style.rows_axis(names),
    )
