"""What this user may not read or write, on a machine that others use too."""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fmnist_lab.sweeper.settings import SweepRequestError
from fmnist_lab.sweeper.storage import locate, one_controller
from tests.conftest import exit_code
from tests.support.folders import leave_sweep

pytestmark = pytest.mark.slow

NIGHT = Path("mlruns/sweeps/night")
_VERSION = 0x20080522  # of the capabilities' layout: twice effective, permitted, inheritable
_PASS_OVER = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


@pytest.fixture
def bound_by_permissions() -> Iterator[None]:
    """Root in this thread is bound by permissions like all others."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, own = (ctypes.c_uint32 * 2)(_VERSION, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, own) == 0
    bound = (ctypes.c_uint32 * 6)(own[0] & ~_PASS_OVER, *own[1:])
    assert libc.capset(header, bound) == 0
    yield
    assert libc.capset(header, own) == 0


@contextmanager
def closed(path: Path, mode: int = 0) -> Iterator[None]:
    """Limits everything below a path to `mode`, until the block ends."""
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        yield
    finally:
        path.chmod(before)


@pytest.mark.usefixtures("bound_by_permissions")
class TestRefusals:
    """Each a sentence with the path."""

    @pytest.mark.parametrize(
        ("path", "word"),
        [
            ("mlruns", "compare"),
            ("mlruns", "sync"),
            ("mlruns", "ui"),
            ("mlruns/mlflow.db", "ui"),
            ("conf", "preview"),
            ("conf", "train"),
            (f"{NIGHT}/trials", "compare"),
            (f"{NIGHT}/trials", "sync"),
            (f"{NIGHT}/trials/0", "compare"),
            (f"{NIGHT}/trials/0/result.json", "compare"),
            (f"{NIGHT}/trials/0/curves.jsonl", "export-best"),
            (f"{NIGHT}/multirun.yaml", "compare"),
            (f"{NIGHT}/spaces.json", "export-best"),
        ],
    )
    def test_what_may_not_be_read_is_said(
        self,
        folder: Path,
        path: str,
        word: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        leave_sweep(Path("mlruns"), {"constant": (1e-3,)}, {"constant": 0.88})
        Path("conf").mkdir()
        Path("mlruns/mlflow.db").touch()
        with closed(Path(path)):
            assert exit_code(monkeypatch, word) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        lines = printed.err.splitlines()
        assert len(lines) == 1
        assert path in lines[0]
        assert os.strerror(errno.EACCES) in lines[0]

    @pytest.mark.parametrize("address", [None, "journal://there/x.journal"])
    def test_a_study_where_no_file_can_be_made(self, folder: Path, address: str | None) -> None:
        there = Path("there")
        there.mkdir()
        where = locate(address or f"sqlite:///{folder}/study.db", there)
        held = one_controller(where, "s", there)
        with closed(there, 0o555), pytest.raises(SweepRequestError) as caught:
            held.__enter__()
        key = "hydra.sweeper.storage" if address else "hydra.sweep.dir"
        place = where.journal.parent if where.journal else there
        assert (caught.value.key, caught.value.got) == (key, str(place))


def test_a_journal_where_there_are_no_files(tmp_path: Path) -> None:
    held = one_controller(locate("journal:///proc/x", tmp_path), "s", tmp_path)
    with pytest.raises(SweepRequestError) as caught:
        held.__enter__()
    assert (caught.value.key, caught.value.got) == ("hydra.sweeper.storage", "/proc")
