"""What MLflow refuses for good, in a real store: the rest is sent, and the log says it once."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mlflow import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.utils.validation import _validate_tag
from requests import HTTPError, Response

from fmnist_lab import tracking
from fmnist_lab.config import TrackingConfig
from fmnist_lab.tracking.outbox import UNSENT, Header, Record, RefusedError
from fmnist_lab.tracking.sender import Sender
from fmnist_lab.tracking.trial_run import spelled
from tests.conftest import run_here


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("store"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield tracking.open_experiment(TrackingConfig())[0]


def written(folder: Path, params: dict[str, str] | None = None, **tags: str) -> Record:
    """A record with these parameters and tags, a metric and an end."""
    header = Header(
        "trial", None, "fmnist-lab", "calm", {"kind": "trial", **tags}, params or {}, time=1000
    )
    record = Record.create(folder, header)
    record.append(time=2000, step=0, metrics={"val/loss": 0.5})
    record.append(status="FINISHED", time=3000, tags={"stop_reason": "completed"}, files=True)
    return record


def sent(client: Any, folder: Path, params: dict[str, str] | None = None, **tags: str) -> Any:
    """The run of such a record."""
    record = written(folder, params, **tags)
    record.send()
    assert not list(folder.glob("*.unsent*"))
    run = client.get_run(record.run_id)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"val/loss": 0.5})
    return run


@pytest.mark.parametrize(
    "key", ["a,b", "a=b", "a..b//c", "../up", "/root", "k" * 300, "a\nb", "ä(1)"]
)
def test_one_parameter_is_refused_and_all_else_is_there(
    key: str, client: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "fmnist_lab"):
        run = sent(client, tmp_path, {"first": "1", key: "2", "last": "3"})
    known = {name: value for name, value in run.data.params.items() if name != key}
    assert known == {"first": "1", "last": "3"}
    assert len(refusals(caplog)) == (key not in run.data.params)


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if "MLflow refuses" in record.message]


def test_the_name_is_refused(client: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # MLflow takes no second name that differs from the first.
    run = sent(client, tmp_path, {"first": "1"}, **{"mlflow.runName": "other", "sweep": "s"})
    assert (run.info.run_name, run.data.tags["sweep"]) == ("calm", "s")
    assert run.data.params == {"first": "1"}
    assert not refusals(caplog)


@pytest.mark.parametrize("key", ["a,b", "k" * 300, "../up"])
def test_a_tag_is_refused(
    key: str,
    client: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    create = mlflow.MlflowClient.create_run

    def as_a_server_does(client: Any, where: str, time: int, tags: Any, *name: Any) -> Any:
        for tag in tags.items():
            _validate_tag(*tag)
        return create(client, where, time, tags, *name)

    monkeypatch.setattr(mlflow.MlflowClient, "create_run", as_a_server_does)
    run = sent(client, tmp_path, None, **{"sweep": "s", key: "1"})
    assert (run.info.run_name, run.data.tags["sweep"]) == ("calm", "s")
    assert len(refusals(caplog)) == 1
    assert key in refusals(caplog)[0]


def too_large(status: int) -> HTTPError:
    """What a server for files answers."""
    response = Response()
    response.status_code = status
    return HTTPError("no", response=response)


@pytest.mark.parametrize(
    "error", [MlflowException("no", INVALID_PARAMETER_VALUE), too_large(413), too_large(400)]
)
def test_a_file_is_refused(
    error: Exception,
    client: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    keep = mlflow.MlflowClient.log_artifact

    def picky(client: Any, run_id: str, path: str, below: str | None) -> None:
        if path.endswith("b.txt"):
            raise error
        keep(client, run_id, path, below)

    monkeypatch.setattr(mlflow.MlflowClient, "log_artifact", picky)
    for name in ("a.txt", "b.txt", "c.txt"):
        (tmp_path / name).write_text(name)
    run = sent(client, tmp_path)
    files = client.list_artifacts(run.info.run_id)
    assert [file.path for file in files] == ["a.txt", "c.txt"]
    assert len(refusals(caplog)) == 1
    assert "b.txt" in refusals(caplog)[0]


def test_a_description_is_refused(
    client: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(client: Any, run_id: str, key: str, value: str) -> None:
        raise MlflowException("not this one", INVALID_PARAMETER_VALUE)

    (tmp_path / "description.md").write_text("text")
    record = written(tmp_path)
    record.append(note="description.md")
    monkeypatch.setattr(mlflow.MlflowClient, "set_tag", refuse)
    record.send()
    assert client.get_run(record.run_id).info.status == "FINISHED"
    assert len(refusals(caplog)) == 2  # and the tag with the reason of the end


def test_a_whole_run_is_refused_and_the_others_are_sent(
    client: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for a server that takes it, and is tried once by each command."""
    create, tried = mlflow.MlflowClient.create_run, []

    def picky(client: Any, *words: Any) -> Any:
        tried.append(words)
        if len(tried) <= 2:
            raise MlflowException("a team must be named", INVALID_PARAMETER_VALUE)
        return create(client, *words)

    for name in ("a", "b", "c"):
        place = folder / "mlruns/trials" / name
        place.mkdir(parents=True)
        written(place).close()
    monkeypatch.setattr(mlflow.MlflowClient, "create_run", picky)
    done = run_here(folder, "sync")
    assert done.returncode == 1
    assert done.stdout.startswith("2 ")
    assert "mlruns/trials/a: " in done.stderr
    assert UNSENT in done.stderr  # the file to delete, instead of advice for a server that is down
    assert "again" not in done.stderr
    assert run_here(folder, "sync").stdout.startswith("1 ")


