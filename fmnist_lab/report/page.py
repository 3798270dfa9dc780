"""The report as one HTML file that needs nothing else: charts, their library, style and all."""

import html
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_lab.foundation.files import whole_file
from fmnist_lab.report import cautions, figures, lengths, method, sentences, tables
from fmnist_lab.report.evidence import Evidence

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Section:
    """A heading, a paragraph, and a chart or a table or both."""

    title: str
    text: str  # plain
    figure: "go.Figure | None" = None
    content: str = ""  # HTML


def write(evidence: Evidence, path: Path) -> None:
    """Writes the report, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(page(evidence), encoding="utf-8")


def page(evidence: Evidence) -> str:
    """The report's HTML."""
    from plotly.offline import get_plotlyjs

    name = html.escape(evidence.name)
    sections = "\n".join(map(_section, _sections(evidence)))
    warnings = "".join(f"<li>{html.escape(text)}</li>" for text in cautions.warnings(evidence))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{name}: strategies compared</title>
<link rel="icon" href="data:,">
<style>{_asset("style.css")}</style>
<script>{get_plotlyjs()}</script>
</head>
<body>
<main>
<header>
<p class="kind">{"Multirun" if evidence.is_multirun else "Sweep"}</p>
<h1>{name}</h1>
<p class="progress">{html.escape(sentences.progress(evidence))}</p>
</header>
<section>
<h2>Verdict</h2>
<p class="headline">{html.escape(sentences.headline(evidence))}</p>
{tables.verdicts(evidence) if evidence.strategies else ""}
{_claim(evidence)}
{f'<ul class="warnings">{warnings}</ul>' if warnings else ""}
</section>
{sections}
</main>
<script>{_asset("charts.js")}</script>
</body>
</html>
"""


def _claim(evidence: Evidence) -> str:
    if evidence.versus_baseline is None:
        return ""
    return f"<p>{html.escape(sentences.claim(evidence))}</p>"


def _sections(evidence: Evidence) -> Iterator[Section]:
    """All that there is something to show for, in the order of the page."""
    if not evidence.trials.empty:
        drawn = (section for section in _charts(evidence) if section.figure or section.content)
        yield from drawn
        yield Section(
            "How far to trust the tuning",
            "Good learning rates are those of trials within half a point of the strategy's best; "
            "a wide range forgives a rough guess. Optimism is by how much the best trial's score "
            "flattered: its own less the mean of its replicates.",
            content=tables.trust(evidence),
        )
    yield Section("How it was measured", "", content=tables.facts(method.measured(evidence)))


def _charts(evidence: Evidence) -> Iterator[Section]:
    yield Section(
        "Learning rates",
        "The rate of each strategy's best trial, at every epoch's last step.",
        figures.learning_rates(evidence),
    )
    yield Section("Validation", _validation_text(evidence), figures.validation(evidence))
    yield Section(
        "Stopping epochs",
        _stopping_text(evidence),
        figures.stopping_epochs(evidence),
        tables.savings(evidence),
    )
    yield Section("Speed", _speed_text(evidence), content=tables.speed(evidence))
    yield Section(
        "Final test accuracy",
        "Every dot is a replicate; the stroke is their mean with its 95 % interval, the dotted "
        f"line the mean of {evidence.baseline}. These intervals are of the means; the verdicts "
        f"rest on differences within the same {evidence.pair}, which vary less.",
        figures.test_accuracies(evidence),
    )
    yield Section(
        "Learning-rate sensitivity",
        "A dot per trial, a cross where it diverged or failed. What is far off the rest is drawn "
        "at the edge.",
        figures.sensitivity(evidence),
    )
    yield Section("Budget", _budget_text(evidence), figures.budget(evidence))
    yield Section(
        "Parameters",
        "A line per trial, through what was searched to what it reached. Drag along an axis to "
        "pick trials, and the axes to reorder them.",
        figures.parallel_coordinates(evidence),
    )
    yield Section(
        "Importance",
        "How much each searched parameter matters for being among the best tenth of the trials, "
        "by Optuna's PED-ANOVA. With few trials a rough guess.",
        figures.importance(evidence),
    )


def _validation_text(evidence: Evidence) -> str:
    if len(evidence.replicate_curves):
        text = "Means of each strategy's replicates; the bands reach from the worst to the best."
    else:
        text = "Each strategy's best trial; the band holds the middle half of its trials."
    if evidence.stopping != "none":
        text += " Runs that have stopped are missing further on: the means are of those left."
    return text


def _stopping_text(evidence: Evidence) -> str:
    text = "How long each run trained, trials and replicates alike, and why no longer."
    if evidence.stopping == "none":
        return text
    frame = lengths.savings(evidence)
    epochs, whole = frame["epochs"].sum(), frame["horizon"].sum()
    if not whole:
        return text
    return (
        f"{text} Early stopping saved {1 - epochs / whole:.0%} of the epochs: {epochs} were "
        f"trained of the {whole} that these runs would have taken."
    )


def _speed_text(evidence: Evidence) -> str:
    if (found := lengths.speed(evidence)) is None:
        return ""
    return (
        f"Epochs until a replicate's validation accuracy is {found[0]:.4f} for the first time, the "
        f"median that those of {evidence.baseline} end with. Runs that never get there count; "
        "where most do not, there is no median."
    )


def _budget_text(evidence: Evidence) -> str:
    if evidence.setup.is_independent:
        return (
            "The best that n trials of a strategy find on average, over all ways to pick them. "
            "Where lines cross, the better strategy depends on the budget."
        )
    sampler = method.class_name(evidence.setup.sampler)
    return (
        f"The best after n trials, as it went. The trials of {sampler} learn from "
        "each other, so this is one course of many that there might have been."
    )


def _section(section: Section) -> str:
    chart = "" if section.figure is None else _chart(section.title, section.figure)
    text = f"<p>{html.escape(section.text)}</p>" if section.text else ""
    title = html.escape(section.title)
    return f"<section>\n<h2>{title}</h2>\n{text}\n{chart}{section.content}\n</section>"


def _chart(title: str, figure: "go.Figure") -> str:
    data = str(figure.to_json()).replace("<", "\\u003c")  # a name may hold </script>
    label = html.escape(title, quote=True)
    return (
        f'<div class="box"><figure class="chart" role="img" aria-label="{label}">'
        f'<script type="application/json">{data}</script></figure></div>'
    )


def _asset(name: str) -> str:
    return (resources.files("fmnist_lab.report") / name).read_text(encoding="utf-8")
