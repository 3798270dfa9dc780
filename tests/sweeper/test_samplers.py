"""Samplers and pruners from their configuration; the points of a quasi-random sequence."""

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import TrialState

from fmnist_lab.sweeper import samplers
from fmnist_lab.sweeper.samplers import build_pruner, build_sampler, grid_size
from fmnist_lab.sweeper.settings import SweepRequestError
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
    with pytest.raises(SweepRequestError, match=rf"pip install {package}\.$"):
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
    with pytest.raises(SweepRequestError, match=r"got motpe; hydra/sweeper/sampler=tpe"):
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
    with pytest.raises(SweepRequestError, match=r"`hydra.sweeper.sampler[\w.]*` must "):
        build_sampler({"_target_": target}, MIXED, 0, 1)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("startup", 5, "`hydra.sweeper.sampler.startup` must be an argument of its class, got 5; "),
        ("n_startup_trials", "ten", "n_startup_trials` must be a number such as 10, got 'ten'."),
    ],
)
def test_a_wrong_argument_is_refused(key: str, value: object, sentence: str) -> None:
    with pytest.raises(SweepRequestError) as refused:
        build_sampler(SAMPLERS["tpe"] | {key: value}, MIXED, 0, 1)
    assert sentence in str(refused.value)
