"""Exported files as data: what they may hold, checked before anything is composed from them.

Such a file comes from others. It chooses among the options that are installed here and sets plain
values; it names no code and no folders. Pydantic checks types, the functions below the rest.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    ValidationInfo,
    create_model,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from fmnist_lab.config.structured import HEADER
from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.foundation.validate import MOST
from fmnist_lab.results.curve_diff import COMPARED
from fmnist_lab.trial import Trial

Document = dict[str, Any]

FORMAT = 1
GROUPS = ("data", "architecture", "optimizer", "scheduler", "clipping", "stopping", "training")
_MOST_CHARACTERS, _MOST_DEPTH, _MOST_THREADS = 20_000_000, 8, 1024
_SETTINGS = tuple(Trial.__dataclass_fields__)
_KEY = re.compile(r"[A-Za-z]\w*", re.ASCII)
_OPTION = re.compile(r"\w[\w-]*")
_TEXT = re.compile(r"[\w./+ -]{0,200}")
_REFERENCE = re.compile(rf"\$\{{({'|'.join(_SETTINGS)})(\.[a-z]\w*)?\}}", re.ASCII)
_NO_YAML = "be a file in YAML or JSON"
_WRITTEN = "be a file that `fmnist-lab export-best` has written, with a block `exported`"
_RULES = {  # of Pydantic's own errors whose words would not do
    "missing": "be there",
    "extra_forbidden": f"be one of {', '.join(_SETTINGS)}, exported, defaults",
    "dict_type": "hold keys and values",
}


def read(path: Path) -> Document:
    """Reads and checks an exported YAML or JSON file.

    Raises:
        RequestError: It is not such a file, or its options are not installed here.
    """
    if path.suffix not in (".yaml", ".yml", ".json"):
        raise RequestError("FILE", "end in .yaml or .json", str(path))
    text = _read_text(path)
    if path.suffix != ".json":
        _require_header(text, path.name)
    document = _parse(text, path.name)
    _require_options(document)
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


def is_plain(value: object) -> bool:
    """Tells whether a value may stand in an exported file: a number, a word, a list of these."""
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, str):
        return _TEXT.fullmatch(value) is not None or is_reference(value)
    return value is None or isinstance(value, bool | int | float)


def _error(rule: str, got: object, below: str = "") -> PydanticCustomError:
    """Makes a validator's error: the rule, the value, and the key below the field's."""
    return PydanticCustomError("rule", "{rule}", {"rule": rule, "got": got, "below": below})


def _setting(value: Any, info: ValidationInfo) -> Any:
    """Accepts a plain value, or keys with plain values; nothing that names code or reads files."""
    for key, inner in value.items() if isinstance(value, dict) else [("", value)]:
        below = f".{key}" if isinstance(value, dict) else ""
        if (below and not _KEY.fullmatch(str(key))) or (info.field_name, key) == ("data", "dir"):
            rule = "not be set: an exported file names no code and no folders"
            raise _error(rule, inner, below)
        if not is_plain(inner):
            rule = "be a number, a word, a list of these, or a reference such as ${training.epochs}"
            raise _error(rule, inner, below)
    return value


def _defaults(entries: Any) -> Any:
    """Accepts a list that chooses one option by name for each of the groups."""
    found = set()
    for entry in entries if isinstance(entries, list) else [entries]:
        key, option = next(iter(entry.items())) if _is_pair(entry) else (None, None)
        group = str(key).removeprefix("override /")
        if key != f"override /{group}" or group not in GROUPS:
            allowed = ", ".join(f"override /{name}" for name in GROUPS)
            raise _error(f"choose by {allowed} alone", entry)
        if not isinstance(option, str) or not _OPTION.fullmatch(option):
            raise _error("name an option", option, f".{key}")
        found.add(group)
    if absent := [group for group in GROUPS if group not in found]:
        raise _error(f"choose an option for {', '.join(absent)}", sorted(found))
    return entries


def _is_pair(entry: Any) -> bool:
    return isinstance(entry, dict) and len(entry) == 1


def _curve(curve: dict[str, list[Any]], info: ValidationInfo) -> dict[str, list[Any]]:
    """Accepts the compared metrics, each with a value for every epoch."""
    if curve.keys() != set(COMPARED):
        raise _error(f"hold {', '.join(COMPARED)}", list(curve))
    epochs = info.data.get("epochs_trained")
    for metric, values in curve.items():
        if len(values) != epochs:
            raise _error(f"be {epochs} numbers, one per epoch", values, f".{metric}")
    return curve


class _Environment(BaseModel):
    """What a trial was trained with: versions, machine, threads."""

    model_config = ConfigDict(strict=True, extra="allow")
    __pydantic_extra__: dict[str, str | int | None]

    threads: int | None = Field(None, ge=1, le=_MOST_THREADS)


class _Record(BaseModel):
    """The block `exported`. Other keys may stand in it; they are printable text and numbers."""

    model_config = ConfigDict(strict=True, extra="allow")

    format: int = Field(ge=1)
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


_settings: Any = dict.fromkeys(_SETTINGS, (Annotated[Any, AfterValidator(_setting)], None))
_Document = create_model(
    "_Document",
    __config__=ConfigDict(strict=True, extra="forbid"),
    exported=_Record,
    defaults=Annotated[Any, BeforeValidator(_defaults)],
    **_settings,
)


def _parse(text: str, where: str) -> Document:
    """Returns the checked content of a file; nothing is looked up in it.

    Raises:
        RequestError: It is not YAML or JSON, or holds what such a file may not hold.
    """
    _require_shape(text, where)
    try:
        content = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        raise RequestError(where, _NO_YAML, Phrase(error)) from error
    if not isinstance(content, dict):
        raise RequestError(where, "hold keys and values", content)
    document = {str(key): value for key, value in content.items()}
    _require_leaves(document, where)
    record = document.get("exported")
    if not isinstance(record, dict):
        raise RequestError(where, _WRITTEN, record)
    if isinstance(record.get("format"), int) and record["format"] > FORMAT:
        raise RequestError(
            f"{where}: exported.format", f"be at most {FORMAT}", record["format"],
            "it comes from a newer fmnist-lab, so update this one",
        )  # fmt: skip
    try:
        _Document.model_validate(document)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False)[0], where) from error
    return document


def _refusal(error: ErrorDetails, where: str) -> RequestError:
    """Makes a sentence of Pydantic's error, with the file and the key."""
    context = error.get("ctx", {})
    key = ".".join(map(str, error["loc"])) + context.get("below", "")
    rule = _RULES.get(error["type"], error["msg"].removeprefix("Input should "))
    got = Phrase("nothing") if error["type"] == "missing" else context.get("got", error["input"])
    return RequestError(f"{where}: {key}", rule, got)


