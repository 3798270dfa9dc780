"""What a trial has left that ended, and whose process died before it could tell its study.

`result.json` is the last that training writes: from then on the trial has ended, whatever comes.
"""

import json
from pathlib import Path
from typing import Any

from fmnist_lab.trial import StopReason

AGAIN = (StopReason.INTERRUPTED, StopReason.FAILED)  # another attempt is made


def of_trial(folder: Path, since: float) -> dict[str, Any] | None:
    """What the study of a trial would have been told; for `hydra.sweeper.recall`.

    Args:
        folder: The trial's.
        since: When it began, in seconds of `time.time`: what is older was left by another.

    Returns:
        `values`, its objective in a list, and whether it was `pruned`; None if it has not ended.
    """
    path = folder / "result.json"
    try:
        if path.stat().st_mtime < since:
            return None
        result = json.loads(path.read_text(encoding="utf-8"))
        reason, objective = StopReason(result["stop_reason"]), float(result["objective"])
    except (OSError, ValueError, KeyError, TypeError):  # no trial wrote that: it is made again
        return None
    if reason in AGAIN:
        return None
    return {"values": [objective], "pruned": reason == StopReason.PRUNED}
