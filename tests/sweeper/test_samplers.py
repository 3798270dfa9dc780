"""Samplers and pruners from their configuration; the points of a quasi-random sequence."""

from collections.abc import Sequence

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import TrialState
from scipy.stats import qmc

from fmnist_lab.sweeper import plans, samplers
from fmnist_lab.sweeper.samplers import build_pruner, build_sampler, common_points, grid_size
from fmnist_lab.sweeper.settings import Settings, SweepRequestError
from fmnist_lab.sweeper.space import Searched, Space, parse
from hydra_plugins.fmnist_lab_sweeper.sweeper_options import PRUNERS, SAMPLERS

SETTINGS = {"_target_": "optuna.samplers.QMCSampler", "scramble": True, "seed": 0}
SPACE: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
    "decay": FloatDistribution(1, 20),
}


MIXED = parse(["x=interval(0,1)", "y=choice(a,b)", "z=3"])


def sampler() -> optuna.samplers.BaseSampler:
    space = Space({key: Searched(distribution) for key, distribution in SPACE.items()}, {})
    return build_sampler(SETTINGS, space, 0, 2)


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(sampler=sampler())


@pytest.fixture(scope="module")
def points() -> list[dict[str, float]]:
    """The sequence, as trials one after the other get it."""
    study = optuna.create_study(sampler=sampler())
    for _ in range(8):
        study.tell(study.ask(SPACE), 0.0)
    return [trial.params for trial in study.trials]


def test_all_points_differ(points: list[dict[str, float]]) -> None:
    assert len({point["rate"] for point in points}) == len(points)


def test_trials_side_by_side_get_the_same_points_in_whatever_order_they_end(
    study: optuna.Study, points: list[dict[str, float]]
) -> None:
    first, second, third = (study.ask(SPACE) for _ in range(3))
    study.tell(third, 0.0)
    fourth = study.ask(SPACE)
    study.tell(first, state=TrialState.FAIL)
    fifth = study.ask(SPACE)
    study.tell(second, 0.0)
    study.tell(fourth, 0.0)
    trials = [first, second, third, fourth, fifth, study.ask(SPACE)]
    assert [trial.params for trial in trials] == points[:6]


def test_a_fixed_trial_spends_no_point_and_one_that_is_fixed_in_part_does(
    study: optuna.Study, points: list[dict[str, float]]
) -> None:
    study.enqueue_trial({"rate": 0.01, "decay": 5.0})
    study.enqueue_trial({"rate": 0.02})
    fixed, half = study.ask(SPACE), study.ask(SPACE)
    assert fixed.params == {"rate": 0.01, "decay": 5.0}
    assert half.params == {"rate": 0.02, "decay": points[0]["decay"]}
    study.tell(fixed, 0.0)
    study.tell(half, 0.0)
    assert study.ask(SPACE).params == points[1]


def test_another_process_goes_on_where_the_first_has_stopped(
    study: optuna.Study, points: list[dict[str, float]]
) -> None:
    for _ in range(3):
        study.tell(study.ask(SPACE), 0.0)
    study.sampler = sampler()
    assert study.ask(SPACE).params == points[3]


RATE = "optimizer.learning_rate"
COMMON = {RATE: FloatDistribution(1e-4, 1e-1, log=True), "clipping.norm": FloatDistribution(0, 9)}
OWN = FloatDistribution(1, 20)
WIDTHS = st.lists(st.integers(0, 4), min_size=1, max_size=4)  # of each strategy, beside the rate


class Sweep:
    """Strategies that search the rate, the norm and so many keys of their own."""

    def __init__(self, widths: Sequence[int], seed: int = 0) -> None:
        self.settings = Settings(sampler=SETTINGS | {"seed": seed}, strategies={})
        self.storage = optuna.storages.InMemoryStorage()
        self.plans = [
            plans.Plan(f"sweep/{name}", str(name), Space(self.searched(name, width), {}))
            for name, width in enumerate(widths)
        ]

    @staticmethod
    def searched(name: int, width: int) -> dict[str, Searched]:
        own = dict.fromkeys([f"scheduler.of{name}_{number}" for number in range(width)], OWN)
        return {key: Searched(found) for key, found in {**own, **COMMON}.items()}

    def take_up(self) -> list[optuna.Study]:
        studies = plans.open_studies(self.storage, self.plans, self.settings)
        plans.take_up(studies, self.plans, self.settings, 1)
        return studies

    def ask(self, trials: int) -> list[list[dict[str, float]]]:
        """Goes on by so many trials in each study; all points of each so far."""
        for study, plan in zip(studies := self.take_up(), self.plans, strict=True):
            for _ in range(trials):
                study.tell(study.ask(plan.space.distributions), 0.0)
        return [[trial.params for trial in study.trials] for study in studies]


@settings(max_examples=15)
@given(WIDTHS, st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 4))
def test_all_strategies_are_tried_at_the_same_points(
    widths: list[int], seed: int, trials: int, more: int
) -> None:
    sweep = Sweep(widths, seed)
    sweep.ask(trials)
    found = sweep.ask(more)  # n_trials is raised, by another process
    for key in COMMON:
        assert len({tuple(point[key] for point in points) for points in found}) == 1
    assert len({point[RATE] for point in found[0]}) == trials + more


