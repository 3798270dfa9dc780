"""What is installed comes first, and the script keeps its own."""

import importlib
import sys
from pathlib import Path

import pytest

from fmnist_lab.foundation.installed import beside, installed_first, installed_path, shadowing


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
