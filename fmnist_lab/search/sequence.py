"""Quasi-random sequences whose first n points are the same however a sweep was interrupted."""

from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import QMCSampler
from optuna.trial import FrozenTrial


class SequenceSampler(QMCSampler):
    """Optuna's sampler, with the search space known beforehand.

    Optuna learns the space from trials that exist, so its first trial is a random one. And it
    spends a point on a trial whose parameters are fixed, such as one that is repeated.
    """

    def __init__(self, space: dict[str, BaseDistribution], **settings: Any) -> None:
        super().__init__(**settings)
        self._space = space

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The whole space; nothing where all parameters are fixed."""
        fixed = trial.system_attrs.get("fixed_params", {})
        return {} if self._space.keys() <= fixed.keys() else self._space
