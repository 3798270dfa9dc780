"""Not one of ours: a run in MLflow for each trial, below one for the search."""

import os

import hydra
import mlflow
from hydra.core.hydra_config import HydraConfig
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from omegaconf import DictConfig, OmegaConf


@hydra.main(version_base="1.3", config_path=None)
def main(cfg: DictConfig) -> float:
    mlflow.set_experiment("search")
    tags = {MLFLOW_PARENT_RUN_ID: os.environ["PARENT"]}
    with mlflow.start_run(run_name=f"trial-{HydraConfig.get().job.num}", tags=tags, nested=True):
        mlflow.log_params(OmegaConf.to_container(cfg))
        for epoch in range(3):
            mlflow.log_metric("loss", (cfg.lr - 0.1) ** 2 + 1 / (epoch + 1), step=epoch)
        loss = (cfg.lr - 0.1) ** 2 + 1 / cfg.layers
        mlflow.log_metric("val_loss", loss)
    return float(loss)


if __name__ == "__main__":
    main()
