"""Trains a model whose every part is a node of the configuration."""

import os
import sys
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from omegaconf import DictConfig

ROOT = next(folder for folder in Path(__file__).parents if (folder / ".project-root").exists())
os.environ["PROJECT_ROOT"] = str(ROOT)
sys.path.insert(0, str(ROOT))

from src.utils import (  # type: ignore[import-not-found]  # noqa: E402
    apply_extras,
    instantiated,
    metric_value,
    task_wrapper,
)

Metrics = dict[str, float]


@task_wrapper  # type: ignore[untyped-decorator]
def train(cfg: DictConfig) -> tuple[Metrics, dict[str, Any]]:
    """Returns the metrics, and all parts by name."""
    if cfg.get("seed"):
        np.random.seed(cfg.seed)
    data = hydra.utils.instantiate(cfg.data)
    model = hydra.utils.instantiate(cfg.model)
    callbacks = instantiated(cfg.get("callbacks"))
    trainer = hydra.utils.instantiate(cfg.trainer, callbacks=callbacks)
    trainer.fit(model=model, data=data)
    parts = {"cfg": cfg, "data": data, "model": model, "trainer": trainer}
    return trainer.callback_metrics, parts


@hydra.main(version_base="1.3", config_path="../configs", config_name="train.yaml")
def main(cfg: DictConfig) -> float | None:
    apply_extras(cfg)
    metrics, _ = train(cfg)
    return metric_value(metrics, cfg.get("optimized_metric"))  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
