"""The ledger of the test set: what is added, by how many at once, and what a kill leaves."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from fmnist_lab.errors import RequestError
from fmnist_lab.results import ledger
from fmnist_lab.results.ledger import Command, Entry

IMAGES = "a" * 64


def entry(subject: str, **changes: Any) -> Entry:
    known = Entry(opened=f"2026-11-29T10:00:00.{subject:0>3}+00:00", images=IMAGES, runs=2,
                  command=Command.SWEEP, subject=subject, search=0, manifest="h")  # fmt: skip
    return cast(Entry, known | changes)


def test_an_opening_is_a_line_and_is_there_once(folder: Path) -> None:
    assert ledger.read(IMAGES) == []
    ledger.record(entry("1"))
    ledger.record(entry("1"), entry("2"))
    assert [found["subject"] for found in ledger.read(IMAGES)] == ["1", "2"]
    assert len((folder / "mlruns/test-openings.jsonl").read_text().splitlines()) == 2


def test_other_images_are_counted_apart(folder: Path) -> None:
    ledger.record(entry("1"), entry("2", images="b" * 64))
    assert len(ledger.read(IMAGES)) == 1
    assert ledger.read(None) == []


def test_a_line_that_a_kill_cut_off_has_opened_nothing(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.record(entry("1"), entry("2"))
    with ledger.PATH.open("r+b") as file:
        file.truncate(ledger.PATH.stat().st_size - 9)
    ledger.record(entry("3"))
    assert [found["subject"] for found in ledger.read(IMAGES)] == ["1", "3"]
    assert "Line 2 of mlruns/test-openings.jsonl" in caplog.text
    ledger.record(entry("2"))
    assert len(ledger.read(IMAGES)) == 3


@pytest.mark.parametrize("line", ["[]", "{}", '{"opened": 5}', json.dumps(entry("1", command="x"))])
def test_another_line_is_refused_by_those_who_read_and_who_write(folder: Path, line: str) -> None:
    ledger.record(entry("1"))
    with ledger.PATH.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(RequestError, check=lambda error: "line 2" in error.got):
        ledger.read(IMAGES)
    before = ledger.PATH.read_bytes()
    with pytest.raises(RequestError, check=lambda error: error.key == str(ledger.PATH)):
        ledger.record(entry("2"))
    assert ledger.PATH.read_bytes() == before


@pytest.mark.slow
def test_processes_that_write_at_once_lose_nothing(folder: Path) -> None:
    program = f"""
import sys, time
from pathlib import Path
from fmnist_lab.results import ledger
Path("ready-" + sys.argv[1]).touch()
end = time.monotonic() + 60
while len(list(Path().glob("ready-*"))) < 3 and time.monotonic() < end:  # imports take longer
    pass
for number in range(25):
    ledger.record({entry("x")!r} | {{"subject": sys.argv[1] + "-" + str(number)}})
"""
    program = program.replace("<Command.SWEEP: 'sweep'>", "'sweep'")
    command = [sys.executable, "-c", program]
    processes = [subprocess.Popen([*command, str(number)]) for number in range(3)]
    assert [process.wait() for process in processes] == [0] * 3
    assert len({found["subject"] for found in ledger.read(IMAGES)}) == 75


def test_how_often_and_for_what() -> None:
    found = [entry("demo"), entry("demo", search=1), entry("other"),
             entry("run", command=Command.PROMOTE)]  # fmt: skip
    numbers = re.findall(r"2026-11-29|\d+", ledger.sentence(found))
    assert numbers == ["4", "2026-11-29", "2", "1"]  # times, since, sweeps, promoted models
