"""Not one of ours: ways down a valley, each with a search space beside its choice."""

import time

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="strategies")
def main(cfg: DictConfig) -> float:
    time.sleep(cfg.seconds)
    return float(cfg.start + cfg.way.slope * cfg.way.get("bend", 1.0))


def check(cfg: DictConfig) -> None:
    """Refuses what cannot run."""
    if cfg.start > 99:
        raise ValueError(f"`start` must be at most 99, got {cfg.start}.")


if __name__ == "__main__":
    main()
