"""The Hydra application behind `fmnist-lab train`: one trial, or `-m` for many."""

import logging
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fmnist_lab import config
from fmnist_lab.config import refusals
from fmnist_lab.errors import RequestError, is_full_disk
from fmnist_lab.foundation import secrets
from fmnist_lab.foundation.files import require_writable
from fmnist_lab.hydra_app import comparable, leftovers
from fmnist_lab.hydra_app.trial_folder import alone_in
from fmnist_lab.results import searches
from fmnist_lab.results.overrides import asked
from fmnist_lab.sweeper import current_trial
from fmnist_lab.training.checkpoint import Attempts
from fmnist_lab.training.engines import Metrics
from fmnist_lab.trial import Labels, Trial

log = logging.getLogger(__name__)

ROOT = Path("mlruns")
_LOOKS = ("--cfg", "-c", "--info", "-i", "--help", "-h", "--hydra-help", "--version", "-sc")
_MULTIRUNS = "multirun/*/multirun.yaml"


def main(arguments: list[str]) -> None:
    """Runs Hydra on the given command line.

    Raises:
        RequestError: Hydra, the schema or a check refused the configuration.
    """
    if not looks(arguments):
        require_writable(ROOT)
    # What completion is installed for is a command; what usage and errors show is a subcommand.
    name = "fmnist-lab" if "-sc" in arguments else "fmnist-lab train"
    run(_application, name, arguments)


def _refuse_pickles(arguments: list[str]) -> None:
    """Hydra would unpickle the file that this option names, and so run what is in it."""
    option = "--experimental-rerun"
    for word in arguments:
        if word.startswith("--e") and option.startswith(word.partition("=")[0]):
            raise RequestError(
                f"`{option}` must be left out, because it would run code from a file; to repeat a "
                "trial give its command again, or `train best=` a file of `export-best`."
            )


def looks(arguments: list[str]) -> bool:
    """Whether Hydra will show something, and run nothing."""
    return any(word.partition("=")[0] in _LOOKS for word in arguments)


def run(application: Callable[[], object], name: str, arguments: list[str]) -> None:
    """Runs a function that Hydra has decorated, as if the command line were its own.

    Raises:
        RequestError: Hydra, the schema or a check refused the configuration.
        KeyboardInterrupt: Whatever became of it on its way.
    """
    _refuse_pickles(arguments)
    config.register()
    sys.argv = [name, *secrets.into_environment(arguments)]
    # Without this Hydra prints errors and exits itself; the command line wants to do that.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    before = set(ROOT.glob(_MULTIRUNS))
    try:
        application()
    except Exception as error:
        if not refusals.is_of_configuration(error):
            raise
        if _comes_of_interrupt(error):
            raise KeyboardInterrupt from error
        if made := refusals.made_for_job(error):
            leftovers.discard_unused(*made)
        leftovers.forget_multirun(set(ROOT.glob(_MULTIRUNS)) - before, sys.argv[1:])
        raise refusals.refusal(error) from error
    except refusals.Refused as refused:
        raise refused.error from None


def _comes_of_interrupt(error: BaseException | None) -> bool:
    """Whether OmegaConf was interrupted and failed to clean up, which hides the interruption."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


@hydra.main(version_base="1.3", config_path=config.config_dir(), config_name="config")
def _application(cfg: DictConfig) -> float:
    return job(cfg)


def job(cfg: DictConfig) -> float:
    """Trains the trial of a Hydra job and returns its objective."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        with alone_in(folder):
            return _train(cfg, folder)
    except (RequestError, OmegaConfBaseException) as failure:
        error = refusals.refusal(failure)
        if current_trial() is not None:  # one suggestion of many: that trial has failed
            raise error from failure
        raise refusals.Refused(error) from failure
    except OSError as failure:
        if current_trial() is not None or not is_full_disk(failure):
            raise
        raise refusals.Refused(failure) from failure


def _train(cfg: DictConfig, folder: Path) -> float:
    """Trains the trial that `cfg` describes and returns its objective."""
    trial, tracking = config.to_trial(cfg), config.to_tracking(cfg)
    config.refuse_password(cfg)
    _require_direction(trial)
    from fmnist_lab.tracking import MlflowTracker, NoTracker
    from fmnist_lab.training import runner

    given: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    # To repeat a trial is not to add one to the sweep.
    overrides = [override for override in given if not override.startswith("tracking.parent=")]
    command = shlex.join(["fmnist-lab", "train", *overrides])
    labels = _labels(trial, cfg.strategy, cfg.kind)
    log.info("Trial %d: %s", labels.trial, " ".join(overrides) or "the defaults")
    tracker = NoTracker() if tracking.name == "none" else MlflowTracker(tracking, command)
    study = _Study(trial)
    result = runner.run(
        trial,
        labels,
        folder,
        tracker,
        study.keep_training,
        asked(given),
        attempts=Attempts(cfg.checkpoint_seconds, study.earlier(folder), study.report),
    )
    log.info(
        "%s after %d epochs, %s %.4f; see %s\n",
        result.stop_reason,
        result.epochs_trained,
        trial.objective.metric,
        result.objective,
        folder,
    )
    return result.objective


def _require_direction(trial: Trial) -> None:
    """Of a study of another sweeper's nobody has asked it before."""
    stated = OmegaConf.select(HydraConfig.get().sweeper, "direction")
    if stated is not None and HydraConfig.get().mode == RunMode.MULTIRUN:
        given = list(stated) if OmegaConf.is_list(stated) else [stated]
        directions = [str(getattr(item, "name", item)) for item in given]
        comparable.require_direction(trial.objective.metric, directions)


class _Study:
    """The study that runs this trial, if one does."""

    def __init__(self, trial: Trial) -> None:
        self._metric, self._epochs = trial.objective.metric, trial.training.epochs
        self._trial = current_trial()

    def report(self, epoch: int, metrics: Metrics) -> None:
        """Tells it an epoch's metric."""
        if self._trial is not None:
            self._trial.report(metrics[self._metric], epoch)

    def keep_training(self, epoch: int, metrics: Metrics) -> bool:
        """Tells it, and asks whether to go on."""
        self.report(epoch, metrics)
        # After the last epoch nothing is saved: a whole trial is no pruned one.
        last = epoch + 1 == self._epochs
        return self._trial is None or last or not self._trial.should_prune()

    def earlier(self, folder: Path) -> list[Path]:
        """The folders of the trials that this one repeats, the last first."""
        if self._trial is None or folder.name != str(self._trial.number):
            return []  # the folder does not say where those of others are
        return [folder.with_name(str(number)) for number in self._trial.earlier()]


def _labels(trial: Trial, strategy: str | None, kind: str) -> Labels:
    hydra_config = HydraConfig.get()
    choices = hydra_config.runtime.choices
    for group in ("scheduler", "architecture", "optimizer"):
        if group not in choices:
            raise RequestError(f"`{group}` must be the name of one option, got several or none.")
    many = hydra_config.mode == RunMode.MULTIRUN
    folder = Path(hydra_config.sweep.dir)
    if kind == "replicate":  # they have a folder of their own in the sweep's
        folder = folder.parent
    folder, search = searches.split(folder)
    return Labels(
        kind=kind,
        sweep=folder.name if many else None,
        strategy=strategy or choices["scheduler"],
        trial=int(hydra_config.job.num) if many else 0,
        seed=trial.seed,
        architecture=choices["architecture"],
        scheduler=choices["scheduler"],
        clipping=trial.clipping.name,
        optimizer=choices["optimizer"],
        dataset=trial.data.name,
        engine=trial.training.engine,
        search=search or None,
    )
