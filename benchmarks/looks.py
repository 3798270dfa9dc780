"""Error, power and seeds of verdicts at several looks, beside a number of seeds that is fixed.

Accuracies are drawn, nothing is trained: normal, in points, the same spread for all strategies,
so that the differences with the baseline share its noise. "true" are the strategies that are
away from the baseline by the stated difference; the others, at least one, are as good as it.

    python -m benchmarks.looks [experiments]
"""

import sys
from collections.abc import Callable, Sequence
from unittest import mock

import numpy as np
import numpy.typing as npt
from scipy import stats

from fmnist_lab.statistics import MIN_PAIRS, equivalence_p, joint, joint_flips

Floats = npt.NDArray[np.float64]
Outcome = tuple[Floats, Floats]  # of each rival: +1 better, -1 worse, 2 equivalent, 0; its seeds
Way = Callable[[Floats], Outcome]

LOOKS, MARGIN, ALPHA = (6, 8, 12, 16, 24), 0.2, 0.05
RIVALS, DIFFERENCES, SPREADS = (3, 12), (0.0, 0.2, 0.5, 1.0), (0.25, 0.35)  # sd of a difference


def linear(share: float) -> float:
    """A look's share of the error is its share of the pairs."""
    return share


def pocock(share: float) -> float:
    """Nearly the same error at each look (Lan and DeMets 1983)."""
    return float(np.log(1 + (np.e - 1) * share))


def brien_fleming(share: float) -> float:
    """Hardly any error before the last look (Lan and DeMets 1983)."""
    z = stats.norm.ppf(1 - ALPHA / 2)
    return float(2 * stats.norm.sf(z / np.sqrt(share)) / ALPHA)


def levels(looks: Sequence[int], spending: Callable[[float], float]) -> list[float]:
    """The error of each look; one that is too small for any verdict waits for the next look."""
    found, spent = [], 0.0
    for pairs in looks:
        due = ALPHA * spending(pairs / looks[-1]) - spent
        found.append(due if due > 2.0 ** (1 - pairs) else 0.0)
        spent += found[-1]
    return found


def floored(looks: Sequence[int], first: float) -> list[float]:
    """The first look gets a fixed error, the others share the rest by their pairs."""
    rest = [0.0, *(linear(pairs / looks[-1]) for pairs in looks)]
    shares = np.diff(rest)[1:] / np.diff(rest)[1:].sum()
    return [first, *((ALPHA - first) * shares)]


def at_looks(looks: Sequence[int], errors: Sequence[float], is_joint: bool = True) -> Way:
    """Flips at each look, of all that is not decided; its error comes on top of the others'."""

    def way(differences: Floats) -> Outcome:
        rivals = differences.shape[1]
        verdicts, seeds = np.zeros(rivals), np.full(rivals, float(looks[-1]))
        for pairs, error in zip(looks, errors, strict=True):
            if error == 0:
                continue
            family = np.flatnonzero(np.isin(verdicts, (0, 2)))
            known = differences[:pairs, family].copy()
            known[np.arange(pairs)[:, None] >= seeds[family]] = np.nan
            flips = joint_flips(known, error)
            for number, rival in enumerate(family):
                if verdicts[rival]:
                    continue
                own = known[:, number]
                half = flips.critical[number] * own.std(ddof=1) / np.sqrt(pairs)
                if is_joint:
                    is_inside = abs(own.mean()) + half < MARGIN
                else:
                    is_inside = equivalence_p(own, MARGIN) < error
                if is_inside:
                    verdicts[rival] = 2
                elif flips.p_joint[number] < error:
                    verdicts[rival] = np.sign(own.mean())
            seeds[(verdicts != 0) & (seeds > pairs)] = pairs
            if verdicts.all():
                break
        return verdicts, seeds

    return way


def conditioned(looks: Sequence[int], spending: Callable[[float], float]) -> Way:
    """Flips of whole courses: patterns that cross at an earlier look are not counted again.

    One step for all rivals; equivalence by the same bars on residuals.
    """
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (2**12, looks[-1]))
    signs[0] = 1

    def bars(values: Floats) -> tuple[list[float], Floats]:
        free, found, sums = np.ones(len(signs), dtype=bool), [], []
        for pairs in looks:
            unit = values[:pairs] / np.sqrt((values[:pairs] ** 2).sum(axis=0))
            largest = np.abs(signs[:, :pairs] @ unit).max(axis=1)
            room = int(ALPHA * spending(pairs / looks[-1]) * len(signs)) - int((~free).sum())
            at = np.sort(largest[free])[::-1][max(room, 0)]
            crossing = free & (largest > at + 1e-9)
            free &= ~crossing
            found.append(at if crossing.any() else np.inf)
            sums.append(np.abs(unit.sum(axis=0)))
        return found, np.array(sums)

    def way(differences: Floats) -> Outcome:
        rivals = differences.shape[1]
        verdicts, seeds = np.zeros(rivals), np.full(rivals, float(looks[-1]))
        zs, observed = bars(differences)
        errors, _ = bars(differences - differences.mean(axis=0))
        for pairs, z, error, own in zip(looks, zs, errors, observed, strict=True):
            known = differences[:pairs]
            mean, se = known.mean(axis=0), known.std(axis=0, ddof=1) / np.sqrt(pairs)
            room = pairs - error**2
            critical = error * np.sqrt((pairs - 1) / room) if room > 0 else np.inf
            now = np.where(own > z + 1e-9, np.sign(mean), 0.0)
            now[np.abs(mean) + critical * se < MARGIN] = 2
            seeds[(verdicts == 0) & (now != 0)] = pairs
            verdicts = np.where(verdicts == 0, now, verdicts)
        return verdicts, seeds

    return way


