"""An exported document as text: YAML that people read and Hydra composes, or plain JSON."""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from omegaconf import OmegaConf

from fmnist_lab import config
from fmnist_lab.config.exported_files import Document, chosen_options
from fmnist_lab.config.structured import HEADER
from fmnist_lab.foundation.wording import count, number

_WIDTH = 98
_SETTINGS = {
    "seed": "of initial weights, batch order and dropout",
    "training": "always whole: how long, in which batches, by which engine",
    "objective": "measured on the weights that the trial delivers",
}


def to_yaml(document: Document, name: str) -> str:
    """The document as a file for `conf/best/`, under this name."""
    record = document["exported"]
    lines = [HEADER, *_comment(_when(record))]
    lines += [f"# fmnist-lab train best={name}", f"# fmnist-lab verify conf/best/{name}.yaml", "#"]
    lines += [line for text in remarks(record) for line in _comment(text)]
    lines.append(f"# {record['command']}")
    lines += ["defaults:", *(f"  - {_flow(entry, braces=False)}" for entry in document["defaults"])]
    lines += _settings(document)
    lines += ["", "# The record, for fmnist-lab verify. It takes no part in a training."]
    lines += ["exported:", *_block(record, 1)]
    return "\n".join(lines) + "\n"


def to_json(document: Document) -> str:
    """The document as one JSON object."""
    return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def remarks(record: Mapping[str, Any]) -> Iterator[str]:
    """What people should know of an exported trial, a paragraph each."""
    yield f"{record['chosen']} {record['noise']}"
    yield from (f"Beware: {warning}" for warning in record["warnings"])
    if again := record["replicates"]:
        yield _replicates(again)
    environment = record["environment"]
    told = [f"{key} {environment[key]}" for key in ("fmnist-lab", "tensorflow", "keras", "numpy")]
    threads = environment.get("threads")
    with_threads = f", {threads} thread{'s' * (threads != 1)}" if threads else ""
    yield (
        f"Trained with {', '.join(told)} on {environment['machine']}{with_threads}, "
        f"commit {environment['git_commit']}, MLflow run {record['mlflow_run_id']}, by:"
    )


def _when(record: Mapping[str, Any]) -> str:
    metric = record["configuration"]["objective"]["metric"]
    return (
        f"Choose this for the best trial of {record['sweep']}: number {record['trial']}, strategy "
        f"{record['strategy']}, {metric} {number(record['objective'])}."
    )


def _replicates(again: Mapping[str, Any]) -> str:
    """Means and intervals over the replicates, and of what there is none."""
    means = {
        key.replace("_", " "): mean for key, mean in again.items() if isinstance(mean, Mapping)
    }
    told = [
        f"{name} {number(mean['mean'])}"
        + (
            f" (95 % interval {number(mean['low'])} to {number(mean['high'])})"
            if mean["low"] is not None
            else ""
        )
        for name, mean in means.items()
    ]
    sentence = f"With {count(len(again['seeds']), 'fresh seed')}: {', '.join(told)}."
    lacking = [name for name, mean in means.items() if mean["low"] is None]
    if lacking:
        sentence += f" No interval of {', '.join(lacking)}: 1 value shows no spread."
    return sentence


def _settings(document: Document) -> Iterator[str]:
    """The trial's keys; what an option brings along is shown in comments."""
    options = chosen_options(document)
    base = config.compose([f"{group}={option}" for group, option in options.items()])
    for key in document["exported"]["configuration"]:
        values = document.get(key, {})
        told = _SETTINGS.get(key) or f"conf/{key}/{options[key]}.yaml, and what differs from it"
        if not isinstance(values, dict):
            yield from ("", f"{key}: {_flow(values)}  # {told}")
            continue
        yield from ("", f"{key}:  # {told}" if values else f"# {key}: as in {told.split(',')[0]}")
        yield from (f"  {name}: {_flow(value)}" for name, value in values.items())
        brought = OmegaConf.to_container(base[key], resolve=False)
        assert isinstance(brought, dict)
        for name, value in brought.items():
            if name not in values and name not in ("space", "dir"):
                yield from textwrap.wrap(
                    f"{name!s}: {_flow(value)}", _WIDTH,
                    initial_indent="  # ", subsequent_indent="  #   ",
                )  # fmt: skip


def _block(node: Mapping[str, Any], depth: int) -> Iterator[str]:
    """Mappings in lines, everything in them on one line each, lists wrapped."""
    indent = "  " * depth
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield f"{indent}{_flow(key)}:"
            yield from _block(value, depth + 1)
        else:
            text = f"{_flow(key)}: {_flow(value)}"
            if isinstance(value, Sequence) and not isinstance(value, str):
                yield from textwrap.wrap(
                    text, _WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ",
                    break_long_words=False, break_on_hyphens=False,
                )  # fmt: skip
            else:
                yield indent + text


def _flow(value: Any, braces: bool = True) -> str:
    """A value on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True)
    text = text.removesuffix("\n").removesuffix("\n...")
    return text if braces else text.strip("{}")


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ",
                         break_long_words=False, break_on_hyphens=False)  # fmt: skip
