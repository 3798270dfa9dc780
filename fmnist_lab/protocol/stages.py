"""The stages of a sweep: tune each strategy in one or more searches, then train replicates.

The best value of many trials is too high an estimate. Replicates train each winner again with
fresh seeds, the same for all strategies. They alone see the test set; `manifest.json` and the
project's ledger record each time it is opened.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from fmnist_lab import config, data, looks
from fmnist_lab.foundation.spelling import spell
from fmnist_lab.results import layout, manifest, schema, searches
from fmnist_lab.sweeper.observers import SweepInfo
from fmnist_lab.sweeper.sweep_end import SweepEnd, TrialEnd
from fmnist_lab.training import environment
from fmnist_lab.trial import StopReason

_KEPT = (
    "hydra/launcher",
    "hydra.launcher",
    "hydra.sweeper.storage",
    "hydra.sweeper.strategies",  # which the user has left out or added
    "hydra.verbose",
)
_SEEDS = "seed=range(0, 4294967296)"  # as many as NumPy has; those to train come from `enqueue`
_OFF = ("timeout", "max_epochs", "target", "plateau", "custom_search_space", "params", "pruner")


@dataclass(frozen=True)
class Confirmation:
    """What the second stage trains."""

    name: str  # of the search
    winners: Mapping[str, Mapping[str, Any]]  # strategy: trial, value, overrides
    seeds: Sequence[int]
    arguments: Sequence[str]  # the user's overrides, as far as they hold for replicates too
    baseline: str
    looks: Sequence[int] = ()  # at how many seeds verdicts are due; none: at all of them
    margin: float = 0.002
    alpha: float = 0.05

    @property
    def errors(self) -> dict[int, float]:
        """The error of each look, by its number of seeds."""
        return looks.errors(self.looks, self.alpha)

    def overrides(self, folder: Path, limits: Mapping[str, int] | None = None) -> list[str]:
        """Returns the command line of the sweep over seeds.

        Args:
            folder: For its results.
            limits: How many of the seeds each strategy is trained with; None: with all.
        """
        limits = limits or dict.fromkeys(self.winners, len(self.seeds))
        seeds = self.seeds[: max(limits.values())]
        enqueue = ", ".join(f"{{seed: {seed}}}" for seed in seeds)
        strategies = [
            f"hydra.sweeper.strategies.{name}=[{', '.join(map(spell, winner['overrides']))}]"
            for name, winner in self.winners.items()
        ]
        return [
            *self.arguments,
            *strategies,
            "kind=replicate",
            _SEEDS,
            f"hydra.sweep.dir={folder}",
            "hydra.sweep.subdir=${hydra.job.num}",
            f"hydra.sweeper.study_name={self.name}-{layout.REPLICATES}",
            f"hydra.sweeper.n_trials={len(seeds)}",
            *(f"+hydra.sweeper.limits.{name}={count}" for name, count in limits.items()),
            f"hydra.sweeper.enqueue=[{enqueue}]",
            "hydra.sweeper.spaces=[]",
            *(f"hydra.sweeper.{key}=null" for key in _OFF),
        ]


def plan(sweep: str, folder: Path, arguments: Sequence[str]) -> Confirmation | None:
    """Plans what to train once a search is tuned; None where it is not, or nothing is wanted.

    Args:
        sweep: The file in `sweeps/`.
        folder: The search's folder.
        arguments: The user's overrides.
    """
    if not is_tuned(folder):
        return None
    strategies = manifest.tuned(folder)["strategies"]
    searched = {key_of(key) for found in strategies.values() for key in found["best_params"]}
    task = [item for item in arguments if not key_of(item).startswith(("hydra", "-"))]
    fixed = [item for item in task if key_of(item) not in searched]
    cfg = config.compose([f"sweeps={sweep}", *fixed])
    if not cfg.replicates:
        return None
    given = {key_of(item) for item in fixed} | {"sweeps", "strategy"}
    winners = {
        name: {
            "trial": found["best_trial"],
            "value": found["best_value"],
            "overrides": [item for item in found["best_overrides"] if key_of(item) not in given],
        }
        for name, found in strategies.items()
    }
    kept = [item for item in arguments if key_of(item).startswith(_KEPT)]
    found = [f"sweeps={sweep}", *fixed, *kept]
    name, at, count = searches.name_of(folder), looks.planned(cfg.replicates), cfg.replicates
    if at and len(winners) < 2:  # there is nothing to look at
        at, count = [], at[0]
    seeds = [cfg.seed + 1 + number for number in range(looks.most(at or count))]
    wished = manifest.configuration(folder) | {"baseline": cfg.baseline}
    baseline = manifest.baseline(wished, list(winners))
    return Confirmation(name, winners, seeds, found, baseline, at, cfg.margin, cfg.alpha)


def is_tuned(folder: Path) -> bool:
    """Returns whether a search has come to its end, and every strategy has its best trial."""
    if not (folder / layout.SWEEP_RESULTS).exists():  # the command showed its configuration, say
        return False
    tuned = manifest.tuned(folder)
    strategies = tuned.get("strategies", {})
    is_whole = all(found.get("best_overrides") for found in strategies.values())
    end = SweepEnd.read(tuned["ended"])
    return bool(strategies) and is_whole and end is not None and not end.reason.is_cut_short


def prepare(planned: Confirmation, folder: Path) -> Path:
    """Writes down that the test set is opened, and for what; returns the folder of replicates.

    Replicates of other winners are moved out of the way: they answer another question.
    """
    before = manifest.read(folder).get("openings", [])
    cfg = config.compose([item for item in planned.arguments if not item.startswith("hydra")])
    checksum, test_checksum = data.checksums(config.to_trial(cfg).data)
    content = {
        "winners": dict(planned.winners),
        "seeds": list(planned.seeds),
        "looks": list(planned.looks),
        **manifest.asked(folder),
        "data": checksum,
        "versions": environment.describe(),
    }
    replicates, changed = folder / layout.REPLICATES, manifest.changes(content, folder)
    seeds = manifest.read(folder).get("seeds", [])
    others = [key for key in changed if key != "seeds"]
    if set(planned.seeds) < set(seeds) and not manifest.has_other_runs(others):
        content["seeds"], changed = seeds, others  # fewer: nothing new is seen
    content |= {"baseline": planned.baseline} if planned.looks else {}
    wanted = len(planned.winners) * len(planned.seeds)
    runs = (schema.result(path.parent) for path in replicates.glob(f"*/{layout.RESULT}"))
    ended = {(r["strategy"], r["seed"]) for r in runs if r["stop_reason"] != StopReason.INTERRUPTED}
    is_whole = bool(before) and len(ended) >= wanted
    is_whole |= bool(planned.looks and before) and not _is_open(judged(planned, folder), planned)
    if is_whole and not manifest.has_other_runs(changed):
        return replicates  # there is nothing left to train, whatever the version is today
    if {"seeds", "looks"} & set(changed) and any(replicates.glob(f"*/{layout.RESULT}")):
        print(f"Test results of this sweep have been seen already. {looks.COST}")
    # Before the manifest says whose they are: a sweep that ends between the two goes on from here.
    if before and manifest.has_other_winners(changed) and replicates.exists():
        replicates.rename(folder / f"{layout.REPLICATES}-{before[-1].get('hash', 'before')[:8]}")
    manifest.open_test_set(content, test_checksum, folder)
    return replicates


def batches(planned: Confirmation, folder: Path) -> Iterator[Mapping[str, int]]:
    """Gives up to how many seeds each strategy is to be trained next, until all is decided.

    Each batch follows from the results that are on disk, so that a sweep that was killed goes on
    as it would have. The manifest records the looks that were made.

    Args:
        planned: What is trained.
        folder: The search's.
    """
    if not planned.looks:
        yield dict.fromkeys(planned.winners, len(planned.seeds))
        return
    from fmnist_lab import statistics  # and pandas, which a sweep does not need to start

    asked = None
    while True:
        verdicts = judged(planned, folder)
        wanted = _wanted(verdicts, planned)
        for look in manifest.add_looks(
            folder, statistics.seen(verdicts, list(planned.errors)), wanted
        ):
            print(_described(look))
        if not _is_open(verdicts, planned):
            print("No further look is due: fmnist-lab compare has the verdicts.")
            return
        if wanted == asked:
            print("The look is not complete. To train what is missing, give the command again.")
            return
        yield wanted
        asked = wanted


def judged(planned: Confirmation, folder: Path) -> list[dict[str, Any]]:
    """Returns the rows of `compare` at the looks that could be made; none before the first."""
    from fmnist_lab import results, statistics  # and pandas, which a sweep does not need to start

    runs = results.replicates(results.ended(folder, "replicate"))
    runs = runs[~runs["superseded"] & runs["seed"].isin(planned.seeds)]
    if set(runs["strategy"]) != set(planned.winners):
        return []
    rules: Any = {"margin": planned.margin, "looks": planned.errors}
    verdicts = statistics.compare(runs, planned.baseline, **rules).to_dict("records")
    rows = [{str(key): value for key, value in row.items()} for row in verdicts]
    return [row for row in rows if row["look"] > 0]


def _made(verdicts: Sequence[Mapping[str, Any]]) -> int:
    return max((row["look"] for row in verdicts), default=0)


def _is_open(verdicts: Sequence[Mapping[str, Any]], planned: Confirmation) -> bool:
    """Returns whether there is another look to make."""
    from fmnist_lab.statistics import Verdict

    are_left = _made(verdicts) < len(planned.errors)
    found = {row["verdict"] for row in verdicts}
    return are_left and (Verdict.UNDECIDED in found or not verdicts)


def _wanted(verdicts: Sequence[Mapping[str, Any]], planned: Confirmation) -> dict[str, int]:
    """Up to how many seeds each strategy is trained by the next look; what is decided stops."""
    from fmnist_lab.statistics import Verdict

    counts = list(planned.errors)
    up_to = counts[min(_made(verdicts), len(counts) - 1)]
    wanted = {
        row["strategy"]: up_to if row["verdict"] == Verdict.UNDECIDED else counts[row["look"] - 1]
        for row in verdicts
    }
    everyone = dict.fromkeys(planned.winners, max(wanted.values(), default=up_to))
    return everyone | wanted


def _described(look: Mapping[str, Any]) -> str:
    """Returns a look as a sentence."""
    by_verdict: dict[str, list[str]] = {}
    for name, verdict in look["verdicts"].items():
        by_verdict.setdefault(verdict, []).append(name)
    found = "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in by_verdict.items())
    return f"Look at {look['pairs']} seeds: {found}."


class Outlook:
    """Observer that says as a sweep starts where seeds or searches are too few for any verdict."""

    def __init__(self, replicates: Any, searches: int, kind: str, alpha: float = 0.05) -> None:
        self._replicates = replicates if kind == "trial" else 0
        self._searches = searches
        self._alpha = alpha

    def on_start(self, sweep: SweepInfo, earlier: Sequence[TrialEnd]) -> None:
        """Prints a sentence, or nothing."""
        if not self._replicates or searches.split(Path(sweep.folder))[1]:
            return
        count = len(sweep.strategies)
        if sentence := outlook(count, self._replicates, self._searches, self._alpha):
            print(sentence)


def outlook(strategies: int, replicates: Any, searches: int, alpha: float = 0.05) -> str | None:
    """Says why no strategy can be found better or worse than the baseline; None where one can."""
    pairs = looks.most(replicates)
    key, pairs = ("searches", searches) if searches > 1 else ("replicates", pairs)
    planned = looks.planned(replicates)
    if idle := [count for count in planned if count not in looks.errors(planned, alpha)]:
        shown = ", ".join(map(str, idle))
        return (
            f"A look at {shown} replicates decides nothing: its share of the error is below the "
            "smallest p of so few. It is left out."
        )
    if strategies < 2 or pairs >= (least := looks.least(alpha)):
        return None
    return (
        f"With {key}={pairs} no strategy can be found better or worse than the baseline: "
        f"that takes at least {key}={least}, which may be given later, too."
    )


def with_splits(folder: Path, arguments: Sequence[str], cfg: DictConfig) -> list[str]:
    """Returns the overrides with which each seed of a sweep draws the split, for all strategies.

    So it is with several searches, unless the user has chosen a split; a sweep that has begun
    goes on as it began.

    Args:
        folder: The sweep's.
        arguments: The user's overrides.
        cfg: What they compose.
    """
    is_stratified = cfg.data.split == "stratified"
    split = "stratified" if is_stratified else "random"
    drawn = {"data.split": split, "data.split_seed": data.SEED_OF_SPLIT}
    if drawn.keys() & map(key_of, arguments):
        return list(arguments)
    begun = schema.read_if_there(folder / layout.SWEEP_CONFIG, schema.SweepConfig).get("data")
    wanted = cfg.searches > 1 and (
        cfg.data.name == data.OWN or cfg.data.split == data.DataConfig.split
    )
    if wanted if begun is None else drawn["data.split_seed"] == begun.get("split_seed"):
        return together([f"{key}={value}" for key, value in drawn.items()], arguments)
    return list(arguments)


def again(sweep: Path, number: int, arguments: Sequence[str]) -> list[str]:
    """Returns the overrides that make search `number` of a sweep.

    Every trial has another seed, and so has the sampler, if it has one; where seeds draw splits,
    the split is another one, too. A Sobol sequence is scrambled, whatever the first one was.

    Args:
        sweep: The sweep's folder, with the `multirun.yaml` of search 0.
        number: From 1.
        arguments: Of search 0.
    """
    first = manifest.configuration(sweep)
    sampler: Mapping[str, Any] = first["hydra"]["sweeper"].get("sampler") or {}
    more = [f"seed={first['seed'] + number * config.STRIDE}"]
    if sampler.get("seed") is not None:
        more.append(f"hydra.sweeper.sampler.seed={sampler['seed'] + number}")
    if sampler.get("scramble") is False:
        more.append("hydra.sweeper.sampler.scramble=true")
    folder = searches.folder_of(sweep, number)
    more += [f"hydra.sweeper.study_name={searches.name_of(folder)}", f"hydra.sweep.dir={folder}"]
    changed = set(map(key_of, more))
    return together(more, [item for item in arguments if key_of(item) not in changed])


def together(ours: Sequence[str], users: Sequence[str]) -> list[str]:
    """Joins overrides; Hydra's parser wants all of them before its flags, or all behind."""
    flags_first = bool(users) and users[0].startswith("-")
    return [*users, *ours] if flags_first else [*ours, *users]


def key_of(override: str) -> str:
    """Returns the key that an override sets."""
    return override.lstrip("+~").partition("=")[0]
