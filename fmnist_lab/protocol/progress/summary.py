"""What is printed when a sweep has ended: how, with what result, and what to do next."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from fmnist_lab.foundation import wording
from fmnist_lab.foundation.spelling import spell
from fmnist_lab.protocol.progress import words
from fmnist_lab.protocol.progress.counts import Progress
from fmnist_lab.protocol.progress.table import BEST, failures, leader
from fmnist_lab.sweeper.observers import TrialEnd
from fmnist_lab.sweeper.sweep_end import EndReason, SweepEnd

VERDICT = "One seed per trial is no verdict: what is ahead here may be ahead by luck."
_LABELS = ("strategy", "seed")  # parameters that say nothing about a trial's quality
_PRIVATE = ("hydra", "tracking.parent=")  # overrides that belong to the sweep
_SHORT = 32  # commands up to this length have their comment beside them


Command = tuple[str, str]  # with what it does


def show(
    console: Console, metric: str, progress: Progress, end: SweepEnd, following: Sequence[Command]
) -> None:
    """Prints the summary, and the commands that may follow."""
    console.print(Text(f"\n{_ending(progress, end)}", style="bold"))
    console.print(Text(f"{_counts(progress)}\n"))
    if any(strategy.latest for strategy in progress.strategies.values()):
        console.print(_results(metric, progress))
        console.print(Text(f"\n{VERDICT}\n"))
    _print_commands(console, following)


def show_replicates(
    console: Console, progress: Progress, end: SweepEnd, following: Sequence[Command]
) -> None:
    """Prints how far replicates are: what they say is said by a comparison, not by the best."""
    console.print(Text(f"\n{_ending(progress, end)}", style="bold"))
    console.print(Text(f"{_counts(progress)}\n"))
    _print_commands(console, following)


def _print_commands(console: Console, following: Sequence[Command]) -> None:
    console.print("What comes next:")
    for command, hint in following:
        console.print(_line(command, hint), soft_wrap=True)  # to be copied


def _ending(progress: Progress, end: SweepEnd) -> str:
    more = ""
    if end.reason == EndReason.FAILED:
        more = f"; see {Path(progress.sweep.folder) / 'sweep.log'}"
    return f"{end}{more}."


def _counts(progress: Progress) -> str:
    complete = progress.done - progress.pruned - progress.failed
    counts = f"{complete} complete, {progress.pruned} pruned, {progress.failed} failed."
    if progress.left:
        total = wording.count(progress.sweep.n_trials, "trial")
        counts = f"{progress.done} of {total} are done and kept: {counts}"
    took = wording.duration(progress.elapsed)
    return f"{counts}\nThis run took {took} at {words.speed(progress.mean_epochs_per_second)}."


def _results(metric: str, progress: Progress) -> Group:
    several = len(progress.sweep.directions) > 1
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("strategy", no_wrap=True, overflow="ellipsis")
    table.add_column(f"{'latest' if several else 'best'} {metric}", justify="right")
    for heading in ("by", "trials", "pruned", "failed"):
        table.add_column(heading, justify="right", no_wrap=True)
    best_trials = Table.grid(padding=(0, 2, 0, 0))
    best_trials.add_column(no_wrap=True)
    for strategy in progress.ranking():
        style = BEST if progress.best and strategy.best is progress.best else ""
        pruned, failed = str(strategy.pruned or "-"), failures(strategy.failed)
        table.add_row(*leader(strategy, style), str(strategy.done), pruned, failed)
        if trial := strategy.best:
            best_trials.add_row(Text(words.who(trial, trial.number), style), _parameters(trial))
    return Group(table, Text("\nBest trials" if best_trials.rows else "", "dim"), best_trials)


def _parameters(trial: TrialEnd) -> Text:
    """What was searched, as rounded overrides."""
    overrides = (
        f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={spell(value)}"
        for key, value in trial.params.items()
        if key.lstrip("+") not in _LABELS
    )
    return Text(" ".join(overrides))


def commands(name: str, again: str, progress: Progress, end: SweepEnd) -> list[Command]:
    """What a user may do next.

    Args:
        name: The sweep, the name of its folder.
        again: The command line that continues it.
        progress: How it stands.
        end: Why it ended.
    """
    found = []
    # A limit that earlier runs count towards would end the next one at once.
    limits = [limit for limit in end.budgets if not limit.is_cut_short]
    if progress.left and limits:
        again = " ".join([again, *(f"hydra.sweeper.{limit}=null" for limit in limits)])
        found = [(again, f"goes on without {', '.join(limits)}, with {_left(progress)}")]
    elif progress.left:
        found = [(again, f"goes on with {_left(progress)}")]
    if progress.done:
        what = "strategies" if progress.sweep.strategies else "trials"
        found.append((f"fmnist-lab compare {name}", f"compares the {what}"))
        found.append(("fmnist-lab ui", "every trial's curves in the browser"))
    return found


def repeat_best(progress: Progress, end: SweepEnd) -> Command | None:
    """The command that trains the best trial again; None while the search is not at its end."""
    if progress.best is None or end.reason.is_cut_short:
        return None
    given = _overrides(progress.best, Path(progress.sweep.folder))
    command = shlex.join(["fmnist-lab", "train", *given])
    return command, f"the best trial, #{progress.best.number}, once more"


def _left(progress: Progress) -> str:
    return f"the {wording.count(progress.left, 'trial')} left"


def _overrides(trial: TrialEnd, folder: Path) -> list[str]:
    """All that the best trial was given: the user's overrides, the strategy's, the suggestion."""
    path = Path(trial.folder or "") / ".hydra" / "overrides.yaml"
    try:
        given = list(map(str, yaml.safe_load(path.read_text(encoding="utf-8"))))
    except OSError:  # a worker elsewhere has it
        given = _best_overrides(folder) or [f"{k}={spell(v)}" for k, v in trial.params.items()]
    return [override for override in given if not override.lstrip("+~").startswith(_PRIVATE)]


def _best_overrides(folder: Path) -> list[str]:
    """What the sweeper has written down of its best trial."""
    try:
        results = yaml.safe_load((folder / "optimization_results.yaml").read_text(encoding="utf-8"))
    except OSError:
        return []
    return list(results.get("best_overrides") or [])


def _line(command: str, hint: str) -> Text:
    comment = (f"# {hint}", "dim")
    if len(command) > _SHORT:
        return Text.assemble("  ", comment, "\n  ", (command, "cyan"))
    return Text.assemble("  ", (command.ljust(_SHORT), "cyan"), "  ", comment)
