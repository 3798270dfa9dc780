"""The charts of a report: a function per figure, evidence in, a plotly figure out.

A function returns None where there is nothing to draw. Figures have neither background nor text
colours: the page adds these, for light and dark.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fmnist_lab import statistics
from fmnist_lab.metrics import OBJECTIVES
from fmnist_lab.report import style
from fmnist_lab.report.evidence import RATE, Evidence, ran_to_the_end
from fmnist_lab.report.evidence import confusion as gathered_confusion
from fmnist_lab.report.importance import importances
from fmnist_lab.report.sentences import records
from fmnist_lab.results.frames import TYPES
from fmnist_lab.trial import StopReason

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["budget", "cells", "confusion", "importance", "improvement", "learning_rates",
           "parallel_coordinates", "profiles", "sensitivity", "stopping_epochs", "test_accuracies",
           "validation"]  # fmt: skip

_RATE = "opt/learning_rate"  # of an epoch
_RATES: dict[str, Any] = {"title": "learning rate", "type": "log", "exponentformat": "power",
                          "dtick": 1}  # fmt: skip
# What an objective is worth without any training; of others the worst that is known.
_GUESSES = dict.fromkeys(OBJECTIVES, 0.1) | {"val/loss": float(np.log(10))}
_DECADES = 4  # a rate that has fallen further is as good as zero
_MOST_CLASSES = 60
_MOST_LINES = 2000  # of parallel coordinates: the best ones
_PANELS = {"val/accuracy": "validation accuracy", "val/loss": "validation loss"}
_REASONS = {
    StopReason.COMPLETED: ("#8a94a0", "circle"),
    StopReason.EARLY_STOPPED: ("#3f88d6", "diamond"),
    StopReason.PRUNED: ("#c79a1f", "square"),
    StopReason.DIVERGED: ("#d9556b", "x"),
    StopReason.FAILED: ("#b0693f", "cross"),
}


def learning_rates(evidence: Evidence) -> "go.Figure | None":
    """Draws the learning rate of each strategy's best trial, at every epoch's last step."""
    best = _best(evidence)
    rates, epochs = best[_RATE].where(best[_RATE] > 0), best["epoch"] + 1
    if not rates.notna().any():
        return None
    top = float(np.log10(rates.max()))
    ends = [max(float(np.log10(rates.min())), top - _DECADES) - 0.1, top + 0.1]
    return style.figure(
        style.lines(evidence, best.assign(epoch=epochs, rate=rates), "epoch", "rate",
                    "%{y:.3g} after epoch %{x}"),
        hovermode="x unified",
        xaxis={"title": "epoch"} | style.epochs_axis(evidence, epochs.max()),
        yaxis=_RATES | {"range": ends},
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
    lines = bands = evidence.replicate_curves
    quantiles = (0.0, 1.0)
    if lines.empty:
        lines, bands, quantiles = _best(evidence), evidence.curves, (0.25, 0.75)
    panels = [metric for metric in _PANELS if lines[metric].notna().any()]
    if not panels:
        return None
    line, band = (
        frame[["strategy", "epoch", *panels]]
        .replace([np.inf, -np.inf], np.nan)
        .groupby(["strategy", "epoch"])[panels]
        for frame in (lines, bands)
    )
    mean, runs = line.mean(), band.count()
    low, high = map(band.quantile, quantiles)
    most = mean.index.get_level_values("epoch").max() + 1
    whole_epochs = style.epochs_axis(evidence, most)
    grid = {"rows": len(panels), "columns": 1, "pattern": "independent", "ygap": 0.16}
    layout: dict[str, Any] = {"grid": grid}
    traces: list[dict[str, Any]] = []
    for row, metric in enumerate(panels, 1):
        columns = [mean[metric], runs[metric], low[metric], high[metric]]
        frame = pd.concat(columns, axis=1, keys=["mean", "runs", "low", "high"])
        known = frame.dropna(subset="mean").index.unique("strategy")
        for strategy in reversed(evidence.strategies):  # the best on top
            if strategy in known:
                traces += _banded(evidence, strategy, pd.DataFrame(frame.loc[strategy]), row)
        layout[f"yaxis{row}"] = {"title": _PANELS[metric]} | _focus(mean[metric])
        layout[f"xaxis{row}"] = whole_epochs | ({"matches": "x"} if row > 1 else {})
    layout[f"xaxis{len(panels)}"]["title"] = "epoch"
    return style.figure(traces, 310 * len(panels), hovermode="x unified", **layout)


def _banded(
    evidence: Evidence, strategy: str, frame: pd.DataFrame, row: int
) -> list[dict[str, Any]]:
    """Returns a line and the band below it."""
    from plotly.colors import hex_to_rgb

    line = style.line(evidence, strategy)
    alpha = 0.18 if len(evidence.strategies) < 6 else 0.07
    known = frame.dropna(subset=["low", "high"])
    common = {"type": "scatter", "xaxis": f"x{row}", "yaxis": f"y{row}"}
    common |= style.named(evidence, strategy)
    band = common | {
        "x": [*(known.index + 1), *(known.index[::-1] + 1)],
        "y": [*known["high"], *known["low"][::-1]], "fill": "toself", "mode": "lines",
        "line": {"width": 0}, "fillcolor": f"rgba{(*hex_to_rgb(line['color']), alpha)}",
        "hoverinfo": "skip", "showlegend": False,
    }  # fmt: skip
    above = common | {
        "x": frame.index + 1, "y": frame["mean"], "customdata": frame["runs"],
        "mode": "lines+markers", "line": line, "marker": {"size": 4}, "showlegend": row == 1,
        "legendrank": evidence.strategies.index(strategy),
        "hovertemplate": "%{y:.4f} (%{customdata} runs)",
    }  # fmt: skip
    return [band, above]


def _focus(values: pd.Series) -> dict[str, Any]:
    """Returns the range of all that happens after the first epoch, whose values dwarf the rest."""
    epochs = values.index.get_level_values("epoch")
    later = values[epochs >= min(1, epochs.max())].dropna()
    if later.empty:
        return {}
    low, high = later.quantile([0.01, 0.99])
    return _range(low, high, 0.2)


def _range(low: float, high: float, room: float) -> dict[str, Any]:
    """Returns the range of an axis, with a share of it as room at either end."""
    margin = max(high - low, 1e-3) * room
    return {"range": [low - margin, high + margin]}


def test_accuracies(evidence: Evidence) -> "go.Figure | None":
    """Draws every replicate as a dot, and each strategy's mean with its 95 % t-interval."""
    measure = evidence.measure
    column, _, *ends = measure.columns
    standings = evidence.standings.dropna(subset=column).set_index("strategy")
    if standings.empty:
        return None
    tested = evidence.replicates.dropna(subset=column)
    factor, shown = measure.scale, f"%{{x:{measure.digits}}}{measure.sign}<extra></extra>"
    traces: list[dict[str, Any]] = []
    for row, (strategy, own) in enumerate(style.by_strategy(evidence, tested)):
        stroke = {"color": style.colour(evidence, strategy)}
        mean, low, high = (factor * standings[name][strategy] for name in (column, *ends))
        traces += [
            style.dots(len(own)) | {
                "x": factor * own[column], "y": row + style.spread(len(own), 0.4),
                "marker": stroke | {"size": 9, "opacity": 0.55}, "showlegend": False,
                "customdata": own[["seed", "search"]].to_numpy(),
                "hovertemplate": f"{strategy}, seed %{{customdata[0]}}: {shown}",
            },
            style.dots(1) | {
                "x": [mean], "y": [row], "showlegend": False,
                "marker": stroke | {"size": 13, "symbol": "line-ns", "line": stroke | {"width": 3}},
                "error_x": stroke | {"array": [high - mean], "arrayminus": [mean - low],
                                     "thickness": 2},
                "hovertemplate": f"{strategy}: mean {shown}",
            },
        ]  # fmt: skip
    baseline = factor * standings[column].get(evidence.baseline, np.nan)
    if evidence.cells is not None:  # each has one of its own
        baseline = np.nan
    return style.figure(
        traces,
        height=110 + 4 * style.ROW // 3 * len(standings),
        xaxis={"title": f"{measure.name}{',' * bool(measure.sign)}{measure.sign}"},
        yaxis=style.rows_axis(list(standings.index)),
        shapes=[] if np.isnan(baseline) else [style.upright(baseline)],
    )


