"""Where runs ended: their last epoch, their test accuracy."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fmnist_lab import statistics
from fmnist_lab.report.evidence import Evidence
from fmnist_lab.report.figures import style
from fmnist_lab.trial import StopReason

if TYPE_CHECKING:
    import plotly.graph_objects as go

REASONS = {
    StopReason.COMPLETED: ("#8a94a0", "circle"),
    StopReason.EARLY_STOPPED: ("#3f88d6", "diamond"),
    StopReason.PRUNED: ("#c79a1f", "square"),
    StopReason.DIVERGED: ("#d9556b", "x"),
    StopReason.FAILED: ("#b0693f", "cross"),
}


def test_accuracies(evidence: Evidence) -> "go.Figure | None":
    """Every replicate as a dot, each strategy's mean with its 95 % t-interval."""
    import plotly.graph_objects as go

    tested = evidence.replicates.dropna(subset=["test_accuracy"])
    if tested.empty:
        return None
    names = [name for name in evidence.strategies if name in set(tested["strategy"])]
    colours = style.colours(evidence)
    traces: list[Any] = []
    for row, strategy in enumerate(names):
        own = tested[tested["strategy"] == strategy]
        values = 100 * own["test_accuracy"].to_numpy(dtype=np.float64)
        traces += [
            go.Scatter(
                x=values, y=row + style.spread(len(own), 0.4), mode="markers", showlegend=False,
                marker={"color": colours[strategy], "size": 9, "opacity": 0.55},
                customdata=own[["seed", "search"]].to_numpy(),
                hovertemplate=f"{strategy}, seed %{{customdata[0]}}: %{{x:.2f}} %<extra></extra>",
            ),
            _mean(strategy, row, _units(evidence, own), colours[strategy]),
        ]  # fmt: skip
    line = tested.loc[tested["strategy"] == evidence.baseline, "test_accuracy"].mean()
    shapes = [] if np.isnan(line) else [_upright(100 * line)]
    return style.figure(
        traces,
        height=110 + 4 * style.ROW // 3 * len(names),
        xaxis={"title": "test accuracy, %"},
        yaxis=style.rows_axis(names),
        shapes=shapes,
    )


def _units(evidence: Evidence, replicates: pd.DataFrame) -> style.Floats:
    """What a mean is of, in percent: the seeds, or the means of whole searches."""
    values = 100 * replicates["test_accuracy"]
    if evidence.pair == "search":
        values = values.groupby(replicates["search"]).mean()
    return np.asarray(values, dtype=np.float64)


def _mean(strategy: str, row: int, values: style.Floats, colour: str) -> Any:
    import plotly.graph_objects as go

    mean = values.mean()
    low, high = statistics.t_interval(values)
    stroke = {"color": colour}
    return go.Scatter(
        x=[mean], y=[row], mode="markers", showlegend=False,
        marker={"color": colour, "size": 13, "symbol": "line-ns", "line": stroke | {"width": 3}},
        error_x={"array": [high - mean], "arrayminus": [mean - low], "thickness": 2} | stroke,
        hovertemplate=f"{strategy}: mean %{{x:.2f}} %<extra></extra>",
    )  # fmt: skip


def stopping_epochs(evidence: Evidence) -> "go.Figure | None":
    """The epochs that every run trained, by why it stopped; None where all trained equally long."""
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


def _upright(x: float) -> dict[str, Any]:
    line = {"color": style.BASELINE_COLOUR, "width": 1, "dash": "dot"}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line}
