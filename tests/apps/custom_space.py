"""Not one of ours: a search space that depends on its own suggestions."""

import hydra
from omegaconf import DictConfig
from optuna import Trial


def configure(cfg: DictConfig, trial: Trial) -> None:
    if trial.suggest_categorical("+kind", list(cfg.kinds)) == "a b":
        trial.suggest_float("+x", 0, cfg.widest)
    else:
        trial.suggest_int("+steps", 1, 4)


@hydra.main(version_base="1.3", config_path="conf", config_name="custom_space")
def main(cfg: DictConfig) -> float:
    assert ("x" in cfg) is (cfg.kind == "a b")
    assert ("steps" in cfg) is (cfg.kind == "c=d")
    return float(cfg.get("x", cfg.get("steps")))


if __name__ == "__main__":
    main()
