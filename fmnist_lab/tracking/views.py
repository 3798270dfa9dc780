"""Views of the latest sweep in MLflow's UI: what is listed, in which columns, in which charts.

The UI keeps a named view as a tag of the experiment, lists it under "Views", and opens it from a
link. These are written the way it writes its own (MLflow 3.17). They always show the latest sweep,
so that there are never more of them.
"""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TAG = "mlflow.sharedViewState."
NEWEST = ("attributes.start_time DESC",)
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
    """The part of a link after the server's name; the UI's pages for training, not for prompts."""
    return f"/#/experiments/{experiment_id}/runs?workflowType=machine_learning"


@dataclass(frozen=True)
class View:
    """A page of the UI that a link opens."""

    key: str  # in the link
    title: str  # in the UI's list of views, after the sweep's name
    what: str  # for people who choose a link
    state: Mapping[str, Any] = field(repr=False)
    is_chart: bool = False

    def address(self, experiment_id: str) -> str:
        """The part of the link after the server's name."""
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
    newest = _newest(client, "tags.sweep LIKE '%'")
    if newest is None:
        return None
    name, experiment_id = newest.data.tags["sweep"], newest.info.experiment_id
    name = name.removesuffix("-replicates") if newest.data.tags["kind"] == "sweep" else name
    views = list(_views(client, experiment_id, name))
    now = int(time.time() * 1000)
    for view in views:
        envelope = {"name": f"{name}: {view.title}", "createdAt": now, "updatedAt": now}
        envelope["state"] = json.dumps(view.state)
        client.set_experiment_tag(experiment_id, f"{TAG}{view.key}", json.dumps(envelope))
    return Latest(name, experiment_id, views)


def _views(client: Any, experiment_id: str, name: str) -> Iterator[View]:
    trials = _of_kind(client, experiment_id, name, "trial")
    sweep = _newest(client, f"tags.kind = 'sweep' AND tags.sweep = '{_quote(name)}'", experiment_id)
    metric = sweep.data.tags.get("objective.metric", "") if sweep else "val/accuracy"
    ascending = metric == "val/loss"
    best = _winners(client, experiment_id, trials, ascending)
    yield View(
        "sweep-strategies",
        "trials by strategy",
        "each strategy's trials, grouped",
        _table(trials, ascending) | {"groupBy": _by_strategy("min" if ascending else "max")},
    )
    yield View(
        "sweep-trials",
        "all trials",
        "all trials, sortable by any column",
        _table(trials, ascending),
    )
    if best:
        ids = ", ".join(f"'{run.info.run_id}'" for run in best)
        yield View(
            "sweep-curves",
            "the best trial of each strategy",
            "curves and learning rates of each strategy's best trial",
            _charts(f"attributes.run_id IN ({ids})", ascending, best)
            | {"groupBy": _by_strategy("average"), "groupsExpanded": _closed(best)},
            is_chart=True,
        )
    replicates = _of_kind(client, experiment_id, name, "replicate")
    if _newest(client, replicates, experiment_id):
        columns = ("metrics.`test/accuracy`", "metrics.`test/loss`", *COLUMNS)
        yield View(
            "sweep-replicates",
            "replicates by strategy",
            "the winners again with fresh seeds, and their test accuracy",
            _table(replicates, ascending)
            | {"selectedColumns": columns, "groupBy": _by_strategy("average")}
            | {"orderByKey": columns[0], "orderByAsc": False},
        )


def _of_kind(client: Any, experiment_id: str, name: str, kind: str) -> str:
    """A filter for the runs of a sweep; of two sweeps of the same name, for the later one's."""
    parent_name = name if kind == "trial" else f"{name}-replicates"
    parent = _newest(
        client, f"tags.kind = 'sweep' AND tags.sweep = '{_quote(parent_name)}'", experiment_id
    )
    if parent is None:
        return f"tags.sweep = '{_quote(name)}' AND tags.kind = '{kind}'"
    return f"tags.mlflow.parentRunId = '{parent.info.run_id}'"


def _winners(client: Any, experiment_id: str, trials: str, ascending: bool) -> list[Any]:
    """The best run of each strategy among those that trained to their end, the best first."""
    order = [f"metrics.objective {'ASC' if ascending else 'DESC'}"]
    ended = f"{trials} AND attributes.status = 'FINISHED'"
    found = client.search_runs([experiment_id], ended, max_results=MOST_TRIALS, order_by=order)
    best: dict[str, Any] = {}
    for run in found:
        if math.isfinite(run.data.metrics.get("objective", math.nan)):
            best.setdefault(run.data.tags["strategy"], run)
    return list(best.values())


def _newest(client: Any, condition: str, experiment_id: str | None = None) -> Any:
    """The run that was started last of those for which the condition holds, if there is one."""
    where = [experiment_id] if experiment_id else _experiments(client)
    found = client.search_runs(where, condition, max_results=1, order_by=list(NEWEST))
    return found[0] if found else None


def _experiments(client: Any) -> list[str]:
    return [experiment.experiment_id for experiment in client.search_experiments()]


def _quote(name: str) -> str:
    return name.replace("'", "''")


def _table(condition: str, ascending: bool) -> dict[str, Any]:
    """A list of runs, the best objective on top."""
    return {
        "searchFilter": condition,
        "orderByKey": "metrics.`objective`",
        "orderByAsc": ascending,
        "selectedColumns": COLUMNS,
        "columnWidths": WIDTHS,
        "runsHiddenMode": "SHOW_ALL",
    }


def _by_strategy(aggregate: str) -> dict[str, Any]:
    """The groups of a list, and what their rows show of the runs in them."""
    keys = [{"mode": "tag", "groupByData": "strategy"}]
    return {"aggregateFunction": aggregate, "groupByKeys": keys}


def _upper_part(runs: Sequence[Any]) -> dict[str, float]:
    """Where accuracies differ: a first epoch near chance would press all others together."""
    reached = [run.data.metrics["objective"] for run in runs]
    return {"yMin": min(reached) - 0.05, "yMax": max(reached) + 0.01}


def _closed(runs: Sequence[Any]) -> dict[str, bool]:
    """One line in the list for each strategy, named after it, as in the charts' legends."""
    return {f"tag.strategy.{run.data.tags['strategy']}": False for run in runs}


def _charts(condition: str, ascending: bool, best: Sequence[Any]) -> dict[str, Any]:
    """Charts side by side in a section of their own; the UI adds the other metrics below."""
    ranges = {} if ascending else {"val/accuracy": _upper_part(best)}
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
    return _table(condition, ascending) | {
        "compareRunCharts": charts,
        "compareRunSections": [section],
        "isAccordionReordered": True,
    }
