"""How a trial ended, read from what its job returned or left behind."""

import math
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from fmnist_lab.sweeper.job import is_pruned


@dataclass(frozen=True)
class Outcome:
    """The end of a trial; one that failed has a problem, one that raised has an error too."""

    state: str  # complete | pruned | failed
    values: list[float] | None = None
    problem: str | None = None
    error: BaseException | None = None
    folder: str | None = None


def from_return(returned: JobReturn, record: Mapping[str, Any] | None, objectives: int) -> Outcome:
    """Reads a job's return; `record` is what the job left in the study, if anything."""
    record = record or {}
    folder = record.get("dir") or _folder(returned)
    if returned.status is JobStatus.COMPLETED:
        if record.get("pruned"):
            return Outcome("pruned", folder=folder)
        return _judge(returned.return_value, objectives, folder)
    error = returned._return_value  # the getter would raise it
    if is_pruned(error):
        return Outcome("pruned", folder=folder)
    if not isinstance(error, BaseException):
        error = RuntimeError(f"the job ended as {returned.status.name}")
    # Workers in other processes lose the traceback on the way; their record has kept it.
    problem = record.get("error") or "".join(traceback.format_exception(error))
    return Outcome("failed", None, problem, error, folder)


def from_record(record: Mapping[str, Any], objectives: int) -> Outcome:
    """Reads what a job left in the study when no controller was there to take its return."""
    folder = record.get("dir")
    if record.get("pruned"):
        return Outcome("pruned", folder=folder)
    if problem := record.get("error"):
        return Outcome("failed", None, problem, RuntimeError(problem.splitlines()[-1]), folder)
    values = record.get("values")
    return _judge(values[0] if values and len(values) == 1 else values, objectives, folder)


def _judge(returned: Any, objectives: int, folder: str | None) -> Outcome:
    """Accepts finite numbers, as many as there are directions."""
    wanted = "a number" if objectives == 1 else f"{objectives} numbers in a list or tuple"
    if isinstance(returned, Mapping):
        keys = ", ".join(map(str, returned))
        problem = f"The task must return {wanted}, got a dictionary with {keys}."
        return Outcome("failed", None, problem, folder=folder)
    try:
        if objectives > 1 and isinstance(returned, str):
            raise TypeError
        values = [float(item) for item in ([returned] if objectives == 1 else returned)]
    except (TypeError, ValueError):
        problem = f"The task must return {wanted}, got {returned!r}."
        return Outcome("failed", None, problem, folder=folder)
    if len(values) != objectives or not all(map(math.isfinite, values)):
        problem = f"The task must return {wanted}, all finite, got {returned!r}."
        return Outcome("failed", None, problem, folder=folder)
    return Outcome("complete", values, folder=folder)


def _folder(returned: JobReturn) -> str | None:
    return None if returned.hydra_cfg is None else str(returned.hydra_cfg.hydra.runtime.output_dir)
