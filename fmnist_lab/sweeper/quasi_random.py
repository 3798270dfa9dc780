"""Quasi-random sequences whose first n points are the same however a sweep was interrupted."""

from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import QMCSampler
from optuna.trial import FrozenTrial


class SequenceSampler(QMCSampler):
    """Optuna's sampler, with the search space known beforehand.

    Optuna learns the space from trials that exist, so its first trial is a random one. It
    spends a point on a trial whose parameters are fixed, such as one that is repeated. And it
    counts a point as spent before a trial has it, so that a kill in between skips the point.
    """

    def __init__(self, space: dict[str, BaseDistribution], **settings: Any) -> None:
        super().__init__(**settings)
        self._space = space
        self._counted = 0  # trials that have ended before any that has not: they stay as they are
        self._spent = 0  # points that those have

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The whole space; nothing where all parameters are fixed."""
        return {} if self._is_fixed(trial) else self._space

    def _find_sample_id(self, study: Study, search_space: dict[str, BaseDistribution]) -> int:
        """The next point, found from the trials that have one."""
        trials = study.get_trials(deepcopy=False)
        while self._counted < len(trials) and trials[self._counted].state.is_finished():
            self._spent += self._has_point(trials[self._counted])
            self._counted += 1
        return self._spent + sum(map(self._has_point, trials[self._counted :]))

    def _has_point(self, trial: FrozenTrial) -> bool:
        return self._space.keys() <= trial.params.keys() and not self._is_fixed(trial)

    def _is_fixed(self, trial: FrozenTrial) -> bool:
        fixed: dict[str, Any] = trial.system_attrs.get("fixed_params", {})
        return self._space.keys() <= fixed.keys()
