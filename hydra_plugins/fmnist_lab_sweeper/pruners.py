"""The group `hydra/sweeper/pruner`: Optuna's pruners with Optuna's defaults."""

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore


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

for _name, _node in PRUNERS.items():
    ConfigStore.instance().store(
        group="hydra/sweeper/pruner", name=_name, node=_node, provider="fmnist_lab"
    )
