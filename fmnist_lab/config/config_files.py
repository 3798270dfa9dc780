"""Configuration files: where they are, how Hydra reads them, and exported ones, data from others.

An exported file chooses among the options that are installed here and sets plain values; it names
no code and no folders. It is checked before anything is composed from it.
"""

import builtins
import copy
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

import yaml
from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    create_model,
)

from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.foundation.files import listed
from fmnist_lab.foundation.validate import MOST
from fmnist_lab.results.curve_diff import COMPARED
from fmnist_lab.trial import Trial

Document = dict[str, Any]

HEADER = "# @package _global_"  # the first line of a file that is laid over the whole configuration
FORMAT = 1
GROUPS = ("data", "architecture", "optimizer", "scheduler", "clipping", "stopping", "training",
          "averaging", "augmentation")  # fmt: skip
_LATER = ("averaging", "augmentation")  # files of earlier versions do not choose it
_MOST_CHARACTERS, _MOST_DEPTH, _MOST_THREADS = 20_000_000, 8, 1024
_SETTINGS = tuple(Trial.__dataclass_fields__)
_TEXT = re.compile(r"[\w./+ -]{0,200}")
_REFERENCE = re.compile(rf"\$\{{({'|'.join(_SETTINGS)})(\.[a-z]\w*)?\}}", re.ASCII)
_LAID_OVER = ("sweeps", "recipe")  # groups of files with this header
_RULES = {  # of pydantic's own errors whose words would not do
    "missing": "be there",
    "extra_forbidden": f"be one of {', '.join(_SETTINGS)}, exported, defaults",
}


# Of a file for Hydra.
_Chosen = Annotated[dict[str, str | list[str] | None], Field(min_length=1, max_length=1)]
_NAMES = TypeAdapter(list[str | _Chosen], config=ConfigDict(strict=True))


def config_dir() -> str:
    """Returns the folder of configuration files: in an installed package, else beside it."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return str(installed if installed.is_dir() else package.parent / "conf")


def files(group: str) -> dict[str, Path]:
    """Returns the files of a group by name, ours and the user's; the one that Hydra takes."""
    ours, own = Path(config_dir()), Path.cwd()
    folders = [ours.parent, own, own / "conf", ours]  # the last one goes first
    found = [path for folder in folders for path in listed(folder / group)]
    return {path.stem: path for path in found if path.suffix == ".yaml"}


def options(group: str) -> list[str]:
    """Returns the names that may be chosen in a group, ours and the user's, sorted."""
    return sorted(files(group))


def read(path: Path) -> Document:
    """Reads and checks an exported YAML or JSON file.

    Raises:
        RequestError: It is not such a file, or its options are not installed here.
    """
    if path.suffix not in (".yaml", ".yml", ".json"):
        raise RequestError("FILE", "end in .yaml or .json", str(path))
    try:
        if not path.is_file():  # a pipe would wait for ever
            raise FileNotFoundError("no such file")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = Phrase(getattr(error, "strerror", None) or error)
        raise RequestError(str(path), "be a readable text file", reason) from error
    lines = [line.strip() for line in text[:1000].splitlines()]
    marks = [line for line in lines if re.match(r"#\s*@", line)]
    if path.suffix != ".json" and (lines[:1] != [HEADER] or marks != [HEADER]):
        raise RequestError(path.name, f"begin with the line {HEADER!r}", lines[:1])
    document = _parse(text, path.name)
    for group, option in chosen_options(document).items():
        if option not in (known := options(group)):
            raise RequestError(
                group, f"be one of {', '.join(known)}", option,
                f"an option that is not ours has to come along, as conf/{group}/{option}.yaml",
            )  # fmt: skip
    return document


def chosen_options(document: Document) -> dict[str, str]:
    """Maps each group to the option that the file chooses."""
    return {
        key.removeprefix("override /"): option
        for entry in document["defaults"]
        for key, option in entry.items()
    }


def is_reference(value: object) -> bool:
    """Tells whether a value refers to another one of the trial, such as `${training.epochs}`."""
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None


def is_plain(value: object, words: bool = True) -> bool:
    """Tells whether a value may stand in an exported file.

    It is a number, a word, a list of these, or a mapping of numbers: of a mapping with words Keras
    may make an object, of any class.
    """
    if isinstance(value, dict):
        return all(_is_key(key) and is_plain(item, words=False) for key, item in value.items())
    if isinstance(value, list):
        return all(is_plain(item, words) for item in value)
    if isinstance(value, str):
        return words and (_TEXT.fullmatch(value) is not None or is_reference(value))
    return value is None or isinstance(value, bool | int | float)


def _is_key(key: object) -> bool:
    """Tells whether a key names neither code nor a folder."""
    return key != "dir" and re.fullmatch(r"[A-Za-z]\w*", str(key), re.ASCII) is not None


