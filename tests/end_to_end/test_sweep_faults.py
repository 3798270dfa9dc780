"""`fmnist-lab sweep`, killed again and again at random moments, loses and repeats nothing."""

import functools
import random
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fmnist_lab import results
from fmnist_lab.protocol import recentre
from fmnist_lab.results import manifest, schema, searches
from tests.conftest import TINY
from tests.support.disturbed import CONTROLLER, SMALL, Fault, Sweep, compare, images
from tests.support.sweeping import wait_for

pytestmark = pytest.mark.slow


@pytest.mark.timeout(900)
def test_three_kills(tmp_path: Path, empty_store: Path) -> None:
    total = 2
    tiny = (*TINY[:-1], f"hydra.sweeper.n_trials={total}")
    one = "hydra.launcher.workers=1"  # each imports TensorFlow
    with (
        Sweep(tmp_path / "disturbed", *tiny, one) as disturbed,
        Sweep(tmp_path / "calm", *tiny) as calm,
    ):
        (disturbed.root / "mlruns").mkdir()
        shutil.copy(empty_store, disturbed.root / "mlruns" / "mlflow.db")
        disturbed.strike(Fault(signal.SIGKILL, 1, 0))
        disturbed.strike(Fault(None, 1, 0))
        assert disturbed.strike(Fault(signal.SIGTERM, 0, 0.5)) == 130
        assert "continue with" in disturbed.output
        disturbed.overrides.remove(one)
        disturbed.finish_here()
        calm.finish_here()
        compare(disturbed, calm, total)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_looks_that_are_killed_come_out_the_same(tmp_path: Path) -> None:
    """Killed while the first look trains, and as soon as a look is recorded.

    `make test` has the same with interruptions, and with replicates that are written:
    tests/protocol/test_searches.py, test_stages.py.
    """
    words = (
        *TINY[:-1], "tracking=none", "replicates=[6,8]", "hydra.sweeper.n_trials=1",
        "~hydra.sweeper.strategies.exponential", "~hydra.sweeper.strategies.one_cycle",
    )  # fmt: skip
    one = "hydra/launcher=basic"  # all in the process that is killed
    with (
        Sweep(tmp_path / "killed", *words, one, epochs=1) as killed,
        Sweep(tmp_path / "calm", *words, epochs=1) as calm,
    ):
        calm.finish_here()

        def replicates(sweep: Sweep) -> dict[tuple[str, int], float]:
            rows = map(schema.result, results.ended(sweep.folder, "replicate"))
            return {(row["strategy"], row["seed"]): row["test_accuracy"] for row in rows}

        def looks(sweep: Sweep) -> list[tuple[int, dict[str, str]]]:
            (opening,) = manifest.read(sweep.folder).get("openings") or [{}]
            return [(look["pairs"], look["verdicts"]) for look in opening.get("looks", [])]

        def kill(is_reached: Callable[[], bool]) -> None:
            controller = killed.running()
            wait_for(lambda: is_reached() or controller.poll() is not None, 300)
            controller.kill()
            controller.wait()

        kill(lambda: len(replicates(killed)) > 2)
        assert len(replicates(killed)) < 12
        kill(lambda: bool(looks(killed)))
        before = looks(killed)
        assert before == looks(calm)[: len(before)]
        killed.finish()
        assert [pairs for pairs, _ in looks(calm)] in ([6], [6, 8])
        assert looks(killed) == looks(calm)
        assert replicates(killed) == replicates(calm)
        wanted = [manifest.read(sweep.folder)["wanted"] for sweep in (killed, calm)]
        assert wanted[0] == wanted[1]


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("sampler", ["sobol", "tpe"])
def test_a_second_stage_that_is_killed_comes_out_the_same(tmp_path: Path, sampler: str) -> None:
    """Killed in the second stage of tuning of each of two searches."""
    words = (
        *TINY[:-1], "tracking=none", "recentre=true", "searches=2", "replicates=1",
        "hydra.sweeper.n_trials=4",
        f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.sampler.seed=1",
        "~hydra.sweeper.strategies.exponential", "~hydra.sweeper.strategies.cosine",
        "hydra/launcher=basic",
    )  # fmt: skip
    with (
        Sweep(tmp_path / "killed", *words, epochs=1) as killed,
        Sweep(tmp_path / "calm", *words, epochs=1) as calm,
    ):
        calm.finish()

        def ranges(sweep: Sweep, number: int) -> recentre.Ranges | None:
            return recentre.begun(searches.folder_of(sweep.folder, number))

        def tuned(sweep: Sweep) -> list[tuple[Any, ...]]:
            found = results.trials(results.ended(sweep.folder))
            keys = ["search", "strategy", "optimizer.learning_rate", "objective"]
            return sorted(found.loc[~found["superseded"], keys].itertuples(index=False, name=None))

        def kill(number: int) -> None:
            controller, folder = killed.running(), searches.folder_of(killed.folder, number)

            def wait(is_reached: Callable[[], bool]) -> int:
                wait_for(lambda: is_reached() or controller.poll() is not None, 600)
                return len(results.ended(folder))

            before = wait(lambda: ranges(killed, number) is not None)
            assert wait(lambda: len(results.ended(folder)) > before) < 16
            controller.kill()
            assert controller.wait() == -signal.SIGKILL

        for number in range(2):
            assert ranges(calm, number), "no best value is at an end: take another seed"
            kill(number)
        killed.finish()
        assert [ranges(killed, number) for number in range(2)] == [
            ranges(calm, number) for number in range(2)
        ]
        assert [row[:2] for row in tuned(killed)] == [row[:2] for row in tuned(calm)]
        if sampler == "sobol":  # TPE chooses by what has ended, also what had to be repeated
            assert tuned(killed) == tuned(calm)


