"""Sweeps killed again and again, at random moments, lose and repeat nothing."""

import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.sweeping import end, run, start, trials

SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("launcher", ["basic", "dask"])
def test_thirty_kills(tmp_path: Path, launcher: str) -> None:
    folder, ledger, total = tmp_path / "sweep", tmp_path / "ledger", 200
    command = [
        "hydra/sweeper=fmnist_lab", f"hydra/launcher={launcher}", f"+ledger={ledger}",
        "+x=interval(0,1)", "+seconds=0.02", f"hydra.sweeper.n_trials={total}",
        "hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=1",
    ]  # fmt: skip
    moments = random.Random(1)
    for number in range(30):
        process = start("slow", folder, *command)
        time.sleep(moments.uniform(0.5, 4))
        end(process, SIGNALS[number % 3])
    run("slow", folder, *command)

    complete = trials(folder, "slow", "COMPLETE")
    assert len(complete) == total
    assert len({trial.params["+x"] for trial in complete}) == total
    assert not trials(folder, "slow", "RUNNING", "WAITING")
    interrupted = trials(folder, "slow", "FAIL")
    assert len(interrupted) >= 10, "the kills came too early or too late to test anything"
    assert all("sweep:superseded" in trial.user_attrs for trial in interrupted)
    # Between a job's last line and its record there is a moment in which a kill costs the trial.
    ends = Counter(line.split()[2] for line in ledger.read_text().splitlines() if "end" in line)
    assert len(ends) == total
    assert sum(ends.values()) <= total + 3