def stopping_epochs(evidence: Evidence) -> "go.Figure | None":
    """Draws how long every run trained, by why it stopped; None where all trained equally long."""
    runs = pd.concat([evidence.trials, evidence.replicates], ignore_index=True)
    if runs["epochs_trained"].nunique() < 2:
        return None
    names = [name for name in evidence.strategies if name in set(runs["strategy"])]
    runs["row"] = runs["strategy"].map(names.index) + style.spread(len(runs))
    traces = [
        style.dots(len(runs)) | {
            "x": own["epochs_trained"], "y": own["row"], "name": reason.replace("_", " "),
            "marker": {"color": colour, "symbol": symbol, "size": 8, "opacity": 0.75},
            "customdata": own[["strategy", "kind", "trial"]].to_numpy(),
            "hovertemplate": "%{customdata[0]}, %{customdata[1]} %{customdata[2]}: %{x} epochs",
        }
        for reason, (colour, symbol) in _REASONS.items()
        if len(own := runs[runs["stop_reason"] == reason])
    ]  # fmt: skip
    return style.figure(
        traces,
        height=130 + style.ROW * len(names),
        xaxis={"title": "epochs trained"} | style.whole_numbers(int(runs["epochs_trained"].max())),
        yaxis=style.rows_axis(names),
    )


