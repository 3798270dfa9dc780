"""The shapes of the files that trials and sweeps leave behind, and how they are read.

These files stay for months, and users copy, cut and repair them. A file of another shape is
refused in one sentence that names the file, the key and the value. Keys that a shape does not name
are kept.
"""

import json
import logging
import math
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Required, get_type_hints

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # pydantic asks for it before Python 3.12

from fmnist_lab import metrics
from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.foundation.validate import MOST
from fmnist_lab.results.layout import CURVES, ENVIRONMENT, RESULT
from fmnist_lab.trial import Labels, TrialResult

log = logging.getLogger(__name__)

METRICS = metrics.METRICS
_EPOCH = {"epoch", *METRICS}
STRICT = ConfigDict(strict=True, extra="allow", use_enum_values=True)
_WRITER, _REMEDY = "its trial", "move the trial's folder away to go on without it"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Whole = Annotated[int, Field(ge=0, lt=int(MOST))]

# What `result.json` holds: the fields of `Labels` and `TrialResult`, and two more. What earlier
# versions have not written is not required.
_FIELDS = get_type_hints(Labels) | get_type_hints(TrialResult)
_FIELDS |= {"objective_metric": Literal[metrics.OBJECTIVES]}
_FIELDS |= {"stopping": str, "overrides": list[str]}
_WHOLE = {int: Whole, int | None: Whole | None}
_LATER = ("search", "averaging", "test_loss", "test_accuracy", "stopping", "overrides")
_CHECKED = {name: _WHOLE.get(hint, hint) for name, hint in _FIELDS.items()}
_CHECKED |= {name: NotRequired[_CHECKED[name]] for name in _LATER}
Result = with_config(STRICT)(TypedDict("Result", _CHECKED))  # type: ignore[operator]


class Look(TypedDict):
    """A look at the replicates: when, at how many of each strategy, and what was seen."""

    made: str  # the time
    pairs: int
    verdicts: dict[str, str]  # of those that were open


class Opening(TypedDict):
    """An opening of the test set."""

    opened: str  # the time
    hash: NotRequired[str]
    changed: NotRequired[list[str]]  # dotted keys of the manifest
    runs: NotRequired[int]  # how many replicates
    number: NotRequired[int]  # among all openings of this test set in the project, by the ledger
    looks: NotRequired[list[Look]]  # those that were made since


class Winner(TypedDict):
    """A strategy's best trial."""

    trial: Any
    overrides: list[str]


class Recentred(TypedDict):
    """The second stage of tuning."""

    begun: str  # the time at which this was written, before the first trial of the stage
    at_edge: dict[str, list[str]]  # keys by strategy: why there is this stage
    winners: dict[str, Any]  # the best trial of the first stage by strategy
    ranges: dict[str, dict[str, list[float]]]  # by strategy and key: low and high


@with_config(STRICT)
class Manifest(TypedDict, total=False):
    """`manifest.json` of a search."""

    begun: str  # the time at which the plan was written, before the first trial
    hash: str  # of the plan; in earlier versions, which wrote none, of the last opening
    plan: dict[str, Any]
    test_images: str  # their checksum, by which the ledger knows them
    recentred: Recentred
    openings: list[Opening]
    winners: dict[str, Winner]
    seeds: list[Any]
    looks: list[Whole]  # the plan
    wanted: dict[str, Whole]  # seeds by strategy, up to the next look


@with_config(STRICT)
class Confusion(TypedDict):
    """`test_confusion.json` of a replicate."""

    classes: list[str]
    counts: list[list[Whole]]  # test images of each class that are taken for each class


@with_config(STRICT)
class Returned(TypedDict, total=False):
    """`returned.json` of a job of another application."""

    number: Required[Whole]
    overrides: Required[list[str]]
    pruned: Required[bool]
    values: list[float] | None  # None: what the task returned is no number
    error: str  # instead of values


class Interval(TypedDict):
    """The range of a searched number."""

    low: float
    high: float
    log: bool


class Choices(TypedDict):
    """The choices of a searched word."""

    choices: list[Any]


class Sweeper(TypedDict, total=False):
    """The node `hydra.sweeper`, as far as it is read."""

    n_trials: Whole | None
    strategies: dict[str, Any] | None
    sampler: dict[str, Any] | None
    pruner: dict[str, Any] | None
    label: str | None
    direction: Any


class HydraNode(TypedDict, total=False):
    """The node `hydra`, as far as it is read."""

    sweeper: Sweeper
    runtime: dict[str, Any]
    overrides: dict[str, Any]


