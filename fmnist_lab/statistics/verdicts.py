"""Which strategy is better, by how much, and how sure that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from fmnist_lab.errors import RequestError
from fmnist_lab.statistics import ranking
from fmnist_lab.statistics.joint import MIN_PAIRS, Floats, joint_flips
from fmnist_lab.statistics.paired import equivalence_p, more_pairs
from fmnist_lab.statistics.ranking import finite, require_columns, require_known, require_unique
from fmnist_lab.statistics.variance import half_width, image_variance
from fmnist_lab.trial import LOST

MARGIN = 0.002  # of accuracy
COLUMNS = ["strategy", "opponent", "pairs", "missing", "opponent_missing", "lost",
           "opponent_lost", "difference", "conditional", "low", "high", "images_low",
           "images_high", "p", "p_joint", "p_equivalent", "verdict", "more_pairs", "look",
           "next_look"]  # fmt: skip
_KINDS = dict.fromkeys(["more_pairs", "look", "next_look"], "Int64")


class Verdict(StrEnum):
    """What the pairs say about a strategy and its opponent."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"  # the difference is too small to matter
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Pairs:
    """A row per pair, a column per strategy."""

    means: pd.DataFrame  # float64, of the values that there are; NaN: none
    lost: pd.DataFrame  # float64, the share that diverged or failed; NaN: not all were trained
    maximised: bool  # whether more is better
    margin: float
    correct: Mapping[str, Floats] = field(default_factory=dict)  # (pairs, images), NaN: not kept

    @property
    def missing(self) -> pd.Series:
        """In how many pairs each strategy has neither values nor losses."""
        return self.lost.isna().sum()

    def first(self, count: int) -> "Pairs":
        """Returns the first so many pairs."""
        return replace(
            self,
            means=self.means.iloc[:count],
            lost=self.lost.iloc[:count],
            correct={name: kept[:count] for name, kept in self.correct.items()},
        )

    @cached_property
    def _arrays(self) -> dict[str, tuple[Floats, Floats]]:
        """Means and lost shares of each strategy: every duel reads them, and frames are slow."""
        return {
            str(name): (self.means[name].to_numpy(np.float64), self.lost[name].to_numpy(np.float64))
            for name in self.means
        }

    def differences(self, strategy: str, opponent: str) -> Floats:
        """Subtracts the opponent from the strategy; `(pairs,)`, NaN where one of them is missing.

        `(1 - a)(1 - b) d - (a - b) M`, where a and b are the shares that they lost and M is the
        largest difference d that they have shown, or the margin: the mean over all ways to put a
        replicate of the one beside one of the other.
        """
        (mine, a), (theirs, b) = self._arrays[strategy], self._arrays[opponent]
        d = mine - theirs
        if np.isnan(mine).all() and np.isnan(theirs).all():
            return np.full(len(d), np.nan)
        known = np.where(np.isnan(d), 0, d)
        most = max(np.abs(known).max(), self.margin) * (1 if self.maximised else -1)
        return np.asarray((1 - a) * (1 - b) * known - (a - b) * most)

    def image_variance(self, strategy: str, opponent: str) -> float:
        """Estimates what other images bring into the mean difference; NaN if too few kept any.

        What is lost counts the same on all images.
        """
        if not {strategy, opponent} <= self.correct.keys():
            return np.nan
        correct = self.correct[strategy] - self.correct[opponent]
        ended = (1 - self.lost[strategy]) * (1 - self.lost[opponent])
        return ended.mean() ** 2 * image_variance(correct[~np.isnan(correct[:, 0])])

    def order(self) -> list[str]:
        """Orders strategies by how many others they beat, then by their means; best first."""
        names = sorted(map(str, self.means))
        sign = 1 if self.maximised else -1
        means = (sign * self.means.mean()).fillna(-np.inf)
        scores = {name: (0, float(means[name])) for name in names}
        for duel in combinations(names, 2):
            found = sign * self.differences(*duel)
            found = found[~np.isnan(found)]
            if len(found) and found.mean():
                wins, mean = scores[ahead := duel[int(found.mean() < 0)]]
                scores[ahead] = wins + 1, mean
        return sorted(names, key=lambda name: scores[name], reverse=True)


