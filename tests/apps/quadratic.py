"""Not one of ours: a quadratic function, 0 at x = 2 and y = -1."""

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="quadratic")
def main(cfg: DictConfig) -> float:
    return float((cfg.x - 2) ** 2 + (cfg.y + 1) ** 2)


if __name__ == "__main__":
    main()
