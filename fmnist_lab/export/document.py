"""An exported file: built from a trial's folder, written, turned into a trial, trained again.

A document has two parts. `defaults` and the trial's keys are a recipe: the options that were
chosen, and every value that is not the option's own, so that overrides work on top of it.
`exported` is the record: the whole configuration, the curve, and where both come from.
"""

import datetime
import json
import os
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fmnist_lab import config, data
from fmnist_lab.config.config_files import (
    FORMAT,
    GROUPS,
    HEADER,
    Document,
    chosen_options,
    is_plain,
    is_reference,
)
from fmnist_lab.errors import NotReproducedError, Phrase, RequestError
from fmnist_lab.export.choosing import Choice
from fmnist_lab.foundation.nested import differences, flatten
from fmnist_lab.foundation.secrets import mask
from fmnist_lab.foundation.spelling import spell
from fmnist_lab.foundation.threads import with_threads
from fmnist_lab.foundation.wording import count, number
from fmnist_lab.results import curve_diff
from fmnist_lab.results.overrides import asked
from fmnist_lab.training import environment
from fmnist_lab.trial import Trial, without_new

VERIFIED = Path("mlruns/verify")  # where trials are trained again
_WIDTH = 98
# `python -m fmnist_lab`, but for what no command line may ask for.
_OF_KIND = """
from functools import partial
from fmnist_lab import cli
from fmnist_lab.commands import train
train.main = partial(train.main, kind={!r})
cli.main()
"""
_WHOLE = {  # settings that stand in a file with any value, and the comment beside each
    "seed": "of initial weights, batch order and dropout",
    "training": "always whole: how long, in which batches, by which engine",
    "objective": "measured on the weights that the trial delivers",
}


def build(choice: Choice) -> Document:
    """Builds the document of a chosen trial.

    Raises:
        RequestError: Its folder is not whole, or its configuration cannot be written as options and
            plain values.
    """
    folder = Path(str(choice.trial["folder"]))
    document = recipe(folder)
    return document | {"exported": _record(choice, folder, to_trial(document))}


def recipe(folder: Path) -> Document:
    """Returns the recipe of the trial in a folder, without a record.

    Raises:
        RequestError: As for `build`.
    """
    given, hydra = (_hydra_file(folder, name) for name in ("config", "hydra"))
    choices = OmegaConf.select(hydra, "hydra.runtime.choices") or {}
    chosen = [{f"override /{group}": str(choices[group])} for group in GROUPS if group in choices]
    document: Document = {"defaults": chosen}
    brought = _settings(_options_alone(document), resolve=False)
    for key, value in _settings(given, resolve=False).items():
        is_whole, old = key in _WHOLE, brought.get(key) or {}
        own = value if is_whole else {name: v for name, v in value.items() if old.get(name) != v}
        if is_whole or own:
            document[key] = _exportable(given, key, own, folder)
    _require_same(document, given, folder)
    return document


def overrides(document: Document) -> list[str]:
    """Spells the recipe as Hydra's overrides: what `fmnist-lab train` gets to train the trial."""
    settings = {key: document[key] for key in Trial.__dataclass_fields__ if key in document}
    values = [f"++{key}={spell(value)}" for key, value in flatten(settings).items()]
    return [*(f"{group}={option}" for group, option in chosen_options(document).items()), *values]


def to_trial(document: Document) -> Trial:
    """Composes the trial that the recipe describes.

    Raises:
        RequestError: The configuration refuses it.
    """
    return config.to_trial(config.compose(overrides(document)))


def differing(document: Document) -> list[tuple[str, Any, Any]]:
    """Lists where the recipe is not the recorded trial: dotted key, recorded value, present one."""
    recorded, present = document["exported"]["configuration"], _configuration(to_trial(document))
    return differences(recorded, present)


