"""The examples in docstrings."""

import doctest
import inspect
import pkgutil
from pathlib import Path

import pytest

import fmnist_lab

MODULES = [
    module.name
    for module in pkgutil.walk_packages(fmnist_lab.__path__, "fmnist_lab.")
    if not module.ispkg
    and ">>>" in Path(*module.name.split(".")).with_suffix(".py").read_text(encoding="utf-8")
]


@pytest.mark.parametrize("module", MODULES)
def test_examples(module: str) -> None:
    outcome = doctest.testmod(pkgutil.resolve_name(module))
    assert outcome.attempted
    assert not outcome.failed


@pytest.mark.parametrize("package", ["schedules", "statistics"])
def test_each_public_function_has_an_example(package: str) -> None:
    public = pkgutil.resolve_name(f"fmnist_lab.{package}")
    functions = [vars(public)[name] for name in public.__all__]
    documented = [f for f in functions if inspect.isfunction(f)]
    assert documented
    assert [f.__name__ for f in documented if ">>>" not in (f.__doc__ or "")] == []
