"""Trials that are made again: under a new number, with the same suggestion.

A trial that is to be repeated, because it was interrupted or because it failed and may try
again, ends as FAIL, marked as superseded, and a waiting trial with the same suggestion follows
it. The order of the three writes is such that a kill between any two of them loses nothing. One
that failed only because its workers died counts, until the sweep is started again: then another
follows it, too.
"""

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from fmnist_lab.sweeper.job import REPEATS

SUPERSEDED = "sweep:superseded"  # why the trial does not count: interrupted or retried
LOST = "sweep:lost"  # set where its workers died, and nothing else is known to be wrong
ATTEMPT = "sweep:attempt"  # how often the suggestion has failed before
ENQUEUED = "sweep:enqueued"  # the position in `enqueue`
_GRID = ("grid_id", "search_space")


def supersede(study: optuna.Study, trial: FrozenTrial, why: str, attempt: int) -> None:
    """Marks a trial, and has it repeated.

    Args:
        study: Its study.
        trial: It is told as failed after that.
        why: interrupted or retried.
        attempt: How often the suggestion has failed by then.
    """
    if SUPERSEDED not in trial.user_attrs:
        study._storage.set_trial_user_attr(trial._trial_id, SUPERSEDED, why)
    repeat(study, trial, attempt)


def repeat(study: optuna.Study, trial: FrozenTrial, attempt: int) -> None:
    """Adds a waiting trial with the same suggestion, unless there is one."""
    params = trial.system_attrs.get("fixed_params", {}) | trial.params
    if not params or is_repeated(study, trial):  # without a suggestion there is nothing to repeat
        return
    kept = {key: value for key, value in trial.system_attrs.items() if key in _GRID}
    marks = {REPEATS: trial.number, ATTEMPT: attempt}
    if ENQUEUED in trial.user_attrs:
        marks[ENQUEUED] = trial.user_attrs[ENQUEUED]
    kept["fixed_params"] = params
    waiting = create_trial(state=TrialState.WAITING, system_attrs=kept, user_attrs=marks)
    study.add_trial(waiting)


def is_repeated(study: optuna.Study, trial: FrozenTrial) -> bool:
    """Whether another trial follows this one."""
    trials = study.get_trials(deepcopy=False)
    return any(other.user_attrs.get(REPEATS) == trial.number for other in trials)
