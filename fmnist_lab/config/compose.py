"""The configuration: its schema, how it is composed, what it stands for."""

import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fmnist_lab import looks
from fmnist_lab.config import config_files
from fmnist_lab.config.config_files import config_dir
from fmnist_lab.config.validation import require_store, validate
from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.foundation.files import listed
from fmnist_lab.foundation.secrets import mask
from fmnist_lab.foundation.validate import require_choice, require_text
from fmnist_lab.trial import ADDED, AveragingConfig, ClippingConfig, Trial

STRIDE = 1000  # from one search's seed to the next one's: room for the seeds of its replicates

_NOTES = (
    "object_type",
    "reference_type",
    "See https",
    "Set the env",
    "Config search",
    "provider=",
)


class Tracking(StrEnum):
    """Where runs are recorded."""

    LOCAL = "local"  # in the store under `mlruns/`
    SERVER = "server"
    NONE = "none"


@dataclass(frozen=True)
class TrackingConfig:
    """Where runs are recorded: in the store under `mlruns/`, on a server, or nowhere."""

    name: str = Tracking.LOCAL
    uri: str | None = None  # of an MLflow server or database; null: mlruns/mlflow.db
    experiment: str = "fmnist-lab"
    parent: str | None = None  # MLflow run id of the sweep's run; set by the sweep


@dataclass(frozen=True)
class SearchableClipping(ClippingConfig):
    """Clipping, and what a sweep may suggest for it."""

    space: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchableAveraging(AveragingConfig):
    """Averaging, and what a sweep may suggest for it."""

    space: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Config(Trial):
    """The root of the configuration: a trial, how it is recorded, and what may be searched.

    A node of an open family (architecture, optimizer, scheduler) may hold a `space`, too.
    """

    clipping: SearchableClipping = field(default_factory=SearchableClipping)
    averaging: SearchableAveraging = field(default_factory=SearchableAveraging)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    strategy: str | None = None  # a name for these choices in comparisons; null: the scheduler's
    kind: str = "trial"  # or replicate: delivered weights see the test set; set by a sweep alone
    replicates: Any = 8  # of each winner, with fresh seeds, once it is tuned: int | auto | looks
    # The least time between two checkpoints; 0: one after each epoch; None: none.
    checkpoint_seconds: float | None = 30.0
    searches: int = 1  # how often a sweep is tuned, each time with other trials and other seeds
    recentre: bool = False  # tune again around a best value that is an end of what was tried
    baseline: str | None = None  # what the others are compared with; null: constant, or the first
    margin: float = 0.002  # of accuracy: within it two strategies are equivalent
    alpha: float = 0.05  # the error rate of the verdicts
    cells: Any = None  # list of keys whose values make cells, in each of which are verdicts