def _setting(value: Any) -> Any:
    """Accepts a plain value; nothing that names code or reads files."""
    if not is_plain(value):
        raise ValueError(
            "be a number, a word, a list of these, a mapping of numbers, or a reference such as "
            "${training.epochs}"
        )
    return value


def _group(node: dict[str, Any]) -> dict[str, Any]:
    """Accepts the keys of a group."""
    for key in node:
        if not _is_key(key):
            raise ValueError(f"not set `{key}`: an exported file names no code and no folders")
    return node


def _data(node: dict[str, Any]) -> dict[str, Any]:
    """Accepts the keys of the group `data`."""
    if "path" in node:
        raise ValueError("not set `path`: an exported file names no files; `verify` has --data")
    return node


def _defaults(entries: list[dict[str, str]]) -> list[dict[str, str]]:
    """Accepts a choice for each of the groups."""
    found = chosen_options({"defaults": entries})
    if absent := [group for group in GROUPS if group not in {*found, *_LATER}]:
        raise ValueError(f"choose an option for {', '.join(absent)}")
    return entries


def _curve(curve: dict[str, list[Any]], info: ValidationInfo) -> dict[str, list[Any]]:
    """Accepts the compared metrics, each with a value for every epoch."""
    epochs = info.data.get("epochs_trained")
    if curve.keys() != set(COMPARED):
        raise ValueError(f"hold {', '.join(COMPARED)}")
    if wrong := [metric for metric, values in curve.items() if len(values) != epochs]:
        raise ValueError(f"hold {epochs} numbers of {wrong[0]}, one per epoch")
    return curve


def _format(number: int) -> int:
    if number > FORMAT:
        raise ValueError(f"be at most {FORMAT}, as newer files need a newer fmnist-lab")
    return number


class _Environment(BaseModel):
    """What a trial was trained with: versions, machine, threads."""

    model_config = ConfigDict(strict=True, extra="allow")
    __pydantic_extra__: dict[str, str | int | None]

    threads: int | None = Field(None, ge=1, le=_MOST_THREADS)


class _Record(BaseModel):
    """The block `exported`. Other keys may stand in it; they are printable text and numbers."""

    model_config = ConfigDict(strict=True, extra="allow")

    format: Annotated[int, Field(ge=1), AfterValidator(_format)]
    chosen: str
    sweep: str | None
    strategy: str
    trial: int
    mlflow_run_id: str | None
    command: str
    objective: float
    stop_reason: str
    epochs_trained: int
    delivered_epoch: int
    replicates: dict[str, Any] | None
    data_checksum: str
    environment: _Environment
    configuration: dict[str, Any]
    curve: Annotated[dict[str, list[FiniteFloat | None]], AfterValidator(_curve)]


_Plain: Any = Annotated[Any, AfterValidator(_setting)]
_Group: Any = Annotated[dict[str, _Plain], AfterValidator(_group)]
_Override: Any = Literal[tuple(f"override /{group}" for group in GROUPS)]
_Option: Any = Annotated[str, Field(pattern=r"^\w[\w-]*$")]
_Entry: Any = Annotated[dict[_Override, _Option], Field(min_length=1, max_length=1)]
_settings: Any = {key: (_Plain if key == "seed" else _Group, None) for key in _SETTINGS}
_settings |= {"data": (Annotated[_Group, AfterValidator(_data)], None)}
_Document = create_model(
    "_Document",
    __config__=ConfigDict(strict=True, extra="forbid"),
    exported=_Record,
    defaults=Annotated[list[_Entry], AfterValidator(_defaults)],
    **_settings,
)


def _parse(text: str, where: str) -> Document:
    """Returns the checked content of a file; nothing is looked up in it.

    Raises:
        RequestError: It is not YAML or JSON, or holds what such a file may not hold.
    """
    try:
        _require_shape(text, where)
        content: Any = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except RequestError:
        raise
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        raise RequestError(where, "be a file in YAML or JSON", Phrase(error)) from error
    for leaf in _leaves(content):
        if isinstance(leaf, int) and abs(leaf) > MOST:
            size = Phrase(f"one of {leaf.bit_length()} bits")
            raise RequestError(where, "hold whole numbers of at most 64 bits", size)
        if isinstance(leaf, str) and not leaf.isprintable():
            raise RequestError(where, "hold printable text", leaf)
    if not isinstance(content, dict) or not isinstance(content.get("exported"), dict):
        rule = "be a file that `fmnist-lab export-best` has written, with a block `exported`"
        raise RequestError(where, rule, content)
    try:
        _Document.model_validate(content)
    except ValidationError as failure:
        first = failure.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        rule = re.sub(r"^(Value error,|\w+ should) ", "", first["msg"])
        got = Phrase("nothing") if first["type"] == "missing" else first["input"]
        raise RequestError(f"{where}: {key}", _RULES.get(first["type"], rule), got) from failure
    document: Document = content
    return document


