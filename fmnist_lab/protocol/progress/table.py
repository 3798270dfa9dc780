"""A sweep's progress as a table, drawn anew a few times per second."""

from rich.console import Group
from rich.constrain import Constrain
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fmnist_lab.foundation import wording
from fmnist_lab.protocol.progress import words
from fmnist_lab.protocol.progress.counts import Progress, StrategyProgress

BEST = "bold green"
_BAR, _EPOCH = 6, 12  # columns of a strategy's bar, and of a running trial
_WIDEST = 100
_SHOWN = 2  # running trials of a strategy


def table(metric: str, progress: Progress, hint: str) -> Constrain:
    """The whole picture, made for 80 columns; with more it grows a little."""
    picture = Group(
        Text(),
        _headline(progress),
        _numbers(metric, progress),
        Text(),
        _strategies(progress),
        Text(),
        Text(hint, style="dim", no_wrap=True, overflow="ellipsis"),
    )
    return Constrain(picture, _WIDEST)


def _headline(progress: Progress) -> Table:
    line = Table.grid(expand=True, padding=(0, 2, 0, 0))
    line.add_column(no_wrap=True)
    line.add_column(ratio=1)
    line.add_column(no_wrap=True)
    total = progress.sweep.n_trials
    bar = ProgressBar(total, progress.done, complete_style="cyan", finished_style="green")
    line.add_row(
        Text(progress.sweep.study_name, style="bold"),
        bar,
        f"{progress.done}/{wording.count(total, 'trial')}",
    )
    return line


def _numbers(metric: str, progress: Progress) -> Table:
    lines = Table.grid(expand=True)
    lines.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    lines.add_column(justify="right", no_wrap=True)
    lines.add_row(_best(metric, progress), _speed(progress))
    lines.add_row(_counts(progress), _time(progress))
    return lines


def _best(metric: str, progress: Progress) -> Text:
    best = progress.best
    if best is None:
        return Text(f"no {metric} yet" if len(progress.sweep.directions) == 1 else metric)
    value = (words.objective(best), BEST)
    return Text.assemble(f"best {metric} ", value, f" by {words.who(best, best.number)}")


def _speed(progress: Progress) -> str:
    now, mean = progress.epochs_per_second, progress.mean_epochs_per_second
    return f"{words.speed(now)}, {words.speed(mean).split()[0]} on average"


def _counts(progress: Progress) -> Text:
    failed = (f"{progress.failed} failed", "red" if progress.failed else "")
    return Text.assemble(f"{len(progress.running)} running, {progress.pruned} pruned, ", failed)


def _time(progress: Progress) -> str:
    left = progress.seconds_left
    gone = f"{wording.duration(progress.elapsed)} gone"
    if left is None:
        return f"{gone}, time left not known yet"
    return f"{gone}, about {wording.duration(left)} left" if progress.left else gone


def _strategies(progress: Progress) -> Table:
    several = len(progress.sweep.directions) > 1
    lines = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    lines.add_column("strategy")  # the only one that shrinks if need be
    lines.add_column("trials", width=_BAR, no_wrap=True)
    lines.add_column("", justify="right", no_wrap=True)
    lines.add_column("latest" if several else "best", justify="right", no_wrap=True)
    lines.add_column("by", justify="right", no_wrap=True)
    lines.add_column("now in epoch", min_width=_EPOCH, no_wrap=True)
    lines.add_column("pruned", justify="right", no_wrap=True)
    lines.add_column("failed", justify="right", no_wrap=True)
    best = progress.best
    for strategy in progress.strategies.values():
        style = BEST if best and strategy.best is best else ""
        lines.add_row(*_cells(strategy, progress, style))
    return lines


def _cells(
    strategy: StrategyProgress, progress: Progress, style: str
) -> list[Text | ProgressBar | str]:
    name, value, number = leader(strategy, style)
    bar = ProgressBar(
        strategy.total, strategy.done, width=_BAR, complete_style="cyan", finished_style="green"
    )
    return [
        name,
        bar,
        f"{strategy.done}/{strategy.total}",
        value,
        number,
        _running(strategy, progress),
        str(strategy.pruned or "-"),
        failures(strategy.failed),
    ]


def leader(strategy: StrategyProgress, style: str = "") -> tuple[Text, Text, Text]:
    """A strategy, its best objective and whose that is; of several objectives the latest."""
    shown = strategy.best or strategy.latest
    return (
        Text(strategy.name or "all", style=style, no_wrap=True, overflow="ellipsis"),
        Text(words.objective(shown) if shown else "-", style=style),
        Text(f"#{shown.number}" if shown else "", style=style),
    )


def failures(count: int) -> Text:
    """How many trials failed, red if there are any."""
    return Text(str(count), style="red") if count else Text("-")


def _running(strategy: StrategyProgress, progress: Progress) -> Text:
    trials = [
        f"#{number} {words.epoch(trial, progress.epochs)}"
        for number, trial in progress.running.items()
        if trial.strategy == strategy.name
    ]
    more = [f"+{len(trials) - _SHOWN}"] if len(trials) > _SHOWN else []
    return Text(", ".join([*trials[:_SHOWN], *more]), style="cyan")
