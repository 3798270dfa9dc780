"""Views of the latest sweep in MLflow's UI: lists with their columns, and charts.

The UI keeps a named view as a tag of the experiment, lists it under "Views", and opens it from a
link. These tags are written as the UI of MLflow 3.17 writes its own. Each sweep replaces those of
the one before.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fmnist_lab.metrics import direction
from fmnist_lab.tracking.outbox import Kind, Status, now
from fmnist_lab.tracking.store import PARENT
from fmnist_lab.trial import ObjectiveConfig

TAG = "mlflow.sharedViewState."
MOST_TRIALS = 1000  # looked through for the winners; more than one request for them is slow

COLUMNS = (
    "metrics.`objective`",
    "metrics.`best/epoch`",
    "metrics.`stop/epoch`",
    "tags.`stop_reason`",
    "params.`optimizer.learning_rate`",
    "tags.`trial`",
    "attributes.`Duration`",
)
WIDTHS = {"attributes.`Run Name`": 270, "metrics.`objective`": 140}  # pixels; others: the UI's
CHARTS = {  # the first ones, side by side: title of each metric's chart
    "val/accuracy": "Validation accuracy",
    "opt/learning_rate": "Learning rate",
    "val/loss": "Validation loss",
    "train/loss": "Training loss",
}


def runs_page(experiment_id: str) -> str:
    """Returns a link's part after the server's name: the UI's pages for training, not prompts."""
    return f"/#/experiments/{experiment_id}/runs?workflowType=machine_learning"


@dataclass(frozen=True)
class View:
    """A page of the UI that a link opens."""

    key: str  # in the link
    title: str  # in the UI's list of views, after the sweep's name
    what: str  # a description beside the link
    state: Mapping[str, Any]
    is_chart: bool = False

    def address(self, experiment_id: str) -> str:
        """Returns the link's part after the server's name."""
        chart = "&compareRunsMode=CHART" if self.is_chart else ""
        return f"{runs_page(experiment_id)}&viewStateShareKey={self.key}{chart}"


@dataclass(frozen=True)
class Latest:
    """The sweep or multirun of the newest run, and its views."""

    name: str
    experiment_id: str
    views: Sequence[View]


def write_views(client: Any) -> Latest | None:
    """Writes the views of the latest sweep into its experiment; None if there is no sweep yet."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    # Other programs may record in this store, too, with a tag of the same name.
    ours = [f"tags.sweep LIKE '%' AND tags.kind = '{kind}'" for kind in Kind]
    found = [run for condition in ours if (run := _newest(client, experiments, condition))]
    if not found:
        return None
    newest = max(found, key=lambda run: run.info.start_time)
    name, experiment_id = newest.data.tags["sweep"], newest.info.experiment_id
    views = list(_views(client, experiment_id, name))
    for view in views:
        envelope = {"name": f"{name}: {view.title}", "createdAt": now(), "updatedAt": now()}
        envelope["state"] = json.dumps(view.state)
        client.set_experiment_tag(experiment_id, f"{TAG}{view.key}", json.dumps(envelope))
    return Latest(name, experiment_id, views)


def _views(client: Any, experiment_id: str, name: str) -> Iterator[View]:
    sweep, trials = _runs_of(client, experiment_id, name, Kind.TRIAL)
    metric = sweep.data.tags.get("objective.metric") if sweep else None
    ascending = direction("objective", metric or ObjectiveConfig().metric) == "min"

    def table(condition: str, aggregate: str | None = None) -> dict[str, Any]:
        """Returns a list of runs, the best objective on top, or of strategies' aggregates."""
        group = {"groupByKeys": [{"mode": "tag", "groupByData": "strategy"}]}
        return {
            "searchFilter": condition,
            "orderByKey": "metrics.`objective`",
            "orderByAsc": ascending,
            "selectedColumns": COLUMNS,
            "columnWidths": WIDTHS,
            "runsHiddenMode": "SHOW_ALL",
        } | ({"groupBy": group | {"aggregateFunction": aggregate}} if aggregate else {})

    grouped = table(trials, "min" if ascending else "max")
    yield View("sweep-strategies", "trials by strategy", "each strategy's trials, grouped", grouped)
    yield View("sweep-trials", "all trials", "all trials, sortable by any column", table(trials))
    if best := _winners(client, experiment_id, trials, ascending):
        chosen = ", ".join(repr(run.info.run_id) for run in best.values())
        # A closed group for each strategy is named after it in list and legends.
        closed = {f"tag.strategy.{strategy}": False for strategy in best}
        reached = [run.data.metrics["objective"] for run in best.values()]
        # A first epoch near chance would press all others together.
        accuracies = {} if ascending else {"yMin": min(reached) - 0.05, "yMax": max(reached) + 0.01}
        yield View(
            "sweep-curves",
            "the best trial of each strategy",
            "curves and learning rates of each strategy's best trial",
            table(f"attributes.run_id IN ({chosen})", "average")
            | _charts({"val/accuracy": accuracies})
            | {"groupsExpanded": closed},
            is_chart=True,
        )
    _, replicates = _runs_of(client, experiment_id, name, Kind.REPLICATE)
    if _newest(client, [experiment_id], replicates):
        columns = ("metrics.`test/accuracy`", "metrics.`test/loss`", *COLUMNS)
        yield View(
            "sweep-replicates",
            "replicates by strategy",
            "the winners again with fresh seeds, and their test accuracy",
            table(replicates, "average")
            | {"selectedColumns": columns, "orderByKey": columns[0], "orderByAsc": False},
        )


