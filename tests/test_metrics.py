"""Metrics by class agree with scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import (  # type: ignore[import-untyped]
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
)

from fmnist_lab.metrics import OBJECTIVES, by_class, direction, is_maximised


@pytest.mark.parametrize("seed", range(3))
def test_scikit_learn_says_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    actual = rng.choice(4, 300, p=[0.7, 0.2, 0.08, 0.02])
    guessed = np.where(rng.random(300) < 0.6, actual, rng.integers(4, size=300))
    found = by_class(confusion_matrix(actual, guessed))
    wanted = balanced_accuracy_score(actual, guessed), f1_score(actual, guessed, average="macro")
    assert found == pytest.approx(wanted)


def test_classes_without_images_do_not_count() -> None:
    assert by_class(np.diag([3, 2, 0])) == (1, 1)
    balanced, f1 = by_class(np.array([[1, 1], [0, 0]]))  # a class that is only guessed
    assert balanced == 0.5
    assert f1 == pytest.approx((2 / 3 + 0) / 2)


def test_only_the_loss_is_minimised() -> None:
    assert [name for name in OBJECTIVES if not is_maximised(name)] == ["val/loss"]
    assert direction("stopping", "val/macro_f1") == "max"
