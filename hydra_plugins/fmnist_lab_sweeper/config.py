"""What `hydra/sweeper=fmnist_lab` may be told, with its defaults.

Keys and defaults are those of hydra-optuna-sweeper, so that its configurations run here. Hydra
imports this module in every application: it holds dataclasses and nothing else.
"""

import importlib.util
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

_SWEEPER = "hydra_plugins.fmnist_lab_sweeper.sweeper.FmnistLabSweeper"


@dataclass
class SweeperConf:
    """The sweeper; every key says what null or its default means."""

    _target_: str = _SWEEPER
    _recursive_: bool = False  # the sampler needs the search space and what the study holds
    defaults: list[Any] = field(default_factory=lambda: [{"sampler": "tpe"}, {"pruner": "none"}])
    sampler: Any = MISSING  # from its group
    pruner: Any = MISSING
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
    label: str | None = None  # the key that tells a job its strategy's name
    # Nodes of the configuration, such as optimizer, which may hold a mapping `space` from their
    # own keys to override grammar; where strategies are compared, those spaces are searched.
    spaces: list[str] | None = None
    may_change: list[str] | None = None  # keys that may differ when a sweep continues
    check: str | None = None  # dotted path of f(cfg) -> None, which refuses what cannot run
    # Dotted path of f(folder, since) -> {values, pruned} or None: what a job has left in its folder
    # after that time, in seconds, if it had ended, and died before its study was told.
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


@dataclass
class OptunaSweeperConf(SweeperConf):
    """The same under the official name, as strict about failures as the official one."""

    max_failure_rate: float = 0.0
    changed_space: str = "allow"


@dataclass
class TpeConf:
    """Null leaves the choice to the sweeper: constant_liar where trials run side by side."""

    _target_: str = "optuna.samplers.TPESampler"
    seed: int | None = None
    consider_prior: bool | None = None
    prior_weight: float | None = None
    consider_magic_clip: bool | None = None
    consider_endpoints: bool | None = None
    n_startup_trials: int = 10
    n_ei_candidates: int = 24
    multivariate: bool | None = False
    group: bool = False
    warn_independent_sampling: bool | None = None
    constant_liar: bool | None = None
    constraints_func: Any = None


@dataclass
class RandomConf:
    """Independent draws."""

    _target_: str = "optuna.samplers.RandomSampler"
    seed: int | None = None


@dataclass
class GridConf:
    """Every point once; the space must be choices and ranges."""

    _target_: str = "optuna.samplers.GridSampler"
    _partial_: bool = True
    seed: int | None = None


@dataclass
class GpConf:
    """Gaussian process; needs PyTorch."""

    _target_: str = "optuna.samplers.GPSampler"
    seed: int | None = None
    independent_sampler: Any = None
    n_startup_trials: int = 10
    deterministic_objective: bool = False
    constraints_func: Any = None
    warn_independent_sampling: bool = True


@dataclass
class QmcConf:
    """Quasi-random points, spread more evenly than random ones."""

    _target_: str = "optuna.samplers.QMCSampler"
    seed: int | None = None
    qmc_type: str = "sobol"
    scramble: bool = False
    independent_sampler: Any = None
    warn_asynchronous_seeding: bool = True
    warn_independent_sampling: bool = True


@dataclass
class CmaEsConf:
    """Evolution strategy for continuous spaces; needs the cmaes package."""

    _target_: str = "optuna.samplers.CmaEsSampler"
    seed: int | None = None
    x0: dict[str, Any] | None = None
    sigma0: float | None = None
    n_startup_trials: int = 1
    independent_sampler: Any = None
    warn_independent_sampling: bool = True
    consider_pruned_trials: bool = False
    restart_strategy: Any = None
    popsize: int | None = None
    inc_popsize: int = -1
    use_separable_cma: bool = False
    with_margin: bool = False
    lr_adapt: bool = False
    source_trials: Any = None


@dataclass
class NsgaIiConf:
    """Genetic algorithm for several objectives."""

    _target_: str = "optuna.samplers.NSGAIISampler"
    seed: int | None = None
    population_size: int = 50
    mutation_prob: float | None = None
    mutation: Any = None
    crossover: Any = None
    crossover_prob: float = 0.9
    swapping_prob: float = 0.5
    constraints_func: Any = None


@dataclass
class NsgaIiiConf(NsgaIiConf):
    """Genetic algorithm for many objectives."""

    _target_: str = "optuna.samplers.NSGAIIISampler"
    reference_points: list[list[float]] | None = None
    dividing_parameter: int = 3


@dataclass
class MotpeConf:
    """Refused with a pointer to tpe."""

    _target_: str = "optuna.samplers.MOTPESampler"


SAMPLERS = {
    "cmaes": CmaEsConf,
    "gp": GpConf,
    "grid": GridConf,
    "motpe": MotpeConf,
    "nsgaii": NsgaIiConf,
    "nsgaiii": NsgaIiiConf,
    "qmc": QmcConf,
    "random": RandomConf,
    "tpe": TpeConf,
}


def _register() -> None:
    def store(group: str, name: str, node: Any) -> None:
        ConfigStore.instance().store(group=group, name=name, node=node, provider="fmnist_lab")

    store("hydra/sweeper", "fmnist_lab", SweeperConf)
    if importlib.util.find_spec("hydra_plugins.hydra_optuna_sweeper"):
        return  # its names are its own, and its samplers serve us as well
    store("hydra/sweeper", "optuna", OptunaSweeperConf)
    for name, node in SAMPLERS.items():
        store("hydra/sweeper/sampler", name, node)


_register()
