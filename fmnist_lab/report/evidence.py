"""What a report rests on: frames and facts, gathered from a sweep's folder."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from fmnist_lab import results, statistics
from fmnist_lab.errors import RequestError
from fmnist_lab.report.setup import Setup
from fmnist_lab.trial import WHOLE

BASELINE = "constant"
_LOST = ("diverged", "failed", "pruned")
_TEST = ("test_accuracy", "test_sd", "test_low", "test_high")


@dataclass(frozen=True)
class Evidence:
    """A sweep or multirun, as far as it has come.

    Superseded trials are left out of all frames but `trials_shown`, and counted.
    """

    name: str
    folder: Path
    setup: Setup
    stopping: str  # the track: none (a fixed horizon), or the name of the early stopping
    metric: str  # the objective's
    trials: pd.DataFrame
    replicates: pd.DataFrame
    curves: pd.DataFrame  # of the trials
    replicate_curves: pd.DataFrame
    superseded: int
    drawn: int  # trials on synthetic images, left out because others are on real ones
    standings: pd.DataFrame  # a row per strategy, the best first
    baseline: str  # what the others are compared with
    pair: str = "seed"  # what the verdicts pair: seed or search
    versus_baseline: pd.DataFrame | None = None  # `comparison.compare`; None: no verdict
    versus_best: pd.DataFrame | None = None  # `comparison.compare_to_best`

    @property
    def maximised(self) -> bool:
        """Whether more of the objective is better."""
        return self.metric.endswith("accuracy")

    @property
    def is_multirun(self) -> bool:
        """Whether Hydra's own `-m` made these trials."""
        return self.folder.parent.name == "multirun"

    @property
    def strategies(self) -> list[str]:
        """The best first."""
        return self.standings["strategy"].to_list()

    @property
    def is_running(self) -> bool:
        """Whether trials are still to come, or were when the sweep was killed."""
        planned = self.setup.planned
        return planned is not None and not self.setup.has_ended and len(self.trials) < planned


def gather(place: Path, trials: pd.DataFrame, stopping: str | None = None) -> Evidence:
    """Reads what else there is of a sweep or multirun.

    Args:
        place: Its folder.
        trials: `results.trials`, all of them.
        stopping: The track to report, where there are two: an option of the group `stopping`.

    Raises:
        RequestError: Fixed horizons and early stopping would be mixed, or two objectives.
    """
    setup = Setup.read(place, [Path(folder) for folder in trials["folder"]])
    replicates = results.replicates(results.ended(place, "replicate"))
    trials, drawn = statistics.on_real_images(trials)
    replicates, _ = statistics.on_real_images(replicates)
    track = _track(pd.concat([trials["stopping"], replicates["stopping"]]), stopping)
    trials, replicates = (frame[frame["stopping"] == track] for frame in (trials, replicates))
    require_one_objective(trials)
    superseded = int(trials["superseded"].sum() + replicates["superseded"].sum())
    trials, replicates = (
        frame[~frame["superseded"]].reset_index(drop=True) for frame in (trials, replicates)
    )
    metric = str(trials["objective_metric"].iloc[0]) if len(trials) else "val/accuracy"
    evidence = Evidence(
        name=place.name,
        folder=place,
        setup=setup,
        stopping=track,
        metric=metric,
        trials=trials,
        replicates=replicates,
        curves=results.curves(trials),
        replicate_curves=results.curves(replicates),
        superseded=superseded,
        drawn=drawn,
        standings=_standings(setup, trials, replicates),
        baseline=_baseline(setup, list(replicates["strategy"]) or list(trials["strategy"])),
    )
    return _judged(evidence)


def summary(evidence: Evidence) -> pd.DataFrame:
    """The rows of `comparison.csv`: the standings, and what the verdicts say of each strategy.

    The columns of `comparison.compare`, as they are for the baseline and with `best_` in front
    for the best one; NaN for the strategy that the others are compared with. Its `diverged`,
    which counts pairs, is called `pairs_diverged` here: the standings' own counts trials.
    """
    frame = evidence.standings.set_index("strategy")
    for verdicts, prefix in ((evidence.versus_baseline, ""), (evidence.versus_best, "best_")):
        if verdicts is not None:
            named = verdicts.set_index("strategy").rename(columns={"diverged": "pairs_diverged"})
            frame = frame.join(named.add_prefix(prefix))  # which refuses a name that is there twice
    return frame.reset_index()


