"""Jobs for workers: each does what its configuration names."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

_calls = 0


def task(cfg: DictConfig) -> Any:
    """Every job names what it does; this runs in the workers."""
    return globals()[cfg.do](cfg)


def nap(cfg: DictConfig) -> float:
    time.sleep(cfg.seconds)
    return float(cfg.seconds)


def count_calls(cfg: DictConfig) -> tuple[int, int]:
    global _calls  # noqa: PLW0603
    _calls += 1
    return os.getpid(), _calls


def note(cfg: DictConfig) -> int:
    with Path(cfg.file).open("a") as file:
        file.write(f"{os.getpid()}\n")
    return os.getpid()


def die(cfg: DictConfig) -> int:
    """Dies as often as `times` says, then ends well."""
    note(cfg)
    if len(pids(Path(cfg.file))) <= cfg.times:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def end_and_die(cfg: DictConfig) -> int:
    """Ends well, but its process dies in the moment in which the result is complete."""
    note(cfg)
    threading.Thread(target=_die_with, args=(cfg.results, cfg.idx), daemon=True).start()
    return os.getpid()


def _die_with(results: str, idx: int) -> None:
    while not list(Path(results).glob(f"jobs-*-{idx}-0")):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def wait_long(cfg: DictConfig) -> None:
    note(cfg)
    try:
        for _ in range(6000):
            time.sleep(0.01)
    except KeyboardInterrupt:
        Path(cfg.file).with_suffix(".interrupted").touch()
        raise


def fail(cfg: DictConfig) -> None:
    try:
        raise KeyError("the reason")
    except KeyError as error:
        raise ValueError("what it led to") from error


def fail_awkwardly(cfg: DictConfig) -> None:
    raise RuntimeError("awkward", threading.Lock())


def return_a_lock(cfg: DictConfig) -> Any:
    return threading.Lock()


def eat(cfg: DictConfig) -> int:
    eaten = [bytearray(os.urandom(1 << 20) * 20) for _ in range(60)]
    time.sleep(5)
    return len(eaten)


def leave(cfg: DictConfig) -> None:
    sys.exit(7)


def look_around(cfg: DictConfig) -> tuple[str, dict[str, str]]:
    return str(Path().absolute()), dict(os.environ)


def pids(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def look_at_modules(cfg: DictConfig) -> tuple[bool, int]:
    time.sleep(cfg.seconds)
    return "wave" in sys.modules, os.getppid()
