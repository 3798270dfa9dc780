"""Pictures of curves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fmnist_lab.foundation.files import whole_file
from fmnist_lab.metrics import Metrics
from fmnist_lab.trial import Labels

TRAIN, VALIDATION = "#8da0cb", "#d95f02"


def save_trial(curve: Sequence[Metrics], labels: Labels, path: Path) -> None:
    """Draws one trial: loss, accuracy, learning rate and gradient norm over its epochs."""
    from matplotlib.figure import Figure

    # Fixed margins: fitting them would take twice the time of the drawing itself.
    figure = Figure(figsize=(9, 5.5), dpi=80)
    figure.subplots_adjust(left=0.07, right=0.98, bottom=0.09, top=0.88, hspace=0.25, wspace=0.18)
    figure.suptitle(
        f"{labels.strategy}: {labels.scheduler}, {labels.optimizer}, {labels.architecture}, "
        f"clipping {labels.clipping}, seed {labels.seed}"
    )
    (loss, accuracy), (rate, norm) = figure.subplots(2, 2, sharex=True)
    _draw_pair(loss, curve, "loss")
    _draw_pair(accuracy, curve, "accuracy")
    _draw(rate, curve, "opt/learning_rate", "#1b9e77", "rate")
    _draw(norm, curve, "opt/grad_norm", "#7570b3", "norm")
    rate.set_title("learning rate, at the epoch's last step", fontsize="medium", loc="left")
    norm.set_title("gradient norm before clipping, mean", fontsize="medium", loc="left")
    for axes in (rate, norm):
        axes.set_ylim(bottom=0)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    with whole_file(path) as temporary:
        figure.savefig(temporary)


def _draw_pair(axes: Any, curve: Sequence[Metrics], metric: str) -> None:
    _draw(axes, curve, f"train/{metric}", TRAIN, "training")
    _draw(axes, curve, f"val/{metric}", VALIDATION, "validation")
    axes.set_title(metric, fontsize="medium", loc="left")
    axes.legend(frameon=False)


def _draw(axes: Any, curve: Sequence[Metrics], metric: str, colour: str, label: str) -> None:
    values = [metrics[metric] for metrics in curve]
    axes.plot(values, color=colour, label=label, marker="o", markersize=3, linewidth=1.5)
    axes.grid(alpha=0.3)