def train_again(recipe: Document, threads: int | None, *more: str, kind: str = "trial") -> Path:
    """Trains the trial that a recipe describes, and returns its folder.

    How a sum of floats is rounded depends on the number of threads, which TensorFlow reads when it
    is imported: hence the process.

    Args:
        recipe: An exported document, or `recipe` of a trial's folder.
        threads: That computed the record; None: as many as there are cores.
        *more: Further overrides.
        kind: `replicate` to keep the weights, and to see the test set, which must be on the record.

    Raises:
        RequestError: The trial cannot be trained here.
        NotReproducedError: The training failed.
    """
    folder = VERIFIED / datetime.datetime.now().astimezone().strftime("%Y-%m-%d_%H-%M-%S-%f")
    arguments = [*overrides(recipe), *more, f"kind={kind}", f"hydra.run.dir={folder}"]
    settings = with_threads(threads) if threads else {}
    program = ["-m", "fmnist_lab"] if kind == "trial" else ["-c", _OF_KIND.format(kind)]
    command = [sys.executable, "-P", *program, "train", *arguments]
    done = subprocess.run(command, env=os.environ | settings, check=False)
    if done.returncode == 2:
        raise RequestError("FILE", "be a trial that can be trained here", Phrase("what is above"))
    if done.returncode or not (folder / "result.json").exists():
        raise NotReproducedError(
            f"The training did not end well (exit code {done.returncode}): "
            f"{shlex.join(['fmnist-lab', 'train', *arguments])}"
        )
    return folder


def to_yaml(document: Document, name: str) -> str:
    """Writes the document as a file for `conf/best/`, under this name."""
    record = document["exported"]
    settings, chosen = record["configuration"], chosen_options(document)
    first = (
        f"Choose this for the best trial of {record['sweep']}: number {record['trial']}, strategy "
        f"{record['strategy']}, {settings['objective']['metric']} {number(record['objective'])}."
    )
    lines = [HEADER, *_comment(first), f"# fmnist-lab train best={name}"]
    lines += [f"# fmnist-lab verify conf/best/{name}.yaml", "#"]
    lines += [line for text in remarks(record) for line in _comment(text)]
    lines += [f"# {record['command']}", *_dumped({"defaults": document["defaults"]})]
    brought = _settings(_options_alone(document), resolve=False)
    for key in settings:
        values = document.get(key, {})
        what = _WHOLE.get(key) or f"conf/{key}/{chosen[key]}.yaml, and what differs from it"
        lines += ["", f"# {key}: {what}", *(_dumped({key: values}) if key in document else [])]
        if isinstance(values, dict):
            more = {name: value for name, value in brought[key].items() if name not in values}
            lines += [f"  # {line}" for line in _dumped(more)] if more else []
    lines += ["", "# The record, for fmnist-lab verify. It takes no part in a training."]
    lines += _dumped({"exported": record})
    return "\n".join(lines) + "\n"


def to_json(document: Document) -> str:
    """Writes the document as one JSON object."""
    return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def remarks(record: Mapping[str, Any]) -> Iterator[str]:
    """Yields the remarks on an exported trial, a paragraph each."""
    yield f"{record['chosen']} {record['noise']}"
    yield from (f"Beware: {warning}" for warning in record["warnings"])
    if again := record["replicates"]:
        yield _replicates(again)
    versions = record["environment"]
    packages = [f"{key} {versions[key]}" for key in environment.COMPUTING]
    threads = f", {count(versions['threads'], 'thread')}" if versions.get("threads") else ""
    yield (
        f"Trained with {', '.join(packages)} on {versions['machine']}{threads}, "
        f"commit {versions['git_commit']}, MLflow run {record['mlflow_run_id']}, by:"
    )


def _replicates(again: Mapping[str, Any]) -> str:
    """Means and intervals over the replicates, and of what there is none."""
    parts, lacking = [], []
    for key, mean in again.items():
        if isinstance(mean, Mapping):
            name, ends = key.replace("_", " "), ""
            if mean["low"] is None:
                lacking.append(name)
            else:
                ends = f" (95 % interval {number(mean['low'])} to {number(mean['high'])})"
            parts.append(f"{name} {number(mean['mean'])}{ends}")
    sentence = f"With {count(len(again['seeds']), 'fresh seed')}: {', '.join(parts)}."
    if lacking:
        sentence += f" No interval of {', '.join(lacking)}: 1 value shows no spread."
    return sentence


