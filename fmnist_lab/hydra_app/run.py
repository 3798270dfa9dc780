"""Runs our Hydra applications on a command line; a refused request is one sentence."""

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fmnist_lab import config
from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.foundation import secrets
from fmnist_lab.foundation.interruption import interrupted
from fmnist_lab.hydra_app.callback import Refused, progress
from fmnist_lab.hydra_app.trial_job import job
from fmnist_lab.results.layout import CURVES
from fmnist_lab.sweeper.settings import SecondControllerError

_SHOWS = ("--cfg", "-c", "--info", "-i", "--help", "-h", "--hydra-help", "--version", "-sc")
_RERUN = "--experimental-rerun"


@hydra.main(version_base="1.3", config_path=config.config_dir(), config_name="config")
def trials(cfg: DictConfig) -> float:
    """Returns the application behind `fmnist-lab train`: one trial, or `-m` for many."""
    return job(cfg)


@hydra.main(version_base="1.3", config_path=config.config_dir(), config_name="sweep")
def sweep(cfg: DictConfig) -> float:
    """Returns the application behind `fmnist-lab sweep`: trials chosen by Optuna, on every core."""
    return job(cfg)


def shows(arguments: Sequence[str]) -> bool:
    """Returns whether Hydra only shows something."""
    return any(word.partition("=")[0] in _SHOWS for word in arguments)


def run(
    application: Callable[[], object],
    program: str,
    arguments: Sequence[str],
    kind: str = "trial",
) -> Path:
    """Runs an application as if the command line were its own, and returns its folder.

    Args:
        application: `trials` or `sweep`, see above.
        program: What usage and errors call it.
        arguments: Overrides, and Hydra's flags.
        kind: What may be trained: no other `kind` in the configuration is accepted.

    Raises:
        RequestError: Hydra, the schema or a check refuses the request. What the command has made
            is removed, unless something was trained there.
        KeyboardInterrupt: Even where a library has made another error of it.
    """
    _refuse_pickles(arguments)
    config.register()
    sys.argv = [program, *secrets.into_environment(arguments)]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints errors and exits itself
    progress.kind, progress.has_started, progress.new_folder = kind, False, None
    progress.folder = Path()
    interrupted.clear()
    refused = None
    try:
        application()
    except Refused as caught:
        refused = caught
    except Exception as error:
        if interrupted.is_set():
            raise KeyboardInterrupt from error
        # Before it has started, whatever Hydra raises is about what it composes.
        ours = RequestError | HydraException | OmegaConfBaseException
        if progress.has_started and not isinstance(error, ours):
            raise
        if not isinstance(error, SecondControllerError):  # then the folder is the first one's
            _remove_new_folder()
        raise config.refusal(error) from error
    if refused is not None:
        _remove_new_folder(refused.folder)
        raise refused.error  # here: its context would lead back to it, which no pickle survives
    return progress.folder


def _refuse_pickles(arguments: Sequence[str]) -> None:
    """Refuses the option with which Hydra unpickles a file, and so runs what is in it."""
    for word in arguments:
        if word.startswith("--e") and _RERUN.startswith(word.partition("=")[0]):
            raise RequestError(
                _RERUN,
                "be left out, because it would run code from a file",
                Phrase(word),
                "give the trial's command again, or `train best=` a file of `export-best`",
            )


def _remove_new_folder(job: Path | None = None) -> None:
    """Removes what the command has made: all, or where jobs have trained the refused one's."""
    if progress.new_folder is None:
        return
    new = progress.new_folder.absolute()
    if any(new.rglob(CURVES)):
        if job is not None and new in job.parents and not (job / CURVES).exists():
            shutil.rmtree(job, ignore_errors=True)
        return
    shutil.rmtree(new, ignore_errors=True)
    for above in new.parents:
        if Path.cwd() not in above.parents:
            break
        try:
            above.rmdir()
        except OSError:  # something else is in it
            break