def test_a_sender_names_a_refused_run_once(
    client: Any,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(client: Any, *words: Any) -> None:
        raise MlflowException("a team must be named", INVALID_PARAMETER_VALUE)

    monkeypatch.setattr(mlflow.MlflowClient, "create_run", refuse)
    record = Record.create(folder, Header("trial", None, "fmnist-lab", "calm", {}))
    sending = Sender(None, folder / "mlruns")
    for step in range(3):
        record.append(time=2000, step=step, metrics={"val/loss": 0.5})
        sending.notify(record)
        sending.wait(record)
    record.append(status="FINISHED", time=3000, tags={}, files=False)
    sending.notify(record)
    sending.wait(record)
    assert len(refusals(caplog)) == 1
    assert "answer" not in caplog.text
    assert record.path.exists()


def test_a_run_that_was_deleted_gets_nothing(
    client: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = Record.create(tmp_path, Header("trial", None, "fmnist-lab", "calm", {}))
    record.append(status="RUNNING")
    record.send()
    client.delete_run(record.run_id)
    for step in range(30):
        record.append(time=2000, step=step, metrics={"val/loss": 0.5})
    with pytest.raises(RefusedError):
        record.send()
    record.close()
    assert not refusals(caplog)


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (["architecture.blocks.a,b"], ["architecture.blocks.a_b"]),
        (["a,b", "a;b", "a_b"], ["a_b", "a_b_2", "a_b_3"]),
        (["/a", "b//c", "../d", "e/f"], ["__a", "_b__c", "_.._d", "e/f"]),
        (["..0", "a/..b", "."], ["_..0", "a/..b", "_."]),
        (["x y:z-1.0"], ["x y:z-1.0"]),
        (["k" * 300], ["k" * 240]),
    ],
)
def test_each_key_has_a_name_of_its_own(keys: list[str], names: list[str]) -> None:
    assert list(spelled(dict.fromkeys(keys, 1))) == names


@settings(max_examples=30)
@given(st.dictionaries(st.text(min_size=1, max_size=300), st.integers(), max_size=8))
@example({"..0": 0, ".": 1, "/a": 2})
def test_no_key_is_refused(client: Any, config: dict[str, int]) -> None:
    from mlflow.entities import Param

    params = spelled(config)
    assert list(params.values()) == [str(value) for value in config.values()]
    run = client.create_run("1")
    client.log_batch(run.info.run_id, params=[Param(*item) for item in params.items()])
