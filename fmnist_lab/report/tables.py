"""The report's tables as HTML."""

import html
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fmnist_lab import statistics
from fmnist_lab.report import lengths, sentences, style
from fmnist_lab.report.evidence import RATE, Evidence
from fmnist_lab.report.method import Facts


def table(header: Sequence[str], rows: Iterable[Sequence[str]], text: Sequence[str] = ()) -> str:
    """A table in a box of its own that scrolls; columns named in `text` are no numbers."""
    classes = [' class="text"' if name in text else "" for name in header]
    head = "".join(f"<th{kind}>{name}</th>" for name, kind in zip(header, classes, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, classes, strict=True))
        + "</tr>\n"
        for row in rows
    )
    return (
        '<div class="box" tabindex="0"><table><thead><tr>'
        f"{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def verdicts(evidence: Evidence) -> str:
    """Against the baseline, the best strategy first; and against the best, folded away."""
    if evidence.versus_baseline is None or evidence.versus_best is None:
        return ranking(evidence)
    best = str(evidence.versus_best["opponent"].iloc[0])
    tests = len(evidence.strategies) * (len(evidence.strategies) - 1) // 2
    return (
        _verdicts(evidence, evidence.versus_baseline)
        + f"<details><summary>Against the best, {html.escape(best)}</summary>"
        f"<p>The best is chosen from the same numbers, so these p-values and intervals cover all "
        f"{tests} comparisons of two strategies.</p>"
        + _verdicts(evidence, evidence.versus_best)
        + "</details>"
    )


def _verdicts(evidence: Evidence, frame: pd.DataFrame) -> str:
    standings = evidence.standings.set_index("strategy")
    opponent = str(frame["opponent"].iloc[0])
    by_name = {str(row["strategy"]): row for row in sentences.records(frame)}
    units = {"seed": "seeds", "search": "searches"}[evidence.pair]
    header = ("strategy", "verdict", f"points over {html.escape(opponent)}", "interval", units,
              "p", "test accuracy, %")  # fmt: skip
    rows = []
    for name in standings.index:
        mean = _tested(standings.loc[name])
        if name == opponent:
            said = "What the others are compared with."
            rows.append([_name(evidence, name), said, *["-"] * 4, mean])
        elif row := by_name.get(name):
            said = html.escape(sentences.verdict(row, evidence.pair))
            badge = f'<span class="{row["verdict"]}">{said}</span>'
            rows.append([_name(evidence, name), badge, *_difference(row, evidence.pair), mean])
    return table(header, rows, ("strategy", "verdict"))


def _difference(row: dict[str, Any], pair: str) -> list[str]:
    """The cells of a difference: itself, its interval or why it has none, pairs, p."""
    interval = sentences.interval(row, pair).removeprefix("interval ")
    points = "-" if pd.isna(row["difference"]) else sentences.points(row["difference"])
    return [points, interval, str(row["pairs"]), _number(row["p_holm"], 3)]


def ranking(evidence: Evidence) -> str:
    """The strategies by the best trial, where nothing else is known."""
    lost = [name for name in ("pruned", "diverged", "failed") if evidence.standings[name].any()]
    is_tested = evidence.standings["test_accuracy"].notna().any()
    header = ["strategy", f"best {evidence.metric}", "in trial", "trials", *lost]
    header += ["test accuracy, %"] if is_tested else []
    rows = [
        [_name(evidence, row["strategy"]), _number(row["best"], 4), _number(row["trial"], 0),
         str(row["trials"]), *(str(row[name]) for name in lost),
         *([_tested(row)] if is_tested else [])]
        for row in evidence.standings.to_dict("records")
    ]  # fmt: skip
    return table(header, rows, ("strategy",))


def trust(evidence: Evidence) -> str:
    """What to know of each strategy's tuning before believing its score."""
    trials = evidence.trials
    ends = statistics.divergence(trials).set_index("strategy")
    flattery = (
        statistics.optimism(trials, evidence.replicates).groupby("strategy")["optimism"].mean()
    )
    widths = _widths(evidence)
    rows = []
    for name in evidence.strategies:
        if name not in ends.index:
            continue
        end = ends.loc[name]
        share = f"{end['diverged']:.0f} of {end['trials']:.0f}"
        width = widths.loc[name] if name in widths.index else None
        good = "-" if width is None else _range(width["low"], width["high"])
        decades = "-" if width is None else f"{width['decades']:.1f}"
        gap = flattery.get(name, np.nan)
        rows.append([_name(evidence, name), share, good, decades, _gap(evidence, gap)])
    header = ("strategy", "diverged", "good learning rates", "decades", "optimism")
    return table(header, rows, ("strategy",))


def savings(evidence: Evidence) -> str:
    """What early stopping saved; nothing where there was none."""
    frame = lengths.savings(evidence) if evidence.stopping != "none" else None
    rows = [
        [_name(evidence, row["strategy"]), f"{row['early_stopped']} of {row['runs']}",
         _number(row["median_epochs"], 0), f"{row['epochs']} of {row['horizon']}",
         "-" if pd.isna(row["saved"]) else f"{row['saved']:.0%}"]
        for row in sentences.records(frame)
    ]  # fmt: skip
    header = ("strategy", "stopped early", "median epochs", "epochs trained", "saved")
    return table(header, rows, ("strategy",)) if rows else ""


def speed(evidence: Evidence) -> str:
    """How soon the replicates of each strategy reach what the baseline's reach in the end."""
    if (found := lengths.speed(evidence)) is None:
        return ""
    rows = [
        [_name(evidence, row["strategy"]), _number(row["median_epochs"], 0),
         f"{row['reached']} of {row['trials']}"]
        for row in sentences.records(found[1])
    ]  # fmt: skip
    return table(("strategy", "median epochs", "reached"), rows, ("strategy",))


def _widths(evidence: Evidence) -> pd.DataFrame:
    if RATE not in evidence.trials or not evidence.maximised:
        return pd.DataFrame()
    frame = statistics.good_range(evidence.trials).set_index("strategy")
    return frame[frame["good"] > 0]


def _range(low: Any, high: Any) -> str:
    return f"{low:.2g}" if low == high else f"{low:.2g} to {high:.2g}"


def _gap(evidence: Evidence, gap: float) -> str:
    if np.isnan(gap):
        return "-"
    return f"{sentences.points(gap)} points" if evidence.maximised else f"{gap:+.4f}"


def facts(pairs: Facts) -> str:
    """A list of headings and texts."""
    rows = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>\n" for name, text in pairs
    )
    return f"<dl>{rows}</dl>"


def _name(evidence: Evidence, strategy: str) -> str:
    colour = style.colour(evidence, strategy)
    return f'<span class="dot" style="color:{colour}"></span>{html.escape(strategy)}'


def _tested(standing: Any) -> str:
    """The mean test accuracy in percent, and its interval where there is one."""
    mean, low, high = (
        _number(100 * standing[key], 2) for key in ("test_accuracy", "test_low", "test_high")
    )
    return mean if low == "-" else f"{mean} ({low} to {high})"


def _number(value: Any, digits: int) -> str:
    return "-" if pd.isna(value) else f"{value:.{digits}f}"
