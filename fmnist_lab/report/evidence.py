"""What a report rests on: the frames that a sweep has left, and what they show.

`gather` and `gather_foreign` read folders. What follows from the frames is computed when it is
asked for.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnist_lab import config, metrics, results, statistics
from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.report.setup import Setup
from fmnist_lab.results import foreign, layout, manifest
from fmnist_lab.statistics import Verdict
from fmnist_lab.training import weights
from fmnist_lab.trial import WHOLE

RATE = "optimizer.learning_rate"
_NO_VALUE = ("diverged", "failed", "pruned")
_NO_MARGIN = 1e-100  # without a margin all differences matter; it may be squared


@dataclass(frozen=True)
class Measure:
    """What is compared, and how it is written: test accuracy, or what other applications return."""

    column: str = "test_accuracy"  # of the replicates, and of the standings
    prefix: str = "test"  # of its further columns
    name: str = "test accuracy"
    mean: str = "test accuracy"  # what its mean is called
    title: str = "Final test accuracy"
    run: str = "replicate"  # what has a value
    lost: str = "replicate that diverged or failed"  # what has none
    one: str = "this configuration of "  # before the name of a strategy in a single search
    unit: str = " points"  # of a difference
    scale: int = 100
    sign: str = " %"  # behind a value
    digits: str = ".2f"
    best: str = ".4f"  # digits of an objective
    maximised: bool = True

    @property
    def columns(self) -> list[str]:
        """Those of the standings: mean, standard deviation, and the ends of the interval."""
        return [self.column, *(f"{self.prefix}_{name}" for name in ("sd", "low", "high"))]

    def value(self, value: float) -> str:
        """`89.52` of an accuracy, four digits of anything else; a dash of NaN."""
        return "-" if pd.isna(value) else f"{self.scale * value:{self.digits}}"

    def difference(self, value: float) -> str:
        """`+0.62` of a difference; a dash of NaN."""
        return "-" if pd.isna(value) else f"{self.scale * value:+{self.digits}}"


@dataclass(frozen=True)
class Evidence:
    """A sweep or multirun, as far as it has come.

    Superseded trials are left out of all frames, and counted.
    """

    folder: Path
    setup: Setup
    metric: str  # the objective's
    trials: pd.DataFrame
    replicates: pd.DataFrame
    curves: pd.DataFrame  # of the trials
    replicate_curves: pd.DataFrame
    superseded: int
    pair: str  # what the verdicts pair: seed, search or block
    measure: Measure = Measure()
    stopping: str = "none"  # the track: a fixed horizon, or the name of the early stopping
    drawn: int = 0  # trials on synthetic images, left out because others are on real ones
    images: pd.DataFrame | None = None  # a row per replicate that kept which images are right
    # Where the sweep declares cells: its replicates, by cell, with schedules for strategies. Then
    # no strategy is compared with one of another cell.
    cells: pd.DataFrame | None = None
    multirun: foreign.Multirun | None = None  # of another application

    @property
    def kind(self) -> str:
        """`multirun`: of `train -m`, or of another application; else `sweep`."""
        is_multirun = self.multirun or self.folder.parent.name == layout.MULTIRUN
        return "multirun" if is_multirun else "sweep"

    @property
    def maximised(self) -> bool:
        """Whether more of the objective is better."""
        return metrics.is_maximised(self.metric)

    @cached_property
    def standings(self) -> pd.DataFrame:
        """A row per strategy, the best first.

        Columns: strategy, best (objective of the best trial), trial and search (Int64, its
        numbers), trials, and of these diverged, failed, pruned; replicates (with a test accuracy),
        replicates_lost (without), test_accuracy, test_sd, test_low and test_high (mean, standard
        deviation and 95 % t-interval over the seeds, or over the means of several searches), of
        the replicates that ended. The order is that of `statistics.order`, where lost ones count.
        """
        trials, replicates = self.trials, self.replicates
        seen = [*trials["strategy"], *replicates["strategy"]]
        listed = [strategy for strategy in self.setup.strategies if strategy in set(seen)]
        winners = statistics.winners(trials) if len(trials) else trials
        first = statistics.rank(winners, maximised=self.maximised)
        best = first.drop_duplicates("strategy").set_index("strategy")
        column, *_ = columns = self.measure.columns
        tests = replicates.groupby("strategy")[column]
        lost = pd.crosstab(trials["strategy"], trials["stop_reason"]).reindex(columns=_NO_VALUE)
        counts = {"trials": trials.groupby("strategy").size(), **lost, "replicates": tests.count(),
                  "replicates_lost": tests.size() - tests.count()}  # fmt: skip
        frame = pd.DataFrame(
            {"best": best["objective"].astype("float64")}
            | {number: best[number].astype("Int64") for number in ("trial", "search")}
            | counts
            | dict.fromkeys(columns, np.nan),
            index=pd.Index(dict.fromkeys([*listed, *seen]), name="strategy", dtype=object),
        )
        frame[list(counts)] = frame[list(counts)].fillna(0).astype("int64")
        for strategy, own in replicates.groupby("strategy"):
            frame.loc[strategy, columns] = mean_and_interval(own, column)
        if frame[column].isna().all():
            ranked = statistics.rank(frame.reset_index(), "best", self.maximised)
            return ranked.reset_index(drop=True)
        tested = statistics.order(replicates, column, self.pair)
        return frame.reindex([*tested, *frame.index.difference(tested, sort=False)]).reset_index()

    @cached_property
    def strategies(self) -> list[str]:
        """The best first."""
        return self.standings["strategy"].to_list()

    @cached_property
    def baseline(self) -> str:
        """What the others are compared with."""
        names = list(self.replicates["strategy"]) or list(self.trials["strategy"])
        return manifest.baseline(self.setup.config, names)

    @cached_property
    def cell_baseline(self) -> str:
        """The schedule that the others are compared with in each cell."""
        assert self.cells is not None
        schedules = {name: schedule for name, (_, schedule) in self.in_cell.items()}
        return manifest.baseline(self.setup.config, list(self.cells["strategy"]), schedules)

    @cached_property
    def places(self) -> pd.DataFrame:
        """The cell and schedule of each strategy with replicates: strategy, cell, schedule.

        Searches of a strategy may choose different ones; then it has several rows. Empty without
        cells.
        """
        if self.cells is None:
            return pd.DataFrame(columns=["strategy", "cell", "schedule"])
        strategies = self.replicates.loc[self.cells.index, "strategy"]
        named = {"strategy": strategies, "cell": self.cells["cell"]}
        return pd.DataFrame(named | {"schedule": self.cells["strategy"]}).drop_duplicates()

    @cached_property
    def in_cell(self) -> dict[str, tuple[str, str]]:
        """The cell and schedule of each of these strategies, one of them where it has several."""
        return {name: (cell, schedule) for name, cell, schedule in self.places.to_numpy()}

    @cached_property
    def edges(self) -> pd.DataFrame:
        """The best values that are at an end: of the search space, or of what was tried.

        A row per strategy, parameter and kind of end: strategy, parameter, is_of_space, searches
        (in how many that is so), value (in the first of them), low, high (the ends, over these
        searches).
        """
        parts = []
        for search in self.trials["search"].unique().tolist():
            trials = self.trials[self.trials["search"] == search]
            spaces = {
                strategy: {
                    key: (entry["low"], entry["high"], entry["log"])
                    for key, entry in self.setup.space(strategy, search).items()
                    if "low" in entry and key in trials
                }
                for strategy in trials["strategy"].unique()
            }
            parts.append(statistics.at_edge(trials, spaces))
        frame = pd.concat(parts, ignore_index=True)
        near = frame[frame["at_edge"].fillna(False)].rename(columns={"near_end": "is_of_space"})
        for end in ("low", "high"):
            near[end] = near[end].where(near["is_of_space"], near[f"tried_{end}"])
        kinds = near.groupby(["strategy", "parameter", "is_of_space"], sort=False)
        ends = {"value": ("value", "first"), "low": ("low", "min"), "high": ("high", "max")}
        return kinds.agg(searches=("search", "size"), **ends).reset_index()

    @property
    def _rules(self) -> dict[str, Any]:
        margin = self.setup.margin or _NO_MARGIN
        return {"pair": self.pair, "margin": margin, "alpha": self.setup.alpha}

    @property
    def _looks(self) -> Mapping[int, float] | None:
        return self.setup.looks if self.pair == "seed" else None

    @property
    def judged(self) -> pd.DataFrame:
        """The replicates that verdicts are about: where looks are planned, of the plan's seeds."""
        own = self.replicates
        return own[own["seed"].isin(self.setup.manifest["seeds"])] if self._looks else own

    @cached_property
    def versus_baseline(self) -> pd.DataFrame | None:
        """`statistics.compare`; None: no verdict."""
        column, own = self.measure.column, self.replicates
        is_measured = own["strategy"].nunique() > 1 and own[column].notna().any()
        if self.cells is not None or not is_measured:
            return None
        rules = self._rules | {"images": self.images, "looks": self._looks}
        return _known(statistics.compare(self.judged, self.baseline, column, **rules))

    @property
    def at_looks(self) -> dict[str, Any]:
        """The looks, and how many were made, as `compare_to_best` takes them; {}: no plan."""
        if not self._looks or self.versus_baseline is None:
            return {}
        return {"looks": self._looks, "made": int(self.versus_baseline["look"].max())}

    @cached_property
    def versus_best(self) -> pd.DataFrame | None:
        """`statistics.compare_to_best`; None: no verdict."""
        if self.versus_baseline is None:
            return None
        rules = self._rules | {"images": self.images} | self.at_looks
        return _known(statistics.compare_to_best(self.judged, self.measure.column, **rules))

    @cached_property
    def in_cells(self) -> pd.DataFrame:
        """The verdicts in each cell, by `statistics.compare_in_cells`."""
        assert self.cells is not None
        rules = self._rules | {"images": self.images}
        return statistics.compare_in_cells(self.cells, self.cell_baseline, **rules)

    @cached_property
    def improvement(self) -> pd.DataFrame:
        """How often a replicate beats one of the baseline, by `statistics.improvement`."""
        assert self.cells is not None
        found = statistics.improvement(self.cells, self.cell_baseline, alpha=self.setup.alpha)
        return found.sort_values("probability", ascending=False, ignore_index=True)

    @cached_property
    def components(self) -> pd.DataFrame:
        """The parts of the variance, by `statistics.components`."""
        return statistics.components(self.replicates, self.images)

    @property
    def chosen(self) -> str | None:
        """The strategy with the best mean objective of its replicates, which `export-best` gives.

        None where fewer than two have replicates: then tuning trials decide. Nothing of another
        application is exported.
        """
        found = by_replicates(self.replicates, "objective", maximised=self.maximised)
        return str(found.index[0]) if len(found) > 1 and not self.multirun else None

    @property
    def recommended(self) -> str | None:
        """The strategy that the verdicts say to use; None without a verdict.

        Of those that are better than the baseline the one that `export-best` gives, so that both
        agree, unless it is worse than the best on the test images; then the best. The baseline
        where no other is better, and none is undecided.
        """
        if self.versus_baseline is None or self.versus_best is None:
            return None
        rows = self.versus_baseline.set_index("strategy")
        better = rows[rows["verdict"] == Verdict.BETTER]
        if better.empty:
            return None if (rows["verdict"] == Verdict.UNDECIDED).any() else self.baseline
        best = self.versus_best.set_index("strategy")["verdict"]
        is_borne_out = self.chosen in better.index and best.get(self.chosen) != Verdict.WORSE
        first = next(name for name in self.strategies if name in better.index)
        return str(self.chosen if is_borne_out else first)

    @property
    def is_running(self) -> bool:
        """Whether trials are still to come, or were when the sweep was interrupted."""
        is_over = self.setup.has_ended and not self.setup.is_cut_short
        return not is_over and len(self.trials) < self.setup.planned


