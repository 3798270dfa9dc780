"""Checks a trial's values, alone and together, before anything is trained."""

import os
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from fmnist_lab import data, schedules
from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.foundation.secrets import mask
from fmnist_lab.foundation.validate import (
    require_choice,
    require_non_negative,
    require_positive,
    require_share,
    require_whole,
)
from fmnist_lab.metrics import MONITORS, OBJECTIVES, direction
from fmnist_lab.training import augmentation, averaging, clipping, engines
from fmnist_lab.training.early_stopping import EarlyStopping
from fmnist_lab.training.engines.backend import import_tensorflow
from fmnist_lab.trial import Trial

MOST_EPOCHS = 100_000  # beyond this a slip of the keyboard is likelier than a wish
# What Keras's optimizers take without a word, and divide by or count down from.
_SHARES = ("beta_1", "beta_2", "rho", "momentum")
_NON_NEGATIVE = ("epsilon", "weight_decay", "initial_accumulator_value")
_SERVERS = ("http", "https")
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")  # with a driver, too: mysql+pymysql
_ALLOWED = ", ".join(f"{scheme}://" for scheme in (*_SERVERS, "databricks", *_DATABASES))
_FILES = "MLFLOW_ALLOW_FILE_STORE"  # without it MLflow refuses to record in plain files


def validate(trial: Trial) -> None:
    """Raises `RequestError` for the first value that no engine could train.

    What only Keras can judge, the arguments of architectures, is judged when they are built,
    before the first epoch.
    """
    if not 0 <= trial.seed < 2**32:  # what NumPy's generators take, which Keras seeds too
        raise RequestError("seed", f"be from 0 to {2**32 - 1}", trial.seed)
    data.validate(trial.data)
    augmentation.validate(trial.augmentation)
    _validate_training(trial)
    clipping.validate(trial.clipping)
    averaging.validate(trial.averaging, trial.training.epochs)
    _validate_optimizer(trial.optimizer)
    _validate_stopping(trial)
    _validate_scheduler(trial)
    require_choice("objective", OBJECTIVES, metric=trial.objective.metric)


def _validate_training(trial: Trial) -> None:
    training = trial.training
    require_whole("training", epochs=training.epochs, batch_size=training.batch_size)
    require_positive("training", epochs=training.epochs, batch_size=training.batch_size)
    for name, most in (("epochs", MOST_EPOCHS), ("batch_size", data.TRAIN_IMAGES)):
        value = getattr(training, name)
        if value > most:
            raise RequestError(f"training.{name}", f"be at most {most}", value)
    require_choice("training", engines.ENGINES, engine=training.engine)
    require_choice("training", ("integer", "one_hot"), labels=training.labels)
    require_share("training", label_smoothing=training.label_smoothing)
    if training.label_smoothing and training.labels == "integer":
        raise RequestError(
            "training.label_smoothing",
            "be 0 with training.labels=integer",
            training.label_smoothing,
            "smoothing needs training.labels=one_hot",
        )


def _validate_optimizer(node: dict[str, Any]) -> None:
    """Checks what Keras's optimizers take without complaint, and fail with in a step."""
    require_positive("optimizer", learning_rate=node.get("learning_rate"))
    for key, value in node.items():
        if value is not None and key in _SHARES:
            require_share("optimizer", **{key: value})
        if value is not None and key in _NON_NEGATIVE:
            require_non_negative("optimizer", **{key: value})


def _validate_stopping(trial: Trial) -> None:
    stopping, epochs = trial.stopping, trial.training.epochs
    require_choice("stopping", MONITORS, monitor=stopping.monitor)
    EarlyStopping(stopping)
    _require_direction("stopping", stopping.monitor, stopping.mode)
    if stopping.name == "none" and stopping.restore_best:
        hint = "stopping=patience delivers the best epoch's weights, stopped or not"
        raise RequestError("stopping.restore_best", "be false with stopping=none", True, hint)
    if stopping.start_from_epoch >= epochs:
        raise RequestError(
            "stopping.start_from_epoch",
            f"be below training.epochs={epochs}",
            stopping.start_from_epoch,
            "no epoch would be looked at",
        )


