"""The configuration: its schema, where its files are, and what is checked before any work."""

import math
import re
from dataclasses import FrozenInstanceError, dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fmnist_lab import data, engines, resolvers, scheduling, searches
from fmnist_lab.checks import require_choice, require_number, require_positive, require_whole
from fmnist_lab.clipping import ClippingConfig
from fmnist_lab.errors import RequestError
from fmnist_lab.exporting import loading
from fmnist_lab.search.secrets import mask
from fmnist_lab.stopping import EarlyStopping
from fmnist_lab.trial import Trial

MOST_EPOCHS = 100_000  # beyond this a slip of the keyboard is likelier than a wish
MONITORS = ("val/loss", "val/accuracy", "train/loss", "train/accuracy")


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
    package = Path(__file__).parent
    installed = package / "conf"
    return str(installed if installed.is_dir() else package.parent / "conf")


def register() -> None:
    """Makes the schema and the resolvers known to Hydra and OmegaConf."""
    schema = OmegaConf.structured(Config)
    _unlock(schema)  # OmegaConf takes a frozen dataclass for a configuration nobody may override
    ConfigStore.instance().store(name="schema", node=schema)
    resolvers.register(config_dir())
    loading.install()  # files in `best` come from others


def compose(overrides: list[str]) -> DictConfig:
    """The configuration that `fmnist-lab train` would compose from these overrides.

    Raises:
        RequestError: Hydra or the schema refused it.
    """
    register()
    try:
        with hydra.initialize_config_dir(config_dir(), version_base="1.3"):
            return hydra.compose("config", overrides)
    except (HydraException, OmegaConfBaseException, ValueError) as error:  # `optimizer=null`
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
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def refusal(error: Exception) -> RequestError:
    """Hydra's and OmegaConf's messages, which run over several lines, as one sentence.

    What they leave out, the keys or options that are allowed, is added.
    """
    noise = ("full_key", "object_type", "reference_type", "See https", "Set the env")
    lines = [line.strip() for line in f"{error}\n{error.__cause__ or ''}".splitlines()]
    lines = [line for line in lines if line and not line.startswith(noise)]
    text = " ".join(lines)
    if found := re.search(r"not find '(.+)' Available options in '(.+)': (.+) Config search", text):
        group, allowed = found[2], ", ".join(found[3].split())
        chosen = found[1].removeprefix(f"{group}/")
        return RequestError(f"`{group}` must be one of {allowed}, got {chosen!r}.")
    if found := re.search(r"Could not override '([^']+)'", text):
        return RequestError(
            f"`{found[1]}` must be a key of the configuration{_siblings(found[1])}."
        )
    if found := re.search(r"Error merging override (\S+)", text):
        key, _, value = found[1].partition("=")
        return RequestError(f"`{key}` must have another type, got {value!r}: {lines[-1]}.")
    return RequestError(text)


def _siblings(key: str) -> str:
    parent = OmegaConf.select(compose([]), key.rpartition(".")[0] or "")
    allowed = ", ".join(map(str, parent)) if OmegaConf.is_dict(parent) else ""
    return f"; allowed beside it: {allowed}" if allowed else ""


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
    if config.kind not in ("trial", "replicate"):
        raise RequestError(f"`kind` must be trial or replicate, got {config.kind!r}.")
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
    tracking = OmegaConf.to_object(cfg.tracking)
    assert isinstance(tracking, TrackingConfig)
    require_choice("tracking", ("local", "server", "none"), name=tracking.name)
    if tracking.name == "server" and not tracking.uri:
        raise RequestError(
            "`tracking.uri` must be a server's address with tracking=server, got none."
        )
    if not tracking.experiment.strip():
        raise RequestError(f"`tracking.experiment` must be a name, got {tracking.experiment!r}.")
    return tracking


def refuse_password(cfg: DictConfig) -> None:
    """Raises `RequestError` where a password in `tracking.uri` would be copied with the file."""
    uri = str(cfg.tracking._get_node("uri"))
    if mask(uri) != uri:
        raise RequestError(
            "`tracking.uri` must take its password from the environment, as in "
            f"${{oc.env:MLFLOW_TRACKING_URI}}, got {mask(uri)!r} in a file."
        )


def validate(trial: Trial) -> None:
    """Raises `RequestError` for the first value that no engine could train.

    What only Keras can judge, the arguments of architectures and optimizers, is judged
    when they are built, before the first epoch.
    """
    _require_seed(trial.seed)
    data.validate(trial.data)
    _validate_training(trial)
    trial.clipping.validate()
    require_positive("optimizer", learning_rate=trial.optimizer.get("learning_rate"))
    require_choice("stopping", MONITORS, monitor=trial.stopping.monitor)
    EarlyStopping(trial.stopping)
    scheduler = scheduling.build(trial.scheduler)
    if isinstance(scheduler, scheduling.Performance):
        require_choice("scheduler", MONITORS, monitor=scheduler.monitor)
    require_choice("objective", ("val/accuracy", "val/loss"), metric=trial.objective.metric)


def _validate_training(trial: Trial) -> None:
    training = trial.training
    require_whole("training", epochs=training.epochs, batch_size=training.batch_size)
    require_positive("training", epochs=training.epochs, batch_size=training.batch_size)
    require_number(
        "training",
        f"at most {MOST_EPOCHS}",
        lambda value: value <= MOST_EPOCHS,
        epochs=training.epochs,
    )
    require_choice("training", engines.ENGINES, engine=training.engine)
    require_choice("training", ("integer", "one_hot"), labels=training.labels)
    require_number(
        "training",
        "at least 0 and below 1",
        lambda value: 0 <= value < 1,
        label_smoothing=training.label_smoothing,
    )
    if training.label_smoothing and training.labels == "integer":
        raise RequestError(
            f"`training.label_smoothing` must be 0 with training.labels=integer, "
            f"got {training.label_smoothing}; smoothing needs training.labels=one_hot."
        )


def _require_seconds(seconds: float | None) -> None:
    if seconds is not None and not 0 <= seconds < math.inf:
        raise RequestError(
            f"`checkpoint_seconds` must be a finite number, zero or more, or null, got {seconds}."
        )


def _require_seed(seed: int) -> None:
    # NumPy's generators, which Keras seeds too, take 32-bit seeds.
    if not 0 <= seed < 2**32:
        raise RequestError(f"`seed` must be from 0 to {2**32 - 1}, got {seed}.")


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
