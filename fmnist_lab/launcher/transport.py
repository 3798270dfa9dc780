"""What became of a job, and its way from the worker to the controller."""

import traceback
from dataclasses import dataclass, replace
from typing import cast

import cloudpickle
from hydra.core.utils import JobReturn, JobStatus
from tblib import pickling_support


@dataclass(frozen=True)
class Outcome:
    """One attempt at a job: a result, or an error that ends more than the job."""

    result: JobReturn | None = None
    error: BaseException | None = None  # what Hydra lets pass: SystemExit, KeyboardInterrupt


def encode(outcome: Outcome, job_idx: int) -> bytes:
    """Pickles an outcome; what cannot be pickled is replaced by an error that says so."""
    error = outcome.error
    if outcome.result is not None and outcome.result.status == JobStatus.FAILED:
        error = outcome.result._return_value
    try:
        if error is None:
            return cast("bytes", cloudpickle.dumps(outcome))
        pickling_support.install(error)  # tracebacks, those of causes included
        pickled = cast("bytes", cloudpickle.dumps(outcome))
        cloudpickle.loads(pickled)  # an exception with arguments of its own may fail only here
        return pickled
    except Exception as problem:
        return cast("bytes", cloudpickle.dumps(_explained(outcome, error, problem, job_idx)))


def decode(pickled: bytes) -> Outcome:
    """The outcome as the worker had it, tracebacks included."""
    outcome = cast("Outcome", cloudpickle.loads(pickled))
    if isinstance(outcome.error, SystemExit):
        outcome.error.code = next(iter(outcome.error.args), None)  # tblib forgets it
    return outcome


def _explained(
    outcome: Outcome, error: BaseException | None, problem: Exception, job_idx: int
) -> Outcome:
    if error is not None:
        # The words survive even if the exception itself cannot travel.
        substitute: Exception = RuntimeError("".join(traceback.format_exception(error)))
    else:
        kind = type(outcome.result and outcome.result._return_value).__name__
        substitute = TypeError(
            f"Job {job_idx} returned a {kind}, which cannot be sent back from its worker process "
            f"({problem}); return plain values such as numbers."
        )
    if outcome.result is None:
        return Outcome(error=substitute)
    result = replace(outcome.result, status=JobStatus.FAILED, _return_value=substitute)
    return Outcome(result=result)