def gather(place: Path, trials: pd.DataFrame, stopping: str | None = None) -> Evidence:
    """Reads what else there is of a sweep or multirun.

    Args:
        place: Its folder.
        trials: `results.trials`, all of them.
        stopping: The track to report, where there are two: an option of the group `stopping`.

    Raises:
        RequestError: Fixed horizons and early stopping would be mixed, or two objectives.
    """
    config.register()  # the resolvers that the trials' configurations name
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
    return Evidence(
        folder=place,
        setup=setup,
        metric=str(trials["objective_metric"].iloc[0]) if len(trials) else "val/accuracy",
        trials=trials,
        replicates=replicates,
        curves=results.curves(trials),
        replicate_curves=results.curves(replicates),
        superseded=superseded,
        pair="search" if replicates["search"].nunique() > 1 else "seed",
        stopping=track,
        drawn=drawn,
        images=_correct(replicates),
        cells=in_cells(replicates, setup),
    )


def gather_foreign(
    multirun: foreign.Multirun, baseline: str | None, margin: float | None
) -> Evidence:
    """Returns what there is of a multirun of another application.

    Where strategies share seeds or blocks, its jobs are the replicates; else they are trials.

    Args:
        multirun: Its jobs.
        baseline: The strategy that others are compared with; None: the first one.
        margin: Differences below it do not matter; None: all do.

    Raises:
        RequestError: There is no such strategy.
    """
    jobs = multirun.jobs[~multirun.jobs["superseded"]].reset_index(drop=True)
    names = list(jobs["strategy"].unique())
    if baseline not in (None, *names):
        raise RequestError("--baseline", f"be one of {', '.join(names)}", baseline)
    if margin is not None and not 0 < margin < math.inf:
        raise RequestError("--margin", "be positive", margin)
    first = multirun.first if multirun.first in names else names[0]
    folders = {path.parent for path in multirun.folder.rglob(f"*/{layout.HYDRA}")}
    metric, nothing = str(jobs["objective_metric"].iloc[0]), jobs.iloc[:0]
    return Evidence(
        folder=multirun.folder,
        setup=Setup(
            config={
                "hydra": {"sweeper": multirun.config.get("sweeper", {})},
                "baseline": baseline or first,
                "margin": margin or 0.0,
            },
            spaces=multirun.spaces,
            has_ended=True,
            unended=len(folders - {Path(folder) for folder in multirun.jobs["folder"]}),
        ),
        metric=metric,
        trials=nothing if multirun.is_paired else jobs,
        replicates=jobs if multirun.is_paired else nothing,
        curves=results.curves(nothing),
        replicate_curves=results.curves(nothing),
        superseded=int(multirun.jobs["superseded"].sum()),
        pair=multirun.pair,
        measure=Measure(
            column="objective", prefix="objective", name=metric, mean="mean",
            title="What jobs returned", run="job", lost="job that failed", one="", unit="", scale=1,
            sign="", digits=".4g", best=".4g", maximised=metrics.is_maximised(metric),
        ),
        multirun=multirun,
    )  # fmt: skip


