"""The local store: in folders of any name, moved and copied, of other versions, deleted in part."""

import os
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import chdir
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from fmnist_lab import tracking
from fmnist_lab.commands import ui
from fmnist_lab.config import TrackingConfig
from fmnist_lab.errors import RequestError
from fmnist_lab.tracking import store
from fmnist_lab.tracking.models import Registry, spell
from fmnist_lab.tracking.outbox import Header, Record
from fmnist_lab.tracking.sender import Outcome, sync
from tests.conftest import TINY, run_here
from tests.support.packages import leave_package

REAL_CREATE = store._create_database  # not the copy that the other tests use
QUOTES = 'it\'s "so" ümläut :b'
OTHER_SIGNS = "what? 100%20done #1 a;b&c+d=e,{f}[g] x@y:z new\nline back\\slash|pipe*~ 50%"


def record(folder: Path, name: str = "calm") -> Path:
    """Leaves the record of a run that has ended; returns its folder."""
    place = folder / "mlruns/trials" / name
    place.mkdir(parents=True)
    (place / "curves.jsonl").write_text("{}\n")
    left = Record.create(place, Header("trial", None, "fmnist-lab", name, {"kind": "trial"}))
    left.append(status="FINISHED", time=3000, tags={}, files=True)
    left.close()
    return place


def send(folder: Path) -> Outcome:
    """Sends it as another process would."""
    store._opened.clear()
    return sync(folder / "mlruns")


def files_of_runs(folder: Path) -> dict[str, list[str]]:
    """The files of each run, by its name, as a client finds them."""
    client = store.quiet_mlflow().MlflowClient(tracking.store_uri(folder / "mlruns"))
    return {
        run.info.run_name: [file.path for file in client.list_artifacts(run.info.run_id)]
        for run in client.search_runs(["1"])
    }


def content(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def archived(before: Path, after: Path) -> None:
    with tarfile.open(before.with_suffix(".tar"), "w") as archive:
        archive.add(before, after.name)
    shutil.rmtree(before)
    with tarfile.open(before.with_suffix(".tar")) as archive:
        archive.extractall(after.parent, filter="data")


class TestMoved:
    """A store goes on wherever its folder is now, and uses nothing elsewhere."""

    @pytest.mark.parametrize(
        ("move", "name"),
        [
            (Path.rename, "it's 100%20 #1?"),
            (shutil.copytree, "a copy"),
            (archived, "restored"),
        ],
    )
    def test_old_and_new_files_are_found(
        self, folder: Path, move: Callable[[Path, Path], Any], name: str
    ) -> None:
        a, b = folder / "a", folder / name
        record(a, "old")
        send(a)
        before = content(a)
        move(a, b)
        was_left = a.exists()
        record(b, "new")
        assert not send(b).problems
        assert files_of_runs(b) == {"old": ["curves.jsonl"], "new": ["curves.jsonl"]}
        assert len(list((b / "mlruns/artifacts").iterdir())) == 2
        assert a.exists() == was_left
        assert not was_left or content(a) == before

    @pytest.mark.slow
    def test_every_address_follows(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(store, "_create_database", REAL_CREATE)
        a, b = folder / QUOTES, folder / "b"
        record(a)
        with chdir(a):  # MLflow looks at its name
            assert not send(a).problems
        assert files_of_runs(a) == {"calm": ["curves.jsonl"]}
        client = store.quiet_mlflow().MlflowClient(tracking.store_uri(a / "mlruns"))
        model = client.create_logged_model("1", name="net")
        client.create_registered_model("net")
        client.create_model_version("net", model.artifact_location)
        elsewhere = client.create_experiment("own", "file:///data/mlruns-of-a/artifacts")
        a.rename(b)
        client = tracking.open_store(b / "mlruns")
        new = (b / "mlruns/artifacts").as_uri()
        assert client.get_logged_model(model.model_id).artifact_location.startswith(f"{new}/")
        assert client.get_model_version_download_uri("net", "1").startswith(f"{new}/")
        places = {found.name: found.artifact_location for found in client.search_experiments()}
        assert places["fmnist-lab"] == new
        assert places["Default"] == f"{new}/0"
        assert client.get_experiment(elsewhere).artifact_location.startswith("file:///data/")

    def test_another_path_to_the_same_folder_changes_nothing(self, folder: Path) -> None:
        record(folder / "a")
        send(folder / "a")
        (folder / "link").symlink_to("a")
        client = tracking.open_store(folder / "link/mlruns")
        place = client.get_experiment("1").artifact_location
        assert place == (folder / "a/mlruns/artifacts").as_uri()


class TestNames:
    """A folder may have any name."""

    @given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1)))
    def test_an_address_leads_to_its_file(self, names: list[str]) -> None:
        root = Path("/", *(name for name in names if name not in (".", "..")), "mlruns")
        address = tracking.store_uri(root)
        assert make_url(address).database == str(tracking.database(root))
        assert store._file(address) == tracking.database(root)
        assert store.is_sqlite(address)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", [QUOTES, OTHER_SIGNS])
    def test_a_training_is(self, folder: Path, name: str) -> None:
        place = folder / name
        place.mkdir()
        done = run_here(place, "train", *TINY, "training.epochs=1")
        assert done.returncode == 0
        (files,) = files_of_runs(place).values()
        assert "curves.jsonl" in files
        assert send(place) == Outcome()  # nothing is left to be sent
        assert [path.name for path in folder.iterdir()] == [name]


@cache
def revisions() -> list[str]:
    """All of MLflow's schemas, the newest first."""
    import mlflow
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(Path(mlflow.__file__).parent / "store/db_migrations"))
    return [script.revision for script in scripts.walk_revisions()]


