"""Writes `docs/options.md` from the configuration files: `python -m docs.options`.

Whatever a table says stands in a file: the first comment line of an option, its keys, the comment
beside each, and what a sweep searches.
"""

import dataclasses
import inspect
import pkgutil
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from fmnist_lab.launcher import options as launcher
from fmnist_lab.sweeper.settings import Settings
from hydra_plugins.fmnist_lab_sweeper import sweeper_options

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "options.md"
INTRODUCTION = """# Every option

This page is written by `make docs` from the files under `conf/` and `sweeps/` and from the
plugins' settings; do not edit it.

`fmnist-lab train GROUP=OPTION` chooses an option, `GROUP.KEY=VALUE` sets a key, and
`fmnist-lab train --cfg job` shows the resulting configuration. An option of your own is a file
`conf/GROUP/NAME.yaml` in the folder where the command runs.

The column *searched* says where a sweep over strategies searches a key of its optimizer, scheduler,
clipping or averaging, unless the command line says otherwise; *epochs* is `training.epochs` there.
"""
NOTES = {
    "scheduler": "The rates themselves are the optimizer's: `optimizer.learning_rate` is where a "
    "schedule starts or, where its key is `max_learning_rate`, peaks. `update` says whether the "
    "rate is read once per epoch or before every step, `warmup_epochs` is a linear warm-up in "
    "front, and the schedule's own epochs count from its end.",
    "recipe": "A recipe sets several choices at once; the command line overrides it.",
}
_HIDDEN = ("defaults", "hydra")
_INTERNAL = ("_target_", "_recursive_", "_partial_", "defaults")


@dataclasses.dataclass(frozen=True)
class Key:
    """A key of an option: its dotted name, its value as the file has it, the comment beside."""

    name: str
    value: str
    comment: str


@dataclasses.dataclass(frozen=True)
class Option:
    """One configuration file."""

    name: str
    head: list[str]  # its first comment lines, without `# @package`
    keys: list[Key]
    space: dict[str, str]  # what is searched, by key

    @property
    def purpose(self) -> str:
        """When to choose it."""
        return self.head[0].removeprefix("Choose this ")


def read(path: Path) -> Option:
    """Reads a configuration file with its comments."""
    text = path.read_text(encoding="utf-8")
    head = [
        line.removeprefix("# ")
        for line in re.match(r"(#.*\n)*", text)[0].splitlines()  # type: ignore[index]  # may be empty
        if not line.startswith("# @package")
    ]
    root = yaml.compose(text)
    lines = text.splitlines()
    found = list(_keys(root, lines, text)) if isinstance(root, yaml.MappingNode) else []
    space = {key.name: key.value for key in found if key.name.startswith("space.")}
    keys = [key for key in found if key.name not in space and key.name.split(".")[0] != "space"]
    return Option(path.stem, head, keys, {key.removeprefix("space."): space[key] for key in space})


def page() -> str:
    """The page."""
    default = {
        group: option
        for entry in yaml.safe_load((ROOT / "conf/trial.yaml").read_text(encoding="utf-8"))[
            "defaults"
        ]
        if isinstance(entry, dict)
        for group, option in entry.items()
    }
    groups = [group for group in default if (ROOT / "conf" / group).is_dir()]
    parts: list[str] = [INTRODUCTION, *_root(read(ROOT / "conf/trial.yaml"))]
    for group in groups:
        parts += _group(group, default[group])
    parts += [*_sweeps(), *_search()]
    return "\n".join(parts).rstrip() + "\n"


def main() -> None:
    """Writes the page."""
    PAGE.write_text(page(), encoding="utf-8")


def _keys(
    node: yaml.MappingNode, lines: Sequence[str], text: str, prefix: str = ""
) -> Iterator[Key]:
    for name, value in node.value:
        dotted = f"{prefix}{name.value}"
        if dotted in _HIDDEN:
            continue
        if isinstance(value, yaml.MappingNode) and not value.flow_style:
            yield from _keys(value, lines, text, f"{dotted}.")
            continue
        source = " ".join(text[value.start_mark.index : value.end_mark.index].split())
        is_block = isinstance(value, yaml.SequenceNode) and not value.flow_style
        end = name.end_mark if is_block else value.end_mark
        rest = lines[end.line][end.column :]
        yield Key(dotted, source, rest.partition("#")[2].strip())


def _root(root: Option) -> list[str]:
    return ["## The trial itself\n", _table(root), ""]


def _group(group: str, default: str | None) -> Iterator[str]:
    options = [read(path) for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]
    yield f"## {group}\n"
    if group in NOTES:
        yield NOTES[group] + "\n"
    if len(options) > 1:
        rows = (
            [_link(group, option.name, option.name == default), _text(option.purpose)]
            for option in options
        )
        yield from [*_markdown((group, "choose it"), rows), ""]
    for option in options:
        yield from _option(group, option)


