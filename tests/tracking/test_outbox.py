"""A run's record: what survives a kill, which process may send it, and how it ends."""

import json
import signal
import subprocess
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path

import pytest

from fmnist_lab.foundation.files import write_json
from fmnist_lab.tracking.outbox import RECORDS, Header, Line, Record, unsent
from fmnist_lab.tracking.sender import Outcome, sync
from fmnist_lab.tracking.store import NOTE
from fmnist_lab.trial import StopReason, TrialResult
from tests.support.folders import RESULT as WHOLE

HEADER = Header("trial", None, "night", "calm", {"kind": "trial"}, time=1000)
RESULT = TrialResult(
    objective=0.5, objective_metric="val/accuracy", stop_reason=StopReason.COMPLETED,
    epochs_trained=1, best_epoch=0, best_val_loss=1.0, best_val_accuracy=0.5, delivered_epoch=0,
    parameters=1, seconds=1.0,
)  # fmt: skip


def only(folder: Path) -> Path:
    (path,) = unsent(folder)
    return path


def test_what_was_appended_is_read(tmp_path: Path) -> None:
    record = Record.create(tmp_path, HEADER)
    record.append(time=2000, step=0, metrics={"val/loss": 0.5})
    lines, end = record.read(record.start)
    record.append(status="FINISHED", time=3000)
    assert lines == [{"time": 2000, "step": 0, "metrics": {"val/loss": 0.5}}]
    assert [line["status"] for line in record.read(end)[0]] == ["FINISHED"]
    assert record.has_ended
    record.close()


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    record = Record.create(tmp_path, HEADER)
    record.append(time=2000, step=0, metrics={})
    record.close()
    again = Record.take(only(tmp_path))
    assert again is not None
    assert (again.header, again.start) == (HEADER, record.start)
    assert len(again.read(again.start)[0]) == 1
    again.close()


def test_one_process_has_it(tmp_path: Path) -> None:
    record = Record.create(tmp_path, HEADER)
    assert Record.take(only(tmp_path)) is None
    record.close()
    first = Record.take(only(tmp_path))
    assert first is not None
    assert Record.take(only(tmp_path)) is None
    path = first.path
    first.archive()
    assert Record.take(path) is None
    assert list(unsent(tmp_path)) == []
    assert [path.name for path in tmp_path.iterdir()] == [path.name.replace(".unsent", "")]


def test_a_killed_process_lets_it_go_with_whole_lines(tmp_path: Path) -> None:
    code = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        from fmnist_lab.tracking.outbox import Header, Record
        header = Header("trial", None, "night", "calm", {{}})
        record = Record.create(Path({str(tmp_path)!r}), header)
        record.append(time=5, step=0, metrics={{}})
        record._file.write(b'{{"time": 6, "st')
        record._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    process = subprocess.run([sys.executable, "-c", code], check=False)
    assert process.returncode == -signal.SIGKILL
    taken = Record.take(only(tmp_path))
    assert taken is not None
    assert not taken.has_ended
    taken.append(**taken.interruption())
    assert [line.get("status") for line in taken.read(taken.start)[0]] == [None, "KILLED"]
    taken.close()


def test_a_torn_line_is_cut_off_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Record.create(tmp_path, HEADER).close()
    with only(tmp_path).open("ab") as file:
        file.write(b'{"time": 7000')
    taken = Record.take(only(tmp_path))
    assert taken is not None
    assert len(caplog.records) == 1
    taken.append(time=8000)
    assert taken.read(taken.start)[0] == [{"time": 8000}]
    taken.close()


@pytest.mark.parametrize("content", ["", "{bad\n", "[1]\n", '{"kind": "trial"}\n', None])
def test_a_damaged_one_is_set_aside_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str | None
) -> None:
    Record.create(tmp_path, HEADER).close()
    path = only(tmp_path)
    path.write_text(path.read_text() + "[1]\n" if content is None else content)
    assert Record.take(path) is None
    assert path.name in caplog.text
    (aside,) = tmp_path.iterdir()
    assert aside.name == f"{path.name}.damaged"
    assert aside.match(RECORDS)
    assert list(unsent(tmp_path)) == []


def test_sync_counts_a_damaged_one(tmp_path: Path) -> None:
    (tmp_path / "trials/0").mkdir(parents=True)
    Record.create(tmp_path / "trials/0", HEADER).close()
    only(tmp_path / "trials/0").write_text("{bad\n")
    assert sync(tmp_path).damaged == 1
    assert sync(tmp_path) == Outcome()


def test_a_clock_that_is_set_back_makes_no_time_decrease(tmp_path: Path) -> None:
    record = Record.create(tmp_path, HEADER)
    for moment in (2000, 900, 2500):
        record.append(time=moment, step=0, metrics={})
    record.close()
    again = Record.take(only(tmp_path))
    assert again is not None
    again.append(status="FINISHED", time=1000)
    times = [line["time"] for line in again.read(again.start)[0]]
    assert times == [2000, 2000, 2500, 2500]
    again.close()


def test_an_interruption_has_the_time_of_the_last_line(tmp_path: Path) -> None:
    record = Record.create(tmp_path, HEADER)
    assert record.interruption()["time"] == 1000
    record.append(time=2000, step=0, metrics={})
    assert record.interruption() == {
        "status": "KILLED", "time": 2000, "tags": {"stop_reason": "interrupted"}, "files": False,
    }  # fmt: skip
    record.close()


def test_a_second_attempt_ends_the_first(tmp_path: Path) -> None:
    first = Record.create(tmp_path, HEADER)
    first.append(status="FINISHED", time=2000, tags={}, files=True)
    first.close()
    second = Record.create(tmp_path, Header("trial", None, "night", "calm", {}))
    lines = [json.loads(line) for line in first.path.read_text().splitlines()]
    assert (lines[-1]["status"], lines[-1]["files"]) == ("KILLED", False)
    assert len(list(unsent(tmp_path))) == 2
    second.close()


def ended(folder: Path, kind: str = "trial") -> list[Line]:
    """Returns the last lines of a record whose process died after an epoch."""
    tags = {"kind": kind, NOTE: "Repeat with"}
    record = Record.create(folder, Header(kind, None, "night", "calm", tags, time=1000))
    record.append(time=2000, step=0, metrics={"val/accuracy": 0.5})
    record.end()
    record.end()  # once is enough
    lines = record.read(record.start)[0][1:]
    record.close()
    return lines


def test_with_a_result_the_end_is_that_of_the_result(tmp_path: Path) -> None:
    write_json(tmp_path / "result.json", WHOLE | asdict(RESULT))
    summary, state = ended(tmp_path)
    assert (summary["step"], summary["time"], summary["metrics"]["objective"]) == (0, 2000, 0.5)
    assert (state["status"], state["time"], state["files"]) == ("FINISHED", 2000, True)
    assert state["tags"]["stop_reason"] == "completed"
    assert state["tags"][NOTE].split()[-3:-2] == ["0.5000."]


def test_without_a_result_or_with_a_broken_one_it_was_killed(tmp_path: Path) -> None:
    for text in (None, "{", "[1]", '{"objective": 0.5}'):
        if text is not None:
            (tmp_path / "result.json").write_text(text)
        (state,) = ended(tmp_path)
        assert (state["status"], state["files"]) == ("KILLED", False)
        assert state["tags"] == {"stop_reason": "interrupted"}


def test_a_sweep_has_no_result(tmp_path: Path) -> None:
    write_json(tmp_path / "result.json", WHOLE | asdict(RESULT))
    (state,) = ended(tmp_path, "sweep")
    assert (state["status"], state["tags"]) == ("KILLED", {})
