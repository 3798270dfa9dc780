"""The main module of an application in another process, as multiprocessing's spawn has it there.

Objects of a script travel by their name, so that a job finds its script's classes to be those of
its configuration. Cloudpickle by itself sends a copy of each, which Python cannot pickle again.
"""

import io
import multiprocessing
import multiprocessing.spawn
import sys
from dataclasses import dataclass, field
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from types import FunctionType
from typing import Any
from unittest import mock

import cloudpickle
from omegaconf import OmegaConf

from fmnist_lab.foundation.installed import beside, installed_first, shadowing

_own_main = sys.modules["__main__"]


def _names() -> set[str]:
    return {name for name in vars(sys.modules["__main__"]) if not name.startswith("__")}


@dataclass(frozen=True)
class Script:
    """What this process was started with: the main module's name or file, words, start method."""

    preparation: dict[str, Any] = field(default_factory=dict)
    method: str | None = None
    names: set[str] = field(default_factory=_names)
    folder: str = field(default_factory=beside)
    # Modules of its own that hide installed ones, such as a queue.py.
    shadowing: list[str] = field(default_factory=lambda: shadowing(beside()))

    @classmethod
    def here(cls) -> "Script":
        """Returns the script of this process, which may have none."""
        main = sys.modules["__main__"]
        path, spec = getattr(main, "__file__", None), getattr(main, "__spec__", None)
        method = multiprocessing.get_start_method(allow_none=True)
        words = {"sys_argv": sys.argv}
        if spec is not None:
            return cls({"init_main_from_name": spec.name} | words, method)
        main_path = {"init_main_from_path": str(Path(path).absolute())} if path else {}
        return cls(main_path | words, method)

    def run(self) -> None:
        """Runs the script under another name than `__main__`, and makes it the main module.

        An unguarded call of the application in it does nothing.
        """
        # Dask has set its own start method, and a script may set one only once.
        multiprocessing.set_start_method(None, force=True)
        sys.modules["__main__"] = _own_main  # else the same file is not run again
        for name in self.shadowing:  # the script finds its own again
            sys.modules.pop(name, None)
        OmegaConf.clear_resolvers()  # the script registers its own; all come again afterwards
        # Hydra has no public switch for this. Without this name of its own there are copies.
        with mock.patch.object(import_module("hydra.main"), "_run_hydra"):
            multiprocessing.spawn.prepare(self.preparation)
        if self.method:
            multiprocessing.set_start_method(self.method, force=True)

    def loads(self, pickled: bytes) -> Any:
        """Reads what an object of this package and the script is made of; see `installed_first`."""
        with installed_first(self.folder):
            return cloudpickle.loads(pickled)


def dumps(value: Any) -> bytes:
    """Pickles a value; objects of the main module by their names, where they have one there."""
    file = io.BytesIO()
    _Pickler(file).dump(value)
    return file.getvalue()


def _in_main(name: str) -> Any:
    return attrgetter(name)(sys.modules["__main__"])


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is untyped
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type | FunctionType) and obj.__module__ == "__main__":
            # What `@hydra.main` decorates is found below the decorated function.
            for name in (obj.__qualname__, f"{obj.__qualname__}.__wrapped__"):
                try:
                    is_there = _in_main(name) is obj
                except AttributeError:
                    continue
                if is_there:
                    return _in_main, (name,)
        return super().reducer_override(obj)
