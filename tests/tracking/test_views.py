"""Which runs the links of `fmnist-lab ui` show, in a real MLflow store."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fmnist_lab import tracking
from fmnist_lab.config import TrackingConfig
from fmnist_lab.tracking import views
from fmnist_lab.tracking.views import Latest


class Store:
    """A folder with a store; records runs that are nothing but their tags and objective."""

    def __init__(self) -> None:
        self.client, self.experiment = tracking.open_experiment(TrackingConfig())
        self._clock = 1_000_000

    def run(
        self, tags: dict[str, str], objective: float | None = None, status: str = "FINISHED"
    ) -> str:
        self._clock += 1000
        run = self.client.create_run(self.experiment, start_time=self._clock, tags=tags)
        if objective is not None:
            self.client.log_metric(run.info.run_id, "objective", objective)
        self.client.set_terminated(run.info.run_id, status)
        return str(run.info.run_id)

    def sweep(self, name: str, metric: str = "val/accuracy", runs: str = "trial") -> str:
        tags = {"kind": "sweep", "sweep": name, "runs": runs, "objective.metric": metric}
        return self.run(tags)

    def trial(
        self,
        parent: str,
        name: str,
        strategy: str,
        objective: float,
        kind: str = "trial",
        status: str = "FINISHED",
    ) -> str:
        tags = {"kind": kind, "sweep": name, "strategy": strategy, "mlflow.parentRunId": parent}
        return self.run(tags, objective, status)

    def shown(self, latest: Latest, key: str) -> list[str]:
        """The runs that a view lists, in its order, as its tag has it."""
        tags = self.client.get_experiment(latest.experiment_id).tags
        state = json.loads(json.loads(tags[f"{views.TAG}{key}"])["state"])
        order = f"{state['orderByKey']} {'ASC' if state['orderByAsc'] else 'DESC'}"
        found = self.client.search_runs([self.experiment], state["searchFilter"], order_by=[order])
        return [run.info.run_id for run in found]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for all tests here: creating it takes seconds."""
    root: Path = tmp_path_factory.mktemp("views")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield Store()


@pytest.fixture
def store(empty: Store) -> Store:
    for run in empty.client.search_runs([empty.experiment]):
        empty.client.delete_run(run.info.run_id)
    return empty


def write(store: Store) -> Latest:
    latest = views.write_views(store.client)
    assert latest is not None
    return latest


@pytest.mark.parametrize(
    "foreign",
    [
        {"sweep": "theirs"},
        {"sweep": "theirs", "kind": "nightly"},
        {"kind": "sweep"},
        {"kind": "trial", "mlflow.parentRunId": "0" * 32},
        {},
    ],
)
def test_runs_of_other_programs_are_none_of_ours(store: Store, foreign: dict[str, str]) -> None:
    ours = store.sweep("night")
    best = store.trial(ours, "night", "constant", 0.5)
    store.run(foreign, objective=1.0)
    latest = write(store)
    assert latest.name == "night"
    assert store.shown(latest, "sweep-trials") == [best]
    assert store.shown(latest, "sweep-curves") == [best]


def test_without_a_sweep_there_is_nothing_to_link_to(store: Store) -> None:
    store.run({"kind": "trial", "strategy": "calm"})  # a trial of its own
    assert views.write_views(store.client) is None


def test_the_latest_sweep_alone_best_trial_first(store: Store) -> None:
    old = store.sweep("old")
    store.trial(old, "old", "calm", 0.9)
    night = store.sweep("night")
    trials = [store.trial(night, "night", "calm", value) for value in (0.5, 0.7, 0.6)]
    latest = write(store)
    assert latest.name == "night"
    assert store.shown(latest, "sweep-trials") == [trials[1], trials[2], trials[0]]


def test_a_sweep_that_is_continued_is_the_latest(store: Store) -> None:
    old = store.sweep("old")
    store.sweep("night")
    trial = store.trial(old, "old", "calm", 0.9)
    latest = write(store)
    assert (latest.name, store.shown(latest, "sweep-trials")) == ("old", [trial])


def test_of_two_sweeps_of_one_name_the_later_one(store: Store) -> None:
    store.trial(store.sweep("night"), "night", "calm", 0.9)
    trial = store.trial(store.sweep("night"), "night", "calm", 0.5)
    assert store.shown(write(store), "sweep-trials") == [trial]


@pytest.mark.parametrize("name", ["it's", 'so "good"', "a' AND tags.kind = 'b"])
@pytest.mark.parametrize("has_run", [True, False])
def test_names_with_quotes(store: Store, name: str, has_run: bool) -> None:
    if has_run:
        trial = store.trial(store.sweep(name), name, "calm", 0.9)
    else:  # a multirun has no run of its own
        trial = store.run({"kind": "trial", "sweep": name, "strategy": "calm"}, 0.9)
    assert store.shown(write(store), "sweep-trials") == [trial]


def test_curves_of_the_best_trial_of_each_strategy(store: Store) -> None:
    night = store.sweep("night")
    store.trial(night, "night", "calm", 0.5)
    calm = store.trial(night, "night", "calm", 0.7)
    wild = store.trial(night, "night", "wild", 0.8)
    store.trial(night, "night", "wild", 0.99, status="KILLED")  # pruned: another epoch's
    assert store.shown(write(store), "sweep-curves") == [wild, calm]


def test_of_losses_the_smallest_is_the_best(store: Store) -> None:
    night = store.sweep("night", "val/loss")
    best = store.trial(night, "night", "calm", 0.2)
    worse = store.trial(night, "night", "calm", 0.3)
    latest = write(store)
    assert store.shown(latest, "sweep-trials") == [best, worse]
    assert store.shown(latest, "sweep-curves") == [best]


def test_replicates_have_a_view_of_their_own(store: Store) -> None:
    night = store.sweep("night")
    trial = store.trial(night, "night", "calm", 0.5)
    again = store.sweep("night", runs="replicate")
    replicate = store.trial(again, "night", "calm", 0.6, kind="replicate")
    latest = write(store)
    assert latest.name == "night"
    assert store.shown(latest, "sweep-trials") == [trial]
    assert store.shown(latest, "sweep-replicates") == [replicate]


def test_a_multirun_has_no_run_of_its_own(store: Store) -> None:
    trial = store.run({"kind": "trial", "sweep": "2026-01-01", "strategy": "it's"}, 0.5)
    latest = write(store)
    assert latest.name == "2026-01-01"
    assert store.shown(latest, "sweep-trials") == [trial]


def test_views_do_not_pile_up(store: Store) -> None:
    store.trial(store.sweep("night"), "night", "calm", 0.5)
    keys = {view.key for view in write(store).views}
    store.trial(store.sweep("day"), "day", "calm", 0.5)
    latest = write(store)
    tags = store.client.get_experiment(latest.experiment_id).tags
    written = {key.removeprefix(views.TAG) for key in tags if key.startswith(views.TAG)}
    assert keys <= written <= keys | {"sweep-replicates"}