def confidence_sequence(most: int) -> Way:
    """Asymptotic (Waudby-Smith and Ramdas 2024, theorem 2.2), Bonferroni, a look at each pair."""

    def way(differences: Floats) -> Outcome:
        rivals = differences.shape[1]
        verdicts, seeds = np.zeros(rivals), np.full(rivals, float(most))
        error, best_at = ALPHA / rivals, 12
        rho = np.sqrt((-2 * np.log(error) + np.log(-2 * np.log(error) + 1)) / best_at)
        for pairs in range(MIN_PAIRS, most + 1):
            known = differences[:pairs]
            grown = pairs * rho**2 + 1
            half = known.std(axis=0, ddof=1) * np.sqrt(
                2 * grown / (pairs * rho) ** 2 * np.log(np.sqrt(grown) / error)
            )
            mean = known.mean(axis=0)
            now = np.where(np.abs(mean) > half, np.sign(mean), 0.0)
            now[np.abs(mean) + half < MARGIN] = 2
            seeds[(verdicts == 0) & (now != 0)] = pairs
            verdicts = np.where(verdicts == 0, now, verdicts)
        return verdicts, seeds

    return way


def betting(most: int) -> Way:
    """Bets on signs: the mean of `prod exp(b d) / cosh(b d)` over bets b, Bonferroni."""
    bets = np.array([side * b for b in (1, 2, 4, 8, 16) for side in (-1, 1)])

    def way(differences: Floats) -> Outcome:
        rivals = differences.shape[1]
        products = bets[:, None, None] * differences[None]
        wealth = np.exp(np.cumsum(products - np.log(np.cosh(products)), axis=1)).mean(axis=0)
        crossed = wealth[MIN_PAIRS - 1 : most] >= rivals / ALPHA
        first = np.where(crossed.any(axis=0), crossed.argmax(axis=0) + MIN_PAIRS, most)
        means = np.array([differences[:n, j].mean() for j, n in enumerate(first)])
        return np.where(crossed.any(axis=0), np.sign(means), 0), first.astype(np.float64)

    return way


WAYS: dict[str, Way] = {
    "fixed 10, equivalence alone": at_looks([10], [ALPHA], is_joint=False),
    "fixed 24, equivalence alone": at_looks([24], [ALPHA], is_joint=False),
    "fixed 10": at_looks([10], [ALPHA]),
    "fixed 24": at_looks([24], [ALPHA]),
    "looks, linear": at_looks(LOOKS, levels(LOOKS, linear)),
    "looks, Pocock-like": at_looks(LOOKS, levels(LOOKS, pocock)),
    "looks, O'Brien-Fleming-like": at_looks(LOOKS, levels(LOOKS, brien_fleming)),
    "looks, 0.032 at 6": at_looks(LOOKS, floored(LOOKS, 0.032)),
    "looks, linear, equivalence alone": at_looks(LOOKS, levels(LOOKS, linear), is_joint=False),
    "looks, linear, conditioned": conditioned(LOOKS, linear),
    "5 % at each look, unplanned": at_looks(LOOKS, [ALPHA] * len(LOOKS)),
    "confidence sequence": confidence_sequence(24),
    "betting": betting(24),
}


def draw(rng: np.random.Generator, rivals: int, difference: float, spread: float) -> Floats:
    """Differences with the baseline, `(24, rivals)`; the last rival is as good as it."""
    noise = rng.normal(0, spread / np.sqrt(2), (24, rivals + 1))
    planted = np.full(rivals, difference)
    planted[-1] = 0
    return np.asarray(noise[:, 1:] - noise[:, :1] + planted)


def main() -> None:
    """Runs the benchmark from the command line."""
    experiments = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    print(f"levels of {LOOKS}:")
    for name, spending in {"linear": linear, "P": pocock, "OBF": brien_fleming}.items():
        print(f"  {name}: {[round(level, 4) for level in levels(LOOKS, spending)]}")
    print(f"  0.032 at 6: {[round(level, 4) for level in floored(LOOKS, 0.032)]}")
    print("rivals  sd    diff  way                                 wrong  better  equiv.  seeds")
    # Fewer patterns than the package draws: a thousand times faster, the same on average.
    with mock.patch.multiple(joint, _EXACT_PAIRS=12, _RESAMPLES=2**12):
        for rivals in RIVALS:
            for spread in SPREADS:
                for difference in DIFFERENCES:
                    _show(rivals, spread, difference, experiments)


def _show(rivals: int, spread: float, difference: float, experiments: int) -> None:
    rng = np.random.default_rng(0)
    drawn = [draw(rng, rivals, difference, spread) for _ in range(experiments)]
    planted = np.full(rivals, difference)
    planted[-1] = 0
    for name, way in WAYS.items():
        verdicts, seeds = map(np.array, zip(*map(way, drawn), strict=True))
        wrong = np.where(planted == 0, np.abs(verdicts) == 1, verdicts == -1)
        wrong |= (verdicts == 2) & (planted >= MARGIN)
        better, alike = (verdicts == 1)[:, planted > 0], (verdicts == 2)[:, planted == 0]
        power = f"{100 * better.mean():5.1f}" if better.size else "    -"
        print(
            f"{rivals:6} {spread:5.2f} {difference:5.1f}  {name:35} "
            f"{100 * wrong.any(axis=1).mean():5.1f}   {power}   {100 * alike.mean():5.1f}  "
            f"{seeds.mean():5.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
