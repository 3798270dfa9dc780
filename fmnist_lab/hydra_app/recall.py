"""What a trial has left that ended, and whose process died before it could tell its study.

`result.json` is the last that training writes: from then on the trial has ended, whatever comes.
"""

from pathlib import Path
from typing import Any

from fmnist_lab.errors import RequestError
from fmnist_lab.results import schema
from fmnist_lab.trial import AGAIN, StopReason


def of_trial(folder: Path, since: float) -> dict[str, Any] | None:
    """What the study of a trial would have been told; for `hydra.sweeper.recall`.

    Args:
        folder: The trial's.
        since: When it began, in seconds of `time.time`: what is older was left by another.

    Returns:
        `values`, its objective in a list, and whether it was `pruned`; None if it has not ended.
    """
    try:
        if (folder / schema.RESULT).stat().st_mtime < since:
            return None
        result = schema.result(folder)
    except (OSError, RequestError):  # no trial wrote that: it is made again
        return None
    if result["stop_reason"] in AGAIN:
        return None
    pruned = result["stop_reason"] == StopReason.PRUNED
    return {"values": [result["objective"]], "pruned": pruned}