def sensitivity(evidence: Evidence) -> "go.Figure | None":
    """Draws the objective over the learning rate; a cross at the bottom had no objective."""
    trials = evidence.trials
    if RATE not in trials or trials[RATE].nunique() < 2:
        return None
    apart = RATE not in (evidence.setup.config.get("cells") or ())  # else all cells are one picture
    known = trials[ran_to_the_end(trials) & np.isfinite(trials["objective"])]
    if known.empty:
        return None
    low, high = _where_it_matters(known["objective"], evidence.maximised)
    lost = trials[trials["objective"].isna()].assign(y=low if evidence.maximised else high)
    kinds = (
        (known.assign(y=known["objective"].clip(low, high)), "circle", ["trial", "objective"],
         "%{customdata[1]:.4f} at %{x:.3g}, trial %{customdata[0]}"),
        (lost, "x-thin-open", "stop_reason", "%{customdata} at %{x:.3g}"),
    )  # fmt: skip
    traces = [
        style.dots(len(trials)) | {
            "x": own[RATE], "y": own["y"], **style.named(evidence, strategy, apart),
            "marker": {"color": style.colour(evidence, strategy), "size": 8, "opacity": 0.8,
                       "symbol": symbol},
            "showlegend": frame is not lost,
            "customdata": own[columns].to_numpy(), "hovertemplate": hover,
        }
        for frame, symbol, columns, hover in kinds
        for strategy, own in style.by_strategy(evidence, frame)
    ]  # fmt: skip
    return style.figure(traces, xaxis=_RATES, yaxis={"title": evidence.metric})


def _where_it_matters(objectives: pd.Series, maximised: bool) -> tuple[float, float]:
    """Returns a range without the hopeless: at most thrice as far from the best as the median."""
    low, high = objectives.min(), objectives.max()
    best = high if maximised else low
    far = best - 3 * (best - objectives.median())
    return (max(low, far), high) if maximised else (low, min(high, far))


def budget(evidence: Evidence) -> "go.Figure | None":
    """Draws what n trials find: expected, or as found where trials learn from each other."""
    if not (evidence.standings["trials"] > 1).any():
        return None
    if evidence.setup.is_independent:
        title, known = "expected best", evidence.trials["objective"]
        worst = known.min() if evidence.maximised else known.max()
        guess = _GUESSES.get(evidence.metric, float(worst))
        curves = statistics.expected_best(evidence.trials, guess)
    else:  # as each search went; the mean of several
        title, ended = "best so far", evidence.trials.sort_values(["strategy", "search", "trial"])
        scores = ended["objective"].where(ran_to_the_end(ended))
        of = [ended["strategy"], ended["search"]]
        groups = scores.groupby(of)
        best = groups.cummax() if evidence.maximised else groups.cummin()
        found = best.groupby(of).ffill()  # a trial that was lost leaves what was found before
        frame = ended[["strategy"]].assign(n=groups.cumcount() + 1, expected=found)
        of_n = frame.groupby(["strategy", "n"])["expected"]
        means = of_n.mean(skipna=False)
        searches = of_n.size().groupby("strategy").transform("max")
        curves = means[of_n.size() == searches].reset_index()  # where all searches have come to
    axis: dict[str, Any] = {"title": f"{title} {evidence.metric}"}
    finite = curves["expected"][np.isfinite(curves["expected"])]
    if len(finite):  # one trial may be worth next to nothing, and hide how the rest differ
        axis |= _range(*_where_it_matters(finite, evidence.maximised), 0.1)
    return style.figure(
        style.lines(evidence, curves, "n", "expected", "%{y:.4f}"),
        hovermode="x unified",
        xaxis={"title": "trials"} | style.whole_numbers(int(curves["n"].max())),
        yaxis=axis,
    )


