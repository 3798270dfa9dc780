"""Journals that were torn, secrets that stay secret, and one controller at a time."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from omegaconf import OmegaConf
from optuna.exceptions import StorageInternalError

from fmnist_lab.errors import ConnectionLostError, RequestError
from fmnist_lab.foundation.secrets import into_environment, mask, masked_config, masked_overrides
from fmnist_lab.sweeper import storage
from fmnist_lab.sweeper.settings import SweepRequestError
from fmnist_lab.sweeper.storage import (
    LEASE,
    StorageAddress,
    locate,
    one_controller,
    open_in_job,
    open_storage,
    reaching,
)
from tests.support.sweeping import wait_for

DATABASE = "postgresql://me:s3cret@host/db"


def address(folder: Path) -> StorageAddress:
    return locate(None, folder / "study.journal")


def new_study(where: StorageAddress) -> optuna.Study:
    return optuna.create_study(study_name="s", storage=open_storage(where), load_if_exists=True)


@pytest.mark.parametrize("tail", [b'{"op_code":4,"wor', b"{", b'{"a":1}' * 2000])
def test_a_torn_tail_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    where = address(tmp_path)
    new_study(where).ask()
    journal = where.journal
    assert journal
    whole = journal.read_bytes()
    journal.write_bytes(whole + tail)
    study = new_study(where)
    assert len(study.trials) == 1
    assert journal.read_bytes().startswith(whole)
    study.ask()
    assert len(new_study(where).trials) == 2


@pytest.mark.parametrize(
    "content", [b"{bad\n", b"\xff\xfe\n", b"1\n", b"{}\n", b'{"op_code":99,"worker_id":"a"}\n']
)
def test_a_journal_that_is_none_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    where = address(tmp_path)
    assert where.journal
    where.journal.write_bytes(content)
    with pytest.raises(SweepRequestError, check=lambda error: "journal:///" in error.got):
        open_storage(where)
    assert where.journal.read_bytes() == content


def test_a_writer_killed_beside_a_living_one_loses_nothing(tmp_path: Path) -> None:
    where = address(tmp_path)
    study = new_study(where)
    assert where.journal
    with where.journal.open("ab") as file:  # another process dies here, in mid-line
        file.write(b'{"op_code":4')
    study.ask()
    study.ask()
    assert len(study.trials) == len(new_study(where).trials) == 2


def test_each_of_two_writers_reads_what_the_other_has_added(tmp_path: Path) -> None:
    one, other = new_study(address(tmp_path)), new_study(address(tmp_path))
    for count in range(1, 6):
        for study in (one, other):
            study.ask().set_user_attr("by", count)
        assert len(one.trials) == len(other.trials) == 2 * count
    by = [trial.user_attrs["by"] for trial in new_study(address(tmp_path)).trials]
    assert by == [trial.user_attrs["by"] for trial in one.trials] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_a_killed_owner_of_the_lock_stops_nobody(tmp_path: Path) -> None:
    where = address(tmp_path)
    study = new_study(where)
    code = (
        "import os, sys; from filelock import FileLock; "
        "FileLock(sys.argv[1]).acquire(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / ".study.journal.lock")], check=False)
    study.ask()  # Optuna's own lock would wait for 30 seconds


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://me:s3cret@host/db", "postgresql://me:***@host/db"),
        ("postgresql+psycopg://me:s3@cret@host:1/db", "postgresql+psycopg://me:***@host:1/db"),
        ("redis://:s3cret@host", "redis://:***@host"),
        ("http://me@example.com:s3cret@host:9", "http://me@example.com:***@host:9"),
        ("http://s3cret@example.com:5000/path", "http://***@example.com:5000/path"),
        ("at HTTPS://s3cret@host and a@b", "at HTTPS://***@host and a@b"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("http://host/a@b", "http://host/a@b"),
        ("at http://me:it's@host/a", "at http://me:***@host/a"),
        ("mysql://host/db?user=me&password=s3cret&x=1", "mysql://host/db?user=me&password=***&x=1"),
        ("http://host?api_key=s3cret&x=1", "http://host?api_key=***&x=1"),
        ("x://host/db?x=1&Passphrase=s3cret", "x://host/db?x=1&Passphrase=***"),
        (
            "x:///?odbc_connect=UID%3Dme%3BPWD%3Ds3%3Bcret&x=1",
            "x:///?odbc_connect=UID%3Dme%3BPWD%3D***&x=1",
        ),
        ("x:///?odbc_connect=PWD={s3;cret};UID=me", "x:///?odbc_connect=PWD=***"),
        ("sqlite:///study.db", "sqlite:///study.db"),
        ("at tcp://host:8786 and a@b", "at tcp://host:8786 and a@b"),
        ("tcp://host:8786 and a@b", "tcp://host:***@b"),  # one address, for all that we know
        ("http://me:hun s3cret@host", "http://me:***@host"),
        ("http://me:h@n\ns3 cret@host", "http://me:***@host"),
        ("http://hun s3cret@host", "http://***@host"),
        ("at 'http://me:hun s3cret@host' it's", "at 'http://me:***@host' it's"),
        ("at http://me:s3cret@host and a@b", "at http://me:***@host and a@b"),
        ("at http://host: ask a@b", "at http://host: ask a@b"),
        ("http://host:5000/x?email=a@b", "http://host:5000/x?email=a@b"),
        ("note=http://host:5000/a@b", "note=http://host:5000/a@b"),
        ("http://[::1]:5000/a@b", "http://[::1]:5000/a@b"),
        ("http://me:123456/7@host", "http://me:***@host"),  # no port is that high
        ("postgresql://me:123/45@host/db", "postgresql://me:***@host/db"),
        ("redis://:123/45@host", "redis://:***@host"),
        ("http://host?pass=s3cret&auth=s3cret", "http://host?pass=***&auth=***"),
        ("http://host?sig=s3cret&key=s3cret", "http://host?sig=***&key=***"),
        ("http://host?bypass=1&sort_key=2", "http://host?bypass=1&sort_key=2"),
        ("at 'http://host?token=s3'cret'.", "at 'http://host?token=***'."),
        ("http://host?token=s3', cret&x=1", "http://host?token=***&x=1"),
        ("http://${oc.env:U}:${oc.env:P}@host", "http://${oc.env:U}:${oc.env:P}@host"),
        ("http://${oc.env:T}@host?key=${oc.env:K}", "http://${oc.env:T}@host?key=${oc.env:K}"),
        ("http://me:s3${oc.env:P}@host", "http://me:***@host"),
        ("http://me:${oc.env:P,s3cret}@host", "http://me:***@host"),
    ],
)
def test_mask(text: str, masked: str) -> None:
    assert mask(text) == masked


def test_a_masked_configuration_can_still_be_read() -> None:
    url = "postgresql://me:s3cret@host/db"
    config = OmegaConf.create(
        {
            "hydra": {
                "sweeper": {"storage": url},
                "overrides": {"hydra": [f"hydra.sweeper.storage='{url}'", "hydra.verbose=true"]},
            }
        }
    )
    inherited = "postgresql://me:${oc.env:P}@host/db"
    config.hydra.sweeper.update({"inherited": inherited, "spaced": "http://me:h@n s3cret@host"})
    masked = masked_config(config)
    unresolved: Any = OmegaConf.to_container(masked, resolve=False)
    assert unresolved["hydra"]["sweeper"]["inherited"] == inherited
    assert masked.hydra.sweeper.spaced == "http://me:***@host"
    assert "s3cret" not in OmegaConf.to_yaml(masked)
    assert config.hydra.sweeper.storage == url
    assert masked.hydra.overrides.hydra == [
        "hydra.sweeper.storage='postgresql://me:***@host/db'",
        "hydra.verbose=true",
    ]
    assert masked_overrides(config) == ["hydra.sweeper.storage='postgresql://me:***@host/db'"]
    assert masked_config(masked) is masked


def test_a_pickled_address_has_no_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FMNIST_LAB_STORAGE", "")
    url = f"sqlite:///file:{tmp_path}/study.db?password=s3cret&uri=true"
    where = locate(url, tmp_path)
    new_study(where)
    travels = where.through_environment()
    assert b"s3cret" not in pickle.dumps(travels)
    arrived = pickle.loads(pickle.dumps(travels))
    assert optuna.load_study(study_name="s", storage=open_in_job(arrived)).trials == []


def test_unreachable_storage_is_one_sentence_without_a_password(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/nowhere/study.db?password=s3cret"
    with pytest.raises(
        SweepRequestError, check=lambda error: error.key == "hydra.sweeper.storage"
    ) as caught:
        open_storage(locate(url, tmp_path))
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("driver", "package"), [("psycopg", "'fmnist-lab[postgresql]'"), ("pg8000", "pg8000")]
)
def test_a_missing_driver_is_one_sentence(
    driver: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(SweepRequestError) as caught:
        open_storage(locate(f"postgresql+{driver}://me:s3cret@host/db", tmp_path))
    assert caught.value.key == "hydra.sweeper.storage"
    assert caught.value.got == f"postgresql+{driver}://me:***@host/db"
    assert caught.value.hint.endswith(f" {package}")


def test_a_lost_database_is_one_sentence_without_a_password(tmp_path: Path) -> None:
    with pytest.raises(ConnectionLostError) as caught, reaching(locate(DATABASE, tmp_path)):
        raise StorageInternalError("in the commit") from OSError(f"{DATABASE} is down\nfor now")
    shown = "postgresql://me:***@host/db"
    assert str(caught.value).count(shown) == 2  # its name, and in the reason
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_passwords_move_from_the_command_line_into_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("FMNIST_LAB_STORAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "another")
    given = [
        "seed=1",
        f"hydra.sweeper.storage='{DATABASE}'",
        "tracking.uri='https://me:a%2F b@host:1/x'",
    ]
    assert into_environment(given) == [
        "seed=1",
        'hydra.sweeper.storage="${oc.env:FMNIST_LAB_STORAGE}"',
        'tracking.uri="${oc.env:MLFLOW_TRACKING_URI}"',
    ]
    assert os.environ["FMNIST_LAB_STORAGE"] == DATABASE
    assert os.environ["MLFLOW_TRACKING_URI"] == "https://host:1/x"
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "me"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "a/ b"


def test_passwords_below_a_key_move_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMNIST_LAB_STORAGE", "")
    kept = '++hydra.sweeper.storage.url="${oc.env:FMNIST_LAB_STORAGE}"'
    assert into_environment(["++hydra.sweeper.storage.url=x://me:s3cret@host"]) == [kept]
    assert os.environ["FMNIST_LAB_STORAGE"] == "x://me:s3cret@host"


@pytest.mark.parametrize(
    ("given", "key", "got"),
    [
        (
            "hydra.launcher.address=tls://me:s3cret@h:8786",
            "hydra.launcher.address",
            "tls://me:***@h:8786",
        ),
        (
            "tracking.uri=choice('http://a:s3cret@h','http://b:s3cret@h')",
            "tracking.uri",
            "choice('http://a:***@h')",
        ),
        (
            "hydra.sweeper.storage={_target_: a.B, url: 'x://me:s3cret@host', n: 1}",
            "hydra.sweeper.storage",
            "{_target_: a.B, url: 'x://me:***@host', n: 1}",
        ),
        ("note='x://me:h@n s3cret@h'", "note", "'x://me:***@h'"),
        ("http://s3cret@host/x=1", "", "http://***@host/x=1"),  # a path, and no key
    ],
)
def test_passwords_that_cannot_move_are_refused(given: str, key: str, got: str) -> None:
    before = dict(os.environ)
    with pytest.raises(RequestError) as caught:
        into_environment([given])
    assert key in str(caught.value)
    assert str(caught.value).endswith(f" {got}.")
    assert "s3cret" not in str(caught.value)
    assert dict(os.environ) == before


def test_arguments_without_passwords_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host")
    given = ["tracking.uri=http://host:5000", "hydra.sweeper.storage=journal://a/b", "-m"]
    given += ["hydra.sweeper.storage={_target_: a.B, url: 'x://me@host'}"]
    given += ["hydra.sweeper.storage=postgresql://me:${oc.env:P}@host/db"]
    given += ["hydra.sweeper.storage='sqlite:///file:x?uri=true&password=${oc.env:P}'"]
    given += ["tracking={name: server, uri: 'http://${oc.env:U}:${oc.env:P}@host'}"]
    given += ["data.dir='/x;token=1'", "data.dir='/x?key=1'", "hydra.sweep.dir=s3://h:1/a@b"]
    assert into_environment(given) == given


@pytest.mark.parametrize("storage", ["study.db", 3, {"_target_": "builtins.dict"}])
def test_what_is_no_storage_is_refused(storage: object, tmp_path: Path) -> None:
    with pytest.raises(SweepRequestError, check=lambda error: error.key == "hydra.sweeper.storage"):
        locate(storage, tmp_path)


def test_relative_files_are_those_of_the_controller(tmp_path: Path) -> None:
    here = Path.cwd()
    assert locate("sqlite:///study.db", tmp_path).text == f"sqlite:///{here}/study.db"
    assert locate("journal://a/b", tmp_path).journal == here / "a" / "b"
    for url in ("sqlite:////study.db", "sqlite:///:memory:", "sqlite:///file:x?uri=true"):
        assert locate(url, tmp_path).text == url


@pytest.mark.parametrize(
    "name", ["what?", "100%20done", "a#b;key=1", 'it\'s "ü"', "{x}%(y)s", "x?token=1&u:p@h"]
)
@pytest.mark.parametrize("storage", ["sqlite:///study.db", "sqlite:///study.db?timeout=9", None])
def test_folders_of_any_name(
    storage: str | None, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FMNIST_LAB_STORAGE", "")
    here = tmp_path / name
    here.mkdir()
    monkeypatch.chdir(here)
    where = locate(storage, here / "study.db")
    new_study(where)
    monkeypatch.chdir(tmp_path)
    in_job = open_in_job(pickle.loads(pickle.dumps(where.through_environment())))
    assert optuna.load_study(study_name="s", storage=in_job).trials == []
    assert (here / "study.db").exists()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_storage_objects_are_built(tmp_path: Path) -> None:
    found = locate({"_target_": "optuna.storages.InMemoryStorage"}, tmp_path)
    assert open_storage(found) is open_in_job(found)


def test_one_controller_on_a_machine(tmp_path: Path) -> None:
    with one_controller(address(tmp_path), "s", tmp_path):
        with one_controller(address(tmp_path), "another study", tmp_path):
            pass
        second = one_controller(address(tmp_path), "s", tmp_path)
        with pytest.raises(SweepRequestError, match=r"\bs\b"):
            second.__enter__()
    with one_controller(address(tmp_path), "s", tmp_path):
        pass


def test_one_controller_for_a_database(tmp_path: Path) -> None:
    where = locate(f"sqlite:///{tmp_path}/study.db", tmp_path)
    study = new_study(where)
    with one_controller(where, "s", tmp_path / "a") as hold:
        hold(study)
        lease = study.user_attrs[LEASE]
    assert study.user_attrs[LEASE] is None

    def take(**changes: object) -> None:
        study.set_user_attr(LEASE, lease | changes)
        with one_controller(where, "s", tmp_path / "b") as hold:
            hold(study)

    with pytest.raises(SweepRequestError, match=r"\b1\b.*\belsewhere\b"):
        take(host="elsewhere", pid=1)
    with pytest.raises(SweepRequestError, match=str(os.getppid())):
        take(pid=os.getppid())
    take(host="elsewhere", beat=lease["beat"] - 1000)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    take(pid=dead.pid)


def test_a_controller_that_was_taken_over_ends_and_leaves_the_other_its_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_BEAT", 0.05)
    where = locate(f"sqlite:///{tmp_path}/study.db", tmp_path)
    study = new_study(where)
    with one_controller(where, "s", tmp_path / "a") as hold:
        first = hold(study)
        first()
        monkeypatch.setattr(storage, "_is_alive", lambda holder: False)  # it was suspended
        with one_controller(where, "s", tmp_path / "b") as take_over:
            second = take_over(study)
            wait_for(lambda: raises(first))
            second()
        successor = {"token": "another"}
        study.set_user_attr(LEASE, successor)
    assert study.user_attrs[LEASE] == successor


def raises(require_held: storage.RequireHeld) -> bool:
    try:
        require_held()
    except ConnectionLostError:
        return True
    return False