class _Dumper(yaml.SafeDumper):
    """Writes keys in lines of their own, and lists of plain values like `[1, 2]`."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: Any = None) -> Any:
        is_plain = not any(isinstance(item, dict) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=is_plain)


def _dumped(node: Mapping[str, Any]) -> list[str]:
    text = yaml.dump(node, Dumper=_Dumper, width=_WIDTH, allow_unicode=True, sort_keys=False)
    return text.splitlines()


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ",
                         break_long_words=False, break_on_hyphens=False)  # fmt: skip


def _hydra_file(folder: Path, name: str) -> DictConfig:
    path = folder / ".hydra" / f"{name}.yaml"
    try:
        loaded = OmegaConf.load(path)
    except (OSError, yaml.YAMLError) as error:
        rule = f"`{path}` must be there and whole to export the trial"
        raise RequestError(f"{rule}: {type(error).__name__}.") from error
    assert isinstance(loaded, DictConfig)  # Hydra wrote it
    return loaded


def _options_alone(document: Document) -> DictConfig:
    """Returns the configuration that the chosen options bring along by themselves."""
    return config.compose([f"{group}={name}" for group, name in chosen_options(document).items()])


def _settings(cfg: DictConfig, resolve: bool) -> dict[str, Any]:
    """Returns the trial's keys in a configuration, without search spaces and where the data are."""
    whole = OmegaConf.to_container(cfg, resolve=resolve)
    assert isinstance(whole, dict)
    found = {key: whole[key] for key in Trial.__dataclass_fields__ if key in whole}
    for node in found.values():
        if isinstance(node, dict):
            node.pop("space", None)
            node.pop("dir", None)
    found["data"].pop("path", None)
    return without_new(found)


def _configuration(trial: Trial) -> dict[str, Any]:
    """A trial's whole configuration without what belongs to one machine: where the data are."""
    whole = trial.as_dict()
    del whole["data"]["dir"], whole["data"]["path"]
    return whole


def _exportable(given: DictConfig, key: str, raw: Any, folder: Path) -> Any:
    """Returns the value, or values, as they may stand in an exported file."""
    if isinstance(raw, dict):
        raw = {name: _exportable(given, f"{key}.{name}", v, folder) for name, v in raw.items()}
        if "." not in key:  # a group
            return raw
    is_inner = key.count(".") > 1  # a mapping holds numbers alone
    if isinstance(raw, str) and "${" in raw and (is_inner or not is_reference(raw)):
        raw = OmegaConf.select(given, key)
    if not is_plain(raw) or key.endswith("._target_"):
        raise RequestError(
            f"`{key}` of the trial in {folder} must come from an option or be a plain value to be "
            f"exported, got {raw!r}; give it a file of its own, conf/{key.partition('.')[0]}/NAME."
            "yaml, and train that."
        )
    return raw


def _require_same(document: Document, given: DictConfig, folder: Path) -> None:
    """Refuses a recipe that does not give the trial that was trained."""
    try:
        resolved = _settings(given, resolve=True)
    except OmegaConfBaseException as error:
        raise config.refusal(error) from error
    for key, before, now in differences(resolved, _configuration(to_trial(document))):
        raise RequestError(
            f"`{key}` of the trial in {folder} must follow from its options and values, got "
            f"{before!r} there and {now!r} from them: the options have changed."
        )


def _record(choice: Choice, folder: Path, trial: Trial) -> dict[str, Any]:
    row = choice.trial
    facts = environment.recorded(folder)
    checksum = facts.pop("data_checksum", None) or data.load(trial.data).checksum
    given = _hydra_file(folder, "hydra").hydra.overrides.task
    command = ["fmnist-lab", "train", *asked(list(given))]
    record = {
        "format": FORMAT,
        "chosen": choice.why,
        "noise": choice.noise,
        "warnings": list(choice.warnings),
        "sweep": choice.place.name,
        "strategy": row["strategy"],
        "search": int(row["search"]),
        "trial": int(row["trial"]),
        "mlflow_run_id": None if pd.isna(row["mlflow_run_id"]) else row["mlflow_run_id"],
        "command": mask(shlex.join(command)),
        "objective": float(row["objective"]),
        "stop_reason": row["stop_reason"],
        "epochs_trained": int(row["epochs_trained"]),
        "delivered_epoch": int(row["delivered_epoch"]),
        "replicates": choice.replicates,
        "data_checksum": checksum,
        "environment": facts,
        "configuration": _configuration(trial),
        "curve": curve_diff.read(folder),
    }
    # Printable: a text in one line.
    return {k: " ".join(v.split()) if isinstance(v, str) else v for k, v in record.items()}
