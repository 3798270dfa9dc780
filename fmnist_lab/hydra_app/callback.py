"""What is refused before Hydra makes the first folder: jobs without end or place of their own.

And what our sweeper, which serves other applications too, is told about this one.

A callback of Hydra's (`hydra.callbacks.gate`), so that it holds for every sweeper.
"""

import os
import re
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import RangeSweep
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, flag_override
from omegaconf.errors import OmegaConfBaseException

from fmnist_lab.config.refusals import Refused
from fmnist_lab.errors import RequestError

_COMPUTED = re.compile(r"\$\{.*\}")
_OURS = {
    "check": "fmnist_lab.commands.sweep.check",
    "check_together": "fmnist_lab.hydra_app.comparable.check",
    "recall": "fmnist_lab.hydra_app.recall.of_trial",
}


class Gate(Callback):
    """Raises `Refused`, because Hydra makes a warning of any other error of a callback's."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before it makes the folder of a trial."""
        try:
            _require_inside(config)
        except RequestError as error:
            raise Refused(error) from error

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before it gives a multirun to its sweeper."""
        try:
            _require_inside(config)
            _require_folders(config)
            _require_jobs(config)
            _instruct(config)
        except RequestError as error:
            raise Refused(error) from error


def _instruct(config: DictConfig) -> None:
    """Hydra makes the sweeper from this configuration, whichever file or word has chosen it."""
    sweeper = config.hydra.sweeper
    if not str(sweeper._target_).endswith(".FmnistLabSweeper"):
        return
    with flag_override(sweeper, ["struct", "readonly"], False):
        for key, function in _OURS.items():
            if sweeper.get(key) is None:
                sweeper[key] = function


def _require_inside(config: DictConfig) -> None:
    """What Hydra writes about a job stays in the job's folder."""
    try:
        given = config.hydra.output_subdir
    except OmegaConfBaseException:  # it depends on the job
        given = config.hydra._get_node("output_subdir")._value()
    inside = os.path.normpath(str(given))
    if given is not None and (Path(inside).is_absolute() or inside.startswith("..")):
        raise RequestError(
            f"`hydra.output_subdir` must be a folder in that of the trial, got {str(given)!r}."
        )


def _require_folders(config: DictConfig) -> None:
    """No two jobs share a folder for certain; a job that finds another's is refused there."""
    given = config.hydra.sweep._get_node("subdir")._value()
    if not _COMPUTED.search(str(given)):
        raise RequestError(
            "`hydra.sweep.subdir` must give each job a folder of its own, as in "
            f"${{hydra.job.num}}, got {str(given)!r} for all of them."
        )


def _require_jobs(config: DictConfig) -> None:
    """Ranges have values, and no more than can be jobs: Hydra would list them all."""
    sweeper = config.hydra.sweeper
    if not str(sweeper._target_).endswith("BasicSweeper"):
        return  # ours says itself what it cannot search
    words = list(config.hydra.overrides.task)
    words += [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
    ranges = [word for word in words if "range(" in word]
    if not ranges:
        return
    from fmnist_lab.sweeper.space import Range

    for override in OverridesParser.create().parse_overrides(ranges):
        if not isinstance(sweep := override.value(), RangeSweep):
            continue
        try:
            Range(sweep).values()
        except (ValueError, ArithmeticError) as error:
            raise RequestError(
                f"`{override.get_key_element()}` must be a range of jobs, got "
                f"{override.get_value_string()}: {error}."
            ) from error
