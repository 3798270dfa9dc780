"""The report as one HTML file that needs nothing else: charts, their library, style and all."""

from collections.abc import Iterator
from html import escape
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_lab.foundation.files import whole_file
from fmnist_lab.report import cautions, figures, lengths, method, sentences, tables
from fmnist_lab.report.evidence import Evidence, confusion
from fmnist_lab.results import ledger

if TYPE_CHECKING:
    import plotly.graph_objects as go


def write(evidence: Evidence, path: Path) -> None:
    """Writes the report, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(page(evidence), encoding="utf-8")


def page(evidence: Evidence) -> str:
    """Returns the report's HTML."""
    from plotly.offline import get_plotlyjs

    name = escape(evidence.folder.name)
    here = resources.files("fmnist_lab.report")
    style, script = ((here / file).read_text("utf-8") for file in ("style.css", "charts.js"))
    verdict = [f'<p class="headline">{escape(sentences.headline(evidence))}</p>']
    if evidence.strategies:
        verdict.append(tables.verdicts(evidence))
    if evidence.versus_baseline is not None:
        verdict.append(f"<p>{escape(sentences.claim(evidence))}</p>")
    if opened := ledger.sentence(evidence.setup.openings):
        verdict.append(f"<p>{escape(opened)}</p>")
    if found := cautions.warnings(evidence):
        items = "".join(f"<li>{escape(text)}</li>" for text in found)
        verdict.append(f'<ul class="warnings">{items}</ul>')
    facts = "\n".join(
        f"<dt>{escape(heading)}</dt><dd>{escape(text)}</dd>"
        for heading, text in method.measured(evidence).items()
    )
    sections = [
        _section("Verdict", "", content="\n".join(verdict)),
        *(_charts_of_jobs if evidence.multirun else _charts)(evidence),
        _section("How it was measured", "", content=f"<dl>{facts}</dl>"),
    ]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{name}: strategies compared</title>
