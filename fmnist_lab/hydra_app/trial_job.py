"""A Hydra job: trains the trial that its configuration describes, and returns its objective."""

import logging
import shlex
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fmnist_lab import config
from fmnist_lab.errors import Phrase, RequestError, is_full_disk
from fmnist_lab.foundation.files import FolderHeldError, held
from fmnist_lab.hydra_app.callback import OUR_SWEEPER, Refused, require_kind
from fmnist_lab.hydra_app.sweeper_hooks import require_direction
from fmnist_lab.results import schema, searches
from fmnist_lab.results.overrides import asked
from fmnist_lab.sweeper import current_trial
from fmnist_lab.training import checkpoint
from fmnist_lab.training.engines import Metrics
from fmnist_lab.trial import Labels, Trial

log = logging.getLogger(__name__)


def job(cfg: DictConfig) -> float:
    """Trains the trial of a Hydra job and returns its objective.

    Raises:
        Refused: The request is wrong, or the disk is full, and no study runs this trial.
        RequestError: The same for a trial of a study, which goes on with others.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        with held(folder):
            _require_own_folder(folder)
            return _train(cfg, folder)
    except FolderHeldError:
        rule = "be a folder in which no other process trains"
        raise Refused(RequestError("hydra.run.dir", rule, str(folder))) from None
    except (RequestError, OmegaConfBaseException) as failure:
        error = config.refusal(failure)
        if current_trial() is not None:
            raise error from failure
        raise Refused(error, folder) from failure
    except OSError as failure:
        if current_trial() is not None or not is_full_disk(failure):
            raise
        raise Refused(failure) from failure
    except KeyboardInterrupt:
        if current_trial() is None and (folder / checkpoint.FILE).exists():
            log.info("To go on, give the same command and hydra.run.dir=%s", folder)
        raise


def _train(cfg: DictConfig, folder: Path) -> float:
    trial, tracking = config.to_trial(cfg), config.to_tracking(cfg)
    config.refuse_password(cfg)
    _require_direction(trial)
    from fmnist_lab.tracking import MlflowTracker
    from fmnist_lab.training import runner

    given: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    # To repeat a trial is not to add one to the sweep.
    overrides = [word for word in given if not word.startswith(("tracking.parent=", "kind="))]
    command = shlex.join(["fmnist-lab", "train", *overrides])
    labels = _labels(trial, cfg.strategy, cfg.kind)
    _require_kind(labels.kind)
    log.info("Trial %d: %s", labels.trial, " ".join(overrides) or "the defaults")
    nowhere = tracking.name == config.Tracking.NONE
    study = _Study(trial)
    result = runner.run(
        trial,
        labels,
        folder,
        runner.Tracker() if nowhere else MlflowTracker(tracking, command),
        study.keep_training,
        asked(given),
        attempts=checkpoint.Attempts(cfg.checkpoint_seconds, study.earlier(folder), study.report),
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
    """Checks the direction of another sweeper's study, which does not check it itself."""
    stated = OmegaConf.select(HydraConfig.get().sweeper, "direction")
    if stated is not None and HydraConfig.get().mode == RunMode.MULTIRUN:
        given = list(stated) if OmegaConf.is_list(stated) else [stated]
        directions = [str(getattr(item, "name", item)) for item in given]
        require_direction(trial.objective.metric, directions)


def _require_own_folder(folder: Path) -> None:
    """Refuses a job whose folder holds the result of another job of the multirun."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode != RunMode.MULTIRUN:
        return
    try:
        found = schema.result(folder)
    except (FileNotFoundError, RequestError):  # a broken one is replaced
        return
    given: Any = OmegaConf.to_container(hydra_config.overrides.task, resolve=False)
    number = found["trial"]
    has_moved = found.get("overrides") == asked(given)  # the same job under another number
    if number != hydra_config.job.num and not has_moved:
        raise RequestError(
            "hydra.sweep.subdir",
            "give each job a folder of its own",
            Phrase(f"{str(folder)!r} for {number} and {hydra_config.job.num}"),
        )


def _require_kind(kind: str) -> None:
    """Refuses a replicate that the gate and the sweeper's hooks have not seen."""
    sweeper, mode = HydraConfig.get().sweeper, HydraConfig.get().mode
    is_seen = sweeper._target_ == OUR_SWEEPER and not sweeper.custom_search_space
    if kind != "trial" and mode == RunMode.MULTIRUN and not is_seen:
        require_kind(kind)


class _Study:
    """The study that runs this trial, if one does."""

    def __init__(self, trial: Trial) -> None:
        self._metric, self._epochs = trial.objective.metric, trial.training.epochs
        self._trial = current_trial()

    def report(self, epoch: int, metrics: Metrics) -> None:
        """Reports an epoch's metric."""
        if self._trial is not None:
            self._trial.report(metrics[self._metric], epoch)

    def keep_training(self, epoch: int, metrics: Metrics) -> bool:
        """Reports an epoch's metric, and returns whether the trial goes on."""
        self.report(epoch, metrics)
        # After the last epoch nothing is saved: a whole trial is no pruned one.
        last = epoch + 1 == self._epochs
        return self._trial is None or last or not self._trial.should_prune()

    def earlier(self, folder: Path) -> list[Path]:
        """Returns the folders of the trials that this one repeats, the last first."""
        if self._trial is None or folder.name != str(self._trial.number):
            return []  # the folder does not say where those of others are
        return [folder.with_name(str(number)) for number in self._trial.earlier()]


def _labels(trial: Trial, strategy: str | None, kind: str) -> Labels:
    hydra_config = HydraConfig.get()
    choices = hydra_config.runtime.choices
    for group in ("scheduler", "architecture", "optimizer"):
        if group not in choices:
            raise RequestError(group, "be the name of one option", Phrase("several or none"))
    many = hydra_config.mode == RunMode.MULTIRUN
    folder, search = searches.split(Path(hydra_config.sweep.dir), kind)
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
        averaging=trial.averaging.name,
    )
