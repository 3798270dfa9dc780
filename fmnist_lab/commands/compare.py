"""What `fmnist-lab compare` does: leaderboard in the terminal, report and CSV files on disk."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from fmnist_lab import report, results, statistics, tracking
from fmnist_lab.commands import leaderboard
from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.foundation.files import asked_file, whole_file
from fmnist_lab.report import cautions, sentences
from fmnist_lab.report.evidence import summary
from fmnist_lab.results import foreign, ledger
from fmnist_lab.results.layout import COMPARISON_CSV, CURVES_CSV, REPORT, TRIALS_CSV

_READING = ("strategy", "seed", "maximize")  # options for multiruns of other applications
_JUDGING = ("baseline", "margin")


def main(  # noqa: PLR0913 - an option of the command each
    name: str | None = None,
    sort: str | None = None,
    where: str | None = None,
    *,
    only_changed: bool = True,
    csv: Path | None = None,
    with_report: bool = True,
    stopping: str | None = None,
    **of_jobs: Any,
) -> None:
    """Shows the sweep's trials and strategies, and writes its report; see the command's help.

    The arguments are its options; `of_jobs` are those for a multirun of another application.

    Raises:
        RequestError: There is no such sweep or column, the filter cannot be read, or the report
            would mix what cannot be compared.
    """
    logging.basicConfig(format="%(message)s")  # warnings, of a server that is down, say
    if (place := folder_of(name)) is None:
        multirun = foreign.read(Path(str(name)).resolve(), *(of_jobs.get(key) for key in _READING))
        trials = multirun.jobs.drop(columns="block")
        gather = partial(report.gather_foreign, multirun, *(of_jobs.get(key) for key in _JUDGING))
        shown, is_known = leaderboard.select(trials, where, sort), True
    else:
        if given := [key for key, value in of_jobs.items() if value not in (None, [])]:
            rule = "be left out for a sweep of ours, whose own file says it"
            raise RequestError(f"--{given[0]}", rule, of_jobs[given[0]])
        trials = results.trials(results.ended(place))
        gather = partial(report.gather, place, trials, stopping)
        shown = leaderboard.select(statistics.on_real_images(trials)[0], where, sort)
        is_known = stopping is None or stopping in set(trials["stopping"])
    if csv and is_known:
        with asked_file("--csv", csv) as temporary:
            shown.to_csv(temporary, index=False)
    try:
        found = gather()
    except RequestError:
        if is_known:  # side by side they may be seen, but not ranked
            leaderboard.show(shown, only_changed=only_changed)
        raise
    print(f"{found.folder.name}: {sentences.progress(found)}\n")
    if found.strategies:
        leaderboard.show_strategies(summary(found), found.metric)
        print()
        leaderboard.show(shown, only_changed=only_changed)
    print(f"\n{sentences.headline(found)}")
    if sentences.no_verdict(found) is None:
        print(sentences.claim(found))
    if opened := ledger.sentence(found.setup.openings):
        print(opened)
    for caution in cautions.grave(found):
        print(f"Caution: {caution}")
    if with_report:
        try:
            _write(found)
        except OSError as error:
            rule, hint = "be a folder that can be written, for the report", "without: --no-report"
            got = Phrase(f"{error.filename}: {error.strerror}")
            raise RequestError(str(found.folder), rule, got, hint) from error


def folder_of(name: str | None) -> Path | None:
    """Returns the folder of a sweep or multirun of ours; None where the name is another folder."""
    try:
        return results.find(name)
    except RequestError:
        if name is None or not Path(name).is_dir():
            raise
        return None


def _write(found: report.Evidence) -> None:
    """Writes report and CSV files, and copies them into the sweep's run."""
    frames = {
        TRIALS_CSV: pd.concat([found.trials, found.replicates], ignore_index=True),
        CURVES_CSV: pd.concat([found.curves, found.replicate_curves], ignore_index=True),
        COMPARISON_CSV: summary(found),
    }
    if found.multirun:
        del frames[CURVES_CSV]
    files = [found.folder / name for name in (REPORT, *frames)]
    report.write(found, files[0])
    for name, frame in frames.items():
        with whole_file(found.folder / name) as temporary:
            frame.to_csv(temporary, index=False)
    print(f"\nReport: {files[0]}\nTables: {', '.join(frames)} beside it")
    if tracking.attach(found.folder, files):
        print("Both are artifacts of the sweep's run, too: fmnist-lab ui")