def in_cells(replicates: pd.DataFrame, setup: Setup) -> pd.DataFrame | None:
    """Returns replicates by cell: schedules, with their averaging, become the strategies.

    So do other choices that are no key of a cell and differ. None where the sweep declares no
    cells, or nothing is tested yet.

    Raises:
        RequestError: A key of `cells` is none that the runs were given, or two strategies of a cell
            have the same choices.
    """
    keys = setup.config.get("cells") or []
    if not keys or not replicates["test_accuracy"].notna().any():
        return None
    for key in keys:
        if key not in replicates or replicates[key].isna().any():
            raise RequestError("cells", "name keys that every strategy sets", key)
    names = replicates["scheduler"]
    for group in ("averaging", "clipping", "optimizer", "architecture"):
        own = replicates[group]
        if group not in keys and (group == "averaging" or own.nunique() > 1):
            names = names + ("_" + own).where(own != "none", "")
    ordered = replicates.assign(strategy=names).sort_values(keys, kind="stable")
    texts = [ordered[key].map(lambda value: f"{value:g}" if isinstance(value, float) else value)
             for key in keys]  # fmt: skip
    found = ordered.assign(cell=texts[0].str.cat(texts[1:], sep=", "))
    alike = found[found.duplicated(["cell", "strategy", "search", "seed"], keep=False)]
    if len(alike):
        got = Phrase(" and ".join(replicates.loc[alike.index, "strategy"].unique()))
        rule = "have strategies that differ in an option of a group within each cell"
        raise RequestError("cells", rule, got)
    return found


