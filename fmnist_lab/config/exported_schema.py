"""What an exported file may say. It comes from others: it is data, and runs nothing."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.validate import MOST
from fmnist_lab.results.curve_diff import COMPARED
from fmnist_lab.trial import Trial

Document = dict[str, Any]

FORMAT = 1
MOST_THREADS = 1024
HEADER = "# @package _global_"
GROUPS = ("data", "architecture", "optimizer", "scheduler", "clipping", "stopping", "training")
_SETTINGS = tuple(Trial.__dataclass_fields__)
_RECORD: dict[str, type | tuple[type, ...]] = {
    "chosen": str,
    "sweep": (str, type(None)),
    "strategy": str,
    "trial": int,
    "mlflow_run_id": (str, type(None)),
    "command": str,
    "objective": (int, float),
    "stop_reason": str,
    "epochs_trained": int,
    "delivered_epoch": int,
    "replicates": (dict, type(None)),
    "data_checksum": str,
    "environment": dict,
    "configuration": dict,
    "curve": dict,
}
_MOST_CHARACTERS, _MOST_DEPTH = 20_000_000, 8
_KEY = re.compile(r"[A-Za-z]\w*", re.ASCII)
_OPTION = re.compile(r"\w[\w-]*")
_TEXT = re.compile(r"[\w./+ -]{0,200}")
_REFERENCE = re.compile(rf"\$\{{({'|'.join(_SETTINGS)})(\.[a-z]\w*)?\}}", re.ASCII)


def parse(text: str, where: str) -> Document:
    """The checked content of an exported file, with nothing looked up in it.

    Raises:
        RequestError: It is not YAML or JSON, or says what such a file may not say.
    """
    _check_shape(text, where)
    try:
        content = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        reason = " ".join(f"{error}".split())
        raise RequestError(f"`{where}` must be a file in YAML or JSON, got {reason}.") from error
    if not isinstance(content, dict):
        raise RequestError(f"`{where}` must hold keys and values, got {type(content).__name__}.")
    document = {str(key): value for key, value in content.items()}
    _check_numbers(document, where)
    _check_record(document.get("exported"), where)
    _check_defaults(document.get("defaults"), where)
    _check_settings(document, where)
    return document


def check_header(text: str, where: str) -> None:
    """Refuses a file that Hydra would lay elsewhere than over the root of the configuration."""
    lines = [line.strip() for line in text[:1000].splitlines()]
    marks = [line for line in lines if re.match(r"#\s*@", line)]
    if lines[:1] != [HEADER] or marks != [HEADER]:
        raise RequestError(f"`{where}` must begin with the line {HEADER!r}, got {lines[:1]}.")


def chosen_options(document: Document) -> dict[str, str]:
    """Group -> the option that the file chooses."""
    return {
        key.removeprefix("override /"): option
        for entry in document["defaults"]
        for key, option in entry.items()
    }


def is_reference(value: object) -> bool:
    """Whether a value refers to another one of the trial, such as `${training.epochs}`."""
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None


def is_plain(value: object) -> bool:
    """Whether a value may stand in an exported file: a number, a word, a list of these."""
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, str):
        return _TEXT.fullmatch(value) is not None or is_reference(value)
    return value is None or isinstance(value, bool | int | float)


def _check_shape(text: str, where: str) -> None:
    """No aliases, which may stand for gigabytes; no tags, which may stand for objects."""
    if len(text) > _MOST_CHARACTERS:
        raise RequestError(f"`{where}` must be smaller than 20 MB, got {len(text)} characters.")
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise RequestError(f"`{where}` must not use aliases, got *{event.anchor}.")
            tag = getattr(event, "tag", None)
            if tag not in (None, "!"):
                raise RequestError(f"`{where}` must hold plain values, got the tag {tag!r}.")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _MOST_DEPTH:
                raise RequestError(f"`{where}` must not be nested deeper than {_MOST_DEPTH}.")
    except yaml.YAMLError as error:
        reason = " ".join(f"{error}".split())
        raise RequestError(f"`{where}` must be a file in YAML or JSON, got {reason}.") from error


def _check_defaults(defaults: Any, where: str) -> None:
    entries = defaults if isinstance(defaults, list) else [defaults]
    found: list[str] = []
    for entry in entries:
        pairs = list(entry.items()) if isinstance(entry, dict) else [(entry, None)]
        for key, option in pairs:
            group = str(key).removeprefix("override /")
            if len(pairs) != 1 or key != f"override /{group}" or group not in GROUPS:
                allowed = ", ".join(f"override /{name}" for name in GROUPS)
                _refuse(where, "defaults", f"choose by {allowed} alone", entry)
            if not isinstance(option, str) or not _OPTION.fullmatch(option):
                _refuse(where, f"defaults.{key}", "name an option", option)
            found.append(group)
    if absent := [group for group in GROUPS if group not in found]:
        _refuse(where, "defaults", f"choose an option for {', '.join(absent)}", found)


def _check_settings(document: Document, where: str) -> None:
    """Values for the trial's own keys, nothing that names code, reads or configures more."""
    for key, value in document.items():
        if key in ("defaults", "exported"):
            continue
        if key not in _SETTINGS:
            _refuse(where, key, f"be one of {', '.join(_SETTINGS)}, exported, defaults", value)
        for name, setting in _flat(key, value):
            if not all(map(_KEY.fullmatch, name.split("."))) or name == "data.dir":
                _refuse(where, name, "not be set: an exported file names no code and no folders",
                        setting)  # fmt: skip
            if not is_plain(setting):
                _refuse(where, name, "be a number, a word, a list of these, or a reference such "
                        "as ${training.epochs}", setting)  # fmt: skip


