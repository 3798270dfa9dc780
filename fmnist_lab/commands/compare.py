"""What `fmnist-lab compare` does: leaderboard in the terminal, report and CSV files on disk."""

import logging
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fmnist_lab import report, results, statistics, tracking
from fmnist_lab.commands import leaderboard
from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.files import whole_file
from fmnist_lab.report import cautions, sentences
from fmnist_lab.report import evidence as gathering
from fmnist_lab.results.layout import COMPARISON_CSV, CURVES_CSV, REPORT, TRIALS_CSV


@dataclass(frozen=True)
class Request:
    """What was asked for; see the command's help."""

    name: str | None = None
    sort: str | None = None
    where: str | None = None
    only_changed: bool = True
    csv: Path | None = None
    with_report: bool = True
    stopping: str | None = None


def main(request: Request) -> None:
    """Shows the sweep's trials and strategies, and writes its report.

    Raises:
        RequestError: There is no such sweep or column, the filter cannot be read, or the report
            would mix what cannot be compared.
    """
    logging.basicConfig(format="%(message)s")  # warnings, of a server that is down, say
    place = results.find(request.name)
    trials = results.trials(results.ended(place))
    comparable, _ = statistics.on_real_images(trials)
    shown = leaderboard.select(comparable, request.where, request.sort)
    is_known = request.stopping is None or request.stopping in set(trials["stopping"])
    if request.csv and is_known:
        _write_asked(shown, request.csv)
    try:
        found = report.gather(place, trials, request.stopping)
    except RequestError:
        if is_known:  # side by side they may be seen, but not ranked
            leaderboard.show(shown, only_changed=request.only_changed)
        raise
    print(f"{place.name}: {sentences.progress(found)}\n")
    if found.strategies:
        leaderboard.show_strategies(gathering.summary(found), found.metric)
        print()
        leaderboard.show(shown, only_changed=request.only_changed)
    print(f"\n{sentences.headline(found)}")
    if sentences.no_verdict(found) is None:
        print(sentences.claim(found))
    for caution in cautions.grave(found):
        print(f"Caution: {caution}")
    if request.with_report:
        try:
            _write(found)
        except OSError as error:
            raise RequestError(
                f"`{place}` must be a folder that can be written, for the report, got "
                f"{error.filename}: {error.strerror}; without one: --no-report."
            ) from error


def _write(found: report.Evidence) -> None:
    """Writes report and CSV files, and copies them into the sweep's run."""
    folder = found.folder
    frames = {
        TRIALS_CSV: pd.concat([found.trials, found.replicates], ignore_index=True),
        CURVES_CSV: pd.concat([found.curves, found.replicate_curves], ignore_index=True),
        COMPARISON_CSV: gathering.summary(found),
    }
    report.write(found, folder / REPORT)
    for name, frame in frames.items():
        _write_csv(frame, folder / name)
    files = [folder / name for name in (REPORT, *frames)]
    print(f"\nReport: {files[0]}\nTables: {', '.join(path.name for path in files[1:])} beside it")
    if tracking.attach(folder, files):
        print("Both are artifacts of the sweep's run, too: fmnist-lab ui")


def _write_asked(frame: pd.DataFrame, path: Path) -> None:
    """Writes where the user wants it."""
    try:
        if path.is_dir():
            raise RequestError(f"`--csv` must be a file, got the folder {path}.")
        _write_csv(frame, path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RequestError(
            f"`--csv` must be a file that can be written, got {path}: {reason}."
        ) from error


def _write_csv(frame: pd.DataFrame, path: Path) -> None:
    with whole_file(path) as temporary:
        frame.to_csv(temporary, index=False)
