"""Not one of ours: two objectives that pull x to different places."""

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path=None)
def main(cfg: DictConfig) -> tuple[float, float]:
    return float(cfg.x**2), float((cfg.x - 2) ** 2)


if __name__ == "__main__":
    main()
