"""An hour of `fmnist-lab sweep` while everything around it fails: `make soak`.

Every few seconds something happens to a real process: the controller is interrupted, terminated
or killed, a worker is killed or stands still, the MLflow server is killed, is gone, hangs, answers
slowly, with errors, or carries calls out and loses the answers, and the last line of the studies'
journal is torn. Then the same command ends the sweep in peace, and an undisturbed sweep with the
same seeds says what has to be there. FMNIST_LAB_SOAK_SECONDS may shorten the hour.
"""

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from tests.support.disturbed import CONTROLLER, ENDS, SMALL, Soaked, Sweep, compare, images
from tests.support.launchers import workers
from tests.support.outages import FAULTS, OPEN, Gate, gate_to, mlflow_server
from tests.support.remote import Process, listens, server_process
from tests.support.sweeping import wait_for

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("FMNIST_LAB_SOAK_SECONDS", "3600"))
PAUSE = (1.0, 8.0)  # seconds between two faults
LONGEST = 6.0  # seconds that a fault with an end lasts at most
TORN = b'{"op_code": 8, "worker_id": "torn'


class Weather:
    """What happens around a sweep, by chance, always in the same order."""

    def __init__(self, sweep: Soaked, gate: Gate, server: Process, restart: Any) -> None:
        self.sweep, self.gate, self.server, self._restart = sweep, gate, server, restart
        self.chance = random.Random(1)
        self.seen: Counter[str] = Counter()
        self._kinds: dict[Callable[[], str], int] = {  # and how often, in a hundred
            self.hit_controller: 12,
            self.kill_worker: 22,
            self.halt_worker: 14,
            self.kill_server: 7,
            self.shut_gate: 45,
        }

    def strike(self) -> str:
        """Lets something happen; returns what."""
        (kind,) = self.chance.choices(list(self._kinds), list(self._kinds.values()))
        name = kind()
        self.seen[name] += 1
        return name

    def hit_controller(self) -> str:
        number, controller = self.chance.choice(CONTROLLER), self.sweep.running()
        controller.send_signal(number)
        code = controller.wait(timeout=300)
        assert code in {0, *ENDS}, self.sweep.output[-5000:]  # it may have been over
        journal = self.sweep.folder / "study.journal"
        if number == signal.SIGKILL and journal.exists() and self.chance.random() < 0.5:
            with journal.open("ab") as file:
                file.write(TORN)
            return "controller: SIGKILL, and a torn line in the journal"
        return f"controller: {number.name}"

    def kill_worker(self) -> str:
        if worker := self._worker():
            worker.kill()
        return f"{'a' if worker else 'no'} worker: SIGKILL"

    def halt_worker(self) -> str:
        if worker := self._worker():
            with suppress(psutil.NoSuchProcess):
                worker.suspend()
                time.sleep(self.chance.uniform(0.5, LONGEST))
                worker.resume()
        return f"{'a' if worker else 'no'} worker: stands still"

    def kill_server(self) -> str:
        self.server.kill()
        self.server = self._restart()
        return "MLflow server: SIGKILL, started again"

    def shut_gate(self) -> str:
        fault = self.chance.choice(FAULTS)
        self.gate.turn(fault)
        time.sleep(self.chance.uniform(0.5, LONGEST))
        self.gate.turn(OPEN)
        return f"MLflow server: {fault}"

    def _worker(self) -> Any:
        """One of those that are there; a controller that has just started has none yet."""
        with suppress(psutil.NoSuchProcess):
            if found := workers(self.sweep.running().pid):
                return self.chance.choice(found)
        return None


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 4 * 3600)
def test_an_hour_of_faults(tmp_path: Path) -> None:
    store = tmp_path / "server"
    store.mkdir()
    few = (*images(), *SMALL)
    with mlflow_server(store) as (url, server), gate_to(url) as gate:
        port = int(url.rpartition(":")[2])
        restart = partial(start_again, store, port)
        with Soaked(tmp_path / "disturbed", url, gate, *few) as disturbed:
            weather = Weather(disturbed, gate, server, restart)
            try:
                endure(disturbed, weather)
                disturbed.finish()
                disturbed.finish()  # what killed workers have cost its trials is made good now
                disturbed.deliver()
                rest = (f"hydra.sweeper.n_trials={disturbed.trials}", *few)
                with Sweep(tmp_path / "calm", *rest, epochs=disturbed.epochs) as calm:
                    calm.finish()
                    compare(disturbed, calm, disturbed.trials)
                print(f"{4 * disturbed.trials} trials as if nothing had been; "
                      f"{disturbed.states()}; went on {went_on(disturbed)} times")  # fmt: skip
            finally:
                weather.server.stop()


def endure(sweep: Soaked, weather: Weather) -> None:
    """Lets it happen until the time is up."""
    start = time.monotonic()
    while (seconds := time.monotonic() - start) < SECONDS:
        sweep.running()
        time.sleep(weather.chance.uniform(*PAUSE))
        name = weather.strike()
        print(f"{seconds:5.0f} s: {name}; {sweep.ended} trials have ended", flush=True)
    print(json.dumps(weather.seen, indent=1, sort_keys=True), flush=True)


def start_again(store: Path, port: int) -> Process:
    """A server in the place of one that was killed."""
    wait_for(lambda: not listens(port))
    process = server_process(store, port)
    wait_for(lambda: listens(port), 250)
    return process


def went_on(sweep: Sweep) -> int:
    """How many attempts began with another's checkpoint."""
    logs = sweep.folder.glob("trials/*/train.log")
    return sum(path.read_text().count("Goes on after epoch") for path in logs)