def summary(evidence: Evidence) -> pd.DataFrame:
    """The rows of `comparison.csv`: the standings, and what the verdicts say of each strategy.

    The columns of `statistics.compare`, as they are for the baseline and with `best_` in front
    for the best one; NaN for the strategy that the others are compared with. With cells they follow
    cell and schedule, and the comparisons are those within the cell; NaN where searches of a
    strategy are of different schedules. After them the columns of `statistics.components` as
    variance_seed, variance_search, variance_image. Of another application's multirun the columns
    that hold something.
    """
    frame = evidence.standings.set_index("strategy")
    if evidence.cells is not None:
        within = evidence.in_cells.rename(columns={"strategy": "schedule"})
        place, several = ["cell", "schedule"], evidence.places
        one = ~several.duplicated("strategy", keep=False) & ~several.duplicated(place, keep=False)
        judged = several[one].merge(within, how="left", on=place)
        frame = frame.join(judged.set_index("strategy"))
    for verdicts, prefix in ((evidence.versus_baseline, ""), (evidence.versus_best, "best_")):
        if verdicts is not None:
            named = verdicts.set_index("strategy").add_prefix(prefix)
            frame = frame.join(named)  # which refuses a name that is there twice
    if evidence.multirun:
        of_tuning = [] if len(evidence.trials) else ["trials", *_NO_VALUE]
        return frame.drop(columns=of_tuning).dropna(axis=1, how="all").reset_index()
    variances = evidence.components.set_index("strategy")[statistics.COMPONENTS]
    return frame.join(variances.add_prefix("variance_")).reset_index()


