"""What the user asked of a sweep, checked."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import Enum
from numbers import Real
from typing import Any

from hydra.errors import CompactHydraException
from omegaconf import OmegaConf

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.validate import require_name


class SweepRequestError(RequestError, CompactHydraException):
    """A request that cannot be met; any Hydra application prints it without a traceback."""


class SecondControllerError(SweepRequestError):
    """Another process runs the sweep."""


class ChangedSweepError(SweepRequestError):
    """A sweep that exists was asked something else.

    Args:
        fact: What has changed, a sentence.
        advice: What to do about it, for those who use the sweeper by itself.
    """

    def __init__(self, fact: str, advice: str) -> None:
        super().__init__(f"{fact} {advice}")
        self.fact = fact


@dataclass(frozen=True)
class Settings:
    """The keys of `hydra.sweeper`; what each means stands beside its default there."""

    sampler: Any = None
    pruner: Any = None
    direction: Any = "minimize"
    storage: Any = None
    study_name: str | None = None
    n_trials: int = 20
    n_jobs: int = 2
    max_failure_rate: float = 0.5
    retries: int = 0
    params: Mapping[str, str] | None = None
    search_space: Mapping[str, Any] | None = None
    custom_search_space: str | None = None
    strategies: Mapping[str, Any] | None = None
    label: str | None = None
    spaces: list[str] | None = None
    may_change: list[str] | None = None
    check: str | None = None
    recall: str | None = None
    check_together: str | None = None
    enqueue: list[Any] | None = None
    timeout: float | None = None
    max_epochs: int | None = None
    target: float | None = None
    plateau: int | None = None
    changed_space: str = "refuse"
    observers: list[Any] | None = None

    @staticmethod
    def read(given: Mapping[str, Any]) -> "Settings":
        """Checks the sweeper's configuration.

        Raises:
            SweepRequestError: A key is unknown or a value is not allowed.
        """
        names = [field.name for field in fields(Settings)]
        for key in given:
            if key not in names:
                allowed = ", ".join(names)
                raise SweepRequestError(f"`hydra.sweeper` has {allowed}; got {key!r}.")
        settings = Settings(**given)
        settings._check()
        return settings

    @property
    def directions(self) -> list[str]:
        """One direction for each objective."""
        many = OmegaConf.is_list(self.direction) or isinstance(self.direction, list | tuple)
        given = list(self.direction) if many else [self.direction]
        return [item.name if isinstance(item, Enum) else str(item) for item in given]

    def at_most(self, n_trials: int) -> "Settings":
        """The same, with no more trials than a grid has points."""
        return replace(self, n_trials=min(self.n_trials, n_trials))

    def _check(self) -> None:
        for direction in self.directions or ["none"]:
            if direction not in ("minimize", "maximize"):
                raise SweepRequestError(
                    f"`hydra.sweeper.direction` must be minimize or maximize, got {direction!r}."
                )
        for name in self.strategies or {}:
            require_name("hydra.sweeper.strategies", str(name))
        _require(self.n_trials >= 1, "n_trials", "at least 1", self.n_trials)
        _require(self.n_jobs >= 1, "n_jobs", "at least 1", self.n_jobs)
        _require(self.retries >= 0, "retries", "zero or more", self.retries)
        rate = self.max_failure_rate
        _require(0 <= rate <= 1, "max_failure_rate", "from 0 to 1", rate)
        for name in ("timeout", "max_epochs", "plateau"):
            value = getattr(self, name)
            _require(value is None or value > 0, name, "positive", value)
        self._check_target()
        if self.params and self.search_space:
            raise SweepRequestError(
                "`hydra.sweeper.search_space` must be null beside `hydra.sweeper.params`, got both."
            )
        allowed = self.changed_space in ("refuse", "allow")
        _require(allowed, "changed_space", "refuse or allow", self.changed_space)

    def _check_target(self) -> None:
        is_number = isinstance(self.target, Real) and math.isfinite(self.target)
        _require(self.target is None or is_number, "target", "a finite number", self.target)
        for name in ("target", "plateau"):
            if getattr(self, name) is not None and len(self.directions) > 1:
                raise SweepRequestError(
                    f"`hydra.sweeper.{name}` must be null with several directions, "
                    f"got {getattr(self, name)}."
                )


def _require(allowed: bool, key: str, rule: str, value: object) -> None:
    if not allowed:
        raise SweepRequestError(f"`hydra.sweeper.{key}` must be {rule}, got {value!r}.")
