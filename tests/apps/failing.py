"""Not one of ours: a task that fails in every way there is."""

import os
import signal
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

RETURNS: dict[str, Any] = {
    "good": 1.0,
    "undefined": float("nan"),
    "infinite": float("inf"),
    "nothing": None,
    "text": "high",
    "dictionary": {"loss": 1.0},
    "pair": (1.0, 2.0),
}


@hydra.main(version_base="1.3", config_path=None)
def main(cfg: DictConfig) -> Any:
    if cfg.how == "raise":
        raise RuntimeError("broken")
    if cfg.how == "raise_once" and not (flag := Path(cfg.flag)).exists():
        flag.touch()
        raise RuntimeError("broken, once")
    if cfg.how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return RETURNS.get(cfg.how, 2.0)


if __name__ == "__main__":
    main()