def _require_shape(text: str, where: str) -> None:
    """Refuses aliases, which may stand for gigabytes, and tags, which may stand for objects."""
    if len(text) > _MOST_CHARACTERS:
        raise RequestError(where, "be smaller than 20 MB", Phrase(f"{len(text)} characters"))
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise RequestError(where, "not use aliases", Phrase(f"*{event.anchor}"))
        if (tag := getattr(event, "tag", None)) not in (None, "!"):
            raise RequestError(where, "hold plain values", Phrase(f"the tag {tag!r}"))
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_DEPTH:
            raise RequestError(where, f"not be nested deeper than {_MOST_DEPTH}", depth)


def _leaves(value: Any) -> Iterator[Any]:
    """Yields all keys and values."""
    if isinstance(value, dict | list):
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        for item in inner:
            yield from _leaves(item)
    else:
        yield value


class FileConfigSource(file_config_source.FileConfigSource):
    """Folders of configuration files, as Hydra reads them, but for the group `best`.

    It has the name of Hydra's own: a worker registers that one after ours, and Hydra takes two
    names for a conflict, but one name for the same class.
    """

    def load_config(self, config_path: str) -> ConfigResult:
        """Hydra's answer; of an exported file only what belongs to the configuration.

        Raises:
            RequestError: The file cannot be read, or says what an exported file may not say.
        """
        path = Path(os.path.realpath(Path(self.path, self._normalize_file_name(config_path))))
        if "best" in PurePath(config_path).parts and path.exists():
            return self._load_exported(path)
        # Every trial of a sweep is composed of the same files. Hydra changes what it is given.
        key, version = (self.path, self.provider, config_path), _version(path)
        if key not in _known or _known[key][0] != version:
            _known[key] = version, self._load(config_path, path)
        return copy.deepcopy(_known[key][1])

    def _load(self, config_path: str, path: Path) -> ConfigResult:
        name = _short(path)
        try:
            result = super().load_config(config_path)
        except (OSError, UnicodeDecodeError, RecursionError) as error:
            reason = Phrase(getattr(error, "strerror", None) or type(error).__name__)
            raise RequestError(name, "be a readable text file", reason) from error
        except (yaml.YAMLError, ValueError) as error:  # Hydra's own, about the header
            got, mark = str(error), getattr(error, "problem_mark", None)
            if mark is not None:
                problem = getattr(error, "problem", "")
                got = f"{problem} in line {mark.line + 1}, column {mark.column + 1}"
            raise RequestError(name, "be a file in YAML", Phrase(got)) from error
        if not OmegaConf.is_dict(result.config):
            raise RequestError(name, "hold keys and values", Phrase("a list"))
        content: Any = OmegaConf.to_container(result.config, resolve=False)
        defaults = content.get("defaults") or []
        try:  # on another list Hydra would assert, or take it for names and fail
            _NAMES.validate_python(defaults)
        except ValidationError as error:
            where = error.errors()[0]["loc"]
            wrong = defaults[int(where[0])] if where else defaults
            rule = "be a list of names and of `group: name`"
            raise RequestError(f"{name}: defaults", rule, wrong) from error
        if path.parent.name in _LAID_OVER and result.header.get("package") != "_global_":
            raise RequestError(name, f"begin with the line {HEADER!r}", Phrase("another or none"))
        return result

    def _load_exported(self, path: Path) -> ConfigResult:
        document = read(path)
        del document["exported"]
        folder = Path(self.path)
        if folder.resolve() not in (Path(config_dir()).resolve(), Path("conf").resolve()):
            for group, option in chosen_options(document).items():
                if (brought := folder / group / f"{option}.yaml").exists():
                    raise RequestError(
                        group, "be an option that is installed here", Phrase(brought),
                        f"if you trust it, put it into conf/{group}/",
                    )  # fmt: skip
        return ConfigResult(
            config=OmegaConf.create(document),
            path=f"{self.scheme()}://{self.path}",
            provider=self.provider,
            header={"package": "_global_"},
        )

    def list(
        self, config_path: str, results_filter: ObjectType | None = None
    ) -> "builtins.list[str]":
        """Returns the names in a folder.

        Raises:
            RequestError: It cannot be read.
        """
        try:
            return super().list(config_path, results_filter)
        except OSError as error:
            folder, reason = _short(Path(self.path, config_path)), Phrase(error.strerror)
            raise RequestError(folder, "be a folder that can be read", reason) from error


def _short(path: Path) -> str:
    """Returns the path from where the command runs, if it is below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


_known: dict[tuple[str, str, str], tuple[tuple[int, ...], ConfigResult]] = {}


def _version(path: Path) -> tuple[int, ...]:
    """Returns what changes with a file's content: none, where it cannot be asked for."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def install() -> None:
    """Lets Hydra read files by our source, in this process and in those it sends jobs to."""
    Plugins.instance()  # it registers Hydra's own, once
    SourcesRegistry.instance().types[FileConfigSource.scheme()] = FileConfigSource