@with_config(STRICT)
class SweepConfig(TypedDict, total=False):
    """`multirun.yaml`, as far as it is read."""

    hydra: HydraNode
    training: dict[str, Any]
    data: dict[str, Any]
    stopping: dict[str, Any]
    searches: Whole
    recentre: bool
    replicates: Whole | Literal["auto"] | list[Whole]
    baseline: str | None
    margin: float
    alpha: float
    cells: list[str] | None


@with_config(STRICT)
class ForeignConfig(TypedDict, total=False):
    """`multirun.yaml` of another application, as far as it is read."""

    hydra: HydraNode


Spaces = dict[str, dict[str, Interval | Choices]]  # `spaces.json`: by strategy and dotted key
Environment = dict[str, str | int | float | bool | None]
_Epochs = list[dict[str, float]]


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    has_config = hasattr(shape, "__pydantic_config__")
    return TypeAdapter(shape, config=None if has_config else STRICT)


def read(path: Path, shape: Any, writer: str = _WRITER, remedy: str = _REMEDY) -> Any:
    """Reads a JSON or YAML file, by its suffix.

    Args:
        path: The file.
        shape: The type of its content.
        writer: What has written it.
        remedy: How to go on without it.

    Raises:
        FileNotFoundError: There is none.
        RequestError: Its content has another shape.
    """
    content = path.read_bytes()
    try:
        if path.suffix == ".json":
            return _adapter(shape).validate_json(content)
        return _adapter(shape).validate_python(yaml.load(content, Loader=_Loader))
    except ValidationError as error:
        got = _problem(error)
    except (yaml.YAMLError, RecursionError) as error:
        got = f"no YAML ({' '.join(str(error).split())})"
    raise refusal(path, got, writer, remedy)


def read_if_there(path: Path, shape: Any, writer: str = _WRITER, remedy: str = _REMEDY) -> Any:
    """Reads a file as `read` does; an empty mapping where there is none."""
    try:
        return read(path, shape, writer, remedy)
    except FileNotFoundError:
        return {}


def refusal(path: Path, got: str, writer: str = _WRITER, remedy: str = _REMEDY) -> RequestError:
    """Returns the error for a file that holds something else."""
    return RequestError(str(path), f"be as {writer} has left it", Phrase(got), remedy)


def _problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return f"no JSON ({first['ctx']['error']})"
    if first["type"] == "missing" and len(first["loc"]) == 1:
        return f"no `{first['loc'][0]}`"
    key = f"`{first['loc'][0]}` " if first["loc"] else ""
    rule = first["msg"].replace("Input should", "which must")
    return f"{key}{_short(json.dumps(first['input'], default=str))}, {rule}"


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}..."


def result(folder: Path) -> dict[str, Any]:
    """Reads `result.json` of a run.

    An objective, or a test accuracy, that is infinite counts as missing: NaN, and a warning.

    Raises:
        FileNotFoundError: There is none.
        RequestError: It has another shape.
    """
    content: dict[str, Any] = read(folder / RESULT, Result)
    for key in ("objective", "test_accuracy"):
        if math.isinf(content.get(key, math.nan)):
            log.warning("`%s` in %s must be finite, got %s: taken for NaN.", key, folder / RESULT,
                        content[key])  # fmt: skip
            content[key] = math.nan
    return content


def environment(folder: Path) -> dict[str, Any]:
    """Reads `environment.json` of a run; nothing where it does not exist.

    Raises:
        RequestError: It has another shape.
    """
    return dict(read_if_there(folder / ENVIRONMENT, Environment))


def curve(folder: Path) -> list[dict[str, float]]:
    """Reads the epochs in `curves.jsonl`; a last line that a kill has cut off is left out.

    Raises:
        RequestError: It has another shape.
    """
    path = folder / CURVES
    try:
        whole, _, torn = path.read_bytes().rpartition(b"\n")
    except FileNotFoundError:
        return []
    if torn:
        log.warning("The last line of %s was not whole: left out.", path)
    lines, epochs = whole.splitlines(), list[dict[str, float]]()
    try:
        epochs = _adapter(_Epochs).validate_json(b"[%s]" % b",".join(lines))
        wrong = [number for number, line in enumerate(epochs)
                 if line.get("epoch") != number or not line.keys() >= _EPOCH]  # fmt: skip
    except ValidationError as error:
        wrong = [int(key) for key in error.errors(include_url=False)[0]["loc"][:1]]
        if not wrong:
            raise refusal(path, _problem(error)) from None
    if wrong:
        rule = f"in line {wrong[0] + 1} instead of epoch {wrong[0]} with a number for each metric"
        raise refusal(path, f"{_short(lines[wrong[0]].decode())} {rule}")
    return epochs
