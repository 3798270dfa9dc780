"""What our sweeper, which serves other applications too, calls for this one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fmnist_lab import config, data
from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.hydra_app.callback import require_kind
from fmnist_lab.metrics import OBJECTIVES, is_maximised
from fmnist_lab.results import schema
from fmnist_lab.results.layout import RESULT
from fmnist_lab.trial import REPEATED, StopReason

_OTHER_METRIC = (
    "the sweep would take the larger of an accuracy and a loss for the better, or the smaller"
)
_OTHER_IMAGES = "results on different images are not comparable"


def check(cfg: DictConfig) -> None:
    """Checks a trial and its data before anything is started: `hydra.sweeper.check`.

    Raises:
        RequestError: A value is not allowed.
        DataUnavailableError: No source has the data.
    """
    trial = config.to_trial(cfg)
    require_kind(cfg.kind)
    config.to_tracking(cfg)
    config.refuse_password(cfg)
    data.checksums(trial.data)  # which the search's plan has, and which need all images


def check_together(
    configurations: Sequence[DictConfig],
    choices: Mapping[str, Sequence[Any]],
    directions: Sequence[str],
) -> None:
    """Checks that the trials of a sweep are comparable: `hydra.sweeper.check_together`.

    Raises:
        RequestError: Trials would have different metrics or validation images, or the worst one
            would be the best.
    """
    for kind in choices.get("kind", ()):
        require_kind(kind)
    keys = {f"data.{key}" for cfg in configurations for key in data.deciding(cfg.data)}
    shared = dict.fromkeys(sorted(keys), _OTHER_IMAGES) | {"objective.metric": _OTHER_METRIC}
    for key, reason in shared.items():
        found = [OmegaConf.select(cfg, key) for cfg in configurations] + [*choices.get(key, [])]
        if len(names := sorted({str(value) for value in found})) > 1:
            raise RequestError(
                "data" if key == "data.name" else key,
                "be the same for all trials of a sweep",
                Phrase(", ".join(names)),
                reason,
            )
    for cfg in configurations[:1]:
        require_direction(str(OmegaConf.select(cfg, "objective.metric")), directions)


def require_direction(metric: str, directions: Sequence[str]) -> None:
    """Raises `RequestError` where a study would take the worst trial for the best."""
    if metric not in OBJECTIVES:  # which is refused elsewhere
        return
    wanted = "maximize" if is_maximised(metric) else "minimize"
    if list(directions) != [wanted]:
        raise RequestError(
            "hydra.sweeper.direction",
            f"be {wanted} with objective.metric={metric}",
            Phrase(", ".join(directions)),
            "the worst trial would be the best",
        )


def recall(folder: Path, since: float) -> dict[str, Any] | None:
    """Recovers the result of a trial whose worker died before it reported to the study.

    For `hydra.sweeper.recall`. `result.json` is the last file that training writes.

    Args:
        folder: The trial's.
        since: When it began, in seconds of `time.time`; an older result is another attempt's.

    Returns:
        `values`, its objective in a list, and whether it was `pruned`; None if it has not ended.
    """
    try:
        if (folder / RESULT).stat().st_mtime < since:
            return None
        result = schema.result(folder)
    except (OSError, RequestError):  # no trial wrote that: it is trained again
        return None
    if result["stop_reason"] in REPEATED:
        return None
    pruned = result["stop_reason"] == StopReason.PRUNED
    return {"values": [result["objective"]], "pruned": pruned}
