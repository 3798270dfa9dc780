"""The options of `hydra/sweeper`, of its samplers and of its pruners.

Their names are those of hydra-optuna-sweeper, so that its configurations run here. Hydra imports
this module in every application, so it imports nothing heavy.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

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


# The keys of a sampler or pruner are the arguments of its class, and so are the defaults that are
# not given here. The comments are shown in `docs/options.md`.
SAMPLERS: dict[str, dict[str, Any]] = {
    # Evolution strategy for continuous spaces; needs the cmaes package.
    "cmaes": {"_target_": "optuna.samplers.CmaEsSampler"},
    # Gaussian process; needs PyTorch.
    "gp": {"_target_": "optuna.samplers.GPSampler"},
    # Every point once; the space must be choices and ranges.
    "grid": {"_target_": "optuna.samplers.GridSampler"},
    # Refused with a pointer to tpe.
    "motpe": {"_target_": "optuna.samplers.MOTPESampler"},
    # Genetic algorithm for several objectives.
    "nsgaii": {"_target_": "optuna.samplers.NSGAIISampler"},
    # Genetic algorithm for many objectives.
    "nsgaiii": {"_target_": "optuna.samplers.NSGAIIISampler"},
    # Quasi-random points, spread more evenly than random ones.
    "qmc": {"_target_": "optuna.samplers.QMCSampler"},
    # Independent draws.
    "random": {"_target_": "optuna.samplers.RandomSampler"},
    # Unless given, constant_liar is true where trials run side by side, and multivariate is false.
    # No keys here: they would be left over where another class is named in `_target_`.
    "tpe": {"_target_": "optuna.samplers.TPESampler"},
}
PRUNERS: dict[str, dict[str, Any]] = {
    # Successive halving with several trade-offs between trials and steps; `max_resource` is better
    # the number of steps of a whole trial.
    "hyperband": {"_target_": "optuna.pruners.HyperbandPruner"},
    # Worse than the median of earlier trials at the same step.
    "median": {"_target_": "optuna.pruners.MedianPruner"},
    # Trials are never pruned.
    "none": {"_target_": "optuna.pruners.NopPruner"},
    # Asks another pruner only after `patience` steps without improvement; null prunes at once.
    "patient": {
        "_target_": "optuna.pruners.PatientPruner",
        "wrapped_pruner": None,
        "patience": 5,
    },
    # Not among the best `percentile` per cent of earlier trials at the same step.
    "percentile": {"_target_": "optuna.pruners.PercentilePruner", "percentile": 25.0},
    # Only the best 1/`reduction_factor` go on at each rung.
    "successive_halving": {"_target_": "optuna.pruners.SuccessiveHalvingPruner"},
    # For steps that are repeated measurements, such as seeds; not for epochs.
    "wilcoxon": {"_target_": "optuna.pruners.WilcoxonPruner"},
}


def _register() -> None:
    def store(group: str, options: Mapping[str, Any]) -> None:
        known: list[str] = []
        with suppress(OSError):  # there is no such group yet
            known = ConfigStore.instance().list(group)
        for name, node in options.items():
            if f"{name}.yaml" not in known:
                ConfigStore.instance().store(name, node, group, provider="fmnist_lab")

    def open_(family: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the options; any argument of the class may be set without a +."""
        flags = {"struct": False}
        return {name: OmegaConf.create(node, flags=flags) for name, node in family.items()}

    with suppress(Exception):  # it is not there, or not made for what is installed
        # It stores its options: those names are its own, and its samplers serve us as well.
        import_module("hydra_plugins.hydra_optuna_sweeper.config")
    store("hydra/sweeper", {"fmnist_lab": SweeperConf, "optuna": OptunaSweeperConf})
    store("hydra/sweeper/sampler", open_(SAMPLERS))
    store("hydra/sweeper/pruner", open_(PRUNERS))


_register()
