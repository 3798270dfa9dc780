"""What is said of a store that cannot be opened."""

from pathlib import Path

import pytest

from fmnist_lab.tracking.store import reason
from tests.support.packages import leave_package


@pytest.mark.parametrize("is_wrong", [False, True])
def test_a_package_that_mlflow_cannot_work_with_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_wrong: bool
) -> None:
    leave_package(tmp_path, "alembic", "1.6.5" if is_wrong else "1.99")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = reason(ImportError("cannot import name '_BindParamClause'."))
    named = found.startswith("`alembic` must be installed in a version >=1.13, got 1.6.5; pip ")
    assert named is is_wrong
    assert named or found == "cannot import name '_BindParamClause'"
