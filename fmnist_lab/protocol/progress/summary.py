"""Table of a sweep's strategies, and the summary that is printed when the sweep has ended."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fmnist_lab.foundation import wording
from fmnist_lab.foundation.spelling import spell
from fmnist_lab.protocol.progress.counts import (
    StrategyProgress,
    SweepProgress,
    label,
    objective,
    speed,
)
from fmnist_lab.results.layout import SWEEP_LOG, SWEEP_RESULTS
from fmnist_lab.sweeper.sweep_end import EndReason, SweepEnd

BEST = "bold green"
VERDICT = "One seed per trial is no verdict: this ranking may be chance."
_LABELS = ("strategy", "seed")  # parameters that say nothing about a trial's quality
_SHORT = 32  # commands up to this length have their comment beside them
_SHOWN = 2  # running trials of a strategy

Command = tuple[str, str]  # and what it does


def strategies_table(progress: SweepProgress, metric: str = "", is_live: bool = False) -> Table:
    """Lists the strategies: the best first, or in the user's order with their running trials."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("strategy")  # the only one that shrinks if need be
    value = "latest" if progress.has_several_objectives else "best"
    for heading in (f"{value} {metric}", "by", "trials", "pruned", "failed"):
        table.add_column(heading.strip(), justify="right", no_wrap=True)
    if is_live:
        table.add_column("", width=6)
        table.add_column("now in epoch", min_width=12, no_wrap=True)
    for one in progress.strategies.values() if is_live else progress.ranking():
        shown = one.best or one.latest
        style = BEST if progress.best and one.best is progress.best else ""
        cells: list[RenderableType] = [
            Text(one.name or "all", style, no_wrap=True, overflow="ellipsis"),
            Text(objective(shown) if shown else "-", style),
            Text(f"#{shown.number}" if shown else "", style),
            f"{one.done}/{one.total}" if is_live else str(one.done),
            str(one.pruned or "-"),
            Text(str(one.failed or "-"), "red" if one.failed else ""),
        ]
        if is_live:
            table.add_row(*cells, ProgressBar(one.total, one.done), _running(one, progress))
        else:
            table.add_row(*cells)
    return table


def _running(strategy: StrategyProgress, progress: SweepProgress) -> Text:
    trials = [
        f"#{trial.number} {epoch(trial.number, progress)}"
        for trial in progress.running.values()
        if trial.strategy == strategy.name
    ]
    more = [f"+{len(trials) - _SHOWN}"] if len(trials) > _SHOWN else []
    return Text(", ".join([*trials[:_SHOWN], *more]), "cyan")


def epoch(number: int, progress: SweepProgress) -> str:
    """Shows the epoch that a running trial is in, counted from one: `7/20`."""
    return f"{min(progress.steps[number] + 1, progress.epochs)}/{progress.epochs}"


def show(
    console: Console,
    progress: SweepProgress,
    end: SweepEnd,
    following: Sequence[Command],
    metric: str | None,
) -> None:
    """Prints how the sweep ended, the results, and the commands that may follow.

    Args:
        console: Where to print.
        progress: The sweep's counts.
        end: Why the sweep ended.
        following: Commands, each with what it does.
        metric: The objective's name. With None there are no results: replicates are judged by a
            comparison, not by the best one.
    """
    log = f"; see {Path(progress.sweep.folder) / SWEEP_LOG}"
    console.print(Text(f"\n{end}{log if end.reason == EndReason.FAILED else ''}.", "bold"))
    console.print(Text(f"{_counts(progress)}\n"))
    if metric is not None and any(one.latest for one in progress.strategies.values()):
        console.print(strategies_table(progress, metric))
        _print_best_trials(console, progress)
        console.print(Text(f"\n{VERDICT}\n"))
    console.print("What comes next:")
    for command, hint in following:
        comment = (f"# {hint}", "dim")
        if len(command) > _SHORT:
            line = Text.assemble("  ", comment, "\n  ", (command, "cyan"))
        else:
            line = Text.assemble("  ", (command.ljust(_SHORT), "cyan"), "  ", comment)
        console.print(line, soft_wrap=True)  # to be copied


def _counts(progress: SweepProgress) -> str:
    complete = progress.done - progress.pruned - progress.failed
    counts = f"{complete} complete, {progress.pruned} pruned, {progress.failed} failed."
    if progress.left:
        total = wording.count(progress.sweep.n_trials, "trial")
        counts = f"{progress.done} of {total} are done and kept: {counts}"
    took = wording.duration(progress.elapsed)
    return f"{counts}\nThis run took {took} at {speed(progress.mean_speed)}."


def _print_best_trials(console: Console, progress: SweepProgress) -> None:
    """Prints what was searched, as rounded overrides."""
    best = [strategy.best for strategy in progress.ranking() if strategy.best]
    best_trials = Table.grid(padding=(0, 2, 0, 0))
    best_trials.add_column(no_wrap=True)
    for trial in best:
        overrides = " ".join(
            f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={spell(value)}"
            for key, value in trial.params.items()
            if key.lstrip("+") not in _LABELS
        )
        style = BEST if trial is progress.best else ""
        best_trials.add_row(Text(label(trial), style), Text(overrides))
    if best:
        console.print(Text("\nBest trials", "dim"))
        console.print(best_trials)


def commands(name: str, again: str, progress: SweepProgress, end: SweepEnd) -> list[Command]:
    """Lists what a user may do next.

    Args:
        name: The sweep, the name of its folder.
        again: The command line that continues it.
        progress: Its counts.
        end: Why it ended.
    """
    found = []
    left = f"the {wording.count(progress.left, 'trial')} left"
    # A limit that earlier runs count towards would end the next one at once.
    limits = [limit for limit in end.budgets if not limit.is_cut_short]
    if progress.left and limits:
        again = " ".join([again, *(f"hydra.sweeper.{limit}=null" for limit in limits)])
        found = [(again, f"goes on without {', '.join(limits)}, with {left}")]
    elif progress.left:
        found = [(again, f"goes on with {left}")]
    if progress.done:
        what = "strategies" if progress.sweep.strategies else "trials"
        found.append((f"fmnist-lab compare {name}", f"compares the {what}"))
        found.append(("fmnist-lab ui", "every trial's curves in the browser"))
    return found


def repeat_best(progress: SweepProgress, end: SweepEnd) -> Command | None:
    """Returns the command that trains the best trial again; None where a search was cut short."""
    path = Path(progress.sweep.folder) / SWEEP_RESULTS
    if end.reason.is_cut_short or not path.exists():
        return None
    results = yaml.safe_load(path.read_text(encoding="utf-8"))
    if results.get("best_overrides") is None:
        return None
    command = shlex.join(["fmnist-lab", "train", *results["best_overrides"]])
    return command, f"the best trial, #{results['best_trial']}, once more"