def cells(evidence: Evidence) -> "go.Figure | None":
    """Draws by how many points each schedule is ahead of the baseline in each cell.

    A line for each schedule with its intervals where the cells are the values of one number, such
    as the length of the training; else a table in colours.
    """
    if evidence.cells is None or (found := evidence.in_cells).empty:
        return None
    ends = {end: found[f"images_{end}"].fillna(found[end]) for end in ("low", "high")}
    found = found.assign(**ends)
    found = found.assign(**found[["difference", "low", "high"]] * 100)
    (key, *others) = evidence.setup.config["cells"]
    ahead = {"title": f"points over {evidence.cell_baseline}", "zeroline": True}
    if not others and pd.api.types.is_numeric_dtype(evidence.cells[key]):
        values = sorted(evidence.cells[key].unique())
        is_wide = values[0] > 0 and values[-1] / values[0] >= 4
        at = found["cell"].astype("float64")
        # Side by side, so that no interval hides another one.
        ranks = pd.factorize(found["strategy"])[0] / found["strategy"].nunique()
        aside = 0.06 * (ranks - ranks.mean())
        if is_wide:
            at *= (values[-1] / values[0]) ** aside
        else:
            at += (values[-1] - values[0]) * aside
        traces = [
            {"type": "scatter", "x": own["at"], "y": own["difference"],
             "error_y": {"array": own["high"] - own["difference"],
                         "arrayminus": own["difference"] - own["low"], "thickness": 1},
             "name": name, "line": style.line(evidence, str(name)), "mode": "lines+markers",
             "customdata": own["cell"], "hovertemplate": "%{customdata}: %{y:+.2f} points"}
            for name, own in found.assign(at=at).groupby("strategy", sort=False)
        ]  # fmt: skip
        ticks = {"tickvals": values, "ticktext": [f"{value:g}" for value in values]}
        axis = {"title": key, "type": "log" if is_wide else "linear"} | ticks
        return style.figure(traces, yaxis=ahead, xaxis=axis)
    columns = found["cell"].unique()
    wide, low, high = (
        found.pivot(index="strategy", columns="cell", values=value)[columns]
        for value in ("difference", "low", "high")
    )
    most = max(float(np.nanmax(np.abs(wide.to_numpy()))), 1e-9)
    table = {
        "type": "heatmap", "z": wide, "x": list(wide.columns), "y": list(wide.index),
        "texttemplate": "%{z:+.2f}", "zmin": -most, "zmax": most, "showscale": False,
        "xgap": 2, "ygap": 2, "hoverongaps": False,
        "colorscale": [[0, "rgb(217,85,107)"], [0.5, "rgba(217,85,107,0)"],
                       [0.5, "rgba(47,163,107,0)"], [1, "rgb(47,163,107)"]],
        "customdata": np.dstack([low, high]),
        "hovertemplate": "%{y}, %{x}: %{z:+.2f} points, %{customdata[0]:+.2f} to "
                         "%{customdata[1]:+.2f}<extra></extra>",
    }  # fmt: skip
    return style.figure(
        [table],
        height=190 + style.ROW * len(wide),
        xaxis={"tickangle": -30, "showgrid": False, "type": "category"},
        yaxis={"showgrid": False, "type": "category"},
        meta={"wide": len(columns) > 5},
    )


def improvement(evidence: Evidence) -> "go.Figure | None":
    """Draws each schedule's probability of improvement with its interval, the highest on top."""
    if evidence.cells is None or (found := evidence.improvement).empty:
        return None
    traces = [
        style.dots(1) | {
            "x": [own["probability"]], "y": [row], "showlegend": False,
            "marker": {"color": style.colour(evidence, own["strategy"]), "size": 9},
            "error_x": {"array": [own["high"] - own["probability"]],
                        "arrayminus": [own["probability"] - own["low"]], "thickness": 2},
            "customdata": [[own["low"], own["high"]]],
            "hovertemplate": f"{own['strategy']}: %{{x:.2f}}, %{{customdata[0]:.2f}} to "
                             "%{customdata[1]:.2f}<extra></extra>",
        }
        for row, own in enumerate(records(found))
    ]  # fmt: skip
    return style.figure(
        traces,
        height=110 + style.ROW * len(found),
        xaxis={"title": f"probability of improvement on {evidence.cell_baseline}",
               "range": [-0.02, 1.02], "zeroline": False},
        yaxis=style.rows_axis(list(found["strategy"])),
        shapes=[style.upright(0.5)],
    )  # fmt: skip


