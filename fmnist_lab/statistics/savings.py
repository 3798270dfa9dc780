"""What early stopping saved."""

import pandas as pd

from fmnist_lab.statistics import columns as frames
from fmnist_lab.trial import StopReason


def saved_epochs(runs: pd.DataFrame) -> pd.DataFrame:
    """Epochs trained against the horizon, of each strategy.

    Only runs that ended by themselves count, completed or early_stopped: what was lost or pruned
    saved nothing.

    Args:
        runs: Trials or replicates, or both: strategy, stop_reason, epochs_trained, and horizon,
            the epochs that the run would have trained without early stopping.

    Returns:
        A row per strategy, in the order of appearance: strategy, runs (that count), others (how
        many do not), early_stopped (of the runs), epochs (trained, of all runs together), horizon
        (what they would have trained), saved (share of the horizon, float64; NaN without runs),
        median_epochs (float64, trained per run).

    Raises:
        RequestError: A column is missing.
    """
    frames.require_columns("runs", runs, "strategy", "stop_reason", "epochs_trained", "horizon")
    rows = []
    for strategy, group in runs.groupby("strategy", sort=False):
        ended = group["stop_reason"].isin((StopReason.COMPLETED, StopReason.EARLY_STOPPED))
        own = group[ended]
        epochs, horizon = int(own["epochs_trained"].sum()), int(own["horizon"].sum())
        rows.append(
            {
                "strategy": strategy,
                "runs": len(own),
                "others": len(group) - len(own),
                "early_stopped": int((own["stop_reason"] == StopReason.EARLY_STOPPED).sum()),
                "epochs": epochs,
                "horizon": horizon,
                "saved": 1 - epochs / horizon if horizon else float("nan"),
                "median_epochs": float(own["epochs_trained"].median()),
            }
        )
    columns = ["strategy", "runs", "others", "early_stopped", "epochs", "horizon", "saved",
               "median_epochs"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)
