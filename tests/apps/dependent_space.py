"""Not one of ours: a parameter near another one, and one that the configuration does not have."""

import hydra
from omegaconf import DictConfig
from optuna.trial import Trial


def configure(cfg: DictConfig, trial: Trial) -> None:
    x = trial.params["x"]
    trial.suggest_float("z", x - cfg.reach, x + cfg.reach)
    trial.suggest_float("+w", 0.0, 1.0)


@hydra.main(version_base="1.3", config_path="conf", config_name="dependent_space")
def main(cfg: DictConfig) -> float:
    assert abs(cfg.z - cfg.x) <= cfg.reach
    return float(cfg.x**2 + cfg.y**2 + cfg.z**2 + cfg.w)


if __name__ == "__main__":
    main()