def _require_shape(text: str, where: str) -> None:
    """Refuses aliases, which may stand for gigabytes, and tags, which may stand for objects."""
    if len(text) > _MOST_CHARACTERS:
        raise RequestError(where, "be smaller than 20 MB", Phrase(f"{len(text)} characters"))
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise RequestError(where, "not use aliases", Phrase(f"*{event.anchor}"))
            tag = getattr(event, "tag", None)
            if tag not in (None, "!"):
                raise RequestError(where, "hold plain values", Phrase(f"the tag {tag!r}"))
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _MOST_DEPTH:
                raise RequestError(where, f"not be nested deeper than {_MOST_DEPTH}", depth)
    except yaml.YAMLError as error:
        raise RequestError(where, _NO_YAML, Phrase(error)) from error


def _require_leaves(document: Document, where: str) -> None:
    """Refuses integers that no float holds, and text that would steer a terminal."""
    for value in _leaves(document):
        if isinstance(value, int) and abs(value) > MOST:
            size = Phrase(f"one of {value.bit_length()} bits")
            raise RequestError(where, "hold whole numbers of at most 64 bits", size)
        if isinstance(value, str) and not value.isprintable():
            raise RequestError(where, "hold printable text", value)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _require_header(text: str, where: str) -> None:
    """Refuses a file that Hydra would lay elsewhere than over the root of the configuration."""
    lines = [line.strip() for line in text[:1000].splitlines()]
    marks = [line for line in lines if re.match(r"#\s*@", line)]
    if lines[:1] != [HEADER] or marks != [HEADER]:
        raise RequestError(where, f"begin with the line {HEADER!r}", lines[:1])


def _read_text(path: Path) -> str:
    try:
        if not path.is_file():  # a pipe would wait for ever
            raise FileNotFoundError("it is no file")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = Phrase(getattr(error, "strerror", None) or error)
        raise RequestError(str(path), "be a readable text file", reason) from error


def _require_options(document: Document) -> None:
    """Refuses options that are neither ours nor in the user's own `./conf`."""
    from fmnist_lab import config

    for group, option in chosen_options(document).items():
        known = config.options(group)
        if option not in known:
            raise RequestError(
                group, f"be one of {', '.join(known)}", option,
                f"an option that is not ours has to come along, as conf/{group}/{option}.yaml",
            )  # fmt: skip
