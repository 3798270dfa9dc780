"""What early stopping saved."""

import math

import pandas as pd
import pytest

from fmnist_lab.errors import RequestError
from fmnist_lab.statistics import saved_epochs


def runs(*ended: tuple[str, str, int], horizon: int = 20) -> pd.DataFrame:
    frame = pd.DataFrame(ended, columns=["strategy", "stop_reason", "epochs_trained"])
    return frame.assign(horizon=horizon)


def test_by_hand() -> None:
    found = saved_epochs(
        runs(
            ("constant", "early_stopped", 5),
            ("constant", "completed", 20),
            ("constant", "early_stopped", 8),
            ("cosine", "completed", 20),
        )
    )
    constant, cosine = found.to_dict("records")
    assert constant == {
        "strategy": "constant", "runs": 3, "others": 0, "early_stopped": 2, "epochs": 33,
        "horizon": 60, "saved": pytest.approx(0.45), "median_epochs": 8.0,
    }  # fmt: skip
    assert cosine["saved"] == 0


@pytest.mark.parametrize("reason", ["diverged", "failed", "pruned", "interrupted"])
def test_what_was_lost_saved_nothing_and_is_counted(reason: str) -> None:
    (row,) = saved_epochs(runs(("a", reason, 1), ("a", "completed", 20))).to_dict("records")
    assert (row["runs"], row["others"], row["saved"]) == (1, 1, 0)
    (lost,) = saved_epochs(runs(("a", reason, 1))).to_dict("records")
    assert math.isnan(lost["saved"])
    assert math.isnan(lost["median_epochs"])


def test_nothing_and_missing_columns() -> None:
    assert saved_epochs(runs()).empty
    with pytest.raises(RequestError, check=lambda error: error.key == "runs"):
        saved_epochs(runs().drop(columns="horizon"))