def _option(group: str, option: Option) -> Iterator[str]:
    yield f"### {group}={option.name}\n"
    commands = [line for line in option.head if line.startswith("fmnist-lab ")]
    yield _text(" ".join(line for line in option.head if line not in commands)) + "\n"
    for command in commands:
        yield f"```bash\n{command}\n```\n"
    if any(key.name != "_target_" for key in option.keys):
        yield _table(option) + "\n"
    target = next((key.value for key in option.keys if key.name == "_target_"), None)
    if target:
        yield f"Calls `{target}`.\n"


def _table(option: Option) -> str:
    searched = bool(option.space)
    header = ("key", "default", *(["searched"] if searched else []), "meaning")
    rows = [
        [f"`{key.name}`", _code(key.value)]
        + ([_code(option.space[key.name]) if key.name in option.space else ""] if searched else [])
        + [_text(key.comment)]
        for key in option.keys
        if key.name != "_target_"
    ]
    return "\n".join(_markdown(header, rows))


def _sweeps() -> Iterator[str]:
    yield "## Sweeps\n"
    yield "`fmnist-lab sweep NAME`. [How to write one of your own](write-a-sweep.md).\n"
    rows = []
    for path in sorted((ROOT / "sweeps").glob("*.yaml")):
        question, *size = read(path).head
        rows.append(
            [f"`{path.stem}`", _text(question.removeprefix("Question: ")), _text(" ".join(size))]
        )
    yield from [*_markdown(("name", "question", "size"), rows), ""]


def _search() -> Iterator[str]:
    yield "## The search\n"
    yield "Keys of `hydra.sweeper`, in a sweep's file or on the command line.\n"
    yield from [*_fields(Settings), ""]
    yield "### Samplers\n"
    yield (
        "`hydra/sweeper/sampler=NAME`, and their keys under `hydra.sweeper.sampler`. `sobol`, "
        "which most files in `sweeps/` use, is `qmc` with `seed: 0` and `scramble: true`.\n"
    )
    yield from [*_family("sampler", sweeper_options.SAMPLERS), ""]
    yield "### Pruners\n"
    yield "`hydra/sweeper/pruner=NAME`, and their keys under `hydra.sweeper.pruner`.\n"
    yield from [*_family("pruner", sweeper_options.PRUNERS), ""]
    yield "## The launcher\n"
    yield "Keys of `hydra.launcher` with `hydra/launcher=dask`, which `fmnist-lab sweep` uses.\n"
    yield from _fields(launcher.Settings)


def _family(noun: str, members: dict[str, dict[str, Any]]) -> list[str]:
    comments = _comments(inspect.getsource(sweeper_options))
    header = (noun, "suggests" if noun == "sampler" else "stops", "keys and defaults")
    return _markdown(
        header,
        (
            [f"`{name}`", _text(comments[name]), " ".join(_arguments(member))]
            for name, member in members.items()
        ),
    )


def _arguments(member: dict[str, Any]) -> Iterator[str]:
    """The arguments of a class with the defaults that count: those of the option or its own."""
    try:
        taken = inspect.signature(pkgutil.resolve_name(member["_target_"])).parameters
    except AttributeError:  # there is none: the option is refused with a reason
        return
    for name, parameter in taken.items():
        if name != "search_space":  # which the sweeper gives
            yield f"`{name}={_yaml(member.get(name, parameter.default))}`"


def _fields(settings: type[Any]) -> list[str]:
    comments = _comments(inspect.getsource(settings))
    rows = (
        [f"`{field.name}`", _code(_plain(field)), _text(comments[field.name])]
        for field in _shown(settings)
    )
    return _markdown(("key", "default", "meaning"), rows)


def _shown(settings: type[Any]) -> list["dataclasses.Field[Any]"]:
    return [field for field in dataclasses.fields(settings) if field.name not in _INTERNAL]


def _comments(source: str) -> dict[str, str]:
    """What stands beside each field of a dataclass or key of a mapping, or in the lines above."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in source.splitlines():
        if comment := re.fullmatch(r"    # (.*)", line):
            above.append(comment[1])
        elif field := re.match(r"    \"?(\w+)\"?: [^#]*(?:# (.*))?", line):
            found[field[1]] = " ".join([*above, *filter(None, [field[2]])])
            above = []
    return found


def _plain(field: "dataclasses.Field[Any]") -> str:
    """A field's default as YAML has it."""
    made = (
        field.default_factory()
        if field.default_factory is not dataclasses.MISSING
        else field.default
    )
    return _yaml(made)


def _yaml(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6)
    return text.removesuffix("...\n").strip()


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _link(group: str, option: str, is_default: bool) -> str:
    return f"[`{option}`](#{group}{option}){' (default)' * is_default}"


def _code(value: str) -> str:
    value = re.sub(r"\$\{fmnist_lab\.epochs:([\d.]+)\}", r"\1*epochs", value)
    value = re.sub(r"\$\{fmnist_lab\.epochs:([\d.]+),([\d.]+)\}", r"max(\1*epochs, \2)", value)
    value = re.sub(r"\$\{(\w+\.\w+)\}", r"\1", value)
    return f"`{value}`"


def _text(comment: str) -> str:
    return comment.replace("|", "\\|")


if __name__ == "__main__":
    main()
