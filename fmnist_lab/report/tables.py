"""The report's tables as HTML."""

import math
from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd

from fmnist_lab import statistics
from fmnist_lab.foundation import wording
from fmnist_lab.report import sentences, style
from fmnist_lab.report.evidence import RATE, Evidence, Measure


def table(evidence: Evidence, columns: Mapping[str, Any] | pd.DataFrame, kind: str = "") -> str:
    """Returns a table in a box of its own that scrolls.

    Args:
        evidence: What gives strategies their colours.
        columns: By heading, which is HTML as the cells are; `strategy` is a plain name. A dash
            stands where a cell is missing.
        kind: Of the table, for the style.
    """
    frame = pd.DataFrame(columns)
    frame["strategy"] = [
        f'<span class="dot" style="color:{style.colour(evidence, name)}"></span>{escape(name)}'
        for name in frame["strategy"]
    ]
    with pd.option_context("display.max_colwidth", None):
        text = frame.to_html(index=False, escape=False, border=0, na_rep="-", classes=kind)
    return f'<div class="box" tabindex="0">{text}</div>'


def verdicts(evidence: Evidence) -> str:
    """Returns the verdicts against the baseline, and, folded away, those against the best."""
    if evidence.versus_baseline is None or evidence.versus_best is None:
        return _ranking(evidence)
    best = str(evidence.versus_best["opponent"].iloc[0])
    tests = math.comb(len(evidence.versus_best) + 1, 2)
    return (
        _verdicts(evidence, evidence.versus_baseline)
        + f"<details><summary>Against the best, {escape(best)}</summary>"
        f"<p>The best is chosen from the same numbers, so these p-values and intervals cover all "
        f"{tests} comparisons of two strategies.</p>"
        + _verdicts(evidence, evidence.versus_best)
        + "</details>"
    )


def _verdicts(evidence: Evidence, frame: pd.DataFrame) -> str:
    opponent = str(frame["opponent"].iloc[0])
    judged = {row["strategy"]: row for row in sentences.records(frame)}
    units, measure = sentences.PLURAL[evidence.pair], evidence.measure
    over = f"{measure.unit} over {escape(opponent)}".strip()
    is_wide = frame["images_low"].notna().any()
    interval = f"interval<br><small>over {units} alone</small>" if is_wide else "interval"
    rows: list[dict[str, Any]] = []
    for standing in sentences.records(evidence.standings):
        cells = {"strategy": standing["strategy"]}
        if row := judged.get(standing["strategy"]):
            verdict = escape(sentences.verdict(evidence, row) + sentences.losses(evidence, row))
            cells |= {
                "verdict": f'<span class="{row["verdict"]}">{verdict}</span>',
                over: measure.difference(row["difference"]),
                interval: _interval(measure, evidence.pair, row),
                units: str(row["pairs"]),
                "p": escape(sentences.p_value(row["p_joint"])),
            }
        elif standing["strategy"] == opponent:
            cells["verdict"] = "What the others are compared with."
        else:
            continue
        rows.append(cells | _tested(measure, standing))
    columns = max(rows, key=len)  # of any but the opponent's
    return table(evidence, pd.DataFrame(rows, columns=list(columns)), "verdicts")


def _interval(measure: Measure, pair: str, row: Mapping[str, Any]) -> str:
    """Returns the interval over pairs and images, if known, with that over pairs alone below."""
    alone, wide = sentences.ends(measure, row), sentences.ends(measure, row, "images_")
    if wide:
        return f"{wide}<br><small>{alone}</small>"
    return sentences.interval(measure, pair, row).removeprefix("interval ")


def _ranking(evidence: Evidence) -> str:
    """Returns the strategies by the best trial, where nothing else is known."""
    standings = evidence.standings
    lost = [name for name in ("pruned", "diverged", "failed") if standings[name].any()]
    is_tested = standings[evidence.measure.column].notna().any()
    rows = [
        {"strategy": row["strategy"]}
        | (_tested(evidence.measure, row) if is_tested else {})
        | {
            f"best {evidence.metric}": _number(row["best"], evidence.measure.best),
            "in trial": _number(row["trial"], "d"),
            **{name: row[name] for name in ("trials", *lost)},
        }
        for row in sentences.records(standings)
    ]
    return table(evidence, pd.DataFrame(rows))


def cells(evidence: Evidence) -> str:
    """Returns in how many cells each schedule has which verdict."""
    if evidence.cells is None or (found := evidence.in_cells).empty:
        return ""
    counts = pd.crosstab(found["strategy"], found["verdict"])
    kinds = counts.reindex(columns=list(statistics.Verdict), fill_value=0)
    return table(evidence, kinds.rename_axis(columns=None).reset_index())


def improvement(evidence: Evidence) -> str:
    """Returns each schedule's probability of improvement with its interval."""
    if evidence.cells is None or (found := evidence.improvement).empty:
        return ""
    numbers = found[["probability", "low", "high"]].map("{:.2f}".format)
    interval = numbers["low"] + " to " + numbers["high"]
    columns = {"probability": numbers["probability"], "interval": interval}
    return table(evidence, {"strategy": found["strategy"]} | columns)