def _flat(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and "." not in key:
        for name, inner in value.items():
            yield from _flat(f"{key}.{name}", inner)
    else:
        yield key, value


def _check_record(record: Any, where: str) -> None:
    if not isinstance(record, dict):
        raise RequestError(
            f"`{where}` must be a file that `fmnist-lab export-best` has written, with a block "
            f"`exported`, got {record!r}."
        )
    version = record.get("format")
    if not isinstance(version, int) or version < 1:
        _refuse(where, "exported.format", "be a whole number from 1", version)
    if version > FORMAT:
        raise RequestError(
            f"`exported.format` of {where} must be at most {FORMAT}, got {version}: it comes from "
            "a newer fmnist-lab, so update this one."
        )
    for key, kind in _RECORD.items():
        if key not in record:
            _refuse(where, f"exported.{key}", "be there", "nothing")
        if not isinstance(record[key], kind) or isinstance(record[key], bool):
            names = kind if isinstance(kind, tuple) else (kind,)
            wanted = " or ".join(name.__name__ for name in names).replace("NoneType", "null")
            _refuse(where, f"exported.{key}", f"be {wanted}", record[key])
    _check_words(record, where)
    _check_environment(record["environment"], where)
    _check_curve(record["curve"], record["epochs_trained"], where)


def _check_environment(environment: Mapping[str, Any], where: str) -> None:
    for key, value in environment.items():
        if not isinstance(value, str | int | None):
            _refuse(where, f"exported.environment.{key}", "be a word or a number", value)
    threads = environment.get("threads")
    if threads is not None and not (isinstance(threads, int) and 1 <= threads <= MOST_THREADS):
        _refuse(where, "exported.environment.threads", f"be from 1 to {MOST_THREADS}", threads)


def _check_words(record: Mapping[str, Any], where: str) -> None:
    """What is shown in a terminal must not steer it."""
    for value in _leaves(record):
        if isinstance(value, str) and not value.isprintable():
            _refuse(where, "exported", "hold printable text", value)


def _check_numbers(document: Document, where: str) -> None:
    """Python reads numbers that are no float, and some that it cannot even show."""
    for value in _leaves(document):
        if isinstance(value, int) and abs(value) > MOST:
            raise RequestError(
                f"`{where}` must hold whole numbers of at most 64 bits, got one of "
                f"{value.bit_length()} bits."
            )


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _check_curve(curve: Mapping[str, Any], epochs: int, where: str) -> None:
    if unknown := [metric for metric in curve if metric not in COMPARED]:
        _refuse(where, "exported.curve", f"hold {', '.join(COMPARED)}", unknown)
    for metric in COMPARED:
        values = curve.get(metric)
        if not isinstance(values, Sequence) or len(values) != epochs or not all(map(_real, values)):
            _refuse(
                where, f"exported.curve.{metric}", f"be {epochs} numbers, one per epoch", values
            )


def _real(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (number and math.isfinite(value))  # type: ignore[arg-type]


def _refuse(where: str, key: str, rule: str, got: object) -> NoReturn:
    told = got if isinstance(got, str) and got == "nothing" else repr(got)
    told = told if len(told) < 200 else f"{told[:200]}..."
    raise RequestError(f"`{key}` of {where} must {rule}, got {told}.")
