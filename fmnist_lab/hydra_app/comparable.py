"""Whether what a sweep will try can be compared at all: one objective, one way, the same images."""

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fmnist_lab import data
from fmnist_lab.errors import RequestError

DIRECTIONS = {"val/accuracy": "maximize", "val/loss": "minimize"}
_OTHER_METRIC = (
    "the sweep would take the larger of an accuracy and a loss for the better, or the smaller"
)
_OTHER_IMAGES = "results on different images are not comparable"


def check(
    configurations: Sequence[DictConfig],
    choices: Mapping[str, Sequence[Any]],
    directions: Sequence[str],
) -> None:
    """Refuses a sweep before it has trials; see `hydra.sweeper.check_together`.

    Raises:
        RequestError: Trials would be judged by different metrics or on different images, or the
            worst one would be the best.
    """
    for key, reason in _shared(configurations).items():
        found = [OmegaConf.select(cfg, key) for cfg in configurations] + [*choices.get(key, [])]
        if len(names := sorted({str(value) for value in found})) > 1:
            asked = "data" if key == "data.name" else key
            raise RequestError(
                f"`{asked}` must be the same for all trials of a sweep, got "
                f"{', '.join(names)}: {reason}."
            )
    for cfg in configurations[:1]:
        require_direction(str(OmegaConf.select(cfg, "objective.metric")), directions)


def _shared(configurations: Sequence[DictConfig]) -> dict[str, str]:
    """What all trials must have in common, and why."""
    keys = [f"data.{key}" for cfg in configurations for key in data.deciding(cfg.data)]
    return dict.fromkeys(keys, _OTHER_IMAGES) | {"objective.metric": _OTHER_METRIC}


def require_direction(metric: str, directions: Sequence[str]) -> None:
    """Raises `RequestError` where a study would take the worst for the best.

    Of metrics that are no objective something else is said.
    """
    wanted = DIRECTIONS.get(metric)
    if wanted and len(directions) != 1:
        raise RequestError(
            f"`hydra.sweeper.direction` must be {wanted} alone, because a trial has one objective, "
            f"got {', '.join(directions)}."
        )
    if wanted and directions[0] != wanted:
        raise RequestError(
            f"`hydra.sweeper.direction` must be {wanted} with objective.metric={metric}, got "
            f"{directions[0]}: the worst trial would be the best."
        )
