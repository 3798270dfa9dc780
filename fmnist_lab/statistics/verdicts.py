"""Which strategy is better, by how much, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from fmnist_lab.errors import RequestError
from fmnist_lab.statistics import ranking
from fmnist_lab.statistics.joint import MIN_PAIRS, Floats, joint_flips
from fmnist_lab.statistics.paired import equivalence_p, more_pairs
from fmnist_lab.statistics.ranking import finite, require_columns, require_known, require_unique
from fmnist_lab.trial import StopReason

COLUMNS = ["strategy", "opponent", "pairs", "missing", "opponent_missing", "diverged",
           "opponent_diverged", "difference", "low", "high", "p", "p_joint", "p_equivalent",
           "verdict", "more_pairs"]  # fmt: skip


class Verdict(StrEnum):
    """What the pairs say about a strategy and its opponent."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"  # the difference is too small to matter
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Pairs:
    """A row per pair, a column per strategy."""

    values: pd.DataFrame  # float64; NaN: no value
    diverged: pd.Series  # by strategy: in how many pairs a value is missing by divergence
    maximised: bool  # whether more is better

    def differences(self, strategy: str, opponent: str) -> Floats:
        """Strategy minus opponent; `(pairs,)`, NaN where one of them has no value."""
        differences = self.values[strategy] - self.values[opponent]
        return differences.to_numpy(dtype=np.float64)


def pair_up(replicates: pd.DataFrame, value: str, pair: str) -> Pairs:
    """The mean of each strategy in each pair, by the rules that `compare` states.

    Raises:
        RequestError: A column is missing or unknown, a replicate is there twice or none at all.
    """
    require_known("pair", [pair], ["seed", "search"])
    metric = ["objective_metric"] * (value == "objective")
    require_columns(
        "replicates", replicates, "strategy", "search", "seed", "stop_reason", value, *metric
    )
    require_unique("replicates", replicates, "strategy", "search", "seed")
    if replicates.empty:
        raise RequestError("`replicates` must hold a replicate, got none.")
    maximised = ranking.is_maximised(replicates, value)
    values = finite(replicates[value])
    lost = values.isna() & (replicates["stop_reason"] == StopReason.DIVERGED)
    cells = replicates.assign(value=values, lost=lost).groupby([pair, "strategy"])
    rows = cells.size().unstack(fill_value=0)
    complete = cells["value"].count().unstack(fill_value=0).eq(rows.max(axis=1), axis=0)
    means = cells["value"].mean().unstack().where(complete)
    return Pairs(
        values=means[replicates["strategy"].unique()],
        diverged=cells["lost"].any().unstack(fill_value=False).sum(),
        maximised=maximised,
    )


