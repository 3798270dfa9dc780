"""What trials and sweeps have left in JSON, held against the shape that it must have.

These files stay for months, and people copy, cut and mend them. Whatever is not as it was written
is one sentence that names the file and what was found there.
"""

import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.validate import MOST
from fmnist_lab.trial import StopReason

log = logging.getLogger(__name__)

RESULT, CURVES, ENVIRONMENT = "result.json", "curves.jsonl", "environment.json"
METRICS = ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "opt/learning_rate",
           "opt/grad_norm", "opt/clipped_fraction", "time/epoch_seconds")  # fmt: skip
_EPOCH = {"epoch", *METRICS}


@dataclass(frozen=True)
class Record:
    """A file, who has written it, and how one goes on without it."""

    path: Path
    writer: str = "its trial"
    remedy: str = "move the trial's folder away to go on without it"

    def refused(self, got: str) -> RequestError:
        """What to raise where something else was found in it."""
        return RequestError(
            f"`{self.path}` must be as {self.writer} has left it, got {got}; {self.remedy}."
        )

    def parse(self, text: str | bytes) -> Any:
        """The values in its text, or RequestError."""
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self.refused(f"no JSON ({error})") from error

    def read(self) -> dict[str, Any]:
        """Its keys and values, or RequestError; FileNotFoundError where it does not exist."""
        content = self.parse(self.path.read_bytes())
        if not isinstance(content, dict):
            raise self.refused(f"{told(content)} instead of keys and values")
        return content

    def require(self, content: Mapping[str, Any], rules: "Rules", optional: "Rules") -> None:
        """Raises RequestError for the first key that is missing or has a value of another kind."""
        for key, (rule, is_allowed) in {**rules, **optional}.items():
            if key not in content:
                if key in rules:
                    raise self.refused(f"no `{key}`, which is {rule}")
            elif not is_allowed(content[key]):
                raise self.refused(f"`{key}` {told(content[key])}, which must be {rule}")


Rule = tuple[str, Callable[[Any], bool]]
Rules = Mapping[str, Rule]


def told(value: object) -> str:
    """A value for people, in JSON and no longer than a line."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:60]}..."


def is_whole(value: object) -> bool:
    """Whether a value counts something, as epochs and seeds do."""
    return type(value) is int and 0 <= value < MOST


def is_number(value: object) -> bool:
    """Whether a value is a number: NaN is, what no float can hold is not."""
    return type(value) is float or (type(value) is int and abs(value) <= MOST)


def is_text(value: object) -> bool:
    """Whether a value is text."""
    return isinstance(value, str)


def are_texts(value: object) -> bool:
    """Whether a value is a list of texts."""
    return isinstance(value, list) and all(map(is_text, value))


def _or_null(rule: Rule) -> Rule:
    return f"{rule[0]} or null", lambda value: value is None or rule[1](value)


_WHOLE: Rule = ("a whole number, zero or more", is_whole)
_NUMBER: Rule = ("a number", is_number)
_TEXT: Rule = ("text", is_text)
_RULES: Rules = {
    **dict.fromkeys(("trial", "seed", "epochs_trained", "parameters"), _WHOLE),
    **dict.fromkeys(("best_epoch", "delivered_epoch"), _or_null(_WHOLE)),
    **dict.fromkeys(("objective", "best_val_loss", "best_val_accuracy", "seconds"), _NUMBER),
    **dict.fromkeys(("kind", "strategy", "architecture", "scheduler", "clipping", "optimizer",
                     "dataset", "engine"), _TEXT),
    **dict.fromkeys(("sweep", "mlflow_run_id"), _or_null(_TEXT)),
    "objective_metric": ("val/accuracy or val/loss", ("val/accuracy", "val/loss").__contains__),
    "stop_reason": (" or ".join(StopReason), list(StopReason).__contains__),
}  # fmt: skip
_OPTIONAL: Rules = {  # in older results there may be none
    **dict.fromkeys(("test_loss", "test_accuracy"), _NUMBER),
    "search": _or_null(_WHOLE),
    "stopping": _TEXT,
    "overrides": ("a list of texts", are_texts),
}


def result(folder: Path) -> dict[str, Any]:
    """What `result.json` in a run's folder says.

    An objective, or a test accuracy, that is infinite is none: NaN, and a warning.

    Raises:
        RequestError: It is not as the trial has left it.
    """
    record = Record(folder / RESULT)
    content = record.read()
    record.require(content, _RULES, _OPTIONAL)
    for key in ("objective", "test_accuracy"):
        if math.isinf(content.get(key, math.nan)):
            log.warning("`%s` in %s must be finite, got %s: taken for NaN.", key, record.path,
                        content[key])  # fmt: skip
            content[key] = math.nan
    return content


def environment(folder: Path) -> dict[str, Any]:
    """What `environment.json` in a run's folder says; nothing where it does not exist.

    Raises:
        RequestError: It is not as the trial has left it.
    """
    record = Record(folder / ENVIRONMENT)
    try:
        content = record.read()
    except FileNotFoundError:
        return {}
    facts = ("text or a number, or null", lambda value: isinstance(value, str | int | float | None))
    record.require(content, {}, dict.fromkeys(content, facts))
    return content


def curve(folder: Path) -> list[dict[str, Any]]:
    """The epochs in `curves.jsonl`; a line that a killed process has left half-written is none.

    Raises:
        RequestError: It is not as the trial has left it.
    """
    record = Record(folder / CURVES)
    try:
        whole, _, torn = record.path.read_bytes().rpartition(b"\n")
    except FileNotFoundError:
        return []
    if torn:
        log.warning("The last line of %s was not whole: left out.", record.path)
    lines: list[Any] = record.parse(b"[%s]" % b",".join(whole.splitlines()))
    for number, line in enumerate(lines, 1):
        if not _is_epoch(line, number - 1):
            raise record.refused(
                f"{told(line)} in line {number} instead of epoch {number - 1} with a number for "
                "each metric"
            )
    return lines


def _is_epoch(line: Any, epoch: int) -> bool:
    return (
        isinstance(line, dict)
        and line.keys() >= _EPOCH
        and is_whole(line["epoch"])
        and line["epoch"] == epoch
        and all(map(is_number, line.values()))
    )
