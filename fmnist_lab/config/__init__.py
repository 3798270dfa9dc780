"""The configuration: its schema, where its files are, and what is checked before any work."""

import math
from dataclasses import MISSING, FrozenInstanceError, dataclass, field, fields
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fmnist_lab.config import exported_files, resolvers
from fmnist_lab.config.addresses import require_store
from fmnist_lab.config.refusals import is_of_configuration, refusal
from fmnist_lab.config.validation import validate
from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.files import listed
from fmnist_lab.foundation.secrets import mask
from fmnist_lab.foundation.validate import require_choice, require_text
from fmnist_lab.results import searches
from fmnist_lab.trial import ClippingConfig, Trial


@dataclass(frozen=True)
class TrackingConfig:
    """Where runs are recorded: in the store under `mlruns/`, on a server, or nowhere."""

    name: str = "local"  # local | server | none
    uri: str | None = None  # of an MLflow server or database; null: mlruns/mlflow.db
    experiment: str = "fmnist-lab"
    parent: str | None = None  # MLflow run id of the sweep's run; set by the sweep


@dataclass(frozen=True)
class SearchableClipping(ClippingConfig):
    """Clipping, and what a sweep may suggest for it."""

    space: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Config(Trial):
    """The root of the configuration: a trial, how it is recorded, and what may be searched.

    A node of an open family (architecture, optimizer, scheduler) may hold a `space`, too.
    """

    clipping: SearchableClipping = field(default_factory=SearchableClipping)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    strategy: str | None = None  # a name for these choices in comparisons; null: the scheduler's
    kind: str = "trial"  # trial | replicate: one whose delivered weights see the test set
    replicates: int = 8  # of each strategy's winner, with fresh seeds, when a sweep has been tuned
    checkpoint_seconds: float | None = 30.0  # at least, between two; 0: every epoch; None: never
    searches: int = 1  # how often a sweep is tuned, each time with other trials and other seeds


def config_dir() -> str:
    """The folder with the configuration files: inside an installed package, else beside it."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return str(installed if installed.is_dir() else package.parent / "conf")


def register() -> None:
    """Makes the schema and the resolvers known to Hydra and OmegaConf.

    Raises:
        PermissionError: There are files of the user's here that this user may not read.
    """
    schema = OmegaConf.structured(Config)
    _unlock(schema)  # OmegaConf takes a frozen dataclass for a configuration nobody may override
    ConfigStore.instance().store(name="schema", node=schema)
    listed(Path("conf"))  # raises where it may not be read, which Hydra takes for its absence
    resolvers.register(config_dir())
    exported_files.install()  # files in `best` come from others


def compose(overrides: list[str]) -> DictConfig:
    """The configuration that `fmnist-lab train` would compose from these overrides.

    Raises:
        RequestError: Hydra or the schema refused it.
    """
    register()
    try:
        with hydra.initialize_config_dir(config_dir(), version_base="1.3"):
            return hydra.compose("config", overrides)
    except RequestError:
        raise
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise refusal(error) from error
    except Exception as error:
        if not is_of_configuration(error):
            raise
        raise refusal(error) from error


def load(path: Path) -> DictConfig:
    """The configuration that a trial has left in its folder, in `.hydra/config.yaml`.

    Raises:
        RequestError: There is none, or the schema refuses it.
    """
    register()
    schema = ConfigStore.instance().load("schema.yaml").node
    try:
        merged = OmegaConf.merge(schema, OmegaConf.load(path))
    except FileNotFoundError as error:
        raise RequestError(f"`{path}` must hold a trial's configuration, got no file.") from error
    except OmegaConfBaseException as error:
        raise refusal(error) from error
    assert isinstance(merged, DictConfig)
    return merged


def options(group: str) -> list[str]:
    """The names that may be chosen in a group, ours and the user's, sorted."""
    ours, own = Path(config_dir()), Path.cwd()
    folders = [ours, ours.parent, own / "conf", own]
    found = [path for folder in folders for path in listed(folder / group)]
    return sorted({path.stem for path in found if path.suffix == ".yaml"})


def to_trial(cfg: DictConfig) -> Trial:
    """The trial that a composed configuration describes, without its search spaces.

    Raises:
        RequestError: A value is not allowed; the message names its key.
    """
    try:
        config = OmegaConf.to_object(cfg)
    except OmegaConfBaseException as error:  # `training.epochs=${nope}`
        raise refusal(error) from error
    except FrozenInstanceError as error:  # `+foo=1`: a plus gets a key past the schema
        key = str(error).split("'")[1]
        raise RequestError(
            f"`{key}` must be a key of the configuration; only architecture, optimizer and "
            "scheduler take others by +."
        ) from error
    assert isinstance(config, Config)  # the schema opens the defaults list
    _require_nodes(config)
    if config.kind not in ("trial", "replicate"):
        raise RequestError(f"`kind` must be trial or replicate, got {config.kind!r}.")
    if config.strategy is not None:
        require_text("strategy", config.strategy)
    searches.validate(config.replicates, config.searches)
    _require_seconds(config.checkpoint_seconds)
    trial = Trial(**{key: _plain(getattr(config, key)) for key in Trial.__dataclass_fields__})
    validate(trial)
    return trial


def to_tracking(cfg: DictConfig) -> TrackingConfig:
    """The tracking that a composed configuration describes.

    Raises:
        RequestError: A value is not allowed; the message names its key.
    """
    try:
        tracking = OmegaConf.to_object(cfg.tracking)
    except OmegaConfBaseException as error:
        raise refusal(error) from error
    assert isinstance(tracking, TrackingConfig)  # `to_trial` comes first
    require_choice("tracking", ("local", "server", "none"), name=tracking.name)
    if tracking.name == "server" and not tracking.uri:
        raise RequestError(
            "`tracking.uri` must be a server's address with tracking=server, got none."
        )
    if tracking.name != "none" and tracking.uri:
        require_store("tracking.uri", tracking.uri)
    require_text("tracking.experiment", tracking.experiment)
    return tracking


def refuse_password(cfg: DictConfig) -> None:
    """Raises `RequestError` where a password in `tracking.uri` would be copied with the file."""
    uri = str(cfg.tracking._get_node("uri"))
    if mask(uri) != uri:
        raise RequestError(
            "`tracking.uri` must take its password from the environment, as in "
            f"${{oc.env:MLFLOW_TRACKING_URI}}, got {mask(uri)!r} in a file."
        )


def _require_nodes(config: Config) -> None:
    """No group is a single value, which `${oc.env:HOME}` in a file would make of it."""
    for item in fields(Config):
        node, default = getattr(config, item.name), item.default_factory
        if default is not MISSING and not isinstance(node, type(default())):
            raise RequestError(f"`{item.name}` must hold keys and values, got {node!r}.")


def _require_seconds(seconds: float | None) -> None:
    if seconds is not None and not 0 <= seconds < math.inf:
        raise RequestError(
            f"`checkpoint_seconds` must be a finite number, zero or more, or null, got {seconds}."
        )


def _plain(node: Any) -> Any:
    """The node as whatever it configures knows it: without its search space."""
    if isinstance(node, SearchableClipping):
        return ClippingConfig(node.name, node.threshold)
    if isinstance(node, dict):
        return {key: value for key, value in node.items() if key != "space"}
    return node


def _unlock(node: Any) -> None:
    OmegaConf.set_readonly(node, False)
    for key in node:
        child = node._get_node(key)
        if OmegaConf.is_config(child):
            _unlock(child)