def _validate_scheduler(trial: Trial) -> None:
    node, epochs = trial.scheduler, trial.training.epochs
    if str(node.get("_target_")).startswith("keras."):
        import_tensorflow()  # in our way, before it is imported in any other
    scheduler = schedules.build(node)
    if isinstance(scheduler, schedules.Performance):
        require_choice("scheduler", MONITORS, monitor=scheduler.monitor)
        _require_direction("scheduler", scheduler.monitor, scheduler.mode)
    warmup = node.get("warmup_epochs", 0)
    if isinstance(warmup, int | float) and not 0 <= warmup < epochs:
        rule = f"be shorter than the training of {epochs} epochs"
        raise RequestError("scheduler.warmup_epochs", rule, warmup)
    if isinstance(scheduler, schedules.Scheduled) and not _all_sound(scheduler, epochs):
        for epoch in range(epochs):  # the first that is not is named
            _require_rates(scheduler, epoch)
    else:  # what other schedulers will do depends on the metrics
        _require_rates(scheduler, 0)
        _require_rates(scheduler, epochs - 1)


def _all_sound(scheduler: schedules.Scheduled, epochs: int) -> bool:
    """Whether the rates of all epochs, of which there may be 100,000, are sound at one look."""
    try:
        with np.errstate(all="ignore"):
            rates = scheduler.learning_rates(0, 2, epochs)
    except Exception:  # a schedule of the user's own need not take several epochs at once
        return False
    return bool(np.all((rates >= 0) & np.isfinite(rates)))


def _require_rates(scheduler: schedules.Scheduler, epoch: int) -> None:
    """What a schedule makes of its arguments, the user's own above all, can be trained with."""
    try:
        with np.errstate(all="ignore"):
            rates = np.asarray(scheduler.learning_rates(epoch, 2), dtype=np.float64)
    except Exception as error:
        got = Phrase(f"{type(error).__name__}: {error} in epoch {epoch}")
        raise RequestError("scheduler", "give a learning rate for every epoch", got) from error
    if rates.shape != (2,) or not np.all((rates >= 0) & np.isfinite(rates)):
        rule = "give finite learning rates, zero or more, one for every step"
        raise RequestError("scheduler", rule, Phrase(f"{rates.tolist()} in epoch {epoch}"))


def _require_direction(group: str, monitor: str, mode: str) -> None:
    better = direction(group, monitor)
    if mode not in ("auto", better):
        rule = f"be auto or {better} with {group}.monitor={monitor}"
        raise RequestError(f"{group}.mode", rule, mode, "the worst epoch would be the best")


def require_store(key: str, uri: str) -> None:
    """Raises `RequestError` for an address at which MLflow can never record."""
    is_web = uri.lower().startswith(tuple(f"{scheme}://" for scheme in _SERVERS))
    # A database may be a file in a folder with spaces.
    has_spaces = uri != uri.strip() or (is_web and len(uri.split()) > 1)
    if has_spaces or not _is_store(uri):
        rule = f"be the address of an MLflow server or database, beginning with one of {_ALLOWED}"
        hint = "a password may have spaces as %20" if has_spaces else ""
        raise RequestError(key, rule, mask(uri), hint)


def _is_store(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port  # a port that is no number is an error
    except ValueError:
        return False
    if parts.scheme in _SERVERS:
        return bool(host)
    if parts.scheme.partition("+")[0] in _DATABASES:
        return f"{parts.scheme}://" in uri.lower()
    if "databricks" in (uri, parts.scheme):
        return True
    if parts.scheme in ("", "file"):
        return bool(uri.strip()) and os.environ.get(_FILES, "").lower() in ("true", "1")
    return parts.scheme in entry_points(group="mlflow.tracking_store").names  # of plugins
