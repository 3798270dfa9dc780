"""What surrounds a task."""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

log = logging.getLogger(__name__)


def task_wrapper(task: Callable[..., Any]) -> Callable[..., Any]:
    """Logs a failure before it is raised, and where the output is however the task ends."""

    def wrap(cfg: DictConfig) -> Any:
        try:
            metrics, parts = task(cfg=cfg)
        except Exception:
            log.exception("")
            raise
        finally:
            log.info("Output dir: %s", cfg.paths.output_dir)
        return metrics, parts

    return wrap


def apply_extras(cfg: DictConfig) -> None:
    """Warnings off, tags required, the configuration in a file: as the user asks."""
    if cfg.extras.ignore_warnings:
        warnings.filterwarnings("ignore")
    if cfg.extras.enforce_tags and not cfg.get("tags"):
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise ValueError("Specify tags before launching a multirun!")
        with open_dict(cfg):
            cfg.tags = ["dev"]
    if cfg.extras.print_config:
        Path(cfg.paths.output_dir, "config.log").write_text(OmegaConf.to_yaml(cfg, resolve=True))
    Path(cfg.paths.output_dir, "tags.log").write_text(",".join(cfg.tags))


def instantiated(group: DictConfig | None) -> list[Any]:
    """Makes each node of a group that names a class."""
    return [hydra.utils.instantiate(node) for node in (group or {}).values() if "_target_" in node]


def metric_value(metrics: dict[str, Any], name: str | None) -> float | None:
    if not name:
        return None
    if name not in metrics:
        raise KeyError(f"no metric {name} among {sorted(metrics)}")
    return metrics[name].item()  # type: ignore[no-any-return]
