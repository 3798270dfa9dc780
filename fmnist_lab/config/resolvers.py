"""What configuration files can compute: `${fmnist_lab.epochs:0.5}` and the like."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf


def register(config_dir: str) -> None:
    """Makes the resolvers known to OmegaConf.

    Args:
        config_dir: Where our own configuration files are.
    """
    resolvers: dict[str, Callable[..., Any]] = {
        "search_path": lambda: _search_path(Path(config_dir)),
        "epochs": _epochs,
        "direction": lambda metric: "minimize" if metric == "val/loss" else "maximize",
        "name_of": lambda folder: Path(folder).name,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(f"fmnist_lab.{name}", resolver, replace=True)


def _search_path(ours: Path) -> list[str]:
    """Where else groups are: the user's `./conf` and `./sweeps`, and our `sweeps/`."""
    own = Path.cwd()
    folders = [own / "conf"] if (own / "conf").is_dir() else []
    folders += [folder for folder in (own, ours.parent) if (folder / "sweeps").is_dir()]
    return [folder.as_uri() for folder in dict.fromkeys(folders) if folder != ours]


def _epochs(share: float, least: float = 0.0, *, _root_: DictConfig) -> float:
    """A share of the training, in epochs: for search spaces that follow its length."""
    epochs: int = _root_.training.epochs
    return max(round(share * epochs, 6), least)  # 0.3, not 0.30000000000000004
