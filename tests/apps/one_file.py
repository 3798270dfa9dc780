"""Not one of ours: everything in one file, as a first experiment is written."""

import multiprocessing
import pickle
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import OmegaConf


class Shape(Enum):
    """A choice."""

    bowl = "bowl"
    ridge = "ridge"


@dataclass
class Point:
    """Where."""

    x: float = 1.0
    y: float = 1.0


@dataclass
class Conf:
    """All of it."""

    point: Point = field(default_factory=Point)
    shape: Shape = Shape.bowl
    doubled: float = "${double:${point.x}}"  # type: ignore[assignment]  # resolved by the job
    start: str = ""
    model: dict[str, Any] = field(
        default_factory=lambda: {"_target_": "__main__.Model", "power": 2}
    )


class Model:
    """A power."""

    def __init__(self, power: int) -> None:
        self.power = power

    def __call__(self, value: float) -> float:
        return float(value**self.power)


OmegaConf.register_new_resolver("double", lambda value: 2 * value)
ConfigStore.instance().store("one_file", Conf)


@hydra.main(version_base="1.3", config_path=None, config_name="one_file")
def main(cfg: Any) -> float:
    assert OmegaConf.get_type(cfg.point) is Point
    assert isinstance(OmegaConf.to_object(cfg), Conf)
    assert isinstance(cfg.shape, Shape)
    assert cfg.doubled == 2 * cfg.point.x
    model = instantiate(cfg.model)
    assert type(model) is Model
    assert type(pickle.loads(pickle.dumps(model))) is Model
    context = multiprocessing.get_context(cfg.start or None)
    if not cfg.start:
        default = multiprocessing.get_start_method()
        assert default == multiprocessing.get_all_start_methods()[0], default
    with context.Pool(1) as pool:
        squares = pool.map(model, [cfg.point.x, cfg.point.y])
    process = context.Process(target=leave, args=(cfg.shape,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert Path("left.txt").read_text() == cfg.shape.name  # in the job's own folder
    assert str(Path.cwd()) == HydraConfig.get().runtime.output_dir
    return float(sum(squares))


def leave(shape: Shape) -> None:
    Path("left.txt").write_text(shape.name)


if __name__ == "__main__":
    main()
