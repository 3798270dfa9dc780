"""Not one of ours: keeps a ledger of what starts and what ends, and takes its time."""

import os
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path=None)
def main(cfg: DictConfig) -> float:
    number = HydraConfig.get().job.num
    _note(cfg.ledger, f"start {number} {cfg.x!r} {os.getpid()}")
    try:
        time.sleep(cfg.seconds)
    except KeyboardInterrupt:
        raise ValueError("interrupted") from None  # as some libraries do
    _note(cfg.ledger, f"end {number} {cfg.x!r}")
    return float(cfg.x)


def _note(ledger: str, line: str) -> None:
    with Path(ledger).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


if __name__ == "__main__":
    main()