def pair_up(
    replicates: pd.DataFrame,
    value: str,
    pair: str,
    margin: float,
    images: pd.DataFrame | None = None,
) -> Pairs:
    """Returns the values of each strategy in each pair, by the rules that `compare` states.

    Raises:
        RequestError: A column is missing or unknown, a replicate is there twice or none at all.
    """
    require_known("pair", [pair], ["seed", "search", "block"])
    metric = ["objective_metric"] * (value == "objective")
    one = "block" if pair == "block" else "seed"
    require_columns(
        "replicates", replicates, "strategy", "search", "seed", one, "stop_reason", value, *metric
    )
    require_unique("replicates", replicates, "strategy", "search", one)
    if replicates.empty:
        raise RequestError("`replicates` must hold a replicate, got none.")
    maximised = ranking.is_maximised(replicates, value)
    values = finite(replicates[value])
    lost = values.isna() & replicates["stop_reason"].isin(LOST)
    known = replicates.assign(value=values, lost=lost, known=values.notna() | lost)
    cells = known.groupby([pair, "strategy"]).agg(
        {"value": "mean", "lost": "sum", "known": "sum", "seed": "size"}
    )
    means, losses, counts, rows = (
        cells[column].unstack()[replicates["strategy"].unique()] for column in cells
    )
    complete = counts.eq(rows.max(axis=1), axis=0)
    shares = losses.div(rows.max(axis=1), axis=0)
    correct = {}
    if images is not None:
        images = images[images.index.isin(replicates.index)]
        of = replicates.loc[images.index]
        kept = images.astype("float32").groupby([of["strategy"], of[pair]]).mean()
        correct = {
            name: kept.loc[name].reindex(means.index).to_numpy()
            for name in kept.index.unique("strategy")
        }
    return Pairs(means.where(complete), shares.where(complete), maximised, margin, correct)


def order(replicates: pd.DataFrame, value: str = "test_accuracy", pair: str = "seed") -> list[str]:
    """Returns the strategies, the best first: who is ahead of more others, by `compare`'s pairs.

    Of strategies that are ahead of as many the one with the better mean comes first.

    Example:
        >>> runs = pd.DataFrame({"strategy": ["constant", "cosine"], "search": 0, "seed": 1})
        >>> order(runs.assign(test_accuracy=[0.88, 0.9], stop_reason="completed"))
        ['cosine', 'constant']
    """
    return pair_up(replicates, value, pair, MARGIN).order()