def _track(stopping: pd.Series, wanted: str | None) -> str:
    found = sorted(stopping.unique())
    if wanted is not None and found and wanted not in found:
        raise RequestError(f"`--stopping` must be one of {', '.join(found)}, got {wanted!r}.")
    if wanted is None and len(found) > 1:
        counts = ", ".join(f"{(stopping == name).sum()} trials with {name}" for name in found)
        raise RequestError(
            "`stopping` must be one for all that is compared, because early stopping cuts off "
            f"schedules that get better late, got {counts}; choose with --stopping {found[0]}."
        )
    return wanted or (found[0] if found else "none")


def require_one_objective(trials: pd.DataFrame) -> None:
    """Raises `RequestError` where an accuracy would be ranked against a loss."""
    if len(found := sorted(trials["objective_metric"].unique())) > 1:
        raise RequestError(
            f"`objective.metric` must be one for all that is compared, got {', '.join(found)}."
        )


def _standings(setup: Setup, trials: pd.DataFrame, replicates: pd.DataFrame) -> pd.DataFrame:
    """A row per strategy, the best first.

    Columns: strategy, best (objective of the best trial), trial and search (Int64, its numbers),
    trials, and of these diverged, failed, pruned; replicates (with a test accuracy),
    replicates_lost (without), test_accuracy, test_sd, test_low and test_high (mean, standard
    deviation and 95 % t-interval over the seeds, or over the means of several searches).
    """
    seen = [*trials["strategy"], *replicates["strategy"]]
    listed = [strategy for strategy in setup.strategies if strategy in set(seen)]
    winners = statistics.winners(trials) if len(trials) else trials
    rows = []
    for strategy in dict.fromkeys([*listed, *seen]):
        own, again = (frame[frame["strategy"] == strategy] for frame in (trials, replicates))
        found = winners[winners["strategy"] == strategy]
        best = _best_row(found)
        rows.append(
            {"strategy": strategy, "best": best["objective"] if best is not None else np.nan}
            | {name: best[name] if best is not None else None for name in ("trial", "search")}
            | {"trials": len(own)}
            | {reason: int((own["stop_reason"] == reason).sum()) for reason in _LOST}
            | {"replicates": int(again["test_accuracy"].count())}
            | {"replicates_lost": int(again["test_accuracy"].isna().sum())}
            | _test(again)
        )
    columns = ["strategy", "best", "trial", "search", "trials", *_LOST]
    columns += ["replicates", "replicates_lost", *_TEST]
    frame = pd.DataFrame(rows, columns=columns)
    frame = frame.astype({"trial": "Int64", "search": "Int64", "best": "float64"})
    tested = frame["test_accuracy"].notna().any()
    falling = tested or not (trials["objective_metric"] == "val/loss").any()
    order = "test_accuracy" if tested else "best"
    ranked = frame.sort_values(order, ascending=not falling, kind="stable", na_position="last")
    return ranked.reset_index(drop=True)


def _test(replicates: pd.DataFrame) -> dict[str, float]:
    """A strategy's test accuracy; of several searches each counts as one value, its mean."""
    accuracies = replicates["test_accuracy"].dropna()
    if (searches := replicates["search"]).nunique() > 1:
        accuracies = accuracies.groupby(searches).mean()
    low, high = statistics.t_interval(accuracies.to_numpy(dtype=np.float64))
    return dict(zip(_TEST, (accuracies.mean(), accuracies.std(), low, high), strict=True))


def _best_row(found: pd.DataFrame) -> pd.Series | None:
    """The best of several searches' winners."""
    if found.empty:
        return None
    falling = found["objective_metric"].iloc[0] == "val/accuracy"
    return found.sort_values("objective", ascending=not falling, kind="stable").iloc[0]


def _judged(evidence: Evidence) -> Evidence:
    """With verdicts, where there is something to base them on."""
    replicates = evidence.replicates
    tested = replicates["test_accuracy"].notna().any()
    if not tested or replicates["strategy"].nunique() < 2:
        return evidence
    pair = "search" if replicates["search"].nunique() > 1 else "seed"
    return replace(
        evidence,
        pair=pair,
        versus_baseline=statistics.compare(replicates, evidence.baseline, pair=pair),
        versus_best=statistics.compare_to_best(replicates, pair=pair),
    )


def _baseline(setup: Setup, strategies: list[str]) -> str:
    """The one that the manifest names, else `constant`, else the first in the sweep's file."""
    wished = [setup.manifest.get("baseline"), BASELINE, *setup.strategies, *strategies]
    return next((str(name) for name in wished if name in strategies), BASELINE)


def ran_to_the_end(frame: pd.DataFrame) -> pd.Series:
    """Which runs ended by themselves, and so have an objective that may be compared."""
    return frame["stop_reason"].isin(WHOLE)
