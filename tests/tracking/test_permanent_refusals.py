"""What MLflow refuses for good, in a real store: the rest is sent, and the log says it once."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_lab import tracking
from fmnist_lab.config import TrackingConfig
from fmnist_lab.tracking.outbox import Header, Record
from fmnist_lab.tracking.trial_run import spelled


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("store"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield tracking.open_experiment(TrackingConfig())[0]


def sent(client: Any, folder: Path, params: dict[str, str]) -> Any:
    """The run of a record with these parameters, a metric and an end."""
    header = Header("trial", None, "fmnist-lab", "calm", {"kind": "trial"}, params, time=1000)
    record = Record.create(folder, header)
    record.append(time=2000, step=0, metrics={"val/loss": 0.5})
    record.append(status="FINISHED", time=3000, tags={"stop_reason": "completed"}, files=False)
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
    refusals = [record for record in caplog.records if "MLflow refuses" in record.message]
    assert len(refusals) == (key not in run.data.params)


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (["architecture.blocks.a,b"], ["architecture.blocks.a_b"]),
        (["a,b", "a;b", "a_b"], ["a_b", "a_b_2", "a_b_3"]),
        (["/a", "b//c", "../d", "e/f"], ["__a", "_b__c", "_.._d", "e/f"]),
        (["x y:z-1.0"], ["x y:z-1.0"]),
        (["k" * 300], ["k" * 240]),
    ],
)
def test_each_key_has_a_name_of_its_own(keys: list[str], names: list[str]) -> None:
    assert list(spelled(dict.fromkeys(keys, 1))) == names


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=300), st.integers(), max_size=8))
def test_no_key_is_refused(client: Any, config: dict[str, int]) -> None:
    from mlflow.entities import Param

    params = spelled(config)
    assert list(params.values()) == [str(value) for value in config.values()]
    run = client.create_run("1")
    client.log_batch(run.info.run_id, params=[Param(*item) for item in params.items()])