def compare(  # noqa: PLR0913 - all but the first have a default
    replicates: pd.DataFrame,
    baseline: str = "constant",
    value: str = "test_accuracy",
    pair: str = "seed",
    margin: float = MARGIN,
    alpha: float = 0.05,
    *,
    images: pd.DataFrame | None = None,
    looks: Mapping[int, float] | None = None,
) -> pd.DataFrame:
    """Compares every strategy with the baseline, over paired replicates.

    A pair is a seed, with `pair="block"` a block (a seed, and what else the two have in common), or
    with `pair="search"` a whole search; values within a pair are averaged.
    A strategy has no value in a pair where one of its values is missing, or where it has fewer
    rows than another strategy: a mean over the survivors would flatter.

    A replicate that diverged or failed is lost, which is a result: it ranks last (intention to
    treat). It counts as the largest difference that the two have shown, in favour of the other.
    How often a strategy wins then decides, and how far it is ahead cannot outweigh what it loses.
    Where a strategy better by 1.3 points (sd 0.25) and its opponent lose one replicate in fifty,
    98 % of 600 simulated experiments with 10 pairs find it better, and all of 100 with 40.
    Where it loses half, none of 100 does. The alternatives are worse. The accuracy of a guess, 80
    points below, is an outlier that no test sees beyond: 82 % and 42 %. A little less than the
    worst accuracy calls the strategy that loses half better in 62 %. To leave such pairs out
    calls it better in all.

    `equivalent`: both have lost in as many pairs, and the (1 - 2 alpha) t-interval lies within
    +-`margin`, be the difference significant or not. Else `better` or `worse`: the joint sign-flip
    p is below alpha. Else `undecided`, and so always with fewer than 6 pairs. The test steps down,
    and its intervals do not: one may reach over 0 where the difference is shown.

    Tests and intervals hold for all strategies together (`joint_flips`), so also for the one with
    the largest difference. Equivalence holds for each strategy alone: among 20 equivalences at
    the very margin one may be wrong.

    With `looks`, the pairs are looked at several times, in the order of their seeds, and each
    strategy keeps the verdict of the first look that has one. A look counts once the baseline and
    all that is undecided have so many pairs. It judges these with its own error, beside those that
    were found equivalent with the pairs that they have; and `equivalent` is what has its joint
    interval within +-`margin`. The errors of the looks add up: all verdicts hold together.

    Args:
        replicates: strategy, search, seed, stop_reason and `value`; for `value="objective"` its
            objective_metric too.
        baseline: The strategy to compare with.
        value: The column that is compared; an accuracy is maximised, a loss minimised.
        pair: "seed", "search" or "block": which column makes a pair.
        margin: Differences below it do not matter, in the unit of `value`: losses need their own.
        alpha: The error rate, in (0, 0.5); with `looks` theirs count.
        images: A row per replicate that kept them, by the index of `replicates`; a column per test
            image, whether it is right.
        looks: The error of each look, by its number of pairs, from `looks.errors`.

    Returns:
        A row per strategy but the baseline, in the order of appearance: strategy, opponent,
        pairs (complete ones), missing and opponent_missing (pairs without a value of that side),
        lost and opponent_lost (pairs in which that side lost a replicate), difference (mean of
        strategy minus opponent, so that of a loss negative is better), conditional (the same over
        the pairs in which neither lost one: it decides nothing), low and high (the difference's
        joint interval over pairs), images_low and images_high (over pairs and images, see
        `variance.half_width`; NaN where fewer than two pairs kept them), p (sign-flip, alone),
        p_joint, p_equivalent, verdict, more_pairs (Int64: how many more would decide, see
        `paired.more_pairs`; 0 where decided, <NA> for fewer than two pairs, and where an undecided
        strategy is looked at again), look (Int64: at which look it was judged last, from 1; 0
        before the first, <NA> where there are none), next_look (Int64: the pairs at the next look
        at it; <NA> where there is none).

    Raises:
        RequestError: A column or the baseline is missing, a replicate is there twice, or an
            argument is outside its range.

    Example:
        >>> runs = pd.DataFrame({"strategy": ["constant", "cosine"] * 6, "search": 0})
        >>> runs = runs.assign(seed=[seed for seed in range(6) for _ in range(2)])
        >>> runs["test_accuracy"] = [0.88, 0.90, 0.89, 0.90, 0.88, 0.91] + [0.88, 0.89] * 3
        >>> table = compare(runs.assign(stop_reason="completed"))
        >>> print(table[["strategy", "opponent", "p", "verdict"]].to_string(index=False))
        strategy opponent       p verdict
          cosine constant 0.03125  better
    """
    pairs = pair_up(replicates, value, pair, margin, images)
    require_known("baseline", [baseline], [*pairs.means])
    duels = [(name, baseline) for name in map(str, pairs.means) if name != baseline]
    if looks is None:
        return _judge(pairs, baseline, duels, margin, alpha, 1)
    return _at_looks(pairs, baseline, duels, margin, looks)


