"""Which strategy is better, by how much, and how sure that is."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from fmnist_lab.errors import RequestError
from fmnist_lab.statistics import columns
from fmnist_lab.statistics.paired import (
    MIN_PAIRS,
    equivalence_p,
    holm,
    more_pairs,
    sign_flip_p,
    t_interval,
)
from fmnist_lab.statistics.pairs import Pairs, pair_up

COLUMNS = [
    "strategy",
    "opponent",
    "pairs",
    "missing",
    "opponent_missing",
    "diverged",
    "opponent_diverged",
    "difference",
    "low",
    "high",
    "p",
    "p_holm",
    "p_equivalent",
    "verdict",
    "more_pairs",
]


class Verdict(StrEnum):
    """What the pairs say about a strategy and its opponent."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"  # the difference is too small to matter
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Terms:
    """What a verdict has to hold against."""

    margin: float
    alpha: float
    tests: int  # planned sign-flip tests, for Holm
    intervals: int  # intervals that have to be right together


def compare(
    replicates: pd.DataFrame,
    baseline: str = "constant",
    value: str = "test_accuracy",
    pair: str = "seed",
    margin: float = 0.002,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Every strategy against the baseline, over paired replicates.

    A pair is a seed, or with `pair="search"` a whole search; values within a pair are averaged.
    A strategy has no value in a pair where one of its values is missing, or where it has fewer
    rows than another strategy: a mean over the survivors would flatter.

    `equivalent`: the (1 - 2 alpha) t-interval lies within +-`margin`, be the difference
    significant or not. Else `better` or `worse`: the Holm-adjusted sign-flip p is below alpha
    and the (1 - alpha) t-interval excludes 0. Else `undecided`, and so always with fewer than
    6 pairs. Where one side diverged in more pairs than the other, the pairs that are left
    flatter it: a verdict that favours it, or calls the two equivalent, is withheld.

    Holm covers the tests of all strategies. Intervals and equivalence hold for each strategy
    alone: among 20 equivalences at the very margin one may be wrong.

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
        strategy minus opponent, so that of a loss negative is better), low and high (its
        t-interval), p (sign-flip), p_holm, p_equivalent, verdict, more_pairs (Int64: how many
        more would decide, see `paired.more_pairs`; 0 where decided, <NA> where nobody can know:
        fewer than two pairs, or one side diverged more often).

    Raises:
        RequestError: A column or the baseline is missing, a replicate is there twice, or an
            argument is outside its range.
    """
    _checked(margin, alpha)
    pairs = pair_up(replicates, value, pair)
    columns.require_known("baseline", [baseline], pairs.strategies)
    others = [name for name in pairs.strategies if name != baseline]
    terms = Terms(margin, alpha, tests=len(others), intervals=1)
    p = [sign_flip_p(pairs.differences(name, baseline)) for name in others]
    p_values = zip(others, p, holm(p), strict=True)
    return _rows(pairs, baseline, p_values, terms)


def compare_to_best(
    replicates: pd.DataFrame,
    value: str = "test_accuracy",
    pair: str = "seed",
    margin: float = 0.002,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Every strategy against the one with the best mean, as `compare` does it.

    The best is chosen from the same values that then speak for it. Of equal strategies one
    always looks best, so its lead is partly luck and plain p-values would be too small. Any
    strategy might have been chosen, so every p-value is adjusted for all comparisons of any two
    strategies: p_holm by Holm over all of them, low and high are (1 - alpha / comparisons)
    intervals (Bonferroni), p_equivalent is multiplied by their number. All this is then as true
    as without the choice. It costs pairs: ten strategies make 45 comparisons, which eleven pairs
    can decide at the earliest. The difference itself stays as observed, and flatters the best.

    The best is chosen among the strategies with the fewest missing pairs; the first name of the
    alphabet where means tie.

    Args and returns: as for `compare`; `opponent` names the best.
    """
    _checked(margin, alpha)
    pairs = pair_up(replicates, value, pair)
    best = _best(pairs)
    duels = list(combinations(pairs.strategies, 2))
    terms = Terms(margin, alpha, tests=len(duels), intervals=len(duels))
    p = [sign_flip_p(pairs.differences(*duel)) for duel in duels]
    p_values = (
        (duel[duel[0] == best], *both)  # the other one
        for duel, *both in zip(duels, p, holm(p), strict=True)
        if best in duel
    )
    return _rows(pairs, best, p_values, terms)


def _checked(margin: float, alpha: float) -> None:
    if not (margin > 0 and 0 < alpha < 0.5):
        asked = f"{margin} and {alpha}"
        raise RequestError(f"`margin` must be positive and `alpha` in (0, 0.5), got {asked}.")


def _best(pairs: Pairs) -> str:
    missing = pairs.values.isna().sum()
    means = pairs.values.mean()[missing == missing.min()].sort_index()
    scores = means if pairs.maximised else -means
    return str(scores.fillna(-np.inf).idxmax())


def _rows(
    pairs: Pairs, opponent: str, p_values: Iterable[tuple[str, float, float]], terms: Terms
) -> pd.DataFrame:
    rows = [
        _row(pairs, strategy, opponent, terms, {"p": p, "p_holm": p_holm})
        for strategy, p, p_holm in p_values
    ]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"more_pairs": "Int64"})


def _row(
    pairs: Pairs, strategy: str, opponent: str, terms: Terms, p_values: dict[str, float]
) -> dict[str, Any]:
    differences = pairs.differences(strategy, opponent)
    low, high = t_interval(differences, 1 - terms.alpha / terms.intervals)
    p_equivalent = np.minimum(1, terms.intervals * equivalence_p(differences, terms.margin))
    row: dict[str, Any] = {
        "strategy": strategy,
        "opponent": opponent,
        "pairs": len(differences),
        "missing": pairs.missing(strategy),
        "opponent_missing": pairs.missing(opponent),
        "diverged": int(pairs.diverged[strategy]),
        "opponent_diverged": int(pairs.diverged[opponent]),
        "difference": differences.mean() if len(differences) else np.nan,
        "low": low,
        "high": high,
        **p_values,
        "p_equivalent": float(p_equivalent),
    }
    verdict = _verdict(row, terms.alpha, pairs.maximised)
    row |= {"verdict": str(verdict), "more_pairs": 0}
    if verdict is Verdict.UNDECIDED:
        knowable = row["diverged"] == row["opponent_diverged"]
        row["more_pairs"] = more_pairs(differences, **asdict(terms)) if knowable else None
    return row


def _verdict(row: dict[str, Any], alpha: float, maximised: bool) -> Verdict:
    """The rule of `compare`."""
    if row["pairs"] < MIN_PAIRS:
        return Verdict.UNDECIDED
    excess = row["diverged"] - row["opponent_diverged"]
    if row["p_equivalent"] < alpha:
        return Verdict.UNDECIDED if excess else Verdict.EQUIVALENT
    if row["p_holm"] < alpha and not row["low"] <= 0 <= row["high"]:
        if (row["difference"] > 0) == maximised:
            return Verdict.UNDECIDED if excess > 0 else Verdict.BETTER
        return Verdict.UNDECIDED if excess < 0 else Verdict.WORSE
    return Verdict.UNDECIDED
