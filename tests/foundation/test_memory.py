"""Tests of when garbage is collected and free memory returned."""

import gc
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from fmnist_lab.foundation.memory import (
    collect_rarely,
    return_free_memory,
    without_collections,
)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


@pytest.fixture
def _thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("_thresholds")
class TestCollections:
    """What decides when Python looks for garbage."""

    def test_are_rarer(self) -> None:
        gc.set_threshold(700, 10, 10)
        collect_rarely()
        assert gc.get_threshold()[0] == 50_000

    def test_rest_while_a_module_is_imported(self) -> None:
        with without_collections():
            assert not gc.isenabled()
        assert gc.isenabled()

    def test_what_the_user_has_switched_off_stays_off(self) -> None:
        gc.disable()
        try:
            gc.set_threshold(700, 10, 10)
            collect_rarely()
            with without_collections():
                pass
            assert not gc.isenabled()
            assert gc.get_threshold()[0] == 700
        finally:
            gc.enable()


def test_free_memory_is_returned() -> None:
    """Pieces that are too small to be mapped one by one, under one that stays."""
    pieces = [bytes(2000) for _ in range(100_000)]
    last = bytes(2000)
    del pieces
    kept = resident_mb()
    return_free_memory()
    assert kept - resident_mb() > 100
    assert last