def profiles(evidence: Evidence) -> "go.Figure | None":
    """Draws the performance profiles of the schedules over the cells."""
    if evidence.cells is None or (found := statistics.profiles(evidence.cells)).empty:
        return None
    last = 1.02 * found["ratio"].max()
    traces = [
        {"type": "scatter", "x": [*own["ratio"], last], "y": [*own["share"], own["share"].iloc[-1]],
         "name": name, "line": style.line(evidence, str(name)) | {"shape": "hv"},
         "mode": "lines", "hovertemplate": "%{y:.0%}"}
        for name, own in found.groupby("strategy", sort=False)
    ]  # fmt: skip
    return style.figure(
        traces,
        xaxis={"title": "test error / smallest in its cell"},
        yaxis={"title": "share of cells", "tickformat": ".0%", "range": [-0.03, 1.05]},
    )


def importance(evidence: Evidence) -> "go.Figure | None":
    """Draws Optuna's importance of each searched parameter, for each strategy."""
    found, trials = {}, evidence.trials
    for name, ended in style.by_strategy(evidence, trials[ran_to_the_end(trials)]):
        space = {key: entry for key, entry in evidence.setup.space(name).items() if key in ended}
        own = ended.dropna(subset=list(space))
        params, objectives = records(own[list(space)]), own["objective"].tolist()
        found[name] = importances(params, objectives, space, evidence.maximised)
    shares = pd.DataFrame(found, dtype="float64").T.dropna(how="all")
    if shares.empty:
        return None
    shares = shares[shares.max().sort_values(ascending=False).index]
    return style.shares(shares.to_numpy(), list(shares.columns), list(shares.index), "%{z:.0%}")


def confusion(evidence: Evidence) -> "go.Figure | None":
    """Draws the share of each true class (rows) that the winner takes for each class."""
    if (found := gathered_confusion(evidence)) is None or len(found[1]) > _MOST_CLASSES:
        return None
    _, names, counts = found
    parts = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return style.shares(parts, names, names, "%{z:.1%}" if len(names) < 13 else "")


def parallel_coordinates(evidence: Evidence) -> "go.Figure | None":
    """Draws a line per trial through its parameters to its objective; a menu picks a strategy."""
    trials = evidence.trials[ran_to_the_end(evidence.trials)].dropna(subset="objective")
    best = statistics.rank(trials, maximised=evidence.maximised).head(_MOST_LINES)
    if best.empty or not _searched(best):
        return None
    own = style.by_strategy(evidence, best) if len(evidence.strategies) > 1 else ()
    choices = {"all strategies": best, **dict(own)}
    traces = [
        {"type": "parcoords", "dimensions": _dimensions(evidence, own), "visible": own is best,
         "line": {"color": own["objective"], "colorscale": "Viridis",
                  "reversescale": not evidence.maximised}}
        for own in choices.values()
    ]  # fmt: skip
    buttons = [{"label": name, "method": "update", "args": [{"visible": [
                   other == name for other in choices]}]} for name in choices]  # fmt: skip
    menu = {"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.28, "yanchor": "top"}
    margin = {"t": 110, "b": 30, "l": 30 + 7 * max(map(len, evidence.strategies)), "r": 60}
    menus = [menu] * (len(buttons) > 1)
    return style.figure(traces, 420, updatemenus=menus, margin=margin, meta={"wide": True})


def _searched(trials: pd.DataFrame) -> list[str]:
    """Returns the numeric parameters that vary, and that all these trials have."""
    numbers = trials.select_dtypes("float64").dropna(axis=1)
    return [str(key) for key in numbers if key not in TYPES and numbers[key].nunique() > 1]


def _dimensions(evidence: Evidence, trials: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns the axes; one that spans more than a decade is logarithmic."""
    shown: list[dict[str, Any]] = []
    names = [name for name, _ in style.by_strategy(evidence, trials)]
    if len(names) > 1:
        shown.append({"label": "strategy", "values": trials["strategy"].map(names.index),
                      "tickvals": list(range(len(names))), "ticktext": names})  # fmt: skip
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
    return [*shown, {"label": evidence.metric, "values": trials["objective"]}]