@pytest.mark.faults
@pytest.mark.timeout(3 * 3600)
def test_forty_kills(tmp_path: Path) -> None:
    """Ten SIGINT, SIGTERM and SIGKILL of the controller each, ten SIGKILL of a worker."""
    chance, total = random.Random(1), 40
    kinds = [*CONTROLLER, None] * 10
    chance.shuffle(kinds)
    few = (*images(), *SMALL, f"hydra.sweeper.n_trials={total}")
    with Sweep(tmp_path / "disturbed", *few) as disturbed, Sweep(tmp_path / "calm", *few) as calm:
        start = time.monotonic()
        for kind in kinds:
            first = chance.choice((0, 0, 1, 2, 4))
            fault = Fault(kind, first, chance.uniform(0, 1 if first else 15))
            disturbed.strike(fault)
            seconds = time.monotonic() - start
            print(f"{seconds:5.0f} s: {fault}; {disturbed.ended} trials have ended")
        disturbed.finish()
        calm.finish()
        compare(disturbed, calm, total)
        print(f"{time.monotonic() - start:5.0f} s: {disturbed.states()}")


@pytest.mark.faults
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "kinds", [(signal.SIGKILL, None, signal.SIGINT), (signal.SIGTERM, signal.SIGKILL, None)]
)
def test_long_trials_go_on(tmp_path: Path, kinds: tuple[signal.Signals | None, ...]) -> None:
    """Kills in the midst of trials that train for seconds, and keep their state all the time."""
    chance, total = random.Random(2), 1
    words = (*TINY[:-1], "checkpoint_seconds=0", "hydra.sweeper.n_trials=1", "replicates=0")
    with (
        Sweep(tmp_path / "disturbed", *words, epochs=800) as disturbed,
        Sweep(tmp_path / "calm", *words, epochs=800) as calm,
    ):
        for kind in kinds:
            disturbed.running()
            wait_for(functools.partial(keeps_state, disturbed, time.time()), 300)
            disturbed.strike(Fault(kind, 0, chance.uniform(0, 3)))
        disturbed.finish()
        calm.finish()
        compare(disturbed, calm, total)
        logs = [path.read_text() for path in disturbed.folder.glob("trials/*/train.log")]
        went_on = sum(log.count("Goes on after epoch") for log in logs)
        print(f"{went_on} attempts went on; {disturbed.states()}")
        assert went_on >= len(kinds)
        assert not any(disturbed.root.rglob("checkpoint.npz"))


def keeps_state(sweep: Sweep, since: float) -> bool:
    """Whether a trial has written a checkpoint since that time."""
    found = sweep.folder.glob("trials/*/checkpoint.npz")
    with suppress(FileNotFoundError):  # it has just been taken over, or its trial has ended
        return any(path.stat().st_mtime > since for path in found)
    return False
