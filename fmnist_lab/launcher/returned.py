"""What a job of any application returned, as a file in its folder: `fmnist-lab compare` reads it.

The sweeper writes it, and the Dask launcher has it written by the callback below. Other launchers
with other sweepers need `hydra/callbacks=record_returns`.
"""

import traceback
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from fmnist_lab.foundation.files import write_json
from fmnist_lab.foundation.interruption import interrupted
from fmnist_lab.foundation.secrets import mask

RETURNED = "returned.json"
TARGET = f"{__name__}.RecordReturns"


class RecordReturns(Callback):
    """Hydra callback: leaves `returned.json` in the folder of each job that ends."""

    leaves_results = True  # the launcher adds this callback where none has it

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before a job; an earlier attempt in the same folder does not count."""
        _file(config).unlink(missing_ok=True)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Called by Hydra after a job; the sweeper's task may have written already."""
        if _file(config).exists() or interrupted.is_set():
            return
        if job_return.status == JobStatus.COMPLETED:
            write(config.hydra, values=numbers(job_return.return_value), pruned=False)
        else:
            error = "".join(traceback.format_exception(job_return._return_value))
            write(config.hydra, error=error, pruned=False)


def write(hydra: Any, **content: Any) -> None:
    """Writes `returned.json` of a job.

    Args:
        hydra: The node of that name of the job's configuration.
        **content: `values` (a number for each objective; None: no numbers) or `error`, and
            `pruned`.
    """
    number = 0 if OmegaConf.is_missing(hydra.job, "num") else int(hydra.job.num)
    given = {"number": number, "overrides": list(map(mask, hydra.overrides.task))}
    write_json(Path(hydra.runtime.output_dir) / RETURNED, given | content)


def numbers(returned: Any) -> list[float] | None:
    """Returns what a task returned as plain numbers; None for anything else."""
    many = returned if isinstance(returned, list | tuple) else [returned]
    try:
        return [float(value) for value in many]
    except (TypeError, ValueError):
        return None


def _file(config: DictConfig) -> Path:
    return Path(config.hydra.runtime.output_dir) / RETURNED