def compare_to_best(  # noqa: PLR0913 - all but the first have a default
    replicates: pd.DataFrame,
    value: str = "test_accuracy",
    pair: str = "seed",
    margin: float = MARGIN,
    alpha: float = 0.05,
    *,
    images: pd.DataFrame | None = None,
    looks: Mapping[int, float] | None = None,
    made: int | None = None,
) -> pd.DataFrame:
    """Compares every strategy with the one that has the best mean, as `compare` does it.

    The best is chosen from the same values that then speak for it. Of equal strategies one
    always looks best, so its lead is partly chance and plain p-values would be too small. Any
    strategy might have been chosen, so every p-value is adjusted for all comparisons of any two
    strategies: p_joint, low and high hold for all of them together, p_equivalent is multiplied by
    their number. All this is then as true as without the choice. The difference itself stays as
    observed, and flatters the best.

    The best is the first of `order` among the strategies with the fewest missing pairs (at looks,
    where strategies stop, among all); the first name of the alphabet where means tie.

    Args and returns: as for `compare`; `opponent` names the best. `made` is how many of the looks
    `compare` has made, the largest of its `look`: what stopped there has no more pairs.

    Example:
        >>> runs = pd.DataFrame({"strategy": ["constant", "cosine"] * 6, "search": 0})
        >>> runs = runs.assign(seed=[seed for seed in range(6) for _ in range(2)])
        >>> runs = runs.assign(test_accuracy=[0.88, 0.90] * 6, stop_reason="completed")
        >>> compare_to_best(runs)[["strategy", "opponent"]].iloc[0].to_list()
        ['constant', 'cosine']
    """
    pairs = pair_up(replicates, value, pair, margin, images)
    fewest = (pairs.missing == pairs.missing.min()) | (looks is not None)
    best = next(name for name in pairs.order() if fewest[name])
    duels = list(combinations(map(str, pairs.means), 2))
    if looks is None:
        return _judge(pairs, best, duels, margin, alpha, len(duels))
    return _at_looks(pairs, best, duels, margin, looks, made=made)


def _at_looks(
    pairs: Pairs,
    opponent: str,
    duels: Sequence[tuple[str, str]],
    margin: float,
    looks: Mapping[int, float],
    *,
    made: int | None = None,
) -> pd.DataFrame:
    """Returns the row of each strategy at the look that decided, or at the last one made.

    Args:
        pairs: All pairs that there are.
        opponent: Whom the rows compare with.
        duels: What each look's tests and intervals cover.
        margin: Of equivalence.
        looks: The error of each look, by its number of pairs.
        made: How many looks are made; None: as many as have all pairs of what is undecided.
    """
    names = [next(name for name in duel if name != opponent) for duel in duels if opponent in duel]
    counts = [*looks, None]
    rows: dict[str, Mapping[Any, Any]] = {}
    for number, (count, error) in enumerate(list(looks.items())[:made], 1):
        verdicts = {name: row["verdict"] for name, row in rows.items()}
        is_open = [n for n in names if verdicts.get(n, Verdict.UNDECIDED) == Verdict.UNDECIDED]
        seen = pairs.first(count)
        waits = len(seen.means) < count or seen.missing[[*is_open, opponent]].any()
        if not is_open or (made is None and waits):
            break
        shown = {n for n in verdicts if verdicts[n] in (Verdict.BETTER, Verdict.WORSE)}
        left = [duel for duel in duels if opponent not in duel or shown.isdisjoint(duel)]
        found = _judge(seen, opponent, left, margin, error, None).assign(look=number)
        goes_on = found["verdict"] == Verdict.UNDECIDED
        found.loc[goes_on, ["more_pairs", "next_look"]] = [None, counts[number]]
        judged = {str(row["strategy"]): dict(row) for row in found.to_dict("records")}
        rows |= {name: judged[name] for name in is_open}
    if not rows:
        count, error = next(iter(looks.items()))
        nothing = _judge(pairs.first(count), opponent, duels, margin, error, None)
        asked = {"more_pairs": None, "look": 0, "next_look": count}
        return nothing.assign(verdict=str(Verdict.UNDECIDED), **asked).astype(_KINDS)
    return pd.DataFrame([rows[name] for name in names], columns=COLUMNS).astype(_KINDS)


