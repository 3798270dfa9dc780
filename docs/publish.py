"""Puts a sweep's results into docs/results: `python -m docs.publish FOLDER NAME`.

Reports there share one packed copy of plotly and still open without a network; trials and curves
are compressed (`pandas.read_csv` reads them as they are), curves with four significant digits. Also
draws the picture of the answer from its CSV, for light and dark pages.
"""

import base64
import gzip
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from plotly.offline import get_plotlyjs
from scipy.stats import t

from fmnist_lab.results import layout

RESULTS, IMAGES = Path(__file__).with_name("results"), Path(__file__).with_name("images")
ANSWER = "schedules"  # the sweep that README's picture is of
INLINE = re.compile(r"<script>/\*\*\s+\* plotly\.js v.*?</script>", re.DOTALL)
# What the page draws while the packed copy is being unpacked is drawn afterwards.
LOADER = """\
"use strict";
(() => {
  const waiting = [];
  window.Plotly = { react: (...drawing) => waiting.push(drawing) };
  const packed = Uint8Array.from(atob("%s"), (letter) => letter.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  new Response(unpacked).text().then((source) => {
    const script = document.createElement("script");
    script.textContent = source;
    document.head.append(script);
    for (const drawing of waiting) Plotly.react(...drawing);
  });
})();
"""
INKS = {"light": ("#1f2328", "#d0d7de", "#0b7a75"), "dark": ("#e6edf3", "#3d444d", "#4fd1c5")}


def publish(sweep: Path, name: str) -> None:
    """Copies what a page links to from a sweep's folder; `compare` has written it there."""
    place, sweep = RESULTS.resolve() / name, sweep.resolve()
    place.mkdir(exist_ok=True)
    if (trials := sweep / layout.TRIALS_CSV).exists():
        packed = gzip.compress(trials.read_bytes(), mtime=0)
        (place / f"{layout.TRIALS_CSV}.gz").write_bytes(packed)
    for file in (layout.COMPARISON_CSV, layout.MANIFEST):
        if (sweep / file).exists() and sweep != place:
            shutil.copy(sweep / file, place / file)
    if (ledger := sweep.parents[1] / layout.OPENINGS).exists():
        shutil.copy(ledger, place / layout.OPENINGS)
    if (curves := sweep / layout.CURVES_CSV).exists():
        pack(curves, place / f"{layout.CURVES_CSV}.gz")
    report = (sweep / layout.REPORT).read_text(encoding="utf-8")
    shared = INLINE.sub('<script src="../plotly.js"></script>', report)
    (place / layout.REPORT).write_text(shared, encoding="utf-8")
    source = base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
    (RESULTS / "plotly.js").write_text(LOADER % source, encoding="utf-8")
    if name == ANSWER:
        for scheme in INKS:
            draw_answer(place, scheme)


def pack(curves: Path, target: Path) -> None:
    """Writes curves compressed, at four significant digits: these files stay in a clone forever."""
    packing: dict[str, Any] = {"method": "gzip", "mtime": 0}
    read = pd.read_csv(curves, dtype={"seed": "Int64", "search": "Int64"}, low_memory=False)
    read.to_csv(target, index=False, float_format="%.4g", compression=packing)


def draw_answer(place: Path, scheme: str) -> None:
    """Draws each strategy's searches, or seeds if it has one search; best on top.

    A bar is the mean of the dots with its 95 % interval.
    """
    trials = pd.read_csv(place / f"{layout.TRIALS_CSV}.gz")
    trials = trials[trials["kind"] == "replicate"]
    unit = "search" if trials["search"].nunique() > 1 else "seed"
    tested = trials.groupby(["strategy", unit])["test_accuracy"].mean().groupby("strategy")
    names = tested.mean().sort_values().index
    ink, line, accent = INKS[scheme]
    inked = ("text.color", "axes.labelcolor", "xtick.color", "ytick.color")
    style: dict[Any, Any] = {"font.size": 11, "svg.hashsalt": "answer"} | dict.fromkeys(inked, ink)
    with rc_context(style):
        figure = Figure(figsize=(8.6, 4.6), layout="constrained")
        axes: Any = figure.subplots()
        for row, name in enumerate(names):
            values = 100 * tested.get_group(name).to_numpy()
            half = _half_width(values)
            axes.plot(values, np.full(len(values), row), "o", color=accent, alpha=0.35, ms=4.5)
            axes.plot([values.mean() - half, values.mean() + half], [row, row], color=ink, lw=2)
            axes.plot(values.mean(), row, "|", color=ink, ms=12, mew=2)
        axes.axvline(100 * tested.get_group("constant").mean(), color=ink, lw=1, ls=":")
        axes.set_yticks(range(len(names)), names)
        dots = {"search": "searches", "seed": "seeds"}[unit]
        axes.set_xlabel(f"test accuracy in % (dots: {dots}; bars: their mean, 95 % interval)")
        axes.grid(axis="x", color=line, lw=0.6)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        target = IMAGES / f"answer-{scheme}.svg"
        figure.savefig(target, transparent=True, metadata={"Date": None})


def _half_width(values: Any) -> float:
    return float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)


if __name__ == "__main__":
    publish(Path(sys.argv[1]), sys.argv[2])
