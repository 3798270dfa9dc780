"""The five sources, played with tiny files, a pretended apt and a pretended download."""

import gzip
import hashlib
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from fmnist_lab.data import debian, fashion_mnist
from fmnist_lab.data.fashion_mnist import FILES, IdxFile, find, keras_cache, own_cache
from fmnist_lab.errors import DataUnavailableError, RequestError

SPAWN = multiprocessing.get_context("spawn")


def idx(*shape: int) -> bytes:
    """An IDX file that counts upwards."""
    lengths = b"".join(length.to_bytes(4, "big") for length in shape)
    size = 1
    for length in shape:
        size *= length
    return bytes([0, 0, 8, len(shape)]) + lengths + bytes(i % 256 for i in range(size))


CONTENTS = dict(
    zip(
        (file.name for file in FILES),
        (idx(3, 28, 28), idx(3), idx(2, 28, 28), idx(2)),
        strict=True,
    )
)
TINY = tuple(
    IdxFile(name, len(content), hashlib.sha256(content).hexdigest())
    for name, content in CONTENTS.items()
)


def fill(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in CONTENTS.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    return folder


def damage(folder: Path) -> Path:
    path = folder / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    return path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no source at all; returns its folder of programs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(fashion_mnist, "PACKAGE_FOLDER", tmp_path / "installed")
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(fashion_mnist, "ORIGIN", (tmp_path / "published").as_uri())
    return programs


def pretend_apt(programs: Path, before_download: str = "") -> Path:
    """Programs that unpack the folder `upstream`; returns the record of apt-get's calls."""
    tmp = programs.parent
    fill(tmp / "upstream")
    calls = tmp / "calls"
    inside = f"root/{fashion_mnist.PACKAGE_FOLDER.relative_to('/')}"
    scripts = {
        "apt-get": f"""shift; settings=$1; shift; echo "$@" >> {calls}
            if [ "$1" = download ]; then {before_download or ":"}; touch data_1_all.deb; fi""",
        "dpkg": f"""[ "$*" = "-x data_1_all.deb root" ] || exit 3
            mkdir -p {inside}; cp {tmp}/upstream/* {inside}; touch root/extra {inside}/extra""",
    }
    for name, script in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        (programs / name).chmod(0o755)
    return calls


class TestNamedFolder:
    """The user's folder is used or refused, never passed over."""

    @pytest.mark.parametrize("packed", [True, False])
    def test_is_used_before_all_others(self, tmp_path: Path, packed: bool) -> None:
        fill(own_cache())
        folder = fill(tmp_path / "mine")
        if not packed:
            for name, content in CONTENTS.items():
                (folder / f"{name}.gz").unlink()
                (folder / name).write_bytes(content)
        found = find(str(folder), TINY)
        assert found.source.endswith(f"({folder})")
        assert found.train[0].shape == (3, 28, 28)
        assert found.train[1].tolist() == [0, 1, 2]
        assert found.test[0].shape == (2, 28, 28)
        assert found.test[1].tolist() == [0, 1]

    def test_damage_is_the_users_to_mend(self, tmp_path: Path) -> None:
        fill(own_cache())
        path = damage(fill(tmp_path / "mine"))
        with pytest.raises(RequestError, check=lambda error: error.key == "data.dir") as caught:
            find(str(tmp_path / "mine"), TINY)
        assert str(path) in caught.value.hint

    def test_lacking_files_are_named(self, tmp_path: Path) -> None:
        (fill(tmp_path / "mine") / "t10k-images-idx3-ubyte.gz").unlink()
        with pytest.raises(RequestError, match="t10k-images-idx3-ubyte "):
            find(str(tmp_path / "mine"), TINY)

    def test_other_data_of_the_same_shape_is_refused(self, tmp_path: Path) -> None:
        folder = fill(tmp_path / "mine")
        with pytest.raises(RequestError, match=r"train-images.*47,040,016"):
            find(str(folder))


class TestOrder:
    """Which source is used, and what the log has about the others."""

    def test_each_source_steps_in_for_those_before_it(self, home: Path) -> None:
        folders = [fill(own_cache()), fill(keras_cache()), fill(fashion_mnist.PACKAGE_FOLDER)]
        used = []
        for folder in folders:
            used.append(find(files=TINY).source)
            shutil.rmtree(folder)
        pretend_apt(home)
        used.append(find(files=TINY).source)
        shutil.rmtree(own_cache())
        (home / "apt-get").unlink()
        fill(home.parent / "published")
        used.append(find(files=TINY).source)
        fetched = [own_cache(), keras_cache()]
        assert [name.endswith(f"({place})") for name, place in zip(
            used, [own_cache(), keras_cache(), fashion_mnist.PACKAGE_FOLDER, *fetched], strict=True
        )] == [True] * 5  # fmt: skip
        assert len(set(used)) == 5

    def test_a_damaged_copy_is_named_and_passed_over(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = damage(fill(own_cache()))
        fill(keras_cache())
        with caplog.at_level(logging.WARNING):
            assert find(files=TINY).source.endswith(f"({keras_cache()})")
        assert str(path) in caplog.text

    def test_if_none_works_all_reasons_and_remedies_are_listed(self) -> None:
        path = damage(fill(keras_cache()))
        with pytest.raises(DataUnavailableError) as caught:
            find(files=TINY)
        reasons = [line for line in str(caught.value).splitlines() if line.startswith("  - ")]
        places = [
            str(own_cache()),
            str(path),
            str(fashion_mnist.PACKAGE_FOLDER),
            "apt-get",
            "Keras",
        ]
        tokens = [*places, "data.dir=FOLDER", "dataset-fashion-mnist", "data=synthetic"]
        assert len(reasons) == len(tokens)
        assert all(token in line for token, line in zip(tokens, reasons, strict=True))

    def test_a_cache_that_cannot_be_written_is_an_answer_not_a_crash(self) -> None:
        Path(os.environ["XDG_CACHE_HOME"]).write_text("a file where a folder should be")
        with pytest.raises(DataUnavailableError, match=str(own_cache())):
            find(files=TINY)


class TestDownload:
    """The last resort."""

    def test_cannot_hang_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fashion_mnist, "SILENCE_SECONDS", 0.1)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            monkeypatch.setattr(fashion_mnist, "ORIGIN", f"http://127.0.0.1:{port}")
            with pytest.raises(DataUnavailableError, match="timed out"):
                find(files=TINY)

    def test_needs_no_keras(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "keras", None)  # as where KERAS_BACKEND is not installed
        fill(home.parent / "published")
        find(files=TINY)
        assert sorted(path.name for path in keras_cache().iterdir()) == sorted(
            f"{name}.gz" for name in CONTENTS
        )

    def test_replaces_a_damaged_copy(self, home: Path) -> None:
        damage(fill(keras_cache()))
        fill(home.parent / "published")
        assert find(files=TINY).source.endswith(f"({keras_cache()})")


class TestPackage:
    """The Debian package, without root."""

    def test_leaves_the_four_files_decompressed_and_nothing_else(self, home: Path) -> None:
        pretend_apt(home)
        find(files=TINY)
        assert {path.name: path.read_bytes() for path in own_cache().iterdir()} == CONTENTS

    def test_is_fetched_once(self, home: Path) -> None:
        calls = pretend_apt(home)
        find(files=TINY)
        assert find(files=TINY).source.endswith(f"({own_cache()})")
        assert calls.read_text().splitlines() == ["download dataset-fashion-mnist"]

    def test_replaces_a_damaged_cache(self, home: Path) -> None:
        pretend_apt(home)
        find(files=TINY)
        (own_cache() / "train-images-idx3-ubyte").write_bytes(b"rotten")
        fetched, kept = (find(files=TINY).source for _ in range(2))
        assert fetched != kept
        assert {name.split(" (")[1] for name in (fetched, kept)} == {f"{own_cache()})"}

    def test_uses_private_lists_where_the_systems_are_absent(self, home: Path) -> None:
        lists_or_fail = "grep -q Dir::State::lists $settings || { echo E: No package; exit 100; }"
        calls = pretend_apt(home, lists_or_fail)
        find(files=TINY)
        download = "download dataset-fashion-mnist"
        assert calls.read_text().splitlines() == [download, "update", download]

    def test_apts_first_complaint_is_the_reason(self, home: Path) -> None:
        pretend_apt(home, "echo Reading; echo E: No such package; echo E: Bye; exit 100")
        with pytest.raises(DataUnavailableError, match="E: No such package"):
            find(files=TINY)

    def test_a_hung_apt_is_given_up(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(debian, "COMMAND_SECONDS", 0.2)
        pretend_apt(home, "exec sleep 60")
        with pytest.raises(DataUnavailableError, match=r"apt-get.*0\.2"):
            find(files=TINY)

    def test_a_damaged_package_is_not_kept(self, home: Path) -> None:
        pretend_apt(home)
        damage(home.parent / "upstream")
        with pytest.raises(DataUnavailableError, match="train-labels"):
            find(files=TINY)
        assert list(own_cache().iterdir()) == []

    @pytest.mark.slow
    def test_processes_that_need_it_at_once_fetch_it_once(self, home: Path) -> None:
        calls = pretend_apt(home, "sleep 1")
        with ProcessPoolExecutor(3, mp_context=SPAWN) as pool:
            found = list(pool.map(find_elsewhere, [fashion_mnist.PACKAGE_FOLDER] * 3))
        assert calls.read_text().count("download") == 1
        assert sorted(source.split(" (")[0] for source in found) == sorted(
            ["the package, by apt-get"] + ["the project's cache"] * 2
        )

    def test_killed_halfway_it_starts_afresh(self, home: Path) -> None:
        pretend_apt(home)
        process = SPAWN.Process(target=die_while_writing, args=(fashion_mnist.PACKAGE_FOLDER,))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        left = sorted(path.name for path in own_cache().iterdir())
        assert left == ["train-images-idx3-ubyte", "train-labels-idx1-ubyte.part"]
        assert find(files=TINY).source.endswith(f"({own_cache()})")
        assert {path.name: path.read_bytes() for path in own_cache().iterdir()} == CONTENTS


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("apt-get"), reason="needs apt-get")
@pytest.mark.parametrize("lists", ["system", "absent"])
def test_the_real_package_comes_without_root_or_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lists: str
) -> None:
    monkeypatch.setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    monkeypatch.setattr(fashion_mnist, "PACKAGE_FOLDER", Path("/usr/share/datasets/fashion-mnist"))
    monkeypatch.setattr(fashion_mnist, "_READY", fashion_mnist._READY[:2])
    if lists == "absent":
        (tmp_path / "lists" / "partial").mkdir(parents=True)
        (tmp_path / "apt.conf").write_text(f'Dir::State::lists "{tmp_path}/lists/";')
        monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    try:
        found = find()
    except DataUnavailableError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(str(error))
    assert "apt-get" in found.source
    assert found.train[0].shape == (60_000, 28, 28)


def find_elsewhere(package_folder: Path) -> str:
    """In another process, which has the same environment but not the patched modules."""
    fashion_mnist.PACKAGE_FOLDER = package_folder
    return find(files=TINY).source


def die_while_writing(package_folder: Path) -> None:
    """Is killed when the second file is written but not yet in its place."""
    replace = Path.replace

    def replace_or_die(self: Path, target: Path) -> Path:
        if self.name.startswith("train-labels"):
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)

    Path.replace = replace_or_die  # type: ignore[method-assign,assignment]
    find_elsewhere(package_folder)
