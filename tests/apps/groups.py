"""Not one of ours: configuration groups, and jobs that say where they run."""

import logging
import os

import hydra
from omegaconf import DictConfig

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="conf", config_name="groups")
def main(cfg: DictConfig) -> float:
    log.info("Process %d connects to %s", os.getpid(), cfg.db.driver)
    return float(cfg.db.timeout + len(cfg.schema.tables))


if __name__ == "__main__":
    main()
