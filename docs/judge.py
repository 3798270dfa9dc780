"""Judges the published sweeps again, by today's tests: `python -m docs.judge` writes the page.

Nothing is trained: the replicates in docs/results/*/trials.csv.gz are compared, and the verdicts
that were published, in comparison.csv, stand beside.
"""

from pathlib import Path

import pandas as pd

from fmnist_lab import statistics

RESULTS = Path(__file__).with_name("results")
PAGE = RESULTS / "judged-again.md"
HEAD = """\
# Published verdicts, judged again

The sweeps below were judged by separate sign-flip tests with Holm's correction, and
separate t-intervals. `compare` now has
[joint tests](../decisions/0006-how-strategies-are-compared.md).
This page has both verdicts for the same replicates; no network was trained again.

Differences are in points of test accuracy. p-values are adjusted for all comparisons of a table,
and the intervals hold for all of its rows together, with 95 %. They are over seeds (or searches)
on the same 10,000 images. `python -m docs.judge` makes the page from `trials.csv.gz` and
`comparison.csv` of each folder.
"""


def page() -> str:
    """Returns the page, a section for each sweep that Holm's correction has judged."""
    tables = sorted(RESULTS.glob("*/comparison.csv"))
    folders = [path.parent for path in tables if "p_holm" in pd.read_csv(path, nrows=0)]
    return "\n".join([HEAD, *map(_section, folders)])


def _section(folder: Path) -> str:
    """A published sweep's strategies against its baseline, and against its best one."""
    runs = pd.read_csv(folder / "trials.csv.gz")
    published = pd.read_csv(folder / "comparison.csv")
    replicates = runs[runs["kind"] == "replicate"]
    pair = "search" if replicates["search"].nunique() > 1 else "seed"
    (baseline,) = published["opponent"].dropna().unique()
    against = {
        "": statistics.compare(replicates, baseline, pair=pair),
        "best_": statistics.compare_to_best(replicates, pair=pair),
    }
    parts, changed = [], 0
    for prefix, verdicts in against.items():
        columns = {f"{prefix}p_holm": "p_holm", f"{prefix}verdict": "published"}
        old = published.set_index("strategy")[list(columns)].rename(columns=columns)
        rows = verdicts.join(old, on="strategy")
        changed += int((rows["verdict"] != rows["published"]).sum())
        what = "the best one, " if prefix else ""
        parts.append(f"\nAgainst {what}`{verdicts['opponent'].iloc[0]}`:\n")
        parts += _table(rows)
    plural = {"seed": "seeds", "search": "searches"}[pair]
    pairs = f"{replicates[pair].nunique()} {plural}"
    count = f"{changed} of {sum(map(len, against.values()))} verdicts changed"
    return "\n".join([f"## {folder.name}\n", f"{pairs}; {count}.", *parts, ""])


def _table(rows: pd.DataFrame) -> list[str]:
    lines = [
        "| strategy | difference | 95 % interval | p, Holm | p, joint | published | now |",
        "|---|---:|---:|---:|---:|---|---|",
    ]
    for row in rows.to_dict("records"):
        points = [100 * row[key] for key in ("difference", "low", "high")]
        old, new = row["published"], row["verdict"]
        lines.append(
            f"| `{row['strategy']}` | {points[0]:+.2f} | {points[1]:+.2f} to {points[2]:+.2f} "
            f"| {row['p_holm']:.3f} | {row['p_joint']:.3f} | {old} "
            f"| {new if old == new else f'**{new}**'} |"
        )
    return lines


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
