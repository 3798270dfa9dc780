"""A file is whole or absent, and nothing is left beside it."""

import json
import math
import os
from pathlib import Path

import pytest

from fmnist_lab.foundation.files import whole_file, write_json


def test_the_file_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "result.json"
    with whole_file(path) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == path.parent  # the same disk, so that the move is atomic
        assert temporary.suffix == ".json"
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_broken_block_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "result.json"
    path.write_text("before")

    def interrupted() -> None:
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_device_or_pipe_is_written_and_stays_what_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with whole_file(pipe) as path:
        path.write_text("whole")
    assert os.read(reader, 10) == b"whole"
    os.close(reader)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_link_stays_one(tmp_path: Path) -> None:
    link, real = tmp_path / "link.csv", tmp_path / "real.csv"
    real.write_text("old")
    link.symlink_to("real.csv")
    with whole_file(link) as path:
        path.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert sorted(tmp_path.iterdir()) == [link, real]


@pytest.mark.parametrize("path", ["/dev/stdout", "/proc/self/fd/1"])
def test_where_a_device_leads_is_written_as_it_is(path: str) -> None:
    with whole_file(Path(path)) as given:
        assert given == Path(path)


def test_everyone_may_read_it(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o644


def test_json_keeps_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"objective": math.nan, "name": "Größe", "none": None})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    read = json.loads(text)
    assert math.isnan(read.pop("objective"))
    assert read == {"name": "Größe", "none": None}


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"path": tmp_path})
    assert list(tmp_path.iterdir()) == []
