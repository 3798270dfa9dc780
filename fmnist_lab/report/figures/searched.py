"""Charts of what the search has seen: sensitivity, budget, parameters."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fmnist_lab import statistics
from fmnist_lab.report.evidence import RATE, Evidence, ran_to_the_end
from fmnist_lab.report.figures import style
from fmnist_lab.report.importance import importances
from fmnist_lab.report.sentences import records

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_LINES = 2000  # of parallel coordinates: the best ones


def sensitivity(evidence: Evidence) -> "go.Figure | None":
    """Draws the objective over the learning rate; a cross at the bottom had no objective."""
    trials = evidence.trials
    if RATE not in trials or trials[RATE].nunique() < 2:
        return None
    known = trials[ran_to_the_end(trials) & np.isfinite(trials["objective"])]
    if known.empty:
        return None
    scatter = style.dots(len(trials))
    low, high = _where_it_matters(known["objective"], evidence.maximised)
    lost = trials[trials["objective"].isna()]
    floor = low if evidence.maximised else high
    traces = [
        scatter(
            x=own[RATE].to_numpy(), y=own["objective"].clip(low, high).to_numpy(), mode="markers",
            name=strategy, legendgroup=strategy,
            marker={"color": style.colour(evidence, strategy), "size": 8, "opacity": 0.8},
            customdata=own[["trial", "objective"]].to_numpy(),
            hovertemplate="%{customdata[1]:.4f} at %{x:.3g}, trial %{customdata[0]}",
        )
        for strategy in evidence.strategies
        if len(own := known[known["strategy"] == strategy])
    ]  # fmt: skip
    traces += [
        scatter(
            x=own[RATE].to_numpy(), y=np.full(len(own), floor), mode="markers", name=strategy,
            legendgroup=strategy, showlegend=False, customdata=own["stop_reason"].to_numpy(),
            marker={"color": style.colour(evidence, strategy), "size": 9,
                    "symbol": "x-thin-open"},
            hovertemplate="%{customdata} at %{x:.3g}",
        )
        for strategy in evidence.strategies
        if len(own := lost[lost["strategy"] == strategy])
    ]  # fmt: skip
    axis = {"title": "learning rate", "type": "log", "exponentformat": "power", "dtick": 1}
    return style.figure(traces, xaxis=axis, yaxis={"title": evidence.metric})


def _where_it_matters(objectives: pd.Series, maximised: bool) -> tuple[float, float]:
    """Returns a range without the hopeless: at most thrice as far from the best as the median."""
    best = objectives.max() if maximised else objectives.min()
    far = best - 3 * (best - objectives.median())
    if maximised:
        return max(objectives.min(), far), best
    return best, min(objectives.max(), far)


def budget(evidence: Evidence) -> "go.Figure | None":
    """Draws what n trials find: expected, or as found where trials learn from each other."""
    import plotly.graph_objects as go

    if not (evidence.standings["trials"] > 1).any():
        return None
    if evidence.setup.is_independent:
        title, guess = "expected best", 0.1 if evidence.maximised else float(np.log(10))
        curves = statistics.expected_best(evidence.trials, guess)
    else:  # as each search went; the mean of several
        title, ended = "best so far", evidence.trials.sort_values(["strategy", "search", "trial"])
        scores = ended["objective"].where(ran_to_the_end(ended))
        groups = scores.groupby([ended["strategy"], ended["search"]])
        best = groups.cummax() if evidence.maximised else groups.cummin()
        frame = ended[["strategy"]].assign(n=groups.cumcount() + 1, expected=best)
        curves = frame.groupby(["strategy", "n"])[["expected"]].mean().reset_index()
    traces = [
        go.Scatter(
            x=own["n"].to_numpy(), y=own["expected"].to_numpy(), name=strategy,
            mode="lines+markers" if len(own) < 40 else "lines", marker={"size": 4},
            line=style.line(evidence, strategy), hovertemplate="%{y:.4f}",
        )
        for strategy in evidence.strategies
        if len(own := curves[curves["strategy"] == strategy])
    ]  # fmt: skip
    axis: dict[str, Any] = {"title": f"{title} {evidence.metric}"}
    finite = curves["expected"][np.isfinite(curves["expected"])]
    if len(finite):  # one trial may be worth next to nothing, and hide how the rest differ
        low, high = _where_it_matters(finite, evidence.maximised)
        room = max(high - low, 1e-3) * 0.1
        axis["range"] = [low - room, high + room]
    return style.figure(
        traces,
        hovermode="x unified",
        xaxis={"title": "trials"} | style.whole_numbers(int(curves["n"].max())),
        yaxis=axis,
    )


def importance(evidence: Evidence) -> "go.Figure | None":
    """Draws Optuna's importance of each searched parameter, for each strategy."""
    import plotly.graph_objects as go

    found, trials = {}, evidence.trials
    for name in evidence.strategies:
        own = trials[(trials["strategy"] == name) & ran_to_the_end(trials)]
        space = {key: entry for key, entry in evidence.setup.space(name).items() if key in own}
        own = own.dropna(subset=list(space))
        params, objectives = records(own[list(space)]), own["objective"].tolist()
        found[name] = pd.Series(
            importances(params, objectives, space, evidence.maximised), dtype="float64"
        )
    shares = pd.DataFrame(found).T.dropna(how="all")
    if shares.empty:
        return None
    shares = shares[shares.max().sort_values(ascending=False).index]
    table = go.Heatmap(
        z=shares.to_numpy(dtype=np.float64), x=list(shares.columns), y=list(shares.index),
        text=shares.map(lambda share: "" if pd.isna(share) else f"{share:.0%}").to_numpy(),
        texttemplate="%{text}", zmin=0, zmax=1, showscale=False, hoverongaps=False, xgap=2, ygap=2,
        colorscale=[[0, "rgba(63,136,214,0.08)"], [1, "rgba(63,136,214,0.85)"]],
        hovertemplate="%{y}, %{x}: %{z:.0%}<extra></extra>",
    )  # fmt: skip
    return style.figure(
        [table],
        height=150 + style.ROW * len(shares),
        xaxis={"showgrid": False, "tickangle": -30},
        yaxis={"autorange": "reversed", "showgrid": False},
    )