def cell_means(evidence: Evidence) -> str:
    """Returns the mean test accuracy of each schedule in each cell; none where one was lost."""
    if evidence.cells is None:
        return ""
    percent = evidence.cells.assign(mean=100 * evidence.cells["test_accuracy"])
    groups = percent.groupby(["strategy", "cell"])["mean"]
    means = groups.mean(skipna=False).unstack()
    shown = means.map("{:.2f}".format, na_action="ignore")
    columns = {escape(cell): shown[cell].to_list() for cell in percent["cell"].unique()}
    return table(evidence, {"strategy": shown.index} | columns)


def trust(evidence: Evidence) -> str:
    """Returns what to know of each strategy's tuning before believing its score."""
    trials = evidence.trials
    gaps = statistics.optimism(trials, evidence.replicates).groupby("strategy")["optimism"].mean()
    ends, again, widths = (
        {row["strategy"]: row for row in sentences.records(frame)}
        for frame in (
            statistics.divergence(trials),
            statistics.divergence(evidence.replicates),
            statistics.good_range(trials) if RATE in trials and evidence.maximised else None,
        )
    )
    rows = []
    for name in filter(ends.get, evidence.strategies):
        cells = dict.fromkeys(("strategy", "diverged", "replicates that diverge, %",
                               "good learning rates", "decades", "optimism"), "-")  # fmt: skip
        cells |= {"strategy": name, "diverged": "{diverged} of {trials}".format(**ends[name])}
        if name in again:
            share = [f"{100 * again[name][end]:.0f}" for end in ("share", "low", "high")]
            cells["replicates that diverge, %"] = "{} ({} to {})".format(*share)
        if (width := widths.get(name)) and width["good"]:
            range_ = dict.fromkeys(f"{width[end]:.2g}" for end in ("low", "high"))
            cells["good learning rates"] = " to ".join(range_)
            cells["decades"] = f"{width['decades']:.1f}"
        if not pd.isna(gap := gaps.get(name)):
            is_points = evidence.maximised
            cells["optimism"] = f"{100 * gap:+.2f} points" if is_points else f"{gap:+.4f}"
        rows.append(cells)
    return table(evidence, pd.DataFrame(rows))


def edges(evidence: Evidence) -> str:
    """Returns the best values that are at an end of what was searched or tried."""
    found, searches = evidence.edges, evidence.trials["search"].nunique()
    value, low, high = (found[name].map("{:.4g}".format) for name in ("value", "low", "high"))
    counts = found["searches"].astype(str) + f" of {searches}"
    ends = {True: "the search space", False: "what was tried"}
    columns = {
        "strategy": found["strategy"],
        "parameter": found["parameter"].map(escape),
        **({"searches": counts} if searches > 1 else {"best": value}),
        "at an end of": found["is_of_space"].map(ends),
        "from": low,
        "to": high,
    }
    return table(evidence, columns) if len(found) else ""


def spent(evidence: Evidence, frame: pd.DataFrame) -> str:
    """Returns the budgets of the strategies, by `lengths.spent`."""
    seconds = [wording.duration(value) for value in frame["seconds"]]
    return table(evidence, frame.assign(seconds=seconds).rename(columns={"seconds": "time"}))


def components(evidence: Evidence) -> str:
    """Returns what a replicate's accuracy varies with, in points^2, and the share of each source.

    Nothing where no more than one source is known.
    """
    found = evidence.components.set_index("strategy").reindex(evidence.strategies)
    found = found[found[statistics.COMPONENTS].count(axis=1) > 1]
    parts = found[statistics.COMPONENTS].clip(lower=0) * 1e4
    total = parts.sum(axis=1)
    columns: dict[str, Any] = {"strategy": found.index}
    for name in parts:
        columns[f"{name}, points&sup2;"] = [
            "-" if pd.isna(part) else f"{part:.4f} ({100 * part / max(whole, 1e-12):.0f} %)"
            for part, whole in zip(parts[name], total, strict=True)
        ]
    columns["standard deviation, points"] = [f"{value:.2f}" for value in total**0.5]
    return table(evidence, columns) if len(found) else ""


def savings(evidence: Evidence, frame: pd.DataFrame) -> str:
    """Returns what early stopping saved, by `lengths.savings`."""
    columns = {
        "strategy": frame["strategy"],
        "stopped early": _of(frame["early_stopped"], frame["runs"]),
        "median epochs": [_number(epochs, ".0f") for epochs in frame["median_epochs"]],
        "epochs trained": _of(frame["epochs"], frame["horizon"]),
        "saved": [_number(share, ".0%") for share in frame["saved"]],
    }
    return table(evidence, columns) if len(frame) else ""


def speed(evidence: Evidence, frame: pd.DataFrame) -> str:
    """How soon replicates reach what the baseline's reach in the end, by `lengths.speed`."""
    columns = {
        "strategy": frame["strategy"],
        "median epochs": [_number(epochs, ".0f") for epochs in frame["median_epochs"]],
        "reached": _of(frame["reached"], frame["trials"]),
    }
    return table(evidence, columns)


def _of(some: pd.Series, all_: pd.Series) -> pd.Series:
    return some.astype("str") + " of " + all_.astype("str")


def _tested(measure: Measure, standing: Mapping[str, Any]) -> dict[str, str]:
    """Returns the mean of what is compared, and its interval where there is one, by its heading."""
    mean, _, low, high = (measure.value(standing[name]) for name in measure.columns)
    heading = f"{measure.mean}{',' * bool(measure.sign)}{measure.sign}"
    return {heading: mean if low == "-" else f"{mean} ({low} to {high})"}


def _number(value: Any, spec: str) -> str:
    return "-" if pd.isna(value) else format(value, spec)
