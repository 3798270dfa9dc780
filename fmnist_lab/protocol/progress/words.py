"""A sweep's progress in plain words."""

from pathlib import Path

from fmnist_lab.foundation.wording import count, duration, number
from fmnist_lab.protocol.progress.counts import Progress, RunningTrial
from fmnist_lab.sweeper.observers import TrialEnd, TrialInfo


def objective(trial: TrialEnd) -> str:
    """A trial's objective, or several."""
    return ", ".join(map(number, trial.values or [])) or "-"


def speed(epochs_per_second: float) -> str:
    """`3.4 epochs/s`, `0.27 epochs/s`."""
    digits = 1 if epochs_per_second >= 1 else 2
    return f"{epochs_per_second:.{digits}f} epochs/s"


def who(trial: TrialEnd | TrialInfo | RunningTrial, trial_number: int) -> str:
    """`cosine #25`; only the number where there are no strategies."""
    return f"{trial.strategy} #{trial_number}" if trial.strategy else f"#{trial_number}"


def epoch(trial: RunningTrial, epochs: int) -> str:
    """The epoch a trial is in, counted from one."""
    return f"{min(trial.steps + 1, epochs)}/{epochs}"


def start(progress: Progress) -> str:
    """The first line."""
    sweep = progress.sweep
    strategies = f"{len(sweep.strategies)} strategies, " if sweep.strategies else ""
    total = count(sweep.n_trials, "trial")
    return "; ".join(
        [
            f"Sweep {sweep.study_name}: {progress.done} of {total} are done",
            *_best(progress),
            f"{strategies}{sweep.slots} at once",
            f"storage {sweep.storage}",
            f"log {Path(sweep.folder) / 'sweep.log'}",
        ]
    )


def ended(trial: TrialEnd, progress: Progress) -> str:
    """A trial's end, and where the sweep stands now."""
    how = [f"{_bar(progress)} {who(trial, trial.number)} {_how(trial)}"]
    return "; ".join([*how, *_best(progress), *_left(progress)])


def failed(trial: TrialEnd, progress: Progress) -> str:
    """Why a trial failed, in a line, and where to read more."""
    reason = (trial.problem or "").strip().rpartition("\n")[2] or "no reason was recorded"
    again = "" if trial.counts else " It will be tried again."
    again = " The same command tries it again." if trial.lost else again
    how = f"{_bar(progress)} {who(trial, trial.number)} failed: {reason.rstrip('.')}.{again}"
    return f"{how} Log: {_log(trial, progress.sweep.folder)}"


def running(progress: Progress) -> str:
    """What runs, and how fast, while nothing ends."""
    trials = ", ".join(
        f"{who(trial, number)} epoch {epoch(trial, progress.epochs)}"
        for number, trial in progress.running.items()
    )
    now = f"{_bar(progress)} running {trials or 'nothing'}"
    return "; ".join([now, speed(progress.epochs_per_second), *_best(progress), *_left(progress)])


def _bar(progress: Progress) -> str:
    total = str(progress.sweep.n_trials)
    return f"[{progress.done:>{len(total)}}/{total}]"


def _how(trial: TrialEnd) -> str:
    epochs = count(trial.steps, "epoch")
    took = f"{epochs}, {duration(trial.seconds)}" if trial.seconds is not None else epochs
    if trial.state == "complete":
        return f"complete {objective(trial)} in {took}"
    if trial.state == "interrupted":
        return f"interrupted after {took}, to be repeated"
    return f"{trial.state} after {took}"


def _best(progress: Progress) -> list[str]:
    best = progress.best
    return [f"best {who(best, best.number)} {objective(best)}"] if best else []


def _left(progress: Progress) -> list[str]:
    seconds = progress.seconds_left
    return [f"{duration(seconds)} left"] if seconds is not None and progress.left else []


def _log(trial: TrialEnd, sweep_folder: str) -> Path:
    """The trial's own log; where there is none its worker's output is all there is."""
    logs = sorted(Path(trial.folder).glob("*.log")) if trial.folder else []
    path = logs[0] if logs else Path(sweep_folder) / "workers.log"
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