def test_each_strategy_uses_its_own_columns() -> None:
    sweep = Sweep([0, 1, 2])
    point = qmc.Sobol(4, seed=0).random(1)[0]  # scrambled
    for study, (first, *_) in zip(sweep.take_up(), sweep.ask(1), strict=True):
        columns = study.user_attrs[plans.POINTS]["columns"]
        assert list(columns)[:2] == [RATE, "clipping.norm"]
        assert first["clipping.norm"] == pytest.approx(9 * point[1])
        own = [value for key, value in first.items() if key.startswith("scheduler")]
        assert own == pytest.approx(1 + 19 * point[2 : 2 + len(own)])


def test_a_sweep_of_an_earlier_version_goes_on_with_its_own_sequences() -> None:
    sweep = Sweep([0, 2])
    old = []
    for study, plan in zip(
        plans.open_studies(sweep.storage, sweep.plans, sweep.settings), sweep.plans, strict=True
    ):
        study.sampler = build_sampler(SETTINGS, plan.space, 0, 1)
        alone = optuna.create_study(sampler=build_sampler(SETTINGS, plan.space, 0, 1))
        study.tell(study.ask(plan.space.distributions), 0.0)
        for _ in range(3):
            alone.tell(alone.ask(plan.space.distributions), 0.0)
        old.append([trial.params for trial in alone.trials])
    assert sweep.ask(2) == old
    assert old[0][0][RATE] != old[1][0][RATE]
    assert all(plans.POINTS not in study.user_attrs for study in sweep.take_up())


def test_the_order_of_keys_and_their_plus_do_not_matter() -> None:
    here, there = common_points([["a", "+b.learning_rate"], ["b.learning_rate", "c", "a"]])
    assert here == {"width": 3, "columns": {"+b.learning_rate": 0, "a": 1}}
    assert there == {"width": 3, "columns": {"b.learning_rate": 0, "a": 1, "c": 2}}
    here, there = common_points([["a", "b"], ["b", "a"]])
    assert here == there


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - {"motpe", "gp", "cmaes"}))
def test_samplers_build_from_their_defaults(name: str) -> None:
    config = SAMPLERS[name] | {"seed": 1}
    sampler = build_sampler(config, parse(["x=range(3)"]), 0, 1)
    assert isinstance(sampler, getattr(optuna.samplers, config["_target_"].rpartition(".")[2]))
    assert grid_size(config, parse(["x=range(3)"])) == (3 if name == "grid" else None)


@pytest.mark.parametrize(("name", "package"), [("gp", "torch"), ("cmaes", "cmaes")])
def test_a_sampler_says_which_package_it_lacks(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samplers, "find_spec", lambda _: None)
    with pytest.raises(SweepRequestError, match=rf" {package}\.$"):
        build_sampler(SAMPLERS[name], MIXED, 0, 1)


@pytest.mark.parametrize("name", PRUNERS)
def test_pruners_build_from_their_defaults(name: str) -> None:
    config = PRUNERS[name]
    assert type(build_pruner(config)).__name__ == config["_target_"].rpartition(".")[2]


def test_a_continued_study_has_another_seed() -> None:
    config = {"_target_": "optuna.samplers.RandomSampler", "seed": 0}

    def suggest(stored: int) -> float:
        study = optuna.create_study(sampler=build_sampler(config, MIXED, stored, 1))
        return study.ask(MIXED.distributions).params["x"]  # type: ignore[no-any-return]

    assert suggest(0) == suggest(0)
    assert len({suggest(stored) for stored in range(20)}) == 20


@pytest.mark.parametrize(
    ("liar", "at_once", "expected"),
    [(None, 1, False), (None, 2, True), (False, 2, False), (True, 1, True)],
)
def test_constant_liar_is_for_trials_side_by_side(
    liar: bool | None, at_once: int, expected: bool
) -> None:
    config = SAMPLERS["tpe"] | {"constant_liar": liar}
    sampler = build_sampler(config, MIXED, 0, at_once)
    assert sampler._constant_liar is expected  # type: ignore[attr-defined]


def test_motpe_is_refused_with_its_replacement() -> None:
    with pytest.raises(SweepRequestError, match="hydra/sweeper/sampler=tpe"):
        build_sampler(SAMPLERS["motpe"], MIXED, 0, 1)


def test_reference_points_may_be_a_list() -> None:
    config = SAMPLERS["nsgaiii"]
    config |= {"reference_points": [[0.2, 0.8], [0.8, 0.2]], "population_size": 4, "seed": 0}
    study = optuna.create_study(
        directions=["minimize"] * 2, sampler=build_sampler(config, MIXED, 0, 1)
    )
    for _ in range(12):
        trial = study.ask(MIXED.distributions)
        study.tell(trial, [trial.params["x"], 1 - trial.params["x"]])
    assert len(study.trials) == 12


@pytest.mark.parametrize("target", ["optuna.samplers.Nope", "nowhere.Sampler", "os.getcwd"])
def test_what_is_no_sampler_is_refused(target: str) -> None:
    with pytest.raises(SweepRequestError, match=r"`hydra.sweeper.sampler[\w.]*`"):
        build_sampler({"_target_": target}, MIXED, 0, 1)


@pytest.mark.parametrize(("key", "value"), [("startup", 5), ("n_startup_trials", "ten")])
def test_a_wrong_argument_is_refused(key: str, value: object) -> None:
    with pytest.raises(SweepRequestError) as refused:
        build_sampler(SAMPLERS["tpe"] | {key: value}, MIXED, 0, 1)
    assert refused.value.key == f"hydra.sweeper.sampler.{key}"
    assert refused.value.got == repr(value)
