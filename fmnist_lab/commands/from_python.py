"""From Python: `train`, `sweep` and `compare` as functions for notebooks and scripts.

What trains is a process of its own: Hydra, logging and TensorFlow change what is global in theirs,
and a notebook has an event loop. It does what the command does, and ends when its input ends.
"""

import contextlib
import html
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pandas as pd

from fmnist_lab import report, results
from fmnist_lab.commands import leaderboard
from fmnist_lab.commands.compare import folder_of
from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.installed import beside, installed_path
from fmnist_lab.foundation.interruption import interrupted
from fmnist_lab.report import cautions, sentences
from fmnist_lab.report.evidence import summary
from fmnist_lab.results import foreign


@dataclass(frozen=True, eq=False, repr=False)
class Trained:
    """One training, as `train` returns it."""

    folder: Path  # what the trial has left, below `mlruns/trials/`
    result: "pd.Series[Any]"  # its row of `results.trials`: objective, stop_reason, ...
    curves: pd.DataFrame  # a row per epoch, as `results.curves`

    def __repr__(self) -> str:
        kept = ("objective_metric", "objective", "stop_reason", "epochs_trained", "folder")
        return self.result[[*kept]].to_string()


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """What a sweep has shown so far, as `sweep` and `compare` return it."""

    folder: Path  # the sweep's, below `mlruns/sweeps/`
    answer: str  # the verdict in a sentence or two, or why there is none
    cautions: list[str]  # what speaks against it, a sentence each
    strategies: pd.DataFrame  # a row per strategy, the best first: what the terminal shows
    # `statistics.compare` with the baseline, with cells `compare_in_cells`, where a strategy is a
    # schedule; empty while there are none.
    verdicts: pd.DataFrame
    trials: pd.DataFrame  # `results.trials` without what was interrupted and repeated
    replicates: pd.DataFrame  # `results.replicates`
    curves: pd.DataFrame  # `results.curves` of the trials

    def __repr__(self) -> str:
        return "\n".join([*self._lines(), "", self.strategies.to_string()])

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: the answer, and a table of the strategies."""
        text = "".join(f"<p>{html.escape(line)}</p>" for line in self._lines())
        return f"{text}{self.strategies.to_html()}"

    def _lines(self) -> list[str]:
        return [self.answer, *(f"Caution: {caution}" for caution in self.cautions)]


def train(*overrides: str) -> Trained:
    """Trains one trial, as `fmnist-lab train` does, and returns its result and curves.

    Args:
        overrides: As on the command line, `"scheduler=cosine"` say. Flags of Hydra are not taken.

    Returns:
        The trial's folder; its row of `results.trials`; a row per epoch with the learning rate
        (`opt/learning_rate`), losses in nats (`train/loss`, `val/loss`), accuracies as shares of 1.

    Raises:
        RequestError: A key or a value is wrong.
        DataUnavailableError: No source has the images.
        KeyboardInterrupt: It is interrupted; everything trained so far is kept.

    Example::

        trained = fmnist_lab.train("scheduler=cosine", "training.epochs=5")
        trained.curves.plot(x="epoch", y=["train/loss", "val/loss"])
    """
    folder = _run("train", [*overrides])
    trials = results.trials([folder])
    return Trained(folder, trials.iloc[0], results.curves(trials))


def sweep(name: str, *overrides: str, new: bool = False) -> Comparison:
    """Starts or continues a sweep, as `fmnist-lab sweep` does, and returns what it has shown.

    Args:
        name: A file in `sweeps/`, ours or yours, without its ending.
        overrides: As on the command line, `"hydra.sweeper.n_trials=4"` say.
        new: Start afresh, beside what exists.

    Returns:
        As `compare`.

    Raises:
        RequestError: The name, a key or a value is wrong.
        TooManyFailuresError: So many trials failed that the sweep was given up.
        KeyboardInterrupt: It is interrupted; the same call continues the sweep.

    Example::

        found = fmnist_lab.sweep("demo")
        found.strategies
    """
    return compare(_run("sweep", [*overrides], name, new))


def compare(name: str | Path | None = None, *, stopping: str | None = None) -> Comparison:
    """Compares the strategies of a sweep or a multirun, as `fmnist-lab compare` does.

    Reads the folders of the trials; writes nothing.

    Args:
        name: A sweep or multirun, or its folder as a `Path`, also that of another application's
            multirun, whose sweeper has a direction; None: the latest.
        stopping: Only trials with this early stopping, where it differs.

    Returns:
        The answer in words and the frames that it rests on. Differences, intervals and margins
        are of test accuracy, as shares of 1; what was not measured is NaN.

    Raises:
        RequestError: There is no such sweep, or what it holds cannot be compared.

    Example::

        found = fmnist_lab.compare("demo")
        found.verdicts[["strategy", "difference", "low", "high", "verdict"]]
    """
    given = name.resolve() if isinstance(name, Path) and name.is_dir() else name
    known = folder_of(None if given is None else str(given))
    place = known or Path(str(name))  # which may be a sweep of another project
    ended = results.ended(place)
    if known is None and not ended:
        found = report.gather_foreign(foreign.read(place.resolve()), baseline=None, margin=None)
    else:
        found = report.gather(place, results.trials(ended), stopping)
    rows = summary(found)
    verdicts = found.versus_baseline if found.cells is None else found.in_cells
    return Comparison(
        folder=found.folder,
        answer=sentences.headline(found),
        cautions=cautions.grave(found),
        strategies=rows[[*leaderboard.standings(rows, found.metric)]].set_index("strategy"),
        verdicts=pd.DataFrame() if verdicts is None else verdicts,
        trials=found.trials,
        replicates=found.replicates,
        curves=found.curves,
    )


def _run(command: str, overrides: list[str], name: str = "", new: bool = False) -> Path:
    """Runs a command in a process of its own, shows what it prints, returns its folder."""
    for word in overrides:
        if not isinstance(word, str) or word.startswith("-"):
            hint = "flags such as --cfg and -m are for the command line"
            raise RequestError("overrides", "be texts such as 'seed=1'", word, hint)
    answer, writer = os.pipe()
    code = (
        f"import sys; sys.path[:] = {installed_path(beside())!r}; "
        f"from fmnist_lab.commands import from_python; from_python.serve({writer})"
    )
    # In a terminal the child draws there; a notebook shows what is written to `sys.stdout`, and
    # asks for colours in FORCE_COLOR, which rich would take for a terminal.
    shown = None if sys.stdout.isatty() else subprocess.PIPE
    plain = {"TTY_COMPATIBLE": "0"} if shown else {}
    with (
        os.fdopen(answer, "rb") as reader,
        subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            stdin=subprocess.PIPE,
            stdout=shown,
            stderr=shown and subprocess.STDOUT,
            pass_fds=[writer],
            env=os.environ | plain | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},
            start_new_session=True,  # an interruption is for this process, which passes it on
        ) as child,
    ):
        os.close(writer)
        assert child.stdin is not None
        received: list[bytes] = []  # beside what it prints: a full pipe would stop the child
        reading = threading.Thread(target=lambda: received.append(reader.read()))
        reading.start()
        try:
            child.stdin.write(json.dumps([command, overrides, name, new]).encode() + b"\n")
            child.stdin.flush()
            _show(child.stdout)
            child.wait()
        except KeyboardInterrupt:
            child.stdin.close()
            _show(child.stdout)
            raise
        finally:
            reading.join()
    given = received[0]
    if not given:
        raise ChildProcessError(f"The process that trains ended with code {child.returncode}.")
    outcome = pickle.loads(given)  # by our own process, through a pipe of ours
    if isinstance(outcome, BaseException):
        raise outcome
    return Path(outcome)


def _show(output: IO[bytes] | None) -> None:
    """Copies what a process prints to what is the standard output here, line by line."""
    for line in output or ():
        sys.stdout.write(line.decode(errors="replace"))
        sys.stdout.flush()


def serve(answer_to: int) -> None:
    """Runs the command that the standard input names, and answers with its folder or its error.

    Args:
        answer_to: The descriptor of the pipe for the pickled answer.
    """
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    sys.path.append(str(Path.cwd()))
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(0, 1 << 16) or b"\n"
    command, overrides, name, new = json.loads(line)
    threading.Thread(target=_await_end, daemon=True).start()
    from fmnist_lab.commands import sweep as sweeping
    from fmnist_lab.commands import train as training

    outcome: Path | BaseException
    try:
        is_sweep = command == "sweep"
        run = sweeping.main(name, overrides, new) if is_sweep else training.main(overrides)
        outcome = run.absolute()
    except BaseException as error:
        outcome = error
    try:
        given = pickle.dumps(outcome)
        pickle.loads(given)
    except Exception:  # an error of the user's code, say, which only this process knows
        given = pickle.dumps(RuntimeError(f"{type(outcome).__name__}: {outcome}"))
    with contextlib.suppress(OSError), os.fdopen(answer_to, "wb") as writer:
        writer.write(given)


def _await_end() -> None:
    """Interrupts the command when the process that has asked for it is interrupted or gone."""
    os.read(0, 1)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def _interrupt(*_: object) -> None:
    interrupted.set()
    raise KeyboardInterrupt
