"""Not one of ours: what a script's author takes for granted, each under a name."""

import functools
import logging
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_original_cwd, instantiate, to_absolute_path
from omegaconf import DictConfig, OmegaConf

LOCK = threading.Lock()  # which no pickle can hold
CALLS: list[str] = []
log = logging.getLogger(__name__)


class Colour(Enum):
    """A choice that a job returns to."""

    red = 1


@dataclass(frozen=True)
class Size:
    """A value that travels."""

    width: int = 3

    @property
    def doubled(self) -> int:
        return 2 * self.width


class Base:
    """Counts its subclasses."""

    known: ClassVar[dict[str, type]] = {}

    def __init_subclass__(cls) -> None:
        Base.known[cls.__name__] = cls


class Derived(Base):
    """Registered when the script is run."""


class OddError(Exception):
    """An error whose constructor takes two arguments."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} {second}")


OmegaConf.register_new_resolver("plus", lambda a, b: a + b)


def double(value: int) -> int:
    return 2 * value


def colour_of(size: Size) -> Colour:
    return Colour(size.width - 2)


def main_module() -> bool:
    return vars(sys.modules["__main__"])["double"] is double


def lock() -> bool:
    with LOCK:
        return LOCK.locked()


def counted() -> bool:
    CALLS.append("here")
    return bool(vars(sys.modules["__main__"])["CALLS"] == CALLS)


def pickled() -> bool:
    return bool(pickle.loads(pickle.dumps([Colour.red, Size(4)])) == [Colour.red, Size(4)])


def partial() -> bool:
    return bool(pickle.loads(pickle.dumps(functools.partial(double, 3)))() == 6)


def located() -> bool:
    return isinstance(instantiate({"_target_": "__main__.Size", "width": 5}), Size)


def registered() -> bool:
    return Base.known == {"Derived": Derived}


def in_pool(start: str) -> bool:
    with multiprocessing.get_context(start).Pool(1) as pool:
        return pool.map(colour_of, [Size()]) == [Colour.red]


def executor() -> bool:
    with ProcessPoolExecutor(1) as pool:
        return pool.submit(colour_of, Size()).result() is Colour.red


def raised() -> bool:
    try:
        raise OddError(1, 2)
    except OddError as error:
        return str(error) == "1 2"


def child() -> bool:
    return subprocess.run([sys.executable, "-c", "pass"], check=False).returncode == 0


def relative_file() -> bool:
    return Path("data.txt").read_text() == Path(to_absolute_path("data.txt")).read_text() == "7"


def beside_the_script() -> bool:
    return Path(__file__).with_name("README.md").exists() and get_original_cwd() == str(Path.cwd())


def logged() -> bool:
    log.info("written by the job")
    file = Path(HydraConfig.get().runtime.output_dir) / f"{HydraConfig.get().job.name}.log"
    return "written by the job" in file.read_text()


def words() -> bool:
    return "-m" in sys.argv and os.environ.get("COLOUR") == "red"


KINDS: dict[str, Any] = {
    function.__name__: function
    for function in (
        main_module, lock, counted, pickled, partial, located, registered, executor, raised,
        child, relative_file, beside_the_script, logged, words,
    )
} | {
    f"pool_{start}": functools.partial(in_pool, start) for start in ("fork", "spawn", "forkserver")
}  # fmt: skip


@hydra.main(version_base="1.3", config_path=None)
def main(cfg: DictConfig) -> float:
    assert KINDS[cfg.kind]()
    assert cfg.six == 6
    return 1.0


if __name__ == "__main__":
    main()
