"""An exported file's content: built from a trial's folder, read again, turned into a trial.

A document has two parts. `defaults` and the trial's keys are a recipe: the options that were
chosen, and every value that is not the option's own, so that overrides work on top of it.
`exported` is the record: the whole configuration, the curve, and where both come from.
"""

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fmnist_lab import config, data
from fmnist_lab.config import exported_files
from fmnist_lab.config.exported_files import FORMAT, GROUPS, Document
from fmnist_lab.errors import RequestError
from fmnist_lab.export.choosing import Choice
from fmnist_lab.foundation.secrets import mask
from fmnist_lab.foundation.spelling import spell
from fmnist_lab.results import curve_diff
from fmnist_lab.results.overrides import asked
from fmnist_lab.tracking import flatten
from fmnist_lab.training import environment
from fmnist_lab.trial import Trial

_CLOSED = ("seed", "objective")  # settings that no option brings along


def build(choice: Choice) -> Document:
    """The document of a chosen trial.

    Raises:
        RequestError: Its folder is not whole, or its configuration cannot be told by options and
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
    document: Document = {
        "defaults": [{f"override /{group}": str(choices[group])} for group in GROUPS]
    }
    document |= _values(given, document, folder)
    _require_same(to_trial(document), given, folder)
    return document


def overrides(document: Document) -> list[str]:
    """The recipe in Hydra's words: what `fmnist-lab train` gets to train the trial."""
    options = exported_files.chosen_options(document)
    settings = {key: document[key] for key in Trial.__dataclass_fields__ if key in document}
    values = [f"++{key}={spell(value)}" for key, value in flatten(settings).items()]
    return [*(f"{group}={option}" for group, option in options.items()), *values]


def to_trial(document: Document) -> Trial:
    """The trial that the recipe describes.

    Raises:
        RequestError: The configuration refuses it.
    """
    return config.to_trial(config.compose(overrides(document)))


def configuration(trial: Trial) -> dict[str, Any]:
    """A trial's whole configuration without what belongs to one machine: the data's folder."""
    whole = trial.as_dict()
    del whole["data"]["dir"]
    return whole


def differing(document: Document) -> list[tuple[str, Any, Any]]:
    """Where the recipe is no longer the recorded trial: dotted key, recorded value, present one."""
    recorded = flatten(document["exported"]["configuration"])
    present = flatten(configuration(to_trial(document)))
    keys = sorted({*recorded, *present})
    pairs = ((key, recorded.get(key), present.get(key)) for key in keys)
    return [(key, before, now) for key, before, now in pairs if before != now]


def _hydra_file(folder: Path, name: str) -> DictConfig:
    path = folder / ".hydra" / f"{name}.yaml"
    try:
        loaded = OmegaConf.load(path)
    except (OSError, yaml.YAMLError) as error:
        raise RequestError(
            f"`{path}` must be there and whole to export the trial: {type(error).__name__}."
        ) from error
    assert isinstance(loaded, DictConfig)  # Hydra wrote it
    return loaded


def _values(given: DictConfig, document: Document, folder: Path) -> dict[str, Any]:
    """What the trial sets beyond the options that it chose, by group."""
    chosen = exported_files.chosen_options(document)
    base = config.compose([f"{group}={option}" for group, option in chosen.items()])
    found: dict[str, Any] = {}
    for key in Trial.__dataclass_fields__:
        mine, theirs = (_raw(cfg, key) for cfg in (given, base))
        if key in _CLOSED or key == "training":
            found[key] = _told(given, key, mine, folder)
        elif changed := {name: value for name, value in mine.items() if theirs.get(name) != value}:
            found[key] = _told(given, key, changed, folder)
    return found


def _raw(cfg: DictConfig, key: str) -> Any:
    node = cfg._get_node(key)
    if not OmegaConf.is_config(node):
        return cfg[key]
    raw = OmegaConf.to_container(node, resolve=False)
    assert isinstance(raw, dict)
    return {name: value for name, value in raw.items() if name not in ("space", "dir")}


def _told(given: DictConfig, key: str, raw: Any, folder: Path) -> Any:
    """The value, or values, as they may stand in an exported file."""
    if isinstance(raw, dict):
        return {name: _told(given, f"{key}.{name}", value, folder) for name, value in raw.items()}
    if isinstance(raw, str) and "${" in raw and not exported_files.is_reference(raw):
        raw = OmegaConf.select(given, key)
    if not exported_files.is_plain(raw) or key.endswith("._target_"):
        raise RequestError(
            f"`{key}` of the trial in {folder} must come from an option or be a plain value to be "
            f"exported, got {raw!r}; give it a file of its own, conf/{key.partition('.')[0]}/NAME."
            "yaml, and train that."
        )
    return raw


def _require_same(trial: Trial, given: DictConfig, folder: Path) -> None:
    """The recipe gives the trial that was trained, or RequestError."""
    try:
        whole = OmegaConf.to_container(given, resolve=True)
    except OmegaConfBaseException as error:
        raise config.refusal(error) from error
    assert isinstance(whole, dict)
    resolved = {
        key: _without_space(whole[key]) if isinstance(whole[key], dict) else whole[key]
        for key in Trial.__dataclass_fields__
    }
    before, now = flatten(resolved), flatten(configuration(trial))
    if wrong := sorted(key for key in {*before, *now} if before.get(key) != now.get(key)):
        key = wrong[0]
        raise RequestError(
            f"`{key}` of the trial in {folder} must follow from its options and values, got "
            f"{before.get(key)!r} there and {now.get(key)!r} from them: the options have changed."
        )


def _without_space(node: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): value for key, value in node.items() if key not in ("space", "dir")}


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
        "mlflow_run_id": None if _missing(row["mlflow_run_id"]) else row["mlflow_run_id"],
        "command": mask(shlex.join(command)),
        "objective": float(row["objective"]),
        "stop_reason": row["stop_reason"],
        "epochs_trained": int(row["epochs_trained"]),
        "delivered_epoch": int(row["delivered_epoch"]),
        "replicates": choice.replicates,
        "data_checksum": checksum,
        "environment": facts,
        "configuration": configuration(trial),
        "curve": curve_diff.read(folder),
    }
    return {key: _printable(value) for key, value in record.items()}


def _printable(value: Any) -> Any:
    return " ".join(value.split()) if isinstance(value, str) else value


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
