"""How a trial's run ends: as its result says, or as one whose process died before there was any."""

import math
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from fmnist_lab.errors import RequestError
from fmnist_lab.results import schema
from fmnist_lab.tracking.outbox import Line, Record, interrupted
from fmnist_lab.tracking.store import NOTE
from fmnist_lab.training.engines import Metrics
from fmnist_lab.trial import StopReason, TrialResult

WIDEST = 80  # characters of a line in a description
STATUS = {  # what the run is called in MLflow's own vocabulary
    StopReason.COMPLETED: "FINISHED",
    StopReason.EARLY_STOPPED: "FINISHED",
    StopReason.DIVERGED: "FINISHED",
    StopReason.PRUNED: "KILLED",
    StopReason.INTERRUPTED: "KILLED",
    StopReason.FAILED: "FAILED",
}


def end(record: Record) -> None:
    """Ends the record of a process that died, unless it had come to the end itself."""
    if record.has_ended:
        return
    killed = interrupted(record)
    result = None if record.header.kind == "sweep" else _result_in(record.path.parent)
    lines = iter([killed]) if result is None else ending(result, record.header.tags[NOTE])
    for line in lines:
        record.append(**({"time": killed["time"]} | line))


def ending(result: TrialResult, repeat: str) -> Iterator[Line]:
    """The last lines of a record, but for the time.

    Args:
        result: The trial's.
        repeat: How to repeat it, see the function of that name.
    """
    # One value in step 0 is a bar in the UI's charts; in the last step it would be a dot.
    yield {"step": 0, "metrics": finite(_summary_metrics(result))}
    tags = {"stop_reason": str(result.stop_reason), NOTE: f"{_outcome(result)}\n\n{repeat}"}
    yield {"status": STATUS[result.stop_reason], "tags": tags, "files": True}


def repeat(command: str) -> str:
    """The command as a block; a long one a word a line, because the UI's page would grow wide."""
    if len(command) > WIDEST:
        program, subcommand, *words = map(shlex.quote, shlex.split(command))
        command = " \\\n    ".join([f"{program} {subcommand}", *words])
    return f"Repeat with\n\n```\n{command}\n```"


def finite(metrics: Metrics) -> dict[str, float]:
    """MLflow would turn infinity into 1.8e308, which ruins every chart's scale."""
    return {key: value if math.isfinite(value) else math.nan for key, value in metrics.items()}


def _result_in(folder: Path) -> TrialResult | None:
    """What the trial has left there; a trial that begins removes that of an earlier one."""
    try:
        content = schema.result(folder)
    except (OSError, RequestError):
        return None
    names = [field.name for field in fields(TrialResult)]
    known = {name: content[name] for name in names if name in content}
    return TrialResult(**known | {"stop_reason": StopReason(known["stop_reason"])})


def _summary_metrics(result: TrialResult) -> dict[str, float]:
    summary = {"objective": result.objective, "stop/epoch": float(result.epochs_trained)}
    # No table that is sorted by its best values has a diverged trial on top.
    if result.best_epoch is not None and result.stop_reason != StopReason.DIVERGED:
        summary["best/epoch"] = float(result.best_epoch)
        summary["best/val_loss"] = result.best_val_loss
        summary["best/val_accuracy"] = result.best_val_accuracy
    if math.isfinite(result.test_accuracy):
        summary |= {"test/loss": result.test_loss, "test/accuracy": result.test_accuracy}
    return summary


def _outcome(result: TrialResult) -> str:
    best = (
        ""
        if result.best_epoch is None
        else (
            f", best in epoch {result.best_epoch} with validation loss {result.best_val_loss:.4f} "
            f"and accuracy {result.best_val_accuracy:.4f}"
        )
    )
    return f"**{result.stop_reason}** after {result.epochs_trained} epochs{best}."
