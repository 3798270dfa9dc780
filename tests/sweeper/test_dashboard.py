"""Optuna's dashboard on a sweep's journal, where it is installed."""

import json
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest

from fmnist_lab.sweeper.storage import locate, open_storage


def test_it_lists_the_studies_of_a_journal(tmp_path: Path) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")  # its versions are not those of the lock
    journal = tmp_path / "study.journal"
    storage = open_storage(locate(None, journal))
    study = optuna.create_study(storage=storage, study_name="demo/cosine", direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("scheduler.power", 0, 1), n_trials=3)

    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    application = dashboard.wsgi(optuna.storages.JournalStorage(backend))

    def get(path: str) -> Any:
        request: dict[str, Any] = {"PATH_INFO": path}
        setup_testing_defaults(request)
        return json.loads(b"".join(application(request, lambda *answer: None)))

    (found,) = get("/api/studies")["study_summaries"]
    assert found["study_name"] == "demo/cosine"
    trials = get(f"/api/studies/{found['study_id']}")["trials"]
    assert [trial["state"] for trial in trials] == ["Complete"] * 3
