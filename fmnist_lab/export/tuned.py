"""The best tuning trial by its own metric, and what one seed is worth."""

import math
from collections.abc import Sequence

import pandas as pd

from fmnist_lab import statistics
from fmnist_lab.foundation import wording
from fmnist_lab.report.evidence import Evidence

NAMED = 6  # runners-up that are listed by name


def choose(
    evidence: Evidence, whole: pd.DataFrame, metric: str, strategy: str | None
) -> tuple[pd.Series, str, str]:
    """The trial whose delivered weights have the best value of a validation metric."""
    scored = whole.assign(objective=_delivered(evidence, whole, metric), objective_metric=metric)
    own = scored if strategy is None else scored[scored["strategy"] == strategy]
    winners = statistics.winners(own)
    best = first(winners, metric)
    among = f"{wording.count(len(own), 'trial')} trained to the end"
    of = f" of strategy {strategy}" if strategy else ""
    why = (
        f"Trial {best['trial']} ({best['strategy']}) has the best {metric}, "
        f"{wording.number(best['objective'])}, of {among}{of}."
    )
    trial = whole[whole["folder"] == best["folder"]].iloc[0]
    return trial, why, _luck(evidence, scored, best, metric)


def _delivered(evidence: Evidence, trials: pd.DataFrame, metric: str) -> pd.Series:
    """The metric of the weights that each trial delivers; NaN where it was not measured."""
    if metric == evidence.metric:
        return trials["objective"]
    at = evidence.curves.set_index(["folder", "epoch"])[metric]
    keys = zip(trials["folder"], trials["delivered_epoch"], strict=True)
    return pd.Series([at.get(key, math.nan) for key in keys], trials.index, dtype="float64")


def _luck(evidence: Evidence, scored: pd.DataFrame, best: pd.Series, metric: str) -> str:
    """What one seed is worth."""
    sentence = "One seed decides nothing"
    rivals = statistics.winners(scored)
    rivals = rivals[rivals["strategy"] != best["strategy"]]
    validated = evidence.setup.config.get("data", {}).get("val_size")
    if metric == "val/accuracy" and validated:
        # Two shares of one set of images; where their errors coincide the difference is surer.
        error = math.sqrt(best["objective"] * (1 - best["objective"]) / validated)
        rivals = rivals[best["objective"] - rivals["objective"] <= error]
        sentence += (
            f": {validated} images alone leave {100 * error:.2f} points to chance (one standard "
            "error), and seeds add to that"
        )
    ranked = rivals.sort_values("objective", ascending=metric == "val/loss", kind="stable")
    close = [
        f"{row['strategy']} #{row['trial']} {wording.number(row['objective'])}"
        for row in ranked.to_dict("records")
    ]
    if close:
        kind = "Within that" if "chance" in sentence else "Next"
        return f"{sentence}. {kind}: {listed(close)}."
    return f"{sentence}."


def first(winners: pd.DataFrame, metric: str) -> pd.Series:
    """The best row by objective, which is this metric; of equal ones the first trial."""
    rising = metric.endswith("loss")
    return winners.sort_values(["objective", "trial"], ascending=[rising, True]).iloc[0]


def listed(names: Sequence[str]) -> str:
    """`a, b and 3 more`."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