def parallel_coordinates(evidence: Evidence) -> "go.Figure | None":
    """Draws a line per trial through its parameters to its objective; a menu picks a strategy."""
    import plotly.graph_objects as go

    trials = evidence.trials[ran_to_the_end(evidence.trials)].dropna(subset="objective")
    best = statistics.rank(trials, maximised=evidence.maximised).head(MOST_LINES)
    if best.empty or not _searched(best):
        return None
    choices = {"all strategies": best}
    if len(evidence.strategies) > 1:
        choices |= {name: best[best["strategy"] == name] for name in evidence.strategies}
    choices = {name: own for name, own in choices.items() if len(own)}
    traces = [
        go.Parcoords(
            dimensions=_dimensions(evidence, own),
            line={"color": own["objective"].to_numpy(), "colorscale": "Viridis",
                  "reversescale": not evidence.maximised},
            visible=index == 0,
        )
        for index, own in enumerate(choices.values())
    ]  # fmt: skip
    buttons = [
        {"label": name, "method": "update",
         "args": [{"visible": [other == name for other in choices]}]}
        for name in choices
    ]  # fmt: skip
    menu = {"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.28, "yanchor": "top"}
    margin = {"t": 110, "b": 30, "l": 30 + 7 * max(map(len, evidence.strategies)), "r": 60}
    menus = [menu] if len(buttons) > 1 else []
    return style.figure(traces, 420, updatemenus=menus, margin=margin, meta={"wide": True})


def _searched(trials: pd.DataFrame) -> list[str]:
    """Returns the numeric parameters that vary, and that all these trials have."""
    return [
        str(key)
        for key in trials.columns
        if "." in key
        and trials[key].dtype == "float64"
        and trials[key].notna().all()
        and trials[key].nunique() > 1
    ]


def _dimensions(evidence: Evidence, trials: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns the axes; one that spans more than a decade is logarithmic."""
    shown = []
    names = [name for name in evidence.strategies if name in set(trials["strategy"])]
    if len(names) > 1:
        places = trials["strategy"].map(names.index).to_numpy()
        shown.append({"label": "strategy", "values": places, "tickvals": list(range(len(names))),
                      "ticktext": names})  # fmt: skip
    for key in _searched(trials):
        label, values = key.rpartition(".")[2], trials[key].to_numpy(dtype=np.float64)
        if values.min() <= 0 or values.max() / values.min() < 10:
            shown.append({"label": label, "values": values})
            continue
        logs = np.log10(values)
        decades = np.arange(np.ceil(logs.min()), np.floor(logs.max()) + 1)
        ticks = [logs.min(), *decades, logs.max()] if len(decades) < 2 else decades.tolist()
        words = [f"{10**power:.2g}" for power in ticks]
        shown.append({"label": label, "values": logs, "tickvals": ticks, "ticktext": words})
    return [*shown, {"label": evidence.metric, "values": trials["objective"].to_numpy()}]
