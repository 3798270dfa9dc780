"""The keys of `hydra.sweeper`, their defaults and their checks."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
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
    """The request differs from the one that the stored sweep began with.

    The hint is for applications that use the sweeper by itself.
    """

    @property
    def fact(self) -> str:
        """The sentence without the hint."""
        return str(RequestError(self.key, self.rule, self.got))


@contextmanager
def sweep_request() -> Iterator[None]:
    """Raises a `RequestError` of the block as a `SweepRequestError`."""
    try:
        yield
    except RequestError as error:
        raise SweepRequestError(*error.args) from error


def plain(node: Any) -> Any:
    """Returns a node of a configuration as dictionaries and lists, anything else as it is."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


@dataclass
class Settings:
    """The sweeper; every key says what null or its default means.

    The comments are shown in `docs/options.md`.
    """

    sampler: Any = None  # from its group
    pruner: Any = None
    direction: Any = "minimize"  # or maximize, or a list with one for each objective
    storage: Any = None  # journal:///path, a database URL or an object; null: in the sweep's folder
    study_name: str | None = None  # null: the application's name in a journal, else a new name
    n_trials: int = 20  # a total, those of earlier runs of the same study included
    n_jobs: int = 2  # trials in a batch, for a launcher that takes batches
    max_failure_rate: float = 0.5  # gives up when more than this part of n_trials has failed
    retries: int = 0  # how often a trial that raised an error is repeated
    params: dict[str, str] | None = None  # key: override grammar, "tag(log, interval(1e-4, 1))"
    search_space: dict[str, Any] | None = None  # as in hydra-optuna-sweeper 1.3; better use params
    custom_search_space: str | None = None  # dotted path of f(cfg, trial) -> None
    # Choices to compare, each with a study of its own and n_trials trials: a mapping from name
    # to an override, or a list of overrides.
    strategies: dict[str, Any] | None = None
    # Of a strategy: fewer trials than n_trials.
    limits: dict[str, int] = field(default_factory=dict)
    # Of a strategy: key and [low, high]. A second stage of tuning: as many trials again, for every
    # strategy, within these ends instead of those that the sweep began with.
    recentred: dict[str, Any] = field(default_factory=dict)
    label: str | None = None  # the key that holds the strategy's name in each job
    # Nodes of the configuration, such as optimizer, which may hold a mapping `space` from their
    # own keys to override grammar; where strategies are compared, those spaces are searched.
    spaces: list[str] | None = None
    may_change: list[str] | None = None  # keys that may differ when a sweep continues
    # Keys that were added after earlier versions, with the values that older sweeps keep.
    added: dict[str, Any] | None = None
    check: str | None = None  # dotted path of f(cfg) -> None, which refuses what cannot run
    # Dotted path of f(folder, since) -> {values, pruned} or None: the result that a job left in its
    # folder after that time, in seconds, when it ended but died before it reached its study.
    recall: str | None = None
    # Dotted path of f(cfgs, choices, directions) -> None, which refuses what cannot be compared;
    # choices: the values by key of what is searched, of a range its ends.
    check_together: str | None = None
    enqueue: list[Any] | None = None  # the first trials, each a mapping from key to value
    timeout: float | None = None  # seconds after which this run starts no more trials
    max_epochs: int | None = None  # steps reported by all trials after which none is started
    target: float | None = None  # stops when the best value is as good as this
    plateau: int | None = None  # stops after so many trials without a better one
    changed_space: str = "refuse"  # or allow: continue a study whose search space was another
    observers: list[Any] | None = None  # objects to call, see fmnist_lab.sweeper.observers

    def __post_init__(self) -> None:
        """Raises SweepRequestError for a value that is not allowed."""
        with sweep_request():
            for name in self.strategies or {}:
                require_name("hydra.sweeper.strategies", str(name))
        directions = self.directions
        is_one = len(directions) == 1
        are_mappings = all(isinstance(params, Mapping) for params in self.enqueue or [])
        are_directions = bool(directions) and {*directions} <= {"minimize", "maximize"}
        rules = [
            ("direction", "be minimize or maximize", are_directions),
            ("n_trials", "be at least 1", self.n_trials >= 1),
            ("n_jobs", "be at least 1", self.n_jobs >= 1),
            ("retries", "be zero or more", self.retries >= 0),
            ("max_failure_rate", "be from 0 to 1", 0 <= self.max_failure_rate <= 1),
            ("timeout", "be positive", self.timeout is None or self.timeout > 0),
            ("max_epochs", "be positive", self.max_epochs is None or self.max_epochs > 0),
            ("plateau", "be positive", self.plateau is None or self.plateau > 0),
            ("target", "be a finite number", self.target is None or math.isfinite(self.target)),
            ("target", "be null with several directions", is_one or self.target is None),
            ("plateau", "be null with several directions", is_one or self.plateau is None),
            ("search_space", "be null beside params", not (self.params and self.search_space)),
            ("enqueue", "be a list of mappings", are_mappings),
            ("changed_space", "be refuse or allow", self.changed_space in ("refuse", "allow")),
        ]
        for key, rule, holds in rules:
            if not holds:
                raise SweepRequestError(f"hydra.sweeper.{key}", rule, getattr(self, key))

    @property
    def directions(self) -> list[str]:
        """One direction for each objective."""
        many = isinstance(self.direction, Sequence) and not isinstance(self.direction, str)
        given = list(self.direction) if many else [self.direction]
        return [item.name if isinstance(item, Enum) else str(item) for item in given]

    @property
    def sign(self) -> float:
        """The factor that makes a smaller value of the only objective a better one."""
        return -1.0 if self.directions == ["maximize"] else 1.0

    @property
    def whole(self) -> "Settings":
        """The same settings with the budgets of all stages."""
        if not self.recentred:
            return self
        epochs = self.max_epochs and 2 * self.max_epochs
        return replace(self, n_trials=2 * self.n_trials, max_epochs=epochs)

    def at_most(self, n_trials: int) -> "Settings":
        """Returns the same settings with at most `n_trials` trials."""
        return replace(self, n_trials=min(self.n_trials, n_trials))