def set_revision(folder: Path, revision: str) -> None:
    with sqlite3.connect(folder / "mlruns/mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))


class TestSchemas:
    """A store of another MLflow is left as it is, and the remedy is named."""

    @pytest.mark.parametrize(
        ("revision", "is_older"),
        [
            (1, True),  # places among `revisions`
            (9, True),
            (-1, True),
            ("ffffffffffff", False),
            ("v3.2.0.a", False),  # Optuna's
        ],
    )
    def test_one_sentence(self, folder: Path, revision: str | int, is_older: bool) -> None:
        tracking.open_store()
        set_revision(folder, revision if isinstance(revision, str) else revisions()[revision])
        before = (folder / "mlruns/mlflow.db").read_bytes()
        with pytest.raises(RequestError, match=r"mlflow\.db") as refused:
            tracking.open_store()
        assert ("mlflow db upgrade sqlite" in refused.value.hint) is is_older
        same = TrackingConfig(name="server", uri=tracking.store_uri())
        with pytest.raises(RequestError, match=r"mlflow\.db"):
            tracking.open_experiment(same)
        done = run_here(folder, "ui")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"fmnist-lab: {refused.value}\n"
        assert done.stderr.count("\n") == 1
        assert (folder / "mlruns/mlflow.db").read_bytes() == before

    def test_a_file_without_tables_is_taken(self, folder: Path) -> None:
        (folder / "mlruns").mkdir()
        sqlite3.connect(folder / "mlruns/mlflow.db").execute("CREATE TABLE mine (x)")
        assert tracking.open_store().get_experiment("0").name == "Default"

    @pytest.mark.parametrize("damaged", [b"nonsense" * 999, b"SQLite format 3\0" * 99])
    def test_a_damaged_file(self, folder: Path, damaged: bytes) -> None:
        (folder / "mlruns").mkdir()
        (folder / "mlruns/mlflow.db").write_bytes(damaged)
        done = run_here(folder, "ui")
        assert done.returncode == 2
        assert "mlflow.db" in done.stderr

    def test_records_wait_until_it_is_upgraded(self, folder: Path) -> None:
        tracking.open_store()
        set_revision(folder, revisions()[1])
        record(folder)
        (problem,) = send(folder).problems.values()
        assert "mlflow db upgrade" in problem
        set_revision(folder, revisions()[0])
        assert send(folder).sent.total() == 1


@pytest.mark.slow
@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_training_goes_on(folder: Path, is_deleted: bool) -> None:
    client, experiment = tracking.open_experiment(TrackingConfig())
    if is_deleted:
        client.delete_experiment(experiment)
    else:
        set_revision(folder, revisions()[3])
    done = run_here(folder, "train", *TINY, "training.epochs=1")
    assert done.returncode == 0
    remedy = f"mlflow experiments restore -x {experiment}" if is_deleted else "mlflow db upgrade"
    assert (done.stdout + done.stderr).count(remedy) == 1
    assert remedy in run_here(folder, "sync").stderr
    if is_deleted:
        client.restore_experiment(experiment)
    else:
        set_revision(folder, revisions()[0])
    assert run_here(folder, "sync").stdout.startswith("1 ")


class TestDeletedExperiment:
    """The remedy is named; what was recorded waits for it."""

    def test_records_wait_until_it_is_restored(self, folder: Path) -> None:
        client, experiment = tracking.open_experiment(TrackingConfig())
        client.delete_experiment(experiment)
        record(folder)
        (problem,) = send(folder).problems.values()
        assert problem.startswith("`tracking.experiment`")
        assert f" -x {experiment}, " in problem
        client.restore_experiment(experiment)
        assert send(folder).sent.total() == 1

    def test_it_is_deleted_while_a_run_goes_on(
        self, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        client, experiment = tracking.open_experiment(TrackingConfig())
        place = folder / "mlruns/trials/calm"
        place.mkdir(parents=True)
        run = Record.create(place, Header("trial", None, "fmnist-lab", "calm", {"kind": "trial"}))
        run.append(status="RUNNING")
        run.send()
        client.delete_experiment(experiment)
        for step in range(50):
            run.append(time=2000, step=step, metrics={"val/loss": 0.5})
        with pytest.raises(RequestError, check=lambda error: error.key == "tracking.experiment"):
            run.send()
        assert "refuses" not in caplog.text
        client.restore_experiment(experiment)
        run.append(status="FINISHED", time=3000, tags={}, files=False)
        run.send()
        assert len(client.get_metric_history(run.run_id, "val/loss")) == 50

    def test_the_ui_starts(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        client, experiment = tracking.open_experiment(TrackingConfig())
        client.delete_experiment(experiment)
        started: list[Any] = []
        monkeypatch.setattr(os, "execv", lambda *words: started.append(words))
        ui.serve(0)
        assert started


@pytest.mark.parametrize("is_wrong", [False, True])
def test_a_package_that_mlflow_cannot_work_with_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_wrong: bool
) -> None:
    leave_package(tmp_path, "alembic", "1.6.5" if is_wrong else "1.99")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = store.reason(ImportError("cannot import name '_BindParamClause'."))
    named = found.startswith("`alembic` must be installed in a version >=1.13, got 1.6.5; pip ")
    assert named is is_wrong
    assert named or found == "cannot import name '_BindParamClause'"


def test_a_models_versions_are_found_under_any_name(folder: Path) -> None:
    registry = Registry(TrackingConfig(experiment=QUOTES))
    client, experiment = tracking.open_experiment(TrackingConfig(experiment=QUOTES))
    run_id = client.create_run(experiment).info.run_id
    for name in map(spell, (QUOTES, "it's", "other")):
        client.create_registered_model(name)
        assert registry.find(name, run_id) is None
        client.create_model_version(name, str(folder), run_id)
        assert registry.find(name, run_id) == "1"
