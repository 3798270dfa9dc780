"""Hydra callback: checks a request before Hydra makes a folder, for every sweeper and launcher."""

import json
import logging.config
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import RangeSweep
from hydra.core.utils import configure_log
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from fmnist_lab import config as configuration
from fmnist_lab.data import PRELOADED
from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.foundation.files import require_writable

_COMPUTED = re.compile(r"\$\{.*\}")
OUR_SWEEPER = "hydra_plugins.fmnist_lab_sweeper.sweeper.FmnistLabSweeper"
_OUR_HOOKS = {
    "check": "fmnist_lab.hydra_app.sweeper_hooks.check",
    "check_together": "fmnist_lab.hydra_app.sweeper_hooks.check_together",
    "recall": "fmnist_lab.hydra_app.sweeper_hooks.recall",
}
_BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


class Refused(BaseException):
    """Carries an error past Hydra, which reports other exceptions of a job or a callback itself."""

    def __init__(self, error: Exception, folder: Path | None = None) -> None:
        self.error = error
        self.folder = folder  # of the job


@dataclass
class Progress:
    """How far Hydra has come with this command."""

    kind: str = "trial"  # what it trains; only our own code asks for replicates
    has_started: bool = False  # whether the configuration is composed and checked
    folder: Path = Path()  # of the trial or the multirun
    new_folder: Path | None = None  # for results, where there was none before


progress = Progress()  # of the command that runs in this process


class Gate(Callback):
    """Checks what is composed, and notes where Hydra is about to make a folder."""

    leaves_results = True  # of a trial in `result.json`, so the launcher need not

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before it makes the folder of a trial."""
        _check(config, RunMode.RUN)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before it gives a multirun to its sweeper."""
        _check(config, RunMode.MULTIRUN)


def _check(config: DictConfig, mode: RunMode) -> None:
    try:
        is_run = mode == RunMode.RUN
        folder = Path(str(config.hydra.run.dir if is_run else config.hydra.sweep.dir))
        _require_kind(config)
        _require_subfolder(config)
        _require_logging(config)
        if is_run:
            require_writable(folder / str(config.hydra.output_subdir or ""))
            configuration.to_trial(config)  # jobs of a multirun check their own
            configuration.to_tracking(config)
            configuration.refuse_password(config)
        else:
            require_writable(folder)
            _require_folders(config)
            _require_jobs(config)
            _require_baseline(config)
            _add_hooks(config)
            _preload_images(config)
    except Exception as error:
        # Hydra makes a warning of any other exception of a callback.
        raise Refused(configuration.refusal(error)) from error
    progress.has_started = True
    progress.folder = folder
    progress.new_folder = None if folder.exists() else folder


def require_kind(given: Any) -> None:
    """Raises `RequestError` for runs of a kind that this command does not train.

    A replicate opens the test set, which is on the record where a sweep's second stage makes it.
    """
    if given != progress.kind:
        hint = "a sweep itself trains its winners again, and records that the test set is opened"
        raise RequestError("kind", f"stay {progress.kind}", given, hint)


def _require_kind(config: DictConfig) -> None:
    require_kind(config.kind)
    for word in config.hydra.overrides.task if progress.kind == "trial" else ():
        key, _, given = word.lstrip("+~").partition("=")  # several, too, which are not composed
        if key == "kind":
            require_kind(given)


def _require_baseline(config: DictConfig) -> None:
    """Requires that the baseline is one of the strategies, if there are any."""
    known = config.hydra.sweeper.get("strategies")
    if config.baseline is not None and known and config.baseline not in known:
        raise RequestError("baseline", f"be one of {', '.join(known)}", config.baseline)


def _require_subfolder(config: DictConfig) -> None:
    """Requires that what Hydra writes about a job stays in the job's folder."""
    try:
        given = config.hydra.output_subdir
    except OmegaConfBaseException:  # it depends on the job
        given = config.hydra._get_node("output_subdir")._value()
    inside = Path(os.path.normpath(str(given)))
    if given is not None and (inside.is_absolute() or ".." in inside.parts):
        raise RequestError("hydra.output_subdir", "be a folder in that of the trial", str(given))


def _require_folders(config: DictConfig) -> None:
    """Requires a folder for each job; a job that finds another's result refuses itself."""
    given = str(config.hydra.sweep._get_node("subdir")._value())
    if not _COMPUTED.search(given):
        raise RequestError(
            "hydra.sweep.subdir",
            "give each job a folder of its own, as in ${hydra.job.num}",
            Phrase(f"{given!r} for all of them"),
        )


def _require_jobs(config: DictConfig) -> None:
    """Requires ranges that have values, and no more than can be jobs: Hydra lists them all."""
    sweeper = config.hydra.sweeper
    if sweeper._target_ != _BASIC_SWEEPER:
        return  # ours checks what it searches
    words = [*config.hydra.overrides.task]
    words += [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
    ranges = [word for word in words if "range(" in word]
    if not ranges:
        return
    from fmnist_lab.sweeper.space import range_values

    for override in OverridesParser.create().parse_overrides(ranges):
        if not isinstance(sweep := override.value(), RangeSweep):
            continue
        try:
            range_values(sweep)
        except (ValueError, ArithmeticError) as error:
            got = Phrase(f"{override.get_value_string()}: {error}")
            raise RequestError(override.get_key_element(), "be a range of jobs", got) from error


def _require_logging(config: DictConfig) -> None:
    """Tries the configuration of the jobs' log, with nowhere for its files."""
    if config.hydra.job_logging is None:
        return
    logs: Any = OmegaConf.to_container(config.hydra.job_logging, resolve=False)
    for handler in (logs.get("handlers") or {}).values():
        if "filename" in handler:
            handler["filename"] = os.devnull
    try:
        logging.config.dictConfig(logs)
    except Exception as error:
        raise RequestError(
            "hydra.job_logging",
            "be what logging.config.dictConfig takes",
            Phrase(f"{type(error).__name__}: {error}"),
        ) from error
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)  # as it was


def _preload_images(config: DictConfig) -> None:
    """Says which images local workers find in memory: those of jobs that choose no others.

    Not those of a user's function: it may start threads, which a fork leaves behind.
    """
    os.environ.pop(PRELOADED, None)
    with suppress(OmegaConfBaseException):  # they depend on the job
        images: Any = OmegaConf.to_container(config.data, resolve=True)
        if images.get("_target_") is None:
            os.environ[PRELOADED] = json.dumps(images)


def _add_hooks(config: DictConfig) -> None:
    """Gives our sweeper, which serves other applications too, what it needs for this one."""
    sweeper = config.hydra.sweeper
    if sweeper._target_ != OUR_SWEEPER:
        return
    with flag_override(sweeper, ["struct", "readonly"], False):
        for key, function in _OUR_HOOKS.items():
            if sweeper.get(key) is None:
                sweeper[key] = function