def compare(
    replicates: pd.DataFrame,
    baseline: str = "constant",
    value: str = "test_accuracy",
    pair: str = "seed",
    margin: float = 0.002,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Compares every strategy with the baseline, over paired replicates.

    A pair is a seed, or with `pair="search"` a whole search; values within a pair are averaged.
    A strategy has no value in a pair where one of its values is missing, or where it has fewer
    rows than another strategy: a mean over the survivors would flatter.

    `equivalent`: the (1 - 2 alpha) t-interval lies within +-`margin`, be the difference
    significant or not. Else `better` or `worse`: the joint sign-flip p is below alpha and the
    joint (1 - alpha) interval excludes 0. Else `undecided`, and so always with fewer than 6 pairs.
    Where one side diverged in more pairs than the other, the pairs that are left flatter it: a
    verdict that favours it, or calls the two equivalent, is withheld.

    Tests and intervals hold for all strategies together (`joint_flips`), so also for the one with
    the largest difference. Equivalence holds for each strategy alone: among 20 equivalences at
    the very margin one may be wrong.

    Args:
        replicates: strategy, search, seed, stop_reason and `value`; for `value="objective"` its
            objective_metric too.
        baseline: The strategy to compare with.
        value: The column that is compared; an accuracy is maximised, a loss minimised.
        pair: "seed" or "search": which column makes a pair.
        margin: Differences below it do not matter, in the unit of `value`: losses need their own.
        alpha: The error rate, in (0, 0.5).

    Returns:
        A row per strategy but the baseline, in the order of appearance: strategy, opponent,
        pairs (complete ones), missing and opponent_missing (pairs without a value of that side),
        diverged and opponent_diverged (how many of those by divergence), difference (mean of
        strategy minus opponent, so that of a loss negative is better), low and high (its joint
        interval), p (sign-flip, alone), p_joint, p_equivalent, verdict, more_pairs (Int64: how many
        more would decide, see `paired.more_pairs`; 0 where decided, <NA> where it is unknown:
        fewer than two pairs, or one side diverged more often).

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
    pairs = pair_up(replicates, value, pair)
    require_known("baseline", [baseline], [*pairs.values])
    duels = [(name, baseline) for name in map(str, pairs.values) if name != baseline]
    return _judge(pairs, baseline, duels, margin, alpha, 1)


def compare_to_best(
    replicates: pd.DataFrame,
    value: str = "test_accuracy",
    pair: str = "seed",
    margin: float = 0.002,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Compares every strategy with the one that has the best mean, as `compare` does it.

    The best is chosen from the same values that then speak for it. Of equal strategies one
    always looks best, so its lead is partly luck and plain p-values would be too small. Any
    strategy might have been chosen, so every p-value is adjusted for all comparisons of any two
    strategies: p_joint, low and high hold for all of them together, p_equivalent is multiplied by
    their number. All this is then as true as without the choice. The difference itself stays as
    observed, and flatters the best.

    The best is chosen among the strategies with the fewest missing pairs; the first name of the
    alphabet where means tie.

    Args and returns: as for `compare`; `opponent` names the best.

    Example:
        >>> runs = pd.DataFrame({"strategy": ["constant", "cosine"] * 6, "search": 0})
        >>> runs = runs.assign(seed=[seed for seed in range(6) for _ in range(2)])
        >>> runs = runs.assign(test_accuracy=[0.88, 0.90] * 6, stop_reason="completed")
        >>> compare_to_best(runs)[["strategy", "opponent"]].iloc[0].to_list()
        ['constant', 'cosine']
    """
    pairs = pair_up(replicates, value, pair)
    missing = pairs.values.isna().sum()
    means = pairs.values.mean()[missing == missing.min()].sort_index()
    scores = means if pairs.maximised else -means
    best = str(scores.fillna(-np.inf).idxmax())
    duels = list(combinations(map(str, pairs.values), 2))
    return _judge(pairs, best, duels, margin, alpha, len(duels))


def _judge(
    pairs: Pairs,
    opponent: str,
    duels: Sequence[tuple[str, str]],
    margin: float,
    alpha: float,
    equivalences: int,
) -> pd.DataFrame:
    """Returns a row for each strategy that meets the opponent.

    Tests and intervals cover all `duels`; so many `equivalences` have to be right together.
    """
    if not (margin > 0 and 0 < alpha < 0.5):
        asked = f"{margin} and {alpha}"
        raise RequestError(f"`margin` must be positive and `alpha` in (0, 0.5), got {asked}.")
    columns = [pairs.differences(*duel) for duel in duels]
    flips = joint_flips(np.array(columns).reshape(len(duels), len(pairs.values)).T, alpha)
    missing = pairs.values.isna().sum()
    rows = []
    for number, duel in enumerate(duels):
        if opponent not in duel:
            continue
        strategy = duel[duel[0] == opponent]  # the other one
        differences = pairs.differences(strategy, opponent)
        differences = differences[~np.isnan(differences)]
        mean = differences.mean() if len(differences) else np.nan
        spread = differences.std(ddof=1) if len(differences) > 1 else np.nan
        half = flips.critical[number] * spread / np.sqrt(len(differences) or 1)
        row: dict[str, Any] = {
            "strategy": strategy,
            "opponent": opponent,
            "pairs": len(differences),
            "missing": int(missing[strategy]),
            "opponent_missing": int(missing[opponent]),
            "diverged": int(pairs.diverged[strategy]),
            "opponent_diverged": int(pairs.diverged[opponent]),
            "difference": mean,
            "low": mean - half,
            "high": mean + half,
            "p": flips.p[number],
            "p_joint": flips.p_joint[number],
            "p_equivalent": float(np.minimum(1, equivalences * equivalence_p(differences, margin))),
        }
        verdict = _verdict(row, alpha, pairs.maximised)
        more: int | None = 0
        if verdict is Verdict.UNDECIDED:
            more = more_pairs(differences, margin, alpha, len(duels), equivalences)
            if row["diverged"] != row["opponent_diverged"]:
                more = None
        rows.append(row | {"verdict": str(verdict), "more_pairs": more})
    return pd.DataFrame(rows, columns=COLUMNS).astype({"more_pairs": "Int64"})


def _verdict(row: dict[str, Any], alpha: float, maximised: bool) -> Verdict:
    """The rule of `compare`."""
    if row["pairs"] < MIN_PAIRS:
        return Verdict.UNDECIDED
    excess = row["diverged"] - row["opponent_diverged"]
    if row["p_equivalent"] < alpha:
        return Verdict.UNDECIDED if excess else Verdict.EQUIVALENT
    if row["p_joint"] < alpha and not row["low"] <= 0 <= row["high"]:
        if (row["difference"] > 0) == maximised:
            return Verdict.UNDECIDED if excess > 0 else Verdict.BETTER
        return Verdict.UNDECIDED if excess < 0 else Verdict.WORSE
    return Verdict.UNDECIDED