<link rel="icon" href="data:,">
<style>{style}</style>
<script>{get_plotlyjs()}</script>
</head>
<body>
<main>
<header>
<p class="kind">{evidence.kind.capitalize()}</p>
<h1>{name}</h1>
<p class="progress">{escape(sentences.progress(evidence))}</p>{_plan(evidence)}
</header>
{"".join(sections)}</main>
<script>{script}</script>
</body>
</html>
"""


def _plan(evidence: Evidence) -> str:
    """Returns the hash of the plan, which `manifest.json` has in full."""
    found = evidence.setup.manifest
    if "plan" not in found:
        return ""
    words = f"Planned {found['begun'][:10]}, before the first trial; manifest {found['hash'][:12]}."
    return f'\n<p class="progress">{escape(words)}</p>'


def _charts(evidence: Evidence) -> Iterator[str]:
    """Gives a section for all that there is something to show for, in the order of the page."""
    if evidence.trials.empty:
        return
    if evidence.cells is not None:
        first, keys = evidence.cell_baseline, ", ".join(evidence.setup.config["cells"])
        yield _section(
            "Cells",
            f"Each cell ({keys}) is judged by itself. The chart has the mean differences to "
            f"{first} with their joint intervals, over seeds and test images where replicates have "
            "kept which they get right; in a table of colours, point at one. The first table has "
            "in how many cells a schedule has which verdict, the last one mean test accuracies in "
            "%: a row shows what a schedule loses in other cells.",
            figures.cells(evidence),
            tables.cells(evidence) + tables.cell_means(evidence),
        )
        yield _section(
            "Probability of improvement",
            f"How often a replicate beats one of {first} in the same cell, on average over the "
            "cells; at the dotted line neither is ahead. The bootstrap interval is over the seeds "
            "and says nothing of other cells.",
            figures.improvement(evidence),
            tables.improvement(evidence),
        )
        yield _section(
            "Performance profiles",
            "In which share of the cells a schedule's test error is at most so many times that of "
            "the best one there. The higher, the better; at 1 stands how often it is the best.",
            figures.profiles(evidence),
        )
    yield _section(
        "Learning rates",
        "The rate of each strategy's best trial, at every epoch's last step.",
        figures.learning_rates(evidence),
    )
    text = "Each strategy's best trial; the band holds the middle half of its trials."
    if len(evidence.replicate_curves):
        text = "Means of each strategy's replicates; the bands reach from the worst to the best."
    if evidence.stopping != "none":
        text += " Runs that have stopped are missing further on: the means are of those left."
    yield _section("Validation", text, figures.validation(evidence))
    text = "How long each run trained, trials and replicates alike, and why no longer."
    table = ""
    if evidence.stopping != "none":
        saved = lengths.savings(evidence)
        table = tables.savings(evidence, saved)
        epochs, whole = saved["epochs"].sum(), saved["horizon"].sum()
        if whole:
            text += (
                f" Early stopping saved {1 - epochs / whole:.0%} of the epochs: {epochs} were "
                f"trained of the {whole} that these runs would have taken."
            )
    yield _section("Stopping epochs", text, figures.stopping_epochs(evidence), table)
    if evidence.cells is None and (speed := lengths.speed(evidence)) is not None:
        yield _section(
            "Speed",
            f"Epochs until a replicate's validation accuracy is {speed[0]:.4f} for the first "
            f"time, the median that those of {evidence.baseline} end with. Runs that never get "
            "there count; where most do not, there is no median.",
            content=tables.speed(evidence, speed[1]),
        )
    yield _dots(evidence)
    if found := confusion(evidence):
        text, figure = sentences.confusions(*found), figures.confusion(evidence)
        yield _section("Which classes are confused", text, figure, "" if figure else " ")
    yield _section(
        "Where the spread comes from",
        sentences.components(evidence),
        content=tables.components(evidence),
    )
    yield _section(
        "Learning-rate sensitivity",
        "A dot per trial, a cross where it diverged or failed; pruned ones are left out. What is "
        "far off the rest is drawn at the edge.",
        figures.sensitivity(evidence),
    )
    yield from _search(evidence)
    yield _section(
        "How far to trust the tuning",
        "Good learning rates are those of trials within half a point of the strategy's best; "
        "a wide range forgives a rough guess. Optimism is by how much the best trial's score "
        "flattered: its own less the mean of its replicates.",
        content=tables.trust(evidence),
    )


def _charts_of_jobs(evidence: Evidence) -> Iterator[str]:
    """Gives the sections for the jobs of another application."""
    yield _dots(evidence)
    if len(evidence.trials):
        yield from _search(evidence)


def _dots(evidence: Evidence) -> str:
    """Returns the section with a dot per replicate, or job of another application."""
    dotted = f", the dotted line the mean of {evidence.baseline}" * (evidence.cells is None)
    return _section(
        evidence.measure.title,
        f"Every dot is a {evidence.measure.run}; the stroke is their mean with its 95 % interval"
        f"{dotted}. These intervals are of the means; the "
        f"verdicts rest on differences within the same {evidence.pair}, which vary less.",
        figures.test_accuracies(evidence),
    )


def _search(evidence: Evidence) -> Iterator[str]:
    """Gives the sections on what was searched."""
    learning = f"The trials of {evidence.setup.sampler} learn from each other"
    if evidence.setup.recentred:
        learning = "The second stage of tuning searches around the best of the first"
    text = (
        f"The best after n trials, as it went. {learning}, so this is one course of many that "
        "there might have been."
    )
    if evidence.setup.is_independent:
        text = (
            "The best that n trials of a strategy find on average, over all ways to pick them. "
            "Where lines cross, the better strategy depends on the budget."
        )
    spent = ""
    if "epochs_trained" in evidence.trials:
        text += " The table has what tuning took of each, its trials one after the other."
        spent = tables.spent(evidence, lengths.spent(evidence))
    yield _section("Budget", text, figures.budget(evidence), spent)
    yield _section(
        "Parameters",
        "A line per trial, through what was searched to what it reached. Drag along an axis to "
        "pick trials, and the axes to reorder them.",
        figures.parallel_coordinates(evidence),
    )
    yield _section(
        "Importance",
        "How much each searched parameter matters for being among the best tenth of the trials, "
        "by Optuna's PED-ANOVA. With few trials a rough guess.",
        figures.importance(evidence),
    )
    yield _section(
        "Best values at an end",
        "A better value may lie beyond. Where several searches are counted, the ends are the "
        "outermost of them.",
        content=tables.edges(evidence),
    )


def _section(title: str, text: str, figure: "go.Figure | None" = None, content: str = "") -> str:
    """A heading, a paragraph, and a chart or a table or both; nothing where there is neither."""
    if figure is not None:
        data = str(figure.to_json()).replace("<", "\\u003c")  # a name may hold </script>
        content = (
            f'<div class="box"><figure class="chart" role="img" aria-label="{escape(title)}">'
            f'<script type="application/json">{data}</script></figure></div>{content}'
        )
    if not content:
        return ""
    paragraph = f"<p>{escape(text)}</p>\n" if text else ""
    return f"<section>\n<h2>{escape(title)}</h2>\n{paragraph}{content}\n</section>\n"
