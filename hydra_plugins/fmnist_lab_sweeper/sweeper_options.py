"""The options of `hydra/sweeper`, of its samplers and of its pruners, with their defaults.

Keys and defaults are those of hydra-optuna-sweeper, so that its configurations run here, and
Optuna's. Hydra imports this module in every application, so it imports nothing heavy.
"""

import importlib.util
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from fmnist_lab.sweeper.settings import Settings


@dataclass
class SweeperConf(Settings):
    """The sweeper with Optuna's default sampler."""

    _target_: str = "hydra_plugins.fmnist_lab_sweeper.sweeper.FmnistLabSweeper"
    _recursive_: bool = False  # the sampler needs the search space and what the study holds
    defaults: list[Any] = field(default_factory=lambda: [{"sampler": "tpe"}, {"pruner": "none"}])
    sampler: Any = MISSING  # from its group
    pruner: Any = MISSING


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


@dataclass
class NoneConf:
    """Trials are never pruned."""

    _target_: str = "optuna.pruners.NopPruner"


@dataclass
class MedianConf:
    """Worse than the median of earlier trials at the same step."""

    _target_: str = "optuna.pruners.MedianPruner"
    n_startup_trials: int = 5
    n_warmup_steps: int = 0
    interval_steps: int = 1
    n_min_trials: int = 1


@dataclass
class PercentileConf(MedianConf):
    """Not among the best `percentile` per cent of earlier trials at the same step."""

    _target_: str = "optuna.pruners.PercentilePruner"
    percentile: float = 25.0


@dataclass
class HyperbandConf:
    """Successive halving with several trade-offs between trials and steps."""

    _target_: str = "optuna.pruners.HyperbandPruner"
    min_resource: int = 1
    max_resource: Any = "auto"  # better the number of steps of a whole trial
    reduction_factor: int = 3
    bootstrap_count: int = 0


@dataclass
class SuccessiveHalvingConf:
    """Only the best 1/`reduction_factor` go on at each rung."""

    _target_: str = "optuna.pruners.SuccessiveHalvingPruner"
    min_resource: Any = "auto"
    reduction_factor: int = 4
    min_early_stopping_rate: int = 0
    bootstrap_count: int = 0


@dataclass
class PatientConf:
    """Asks another pruner only after `patience` steps without improvement; null prunes at once."""

    _target_: str = "optuna.pruners.PatientPruner"
    wrapped_pruner: Any = None
    patience: int = 5
    min_delta: float = 0.0


@dataclass
class WilcoxonConf:
    """For steps that are repeated measurements, such as seeds; not for epochs."""

    _target_: str = "optuna.pruners.WilcoxonPruner"
    p_threshold: float = 0.1
    n_startup_steps: int = 2


PRUNERS = {
    "hyperband": HyperbandConf,
    "median": MedianConf,
    "none": NoneConf,
    "patient": PatientConf,
    "percentile": PercentileConf,
    "successive_halving": SuccessiveHalvingConf,
    "wilcoxon": WilcoxonConf,
}


def _register() -> None:
    def store(group: str, name: str, node: Any) -> None:
        ConfigStore.instance().store(group=group, name=name, node=node, provider="fmnist_lab")

    store("hydra/sweeper", "fmnist_lab", SweeperConf)
    for name, node in PRUNERS.items():
        store("hydra/sweeper/pruner", name, node)
    if importlib.util.find_spec("hydra_plugins.hydra_optuna_sweeper"):
        return  # its names are its own, and its samplers serve us as well
    store("hydra/sweeper", "optuna", OptunaSweeperConf)
    for name, node in SAMPLERS.items():
        store("hydra/sweeper/sampler", name, node)


_register()
