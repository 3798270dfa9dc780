"""The source of functions with all that they use, to be pasted into a program of its own.

What this project defines is pasted, and what the functions' own module defines; other modules are
imported. Checks of arguments are left out: statements that do nothing but call a function of this
project, or raise one of its errors. So a formula stands in this project once.
"""

import ast
import builtins
import importlib
import inspect
import re
from collections import defaultdict
from collections.abc import Callable
from types import ModuleType
from typing import Any

from fmnist_lab.errors import Phrase, RequestError

_PROJECT = __name__.partition(".")[0]
_Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


def refusal(rule: str, got: object) -> RequestError:
    """Makes the error for a trial that cannot be a Python file."""
    hint = "for this trial take .yaml or .json"
    return RequestError("--out", f"be a Python file only where {rule}", got, hint)


class Pasted:
    """The definitions of some functions and of what they use, each once, and their imports."""

    def __init__(self) -> None:
        self._sources: dict[str, str] = {}  # by name, what a definition uses before itself
        self._homes: dict[str, str] = {}  # the module of each
        self._imports: dict[str, set[str]] = defaultdict(set)  # by module; "": whole modules

    def add(self, function: Callable[..., Any]) -> str:
        """Adds a function and returns its name.

        Raises:
            RequestError: Its source, or something that it uses, is not to be had.
        """
        name = getattr(function, "__name__", "")
        if not inspect.isfunction(function) or not name.isidentifier():
            raise refusal("model and schedule come from functions of a module", function)
        self._add(importlib.import_module(function.__module__), name)
        return name

    def imports(self) -> list[str]:
        """Returns the lines that import what the definitions use."""
        modules = {module: ", ".join(sorted(names)) for module, names in self._imports.items()}
        whole = sorted(self._imports[""])
        return [*whole, *(f"from {m} import {names}" for m, names in sorted(modules.items()) if m)]

    def text(self) -> str:
        """Returns the source: lines with a constant each, then functions and classes."""
        constants = [text for text in self._sources.values() if "\n" not in text]
        others = [text for text in self._sources.values() if "\n" in text]
        return "\n\n\n".join(filter(None, ["\n".join(constants), *others]))

    def _add(self, module: ModuleType, name: str) -> None:
        """Adds the definition of a name; a name that a module does not define is a local one."""
        tree = _tree(module)
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        self._add_import(node, alias)
            elif isinstance(node, _Definition) and name in _bound(node):
                home = self._homes.setdefault(name, module.__name__)
                if home != module.__name__:
                    raise refusal(f"{home} and {module.__name__} share no names", name)
                if name not in self._sources:
                    self._define(module, name, node, tree)

    def _define(self, module: ModuleType, name: str, node: _Definition, tree: ast.Module) -> None:
        source = _without_checks(node, inspect.getsource(module), _ours(module, tree))
        self._sources[name] = ""  # it may use itself
        used = {item.id for item in ast.walk(ast.parse(source)) if isinstance(item, ast.Name)}
        for other in sorted(used - {name} - set(dir(builtins))):
            self._add(module, other)
        del self._sources[name]
        self._sources[name] = source

    def _add_import(self, node: ast.Import | ast.ImportFrom, alias: ast.alias) -> None:
        called = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
        if isinstance(node, ast.Import):
            self._imports[""].add(f"import {called}")
        elif (node.module or "").partition(".")[0] == _PROJECT:
            self._add(importlib.import_module(str(node.module)), alias.name)
        else:
            self._imports[str(node.module)].add(called)


def _without_checks(node: _Definition, text: str, ours: set[str]) -> str:
    """Returns a definition's source without checks, docstrings cut to their first paragraph."""
    lines = text.splitlines()
    first = min([node.lineno, *(item.lineno for item in getattr(node, "decorator_list", []))])
    dropped: set[int] = set()
    for parent in ast.walk(node):  # from the outside inwards
        for _, block in ast.iter_fields(parent):
            children = block if isinstance(block, list) else []
            checks = [item for item in children if _is_check(item, ours)]
            for check in checks:
                if check.lineno not in dropped:
                    dropped.update(range(check.lineno, _after(check)))
                    if check is checks[0] and checks == children:  # the block would be empty
                        line = lines[check.lineno - 1]
                        lines[check.lineno - 1] = f"{line[: check.col_offset]}pass"
                        dropped.remove(check.lineno)
    for child in ast.walk(node):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            span = range(child.lineno, _after(child))
            blank = next((number for number in span if not lines[number - 1]), None)
            if blank is not None:
                lines[blank - 2] += '"""'
                dropped.update(range(blank, span.stop))
    kept = [lines[i - 1] for i in range(first, _after(node)) if i not in dropped]
    return "\n".join(re.sub(r"  # (noqa|type:).*", "", line) for line in kept)


def _after(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) + 1


def _is_check(statement: object, ours: set[str]) -> bool:
    match statement:
        case (
            ast.Expr(value=ast.Call(func=ast.Name(id=name)))
            | ast.Raise(exc=ast.Call(func=ast.Name(id=name)))
        ):
            return name in ours
        case ast.If(body=body, orelse=[]) | ast.For(body=body, orelse=[]):
            return all(_is_check(inner, ours) for inner in body)
    return False


def _ours(module: ModuleType, tree: ast.Module) -> set[str]:
    """Returns the names in a module of functions and classes that this project defines."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == _PROJECT:
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, _Definition) and module.__name__.partition(".")[0] == _PROJECT:
            found |= _bound(node)
    return found


def _bound(node: _Definition) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}


def _tree(module: ModuleType) -> ast.Module:
    try:
        return ast.parse(inspect.getsource(module))
    except (OSError, TypeError) as error:
        reason = Phrase(f"none for {module.__name__}")
        raise refusal("the source of its functions is to be had", reason) from error
