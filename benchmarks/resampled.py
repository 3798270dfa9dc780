"""False and missed verdicts where strategies are resampled from trainings that took place.

`real_trainings.csv` has validation results of 384 trainings on Fashion-MNIST: 24 constant rates
of Adam from 0.0001 to 0.1, each with 16 seeds, 5 epochs, batches of 128, the notebook's network.
Nothing is trained here, and no shape of noise is assumed. Of equals, every verdict is false.

    python -m benchmarks.resampled [experiments]
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from fmnist_lab import looks
from fmnist_lab.statistics import Verdict, compare

TABLE = Path(__file__).with_name("real_trainings.csv")
DIFFERS = (Verdict.BETTER, Verdict.WORSE)
_WELL = range(5, 17)  # rates at most half a point behind the best one

Floats = npt.NDArray[np.float64]


def trainings() -> Floats:
    """Reads the validation accuracies, (rates, seeds)."""
    table = pd.read_csv(TABLE)
    return table.pivot_table("val_accuracy", "learning_rate", "seed").to_numpy()


def frame(scores: dict[str, Floats], pair: str = "seed") -> pd.DataFrame:
    """Makes replicates of scores by strategy, a number per pair."""
    rows = [
        {"strategy": name, "seed": 0, "search": 0, pair: number, "test_accuracy": score}
        for name, values in scores.items()
        for number, score in enumerate(values)
    ]
    return pd.DataFrame(rows).assign(stop_reason="completed")


def found(replicates: pd.DataFrame, **settings: object) -> bool:
    """Returns whether any strategy is called better or worse than `constant`."""
    return bool(compare(replicates, **settings)["verdict"].isin(DIFFERS).any())  # type: ignore[arg-type]


def configurations(table: Floats, rng: np.random.Generator) -> bool:
    """Compares eight seeds of a configuration with its other eight."""
    seeds = rng.permutation(table[rng.integers(len(table))])
    return found(frame({"constant": seeds[:8], "twin": seeds[8:]}))


def searches(table: Floats, rng: np.random.Generator) -> bool:
    """Compares six searches of one strategy with six others of it.

    A search tries four rates with a seed each, and trains the best one with two others.
    """

    def search() -> float:
        rates = rng.choice(len(table), 4, replace=False)
        seeds = rng.permutation(table.shape[1])[:3]
        best = rates[table[rates, seeds[0]].argmax()]
        return float(table[best, seeds[1:]].mean())

    scores = {name: np.array([search() for _ in range(6)]) for name in ("constant", "twin")}
    return found(frame(scores, "search"), pair="search")


def at_looks(table: Floats, rng: np.random.Generator) -> bool:
    """Compares a configuration with itself at the looks of `replicates: auto`."""
    plan = looks.errors(looks.AUTO)
    seeds = rng.choice(table[rng.integers(len(table))], (2, max(plan)))
    return found(frame({"constant": seeds[0], "twin": seeds[1]}), looks=plan)


def planted(gain: float, pairs: int = 10) -> Callable[[Floats, np.random.Generator], bool]:
    """Makes an experiment with a better configuration among twelve rivals."""

    def experiment(table: Floats, rng: np.random.Generator) -> bool:
        seeds = rng.choice(table[rng.choice(_WELL)], (13, pairs))
        scores = {"constant": seeds[0], "planted": seeds[1] + gain}
        scores |= {f"rival {number}": seeds[number] for number in range(2, 13)}
        verdicts = compare(frame(scores)).set_index("strategy")["verdict"]
        return bool(verdicts["planted"] == Verdict.BETTER)

    return experiment


EQUALS = {"configurations": configurations, "searches": searches, "looks": at_looks}


def share(
    experiment: Callable[[Floats, np.random.Generator], bool], experiments: int, seed: int = 0
) -> float:
    """Returns the share of experiments in which a difference is found."""
    table, rng = trainings(), np.random.default_rng(seed)
    return sum(experiment(table, rng) for _ in range(experiments)) / experiments


def main() -> None:
    """Prints a row per kind of experiment."""
    experiments = int(sys.argv[1]) if sys.argv[1:] else 1000
    spread = trainings().std(axis=1, ddof=1)
    print(f"sd of one accuracy by rate: {spread.min():.4f} to {spread.max():.4f}")
    for name, experiment in EQUALS.items():
        print(f"{name:16} false verdicts {share(experiment, experiments):6.1%}")
    for gain in (0.005, 0.01):
        for pairs in (10, 24):
            power = share(planted(gain, pairs), experiments // 5)
            print(f"+{gain:.1%} among 12 rivals, {pairs} seeds: found {power:6.1%}")


if __name__ == "__main__":
    main()
