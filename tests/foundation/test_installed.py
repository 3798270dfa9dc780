"""What is installed comes first, and the script keeps its own."""

import importlib
import sys
from pathlib import Path

import pytest

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.installed import (
    beside,
    installed_first,
    installed_path,
    require_versions,
    shadowing,
)
from tests.support.packages import leave_package


@pytest.mark.parametrize("name", ["sched", "cmd"])
@pytest.mark.parametrize("is_loaded", [False, True])
def test_imports_find_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_loaded: bool
) -> None:
    (tmp_path / f"{name}.py").write_text("OWN = True")
    (tmp_path / "mine.py").write_text("OWN = True")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for module in (name, "mine"):
        monkeypatch.delitem(sys.modules, module, raising=False)
        if is_loaded:
            monkeypatch.setitem(sys.modules, module, importlib.import_module(module))
    assert shadowing(beside()) == ([name] if is_loaded else [])
    with installed_first(beside()):
        assert not hasattr(importlib.import_module(name), "OWN")
        assert importlib.import_module("mine").OWN
    assert sys.path[0] == str(tmp_path)
    assert hasattr(sys.modules[name], "OWN") is is_loaded


def test_a_path_without_the_scripts_folder_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/a", "/b"])
    assert installed_path("") == ["/a", "/b"]
    assert installed_path("/a") == ["/b", "/a"]


@pytest.mark.parametrize(
    ("name", "version", "allowed"),
    [
        ("optuna", "2.10.1", "<6,>=5"),
        ("alembic", "1.6.5", ">=1.13"),
        ("hydra_core", "1.4.0rc3", "<1.4,>=1.3.8"),
    ],
)
def test_a_version_that_another_package_has_brought_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, version: str, allowed: str
) -> None:
    leave_package(tmp_path, name, version)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RequestError) as refused:
        require_versions()
    assert (refused.value.key, refused.value.got) == (name.replace("_", "-"), version)
    assert allowed in refused.value.rule


def test_allowed_versions_and_other_packages_are_none_of_its_business(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_package(tmp_path, "optuna", "5.9.0")
    leave_package(tmp_path, "something_else", "0.1")
    monkeypatch.syspath_prepend(str(tmp_path))
    require_versions()