def register() -> None:
    """Makes the schema and the resolvers known to Hydra and OmegaConf.

    Raises:
        PermissionError: There are files of the user's here that this user may not read.
    """
    ConfigStore.instance().store(name="schema", node=_schema())
    listed(Path("conf"))  # raises where it may not be read, which Hydra takes for its absence
    resolvers: dict[str, Callable[..., Any]] = {
        "search_path": _search_path,
        "epochs": _epochs,
        "direction": lambda metric: "minimize" if metric == "val/loss" else "maximize",
        "added": lambda: {f"{key}.{n}": v for key, node in ADDED.items() for n, v in node.items()},
        "name_of": lambda folder: Path(folder).name,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(f"fmnist_lab.{name}", resolver, replace=True)
    config_files.install()  # files in `best` come from others


def compose(overrides: list[str]) -> DictConfig:
    """Composes the configuration that `fmnist-lab train` has with these overrides.

    Raises:
        RequestError: Hydra or the schema refuses it.
    """
    register()
    try:
        with hydra.initialize_config_dir(config_dir(), version_base="1.3"):
            return hydra.compose("config", overrides)
    except Exception as error:
        raise refusal(error) from error


def load(path: Path) -> DictConfig:
    """Loads the configuration that a trial has left in its folder, in `.hydra/config.yaml`.

    Raises:
        RequestError: There is none, or the schema refuses it.
    """
    register()
    try:
        return _checked(OmegaConf.load(path))
    except FileNotFoundError as error:
        raise RequestError(f"{path}", "hold a trial's configuration", Phrase("no file")) from error


def to_trial(cfg: DictConfig) -> Trial:
    """Returns the trial that a composed configuration describes, without its search spaces.

    Raises:
        RequestError: A value is not allowed.
    """
    given: Any = OmegaConf.to_container(cfg, resolve=False)
    given.pop("hydra", None)  # a callback's has it, a job's has not
    config = _to_object(_checked(given))
    assert isinstance(config, Config)
    for item in fields(Config):  # `${oc.env:HOME}` in a file makes a single value of a group
        node, default = getattr(config, item.name), item.default_factory
        if default is not MISSING and not isinstance(node, type(default())):
            raise RequestError(item.name, "hold keys and values", node)
    if config.kind not in ("trial", "replicate"):
        raise RequestError("kind", "be trial or replicate", config.kind)
    if config.strategy is not None:
        require_text("strategy", config.strategy)
    validate_stages(config.replicates, config.searches, config.cells)
    keys = config.cells
    if keys is not None and not (isinstance(keys, list) and all(isinstance(k, str) for k in keys)):
        raise RequestError("cells", "be a list of keys, or null", config.cells)
    if not 0 < config.margin < 1:
        raise RequestError("margin", "be above 0 and below 1, as accuracies are", config.margin)
    if not 0 < config.alpha < 0.5:
        raise RequestError("alpha", "be above 0 and below 0.5", config.alpha)
    seconds = config.checkpoint_seconds
    if seconds is not None and not 0 <= seconds < math.inf:
        raise RequestError(
            "checkpoint_seconds", "be a finite number, zero or more, or null", seconds
        )
    trial = Trial(**{key: _plain(getattr(config, key)) for key in Trial.__dataclass_fields__})
    validate(trial)
    return trial


def to_tracking(cfg: DictConfig) -> TrackingConfig:
    """Returns the tracking that a composed configuration describes.

    Raises:
        RequestError: A value is not allowed.
    """
    tracking = _to_object(cfg.tracking)
    assert isinstance(tracking, TrackingConfig)  # `to_trial` comes first
    require_choice("tracking", list(Tracking), name=tracking.name)
    if tracking.name == Tracking.SERVER and not tracking.uri:
        raise RequestError(
            "tracking.uri", "be a server's address with tracking=server", Phrase("none")
        )
    if tracking.name != Tracking.NONE and tracking.uri:
        require_store("tracking.uri", tracking.uri)
    require_text("tracking.experiment", tracking.experiment)
    return tracking


def refuse_password(cfg: DictConfig) -> None:
    """Raises `RequestError` where a password in `tracking.uri` would be copied with the file."""
    uri = str(cfg.tracking._get_node("uri"))
    if mask(uri) != uri:
        raise RequestError(
            "tracking.uri",
            "take its password from the environment, as in ${oc.env:MLFLOW_TRACKING_URI}",
            mask(uri),
            "it stands in a file",
        )


def validate_stages(replicates: Any, searches: int, cells: Any) -> None:
    """Raises `RequestError` for stages that no sweep could have."""
    if OmegaConf.is_config(replicates):
        replicates = OmegaConf.to_container(replicates)
    is_planned = bool(looks.planned(replicates))
    if not 0 <= looks.most(replicates) < STRIDE:  # the next search's seeds begin there
        raise RequestError("replicates", f"be zero or more and below {STRIDE}", replicates)
    if is_planned and searches > 1:  # whose means over seeds are the pairs, all equally many
        hint = "looks are at the seeds of one search; here each search is a pair, so ask for more"
        raise RequestError("replicates", "be a number with several searches", replicates, hint)
    if is_planned and cells:
        hint = "looks are at all strategies together, and here each cell is judged by itself"
        raise RequestError("replicates", "be a number with cells", replicates, hint)
    if not 1 <= searches <= STRIDE:
        raise RequestError("searches", f"be from 1 to {STRIDE}", searches)


def refusal(error: Exception) -> RequestError:
    """Returns what Hydra or OmegaConf says of a configuration, in one line.

    The value that an interpolation leads to is left out: it may be a secret.
    """
    if isinstance(error, RequestError):
        return error
    if isinstance(error, RecursionError):
        return RequestError("defaults", "not lead back to its own file", Phrase("a circle"))
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        reason = str(error.msg or error).partition("\n")[0].partition(": Value '")[0]
        return RequestError(error.full_key, "have another value", Phrase(reason.rstrip(".")))
    lines = [line.strip() for line in f"{error}\n{error.__cause__ or ''}".splitlines()]
    text = " ".join(line for line in lines if line and not line.startswith(_NOTES))
    if not isinstance(error, HydraException | OmegaConfBaseException):
        text = f"The configuration cannot be composed: {type(error).__name__}: {text}"
    return RequestError(f"{text.rstrip('.')}.")


def _search_path() -> list[str]:
    """Returns where else groups are: the user's `./conf` and `./sweeps`, and our `sweeps/`."""
    ours, own = Path(config_dir()), Path.cwd()
    folders = [own / "conf"] if (own / "conf").is_dir() else []
    folders += [folder for folder in (own, ours.parent) if (folder / "sweeps").is_dir()]
    return [folder.as_uri() for folder in dict.fromkeys(folders) if folder != ours]


def _epochs(share: float, least: float = 0.0, *, _root_: DictConfig) -> float:
    """Returns a share of the training, in epochs: for search spaces that follow its length."""
    epochs: int = _root_.training.epochs
    return max(round(share * epochs, 6), least)  # 0.3, not 0.30000000000000004


@cache
def _schema() -> DictConfig:
    """Returns the schema for Hydra's store, which keeps and hands out copies of it."""
    schema: DictConfig = OmegaConf.structured(Config)
    _unlock(schema)  # for OmegaConf a frozen dataclass is one that overrides cannot change
    return schema


def _unlock(node: Any) -> None:
    OmegaConf.set_readonly(node, False)
    for key in node:
        child = node._get_node(key)
        if OmegaConf.is_config(child):
            _unlock(child)


def _checked(cfg: Any) -> DictConfig:
    """Returns a configuration that the schema has checked, which a plus takes keys past.

    The result may share nodes with what it is given.
    """
    try:
        merged = OmegaConf.unsafe_merge(ConfigStore.instance().load("schema.yaml").node, cfg)
    except OmegaConfBaseException as error:
        raise refusal(error) from error
    assert isinstance(merged, DictConfig)
    return merged


def _to_object(node: Any) -> Any:
    """Returns the dataclass that a node stands for."""
    try:
        return OmegaConf.to_object(node)
    except OmegaConfBaseException as error:  # `training.epochs=${nope}`
        raise refusal(error) from error


def _plain(node: Any) -> Any:
    """Returns the node as whatever it configures knows it: without its search space."""
    if isinstance(node, SearchableClipping):
        return ClippingConfig(node.name, node.threshold)
    if isinstance(node, SearchableAveraging):
        return AveragingConfig(node.name, node.decay, node.start_from_epoch, node.beta)
    if isinstance(node, dict):
        return {key: value for key, value in node.items() if key != "space"}
    return node