def _correct(replicates: pd.DataFrame) -> pd.DataFrame | None:
    """Returns a row per replicate that kept them, a column per test image: whether it is right."""
    tested = replicates.loc[replicates["test_accuracy"].notna(), "folder"]
    found = {run: weights.read_correct(Path(folder)) for run, folder in tested.items()}
    kept = {run: correct for run, correct in found.items() if correct is not None}
    if len(sizes := sorted({len(correct) for correct in kept.values()})) > 1:
        got = Phrase(f"{' and '.join(map(str, sizes))} images")
        hint = "move those of other images away to go on without"
        raise RequestError(weights.TEST_CORRECT, "be of one test set in all replicates", got, hint)
    return pd.DataFrame(np.array(list(kept.values())), index=list(kept)) if kept else None


def confusion(evidence: Evidence) -> tuple[str, list[str], NDArray[np.int64]] | None:
    """Returns what the winner takes test images for: all its replicates that kept it, summed.

    The winner is the strategy to use, or else the best one. Replicates of other classes than the
    first one's are left out.

    Returns:
        The strategy, the names of the classes, and the counts, (classes, classes), a row for each
        true class; None where no replicate kept them.
    """
    winner = evidence.recommended or next(iter(evidence.strategies), "")
    own = evidence.replicates[evidence.replicates["strategy"] == winner]
    kept = [*filter(None, (weights.read_confusion(Path(folder)) for folder in own["folder"]))]
    alike = [counts for names, counts in kept if names == kept[0][0]]
    return (winner, kept[0][0], np.sum(alike, axis=0)) if kept else None


def _track(stopping: pd.Series, wanted: str | None) -> str:
    counts = stopping.value_counts().sort_index()
    found = list(counts.index)
    if wanted is not None and found and wanted not in found:
        raise RequestError("--stopping", f"be one of {', '.join(found)}", wanted)
    if wanted is None and len(found) > 1:
        why = "because early stopping cuts off schedules that get better late"
        got = Phrase(", ".join(f"{count} trials with {name}" for name, count in counts.items()))
        hint = f"choose with --stopping {found[0]}"
        raise RequestError("stopping", f"be one for all that is compared, {why}", got, hint)
    return wanted or next(iter(found), "none")


def require_one_objective(trials: pd.DataFrame) -> None:
    """Raises `RequestError` where an accuracy would be ranked against a loss."""
    if len(found := sorted(trials["objective_metric"].unique())) > 1:
        rule = "be one for all that is compared"
        raise RequestError("objective.metric", rule, Phrase(", ".join(found)))


def mean_and_interval(own: pd.DataFrame, column: str) -> tuple[float, float, float, float]:
    """Returns mean, standard deviation and 95 % t-interval of one strategy's replicates.

    Where there are several searches, each counts as one value, its mean.
    """
    values = own[column].dropna()
    if own["search"].nunique() > 1:
        values = values.groupby(own["search"]).mean()
    low, high = statistics.t_interval(values.to_numpy(dtype=np.float64))
    return values.mean(), values.std(), low, high


def by_replicates(replicates: pd.DataFrame, value: str, *, maximised: bool) -> pd.Series:
    """The mean of a column by strategy, of the replicates that ended.

    The best first, but a strategy that has lost more replicates comes after one that has lost
    fewer. A strategy of which no replicate has ended is left out.
    """
    known = replicates[value].where(ran_to_the_end(replicates))
    found = known.groupby(replicates["strategy"]).agg(["size", "count", "mean"])
    found = found[found["count"] > 0].assign(lost=found["size"] - found["count"])
    return found.sort_values(["lost", "mean"], ascending=[True, not maximised])["mean"]


def _known(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Verdicts without differences that nothing but losses and no margin have made."""
    columns = ["difference", "low", "high"]
    size = verdicts[columns].abs()
    return verdicts.assign(**verdicts[columns].mask((size > 0) & (size <= _NO_MARGIN)))


def ran_to_the_end(frame: pd.DataFrame) -> pd.Series:
    """Returns which runs ended by themselves, and so have an objective that may be compared."""
    return frame["stop_reason"].isin(WHOLE)
