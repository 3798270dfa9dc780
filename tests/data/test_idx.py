"""Reading the four files: a damaged file is an error before a byte of it is used."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist_lab.data.debian import SourceError
from fmnist_lab.data.fashion_mnist import FILES, DamagedFileError, IdxFile, parse, read_folder

CONTENT = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(range(6))
FILE = IdxFile(
    "numbers-idx2-ubyte", 18, "ef281b2f6ca26b683c34e0a40444d29c348ee4a3c57f3e1e955e1b5419e5e3c9"
)


def test_an_idx_file_is_a_shape_and_its_values() -> None:
    assert parse(CONTENT).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert parse(CONTENT).dtype == np.uint8


@pytest.mark.parametrize("level", [1, 9])
def test_however_well_a_file_is_compressed_its_content_counts(tmp_path: Path, level: int) -> None:
    (tmp_path / "numbers-idx2-ubyte.gz").write_bytes(gzip.compress(CONTENT, level))
    assert read_folder(tmp_path, [FILE]) == [CONTENT]


def test_a_file_may_lie_there_decompressed(tmp_path: Path) -> None:
    (tmp_path / "numbers-idx2-ubyte").write_bytes(CONTENT)
    assert read_folder(tmp_path, [FILE]) == [CONTENT]


def truncated(content: bytes) -> bytes:
    return gzip.compress(content)[:-12]


def not_gzip(content: bytes) -> bytes:
    return b"<html>Not found</html>"


def garbled(content: bytes) -> bytes:
    packed = gzip.compress(content)
    return packed[:10] + b"\xff\xff" + packed[12:]


def too_short(content: bytes) -> bytes:
    return gzip.compress(content[:-1])


def too_long(content: bytes) -> bytes:
    return gzip.compress(content + b"\0")


def one_bit_off(content: bytes) -> bytes:
    return gzip.compress(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize(
    ("damage", "tokens"),
    [
        (truncated, ["truncated"]),
        (not_gzip, ["gzip"]),
        (garbled, ["gzip"]),
        (too_short, ["18", "17"]),
        (too_long, ["18", "more"]),
        (one_bit_off, ["SHA-256", "ef281b2f"]),
    ],
)
def test_damage_is_named_with_the_file(
    tmp_path: Path, damage: Callable[[bytes], bytes], tokens: list[str]
) -> None:
    path = tmp_path / "numbers-idx2-ubyte.gz"
    path.write_bytes(damage(CONTENT))
    with pytest.raises(DamagedFileError) as caught:
        read_folder(tmp_path, [FILE])
    assert all(token in str(caught.value) for token in (str(path), *tokens))


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    (tmp_path / "train-labels-idx1-ubyte.gz").touch()
    with pytest.raises(SourceError, match=r"train-images-idx3-ubyte.*t10k-labels-idx1-ubyte"):
        read_folder(tmp_path, FILES)
    with pytest.raises(SourceError, match=f"{tmp_path}/nowhere"):
        read_folder(tmp_path / "nowhere", FILES)
