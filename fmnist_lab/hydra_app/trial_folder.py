"""A trial's folder while its job runs: held by one process, its own, and left clean if refused."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.files import FolderHeldError, held
from fmnist_lab.hydra_app import leftovers
from fmnist_lab.results import layout, schema
from fmnist_lab.results.overrides import asked
from fmnist_lab.sweeper import current_trial
from fmnist_lab.training.checkpoint import FILE

log = logging.getLogger(__name__)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Holds the folder, of which nothing half-made is left if the trial is refused."""
    try:
        with held(folder):
            try:
                _require_own(folder)
                yield
            except (RequestError, OmegaConfBaseException):
                trained = (layout.RESULT, layout.CURVES, FILE)  # by an earlier command
                if current_trial() is None and not any(
                    (folder / name).exists() for name in trained
                ):
                    hydra_config = HydraConfig.get()
                    leftovers.discard(folder, hydra_config.job.name, hydra_config.output_subdir)
                raise
            except KeyboardInterrupt:
                if current_trial() is None and (folder / FILE).exists():
                    log.info("To go on, give the same command and hydra.run.dir=%s", folder)
                raise
    except FolderHeldError:
        raise RequestError(
            f"`hydra.run.dir` must be a folder in which nobody trains now, got {str(folder)!r}."
        ) from None


def _require_own(folder: Path) -> None:
    """Refuses a job whose folder holds the result of another job of the multirun."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode != RunMode.MULTIRUN:
        return
    try:
        found = schema.result(folder)
    except (FileNotFoundError, RequestError):  # a broken one is to be replaced
        return
    given: Any = OmegaConf.to_container(hydra_config.overrides.task, resolve=False)
    number = found["trial"]
    if number != hydra_config.job.num and found.get("overrides") != asked(
        given
    ):  # else it has moved up
        raise RequestError(
            "`hydra.sweep.subdir` must give each job a folder of its own, got "
            f"{str(folder)!r} for {number} and {hydra_config.job.num}."
        )
