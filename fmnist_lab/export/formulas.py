"""Learning-rate schedules as the lines of a Python file, for readers who have only Keras.

Each has the arithmetic of its original in `schedules`, operation by operation, so that the rates
are the same to the last bit; `epoch` is a float64 array of positions, counted from 0.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fmnist_lab.errors import RequestError
from fmnist_lab.schedules.schedule import SAME_EPOCH

_HALF_COSINE = "0.5 * (1 + np.cos(np.pi * np.minimum(%s, 1.0)))"
_LINES: Mapping[str, Sequence[str]] = {
    "constant": ["return np.full_like(epoch, initial_learning_rate)"],
    "exponential": [
        "drops = epoch / decay_epochs",
        "if staircase:",
        f"    drops = np.floor(drops + {SAME_EPOCH} / decay_epochs)",
        "return initial_learning_rate * decay_rate**drops",
    ],
    "notebook_linear": ["return initial_learning_rate * 0.1 * (epoch / decay_epochs)"],
    "piecewise": [
        "rates = initial_learning_rate * np.asarray(factors)",
        f"return rates[np.searchsorted(boundaries, epoch - {SAME_EPOCH})]",
    ],
    "power": ["return initial_learning_rate / (1 + epoch / decay_epochs) ** power"],
    "polynomial": [
        "height = initial_learning_rate - end_learning_rate",
        "return height * (1 - np.minimum(epoch / epochs, 1.0)) ** power + end_learning_rate",
    ],
    "linear": ["return initial_learning_rate * (1 - np.minimum(epoch / epochs, 1.0))"],
    "cosine": [
        f"cosine = {_HALF_COSINE % 'epoch / epochs'}",
        "return initial_learning_rate * (alpha + (1 - alpha) * cosine)",
    ],
    "cosine_restarts": [
        "if cycles is not None:  # the last one ends with the training",
        "    lengths = np.concatenate([[0.0], np.cumsum(t_mul ** np.arange(1.0 - cycles, 1.0))])",
        "    edges = epochs * lengths / lengths[-1]",
        "else:",
        "    edges, length = [0.0], float(first_decay_epochs)",
        "    while edges[-1] < epochs:",
        "        edges.append(edges[-1] + length)",
        "        length *= t_mul",
        "    edges = np.asarray(edges)",
        f'begun = np.searchsorted(edges[:-1], epoch + {SAME_EPOCH}, side="right")',
        "cycle = np.maximum(begun - 1, 0)",
        "progress = (epoch - edges[cycle]) / np.diff(edges)[cycle]",
        f"decay = m_mul**cycle * ({_HALF_COSINE % 'progress'})",
        "return initial_learning_rate * (alpha + (1 - alpha) * decay)",
    ],
    "one_cycle": [
        "descent = epochs * (1 - final_fraction)",
        "start = max_learning_rate / div_factor",
        "corners = [0.0, descent / 2, descent, epochs]",
        "rates = [start, max_learning_rate, start, start / final_div_factor]",
        "return np.interp(epoch, corners, rates)",
    ],
    "wsd": [
        "corners = [epochs * (1 - decay_fraction), epochs]",
        "return initial_learning_rate * np.interp(epoch, corners, [1.0, alpha])",
    ],
}
_PREFIX, _PERFORMANCE = "fmnist_lab.schedules.", "fmnist_lab.scheduling.Performance"


def is_performance(node: Mapping[str, Any]) -> bool:
    """Whether the metric decides, so that Keras's ReduceLROnPlateau takes the schedule's place."""
    return bool(node["_target_"] == _PERFORMANCE)


def define(node: Mapping[str, Any]) -> list[str]:
    """A function `schedule(epoch)`, and `learning_rates(epoch, steps)` that reads it.

    Args:
        node: The trial's scheduler, resolved.

    Raises:
        RequestError: The schedule is not one of this project's, or not one of Keras's callbacks.
    """
    if is_performance(node) and node.get("warmup_epochs", 0):
        raise RequestError(
            "`--out` may be a Python file where a performance schedule has no warm-up, got "
            f"scheduler.warmup_epochs={node['warmup_epochs']}; for this trial take .yaml or .json."
        )
    name = str(node["_target_"]).removeprefix(_PREFIX)
    lines = _LINES["constant"] if is_performance(node) else _LINES.get(name)
    if lines is None:
        allowed = ", ".join(_LINES)
        raise RequestError(
            f"`--out` may be a Python file where the schedule is one of {allowed} or performance, "
            f"got {node['_target_']!r}; for this trial take .yaml or .json."
        )
    told = "performance" if is_performance(node) else name
    return [
        "def schedule(epoch):",
        f'    """{told}: from positions in epochs, counted from 0, to learning rates."""',
        *(f"    {key} = {value!r}" for key, value in _arguments(node, lines).items()),
        *(f"    {line}" for line in lines),
        "",
        "",
        *_reader(node),
    ]


def _arguments(node: Mapping[str, Any], lines: Sequence[str]) -> dict[str, Any]:
    """The schedule's own, with a length that leaves out the warm-up, as the schedule gets it."""
    text = "\n".join(lines)
    used = {key: value for key, value in node.items() if re.search(rf"\b{key}\b", text)}
    if "epochs" in used:
        used["epochs"] -= node.get("warmup_epochs", 0)
    return used


def _reader(node: Mapping[str, Any]) -> list[str]:
    warmup, per_epoch = node.get("warmup_epochs", 0), node.get("update", "step") == "epoch"
    position = (
        "np.full(steps, float(epoch))  # one rate per epoch"
        if per_epoch
        else "(epoch * steps + np.arange(steps)) / steps  # a rate per step"
    )
    lines = [
        "def learning_rates(epoch, steps):",
        '    """The rates of an epoch\'s steps, of shape (steps,)."""',
        f"    position = {position}",
    ]
    if not warmup:
        return [*lines, "    return schedule(position).astype(np.float32)"]
    ramp = "(np.floor(position) + 0.5)" if per_epoch else "position"
    return [
        *lines,
        f"    ramp = {ramp} / {warmup!r}  # a linear warm-up of so many epochs",
        f"    after = schedule(np.maximum(position - {warmup!r}, 0.0))",
        "    start = schedule(np.zeros(1)) * np.minimum(ramp, 1.0)",
        f"    return np.where(position < {warmup!r}, start, after).astype(np.float32)",
    ]
