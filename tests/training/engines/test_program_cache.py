"""Programs that outlive the process that compiled them, and what may be wrong with them."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fmnist_lab.foundation.files import held
from fmnist_lab.training.engines import program_cache
from fmnist_lab.training.engines.program_cache import OFF, VARIABLE, ProgramCache
from tests.support.sweeping import ROOT

TRAIN = """
import json, os, sys
from pathlib import Path
from fmnist_lab import config, data
from fmnist_lab.training import engines
from fmnist_lab.training.checkpoint import ONLY, Checkpoint
from fmnist_lab.training.engines import compiled, program_cache
from tests.conftest import TINY

root = Path(os.environ[program_cache.VARIABLE])

def train():
    trial = config.to_trial(config.compose([*TINY]))
    curve = []
    def keep(epoch, metrics):
        curve.append({key: value for key, value in metrics.items() if "time" not in key})
        return True
    engines.get("compiled")(trial, data.load(trial.data), keep, Checkpoint(Path(), {}, ONLY))
    links = [path.stat().st_nlink for path in root.glob("*/.process-*/*.pb")]
    print(json.dumps([curve, links]))

for cache in sys.argv[1:]:
    if os.fork() == 0:
        os.environ[program_cache.VARIABLE] = cache
        train()
        sys.exit()
    os.wait()
if not sys.argv[1:]:
    train()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "programs"


def compiled(cache: ProgramCache, name: str, content: bytes = b"code") -> None:
    """Leaves a file where TensorFlow leaves a program, and moves it there as TensorFlow does."""
    unfinished = cache.folder / f"{name}.unfinished"
    unfinished.write_bytes(content)
    unfinished.replace(cache.folder / f"{name}.pb")


def names(cache: ProgramCache) -> set[str]:
    return {path.stem for path in cache.folder.glob("*.pb")}


def test_a_process_starts_with_what_another_has_published(root: Path) -> None:
    first = ProgramCache(root, "kind")
    compiled(first, "train")
    assert names(ProgramCache(root, "kind")) == set()
    first.publish()
    assert names(ProgramCache(root, "kind")) == {"train"}
    assert names(ProgramCache(root, "other")) == set()


def test_of_two_programs_of_one_name_either_is_taken(root: Path) -> None:
    for place, content in (("a", b"one"), ("b", b"other")):
        cache = ProgramCache(root / place, "kind")
        compiled(cache, "train", content)
        cache.publish()
    (other,) = root.glob("b/kind/*.pb.*")
    other.rename(root / "a" / "kind" / other.name)  # as two processes leave them that end together
    assert names(ProgramCache(root / "a", "kind")) == {"train"}


def test_a_cache_that_cannot_be_opened_leaves_no_folder(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ProgramCache(root, "kind")
    compiled(cache, "train")
    cache.publish()
    cache.close()

    def refuse(*_: object) -> None:
        raise OSError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OSError, match="hard links"):
        ProgramCache(root, "kind")
    assert list(root.glob(f"kind/{program_cache._PRIVATE}*")) == []


@pytest.mark.parametrize("damage", [b"", b"cod", b"code of another kind"])
def test_a_torn_or_foreign_program_is_deleted(root: Path, damage: bytes) -> None:
    cache = ProgramCache(root, "kind")
    compiled(cache, "train")
    compiled(cache, "evaluate")
    cache.publish()
    cache.close()
    (shared,) = root.glob("kind/train.pb.*")
    shared.write_bytes(damage)
    assert names(ProgramCache(root, "kind")) == {"evaluate"}
    assert not shared.exists()


def test_the_oldest_go_first(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_cache, "MOST_BYTES", 25)
    for age, kind in enumerate(("new", "older", "oldest")):
        cache = ProgramCache(root, kind)
        compiled(cache, "train", b"0123456789")
        cache.publish()
        (shared,) = root.glob(f"{kind}/*.pb.*")
        os.utime(shared, (time.time() - 100 * age,) * 2)
    ProgramCache(root, "new")
    assert {path.parent.name for path in root.glob("*/*.pb.*")} == {"new", "older"}


def test_what_a_killed_process_left_is_deleted_and_the_living_keep_theirs(root: Path) -> None:
    living = ProgramCache(root, "kind")
    left, new = (root / "kind" / f".process-{name}" for name in ("killed", "new"))
    for folder in (left, new):
        folder.mkdir()
        (folder / "train.pb").write_bytes(b"code")
    for folder in (left, living.folder):
        os.utime(folder, (time.time() - 100,) * 2)
    ProgramCache(root, "kind")
    assert not left.exists()
    assert new.exists()  # its process may not hold it yet
    assert living.folder.exists()
    living.close()
    assert not living.folder.exists()


def test_eight_at_once(root: Path) -> None:
    def use(number: int) -> set[str]:
        cache = ProgramCache(root, "kind")
        compiled(cache, "shared")
        compiled(cache, f"own{number}")
        cache.publish()
        return names(cache)

    with ThreadPoolExecutor(8) as pool:
        for number, seen in enumerate(pool.map(use, range(8))):
            assert {"shared", f"own{number}"} <= seen
    assert names(ProgramCache(root, "kind")) == {"shared", *(f"own{n}" for n in range(8))}


def test_without_a_folder_to_write_there_is_no_cache(root: Path) -> None:
    root.write_text("a file")
    with pytest.raises(OSError, match="programs"):
        ProgramCache(root, "kind")


@pytest.mark.slow
def test_the_bits_are_the_same_without_a_cache_with_a_new_one_and_with_a_used_one(
    root: Path,
) -> None:
    environment = os.environ | {VARIABLE: str(root), "TF_XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}

    def train(*forked: str) -> list[tuple[Any, list[int]]]:
        """Trains with `root`, or with each of these caches in a process that is forked for it.

        As a sweep's workers are: from one that has TensorFlow, and a folder of its own in `root`.
        """
        command = [sys.executable, "-c", TRAIN, *forked]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    (without, links), (new, shared) = train(OFF, str(root))
    assert links == []  # also in the folder of the process that was forked
    assert shared == [2, 2]  # published by the process that compiled them
    largest = max(root.glob("*/*.pb.*"), key=lambda path: path.stat().st_size)
    smallest = min(root.glob("*/*.pb.*"), key=lambda path: path.stat().st_size)
    smallest.write_bytes(smallest.read_bytes()[:1000])
    ((used, links),) = train()
    assert links == [2, 2]  # TensorFlow would have put a file of its own in the place of a link
    assert largest.stat().st_nlink == 1  # the process that linked it has ended
    assert without == new == used
    with held(root):
        assert not list(root.glob("*/.process-*"))