def _judge(
    pairs: Pairs,
    opponent: str,
    duels: Sequence[tuple[str, str]],
    margin: float,
    alpha: float,
    equivalences: int | None,
) -> pd.DataFrame:
    """Returns a row for each strategy that meets the opponent.

    Tests and intervals cover all `duels`; so many `equivalences` have to be right together, or
    with None they are what the joint intervals say.
    """
    if not (margin > 0 and 0 < alpha < 0.5):
        asked = f"{margin} and {alpha}"
        raise RequestError(f"`margin` must be positive and `alpha` in (0, 0.5), got {asked}.")
    columns = [pairs.differences(*duel) for duel in duels]
    flips = joint_flips(np.array(columns).reshape(len(duels), len(pairs.means)).T, alpha)
    missing = pairs.missing
    lost = pairs.lost > 0
    rows = []
    for number, duel in enumerate(duels):
        if opponent not in duel:
            continue
        strategy = duel[duel[0] == opponent]  # the other one
        every = pairs.differences(strategy, opponent)
        differences = every[~np.isnan(every)]
        ended = every[~(lost[strategy] | lost[opponent]) & ~np.isnan(every)]
        mean = differences.mean() if len(differences) else np.nan
        spread = differences.std(ddof=1) if len(differences) > 1 else np.nan
        critical, error = flips.critical[number], spread / np.sqrt(len(differences) or 1)
        half = critical * error
        of_images = pairs.image_variance(strategy, opponent)
        wide = half_width(critical, error, len(differences), of_images)
        row: dict[str, Any] = {
            "strategy": strategy,
            "opponent": opponent,
            "pairs": len(differences),
            "missing": int(missing[strategy]),
            "opponent_missing": int(missing[opponent]),
            "lost": int(lost[strategy].sum()),
            "opponent_lost": int(lost[opponent].sum()),
            "difference": mean,
            "conditional": ended.mean() if len(ended) else np.nan,
            "low": mean - half,
            "high": mean + half,
            "images_low": mean - wide,
            "images_high": mean + wide,
            "p": flips.p[number],
            "p_joint": flips.p_joint[number],
        }
        times = equivalences or 1
        row["p_equivalent"] = float(np.minimum(1, times * equivalence_p(differences, margin)))
        is_inside = row["p_equivalent"] < alpha
        if equivalences is None:
            is_inside = -margin < row["low"] and row["high"] < margin
        verdict = _verdict(row, is_inside, alpha, pairs.maximised)
        more: int | None = 0
        if verdict is Verdict.UNDECIDED:
            more = more_pairs(differences, margin, alpha, len(duels), times)
        rows.append(row | {"verdict": str(verdict), "more_pairs": more})
    return pd.DataFrame(rows, columns=COLUMNS).astype(_KINDS)


def _verdict(row: dict[str, Any], is_inside: bool, alpha: float, maximised: bool) -> Verdict:
    """The rule of `compare`; `is_inside`: the difference is shown to lie within the margin."""
    if row["pairs"] < MIN_PAIRS:
        return Verdict.UNDECIDED
    if is_inside and row["lost"] == row["opponent_lost"]:
        return Verdict.EQUIVALENT
    if row["p_joint"] < alpha:
        return Verdict.BETTER if (row["difference"] > 0) == maximised else Verdict.WORSE
    return Verdict.UNDECIDED


def seen(rows: Sequence[Mapping[str, Any]], looks: Sequence[int]) -> list[dict[str, Any]]:
    """Returns the verdicts of each look that was made, of the strategies that were open then.

    Args:
        rows: Those of `compare` with looks.
        looks: The pairs of each look of the plan.

    Returns:
        For each look that was made pairs, and verdicts by strategy.

    Example:
        >>> row = {"strategy": "cosine", "look": 2, "verdict": Verdict.BETTER}
        >>> seen([row], [8, 12, 16])[0]
        {'pairs': 8, 'verdicts': {'cosine': 'undecided'}}
    """
    made = max((row["look"] for row in rows), default=0)
    return [
        {
            "pairs": count,
            "verdicts": {
                row["strategy"]: str(row["verdict"] if row["look"] == at else Verdict.UNDECIDED)
                for row in rows
                if row["look"] >= at
            },
        }
        for at, count in enumerate(list(looks)[:made], 1)
    ]