def _runs_of(client: Any, experiment_id: str, name: str, kind: Kind) -> tuple[Any, str]:
    """Returns the run of a sweep, the newest of that name, and a filter for its runs of a kind.

    A multirun has no run of its own: None. That of an earlier release does not say its kind.
    """
    of_sweep = f"tags.sweep = {_quoted(name)}"
    condition = f"{of_sweep} AND tags.kind = '{Kind.SWEEP}' AND tags.runs = '{kind}'"
    if sweep := _newest(client, [experiment_id], condition):
        return sweep, f"tags.{PARENT} = '{sweep.info.run_id}'"
    return None, f"{of_sweep} AND tags.kind = '{kind}'"


def _quoted(value: str) -> str:
    """Writes a text in a filter: MLflow has no escape for quotes, but two kinds of them."""
    return f"'{value}'" if '"' in value else f'"{value}"'


def _winners(client: Any, experiment_id: str, trials: str, ascending: bool) -> dict[str, Any]:
    """Returns the best run of each strategy among those that have finished, the best first."""
    order = [f"metrics.objective {'ASC' if ascending else 'DESC'}"]
    ended = f"{trials} AND attributes.status = '{Status.FINISHED}'"
    found = client.search_runs([experiment_id], ended, max_results=MOST_TRIALS, order_by=order)
    best: dict[str, Any] = {}
    for run in found:
        if math.isfinite(run.data.metrics.get("objective", math.nan)):
            best.setdefault(run.data.tags.get("strategy", run.info.run_name), run)
    return best


def _newest(client: Any, experiments: Sequence[str], condition: str) -> Any:
    """Returns the run that was started last of those for which the condition holds, or None."""
    order = ["attributes.start_time DESC"]
    found = client.search_runs(experiments, condition, max_results=1, order_by=order)
    return found[0] if found else None


def _charts(ranges: Mapping[str, Any]) -> dict[str, Any]:
    """Returns charts side by side in a section of their own; the UI adds other metrics below."""
    section = {"uuid": "curves", "name": "Curves", "display": True, "isReordered": True}
    section |= {"deleted": False, "isGenerated": False, "columns": 2, "cardHeight": 400}
    charts = [
        {
            "type": "LINE", "uuid": f"curves-{metric}", "metricSectionId": "curves",
            "metricKey": metric, "selectedMetricKeys": [metric], "displayName": title,
            "deleted": False, "isGenerated": False, "runsCountToCompare": 100,
            "lineSmoothness": 0, "xAxisKey": "step", "selectedXAxisMetricKey": "",
            "yAxisKey": "metric", "yAxisExpressions": [], "xAxisScaleType": "linear",
            "scaleType": "log" if metric.endswith("loss") else "linear",
            "range": ranges.get(metric, {}), "ignoreOutliers": False,
            "useGlobalXaxisKey": True, "useGlobalLineSmoothing": True,
        }
        for metric, title in CHARTS.items()
    ]  # fmt: skip
    return {
        "compareRunCharts": charts, "compareRunSections": [section], "isAccordionReordered": True,
    }  # fmt: skip
