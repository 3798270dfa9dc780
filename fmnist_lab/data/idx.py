"""The four files of Fashion-MNIST: their names, sizes and checksums, and how they are read.

What is checked are the decompressed bytes, because Debian compressed the files again.
"""

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class SourceError(Exception):
    """One source has nothing to use; the message says why."""


class DamagedFileError(SourceError):
    """A file is there, but its bytes are not the right ones."""


@dataclass(frozen=True)
class IdxFile:
    """Name, size in bytes and SHA-256 of a file, decompressed."""

    name: str
    size: int
    sha256: str


# Training images and labels, test images and labels: readers rely on this order.
FILES = (
    IdxFile(
        "train-images-idx3-ubyte",
        47_040_016,
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    IdxFile(
        "train-labels-idx1-ubyte",
        60_008,
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    IdxFile(
        "t10k-images-idx3-ubyte",
        7_840_016,
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    IdxFile(
        "t10k-labels-idx1-ubyte",
        10_008,
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
)


def read_folder(folder: Path, files: Sequence[IdxFile] = FILES) -> list[bytes]:
    """The checked bytes of each file, in the order of `files`; on disk it may be gzipped.

    Raises:
        SourceError: a file is missing.
        DamagedFileError: a file is truncated, or its size or checksum is wrong.
    """
    if not folder.is_dir():
        raise SourceError(f"there is no folder {folder}")
    present = {path.name.removesuffix(".gz") for path in folder.iterdir()}
    if missing := [file.name for file in files if file.name not in present]:
        lacking = ", ".join(missing) if len(missing) < len(files) else "all of the files"
        raise SourceError(f"{folder} lacks {lacking} (with or without .gz)")
    return [_read_file(folder, file) for file in files]


def parse(content: bytes) -> NDArray[np.uint8]:
    """The array in an IDX file: its number of axes, their lengths, then the values."""
    axes = content[3]
    shape = np.frombuffer(content, ">u4", count=axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _read_file(folder: Path, file: IdxFile) -> bytes:
    path = folder / file.name
    if not path.exists():
        path = folder / f"{file.name}.gz"
    content = _decompress(path, file.size + 1)  # one more, to notice; a wrong file may be enormous
    if len(content) != file.size:
        received = "more" if len(content) > file.size else f"{len(content):,}"
        raise DamagedFileError(
            f"{path} must hold {file.size:,} bytes when decompressed, but holds {received}"
        )
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != file.sha256:
        raise DamagedFileError(
            f"{path} must have the SHA-256 {file.sha256} when decompressed, but has {checksum}"
        )
    return content


def _decompress(path: Path, limit: int) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            return stream.read(limit)
    except EOFError as error:
        raise DamagedFileError(f"{path} is truncated") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DamagedFileError(f"{path} is not a sound gzip file ({error})") from error
