"""The points of a quasi-random sequence, and who gets them."""

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import TrialState

from fmnist_lab.sweeper.samplers import build_sampler
from fmnist_lab.sweeper.space import Searched, Space

SETTINGS = {"_target_": "optuna.samplers.QMCSampler", "scramble": True, "seed": 0}
SPACE: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
    "decay": FloatDistribution(1, 20),
}


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
