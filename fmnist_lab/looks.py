"""Planned looks: after how many replicates a sweep judges, and how much each look may err."""

import math
from collections.abc import Sequence
from typing import Any

from fmnist_lab.errors import RequestError

AUTO = (8, 12, 16, 24)  # what `replicates: auto` means; a look at 6 could decide nothing
LEAST = 6  # pairs, for any verdict; with 5 the smallest two-sided sign-flip p is 2/2^5 = 0.0625

COST = (
    "Who adds seeds until a difference shows finds a false one far too often: in one of six "
    "simulated sweeps with five looks at 5 % each. A new sweep with replicates=auto (--new) plans "
    "its looks."
)


def planned(replicates: Any) -> list[int]:
    """Returns the looks that a value of `replicates` asks for; none for a plain number.

    Raises:
        RequestError: It is neither a number of replicates, nor `auto`, nor ascending looks.

    Example:
        >>> planned("auto"), planned([6, 12]), planned(8)
        ([8, 12, 16, 24], [6, 12], [])
    """
    if replicates == "auto":
        return list(AUTO)
    if isinstance(replicates, int) and not isinstance(replicates, bool):
        return []
    rule = "be a number, auto, or a list of ascending looks of which the last has at least 6"
    if isinstance(replicates, str) or not isinstance(replicates, Sequence):
        raise RequestError("replicates", rule, replicates)
    found = list(replicates)
    are_whole = all(isinstance(count, int) and count > 0 for count in found)
    if not (found and are_whole and found == sorted(set(found)) and found[-1] >= LEAST):
        raise RequestError("replicates", rule, found)
    return found


def most(replicates: Any) -> int:
    """Returns how many replicates a value of `replicates` comes to at most."""
    return int((planned(replicates) or [replicates])[-1])


def least(alpha: float = 0.05) -> int:
    """Returns how many pairs can show a difference: `2 / 2^n` must be below `alpha`; at least 6.

    Example:
        >>> least(0.1), least(0.05), least(0.01)
        (6, 6, 8)
    """
    return max(LEAST, math.floor(2 - math.log2(alpha)))


def errors(pairs: Sequence[int], alpha: float = 0.05) -> dict[int, float]:
    """Returns the error of each look by its number of pairs; they add up to `alpha`.

    The errors spent up to a look grow with the pairs, `alpha n / n_last` (Kim and DeMets 1987,
    rho = 1). All verdicts then hold together with 1 - `alpha`, whatever the looks have in common,
    because each look's hold with 1 less its error (Bonferroni). A look whose error no sign-flip
    p can reach, `2 / 2^n`, or of fewer than 6 pairs, is none: what it might spend is left to the
    next.

    Args:
        pairs: How many there are at each look, ascending, the last at least 6.
        alpha: The error of all verdicts together, at least 2 / 2^6.

    Example:
        >>> {pairs: round(error, 4) for pairs, error in errors([6, 8, 12, 24]).items()}
        {8: 0.0167, 12: 0.0083, 24: 0.025}
    """
    found: dict[int, float] = {}
    for count in pairs:
        error = alpha * (count / pairs[-1]) - sum(found.values())
        if count >= LEAST and error > 2.0 ** (1 - count):
            found[count] = error
    while found and pairs[-1] not in found:  # the last look decides: it takes what others had
        found.popitem()
        if (error := alpha - sum(found.values())) > 2.0 ** (1 - pairs[-1]):
            found[pairs[-1]] = error
    return found or {pairs[-1]: alpha}  # which then decides nothing
