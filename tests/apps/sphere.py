"""Not one of ours: the sphere of Hydra's documentation, searched by noisy steps from an origin."""

import random

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="sphere")
def main(cfg: DictConfig) -> float:
    noise = random.Random(cfg.seed)
    x, y = cfg.origin.x, cfg.origin.y
    for _ in range(20):
        x, y = (0.9 * value + noise.gauss(0, 0.01) for value in (x, y))
    return float(x**2 + y**2)


if __name__ == "__main__":
    main()
