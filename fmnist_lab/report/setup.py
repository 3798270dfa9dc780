"""How a sweep was asked for: configuration, spaces, manifests, and what follows from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fmnist_lab import looks, statistics
from fmnist_lab.data import SEED_OF_SPLIT
from fmnist_lab.errors import RequestError
from fmnist_lab.results import layout, ledger, manifest, schema, searches
from fmnist_lab.sweeper.sweep_end import EndReason

_CUT_SHORT = [str(reason) for reason in EndReason if reason.is_cut_short]
# Samplers that choose a trial without looking at the results of others.
_INDEPENDENT = ("QMCSampler", "RandomSampler", "GridSampler", "BruteForceSampler")


@dataclass(frozen=True)
class Setup:
    """What is known beside the trials; everything may be missing, as for a plain multirun."""

    config: Mapping[str, Any] = field(default_factory=dict)  # the composed configuration
    spaces: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by strategy
    manifests: Sequence[Mapping[str, Any]] = ()  # one for each search
    openings: Sequence[ledger.Entry] = ()  # of this test set in the project, for whatever it was
    environment: Mapping[str, Any] = field(default_factory=dict)  # of the first trial
    has_ended: bool = False  # false while the sweep runs, and after a kill
    is_cut_short: bool = False  # by Ctrl-C, say, or a timeout, before its budgets were spent
    unended: int = 0  # trials with a folder and no result: they run, or their worker died
    own_points: bool = False  # each strategy has a sequence of its own, as in earlier versions
    damaged: Sequence[str] = ()  # a sentence for each file that nothing could be read from

    @staticmethod
    def read(place: Path, trial_folders: Sequence[Path]) -> "Setup":
        """Reads the folder of a sweep or multirun.

        Raises:
            RequestError: A manifest or the environment has another shape.
        """
        damaged: list[str] = []

        def read(path: Path, shape: Any) -> dict[str, Any]:
            try:
                return dict(schema.read(path, shape))
            except FileNotFoundError:
                return {}
            except RequestError:
                damaged.append(
                    f"{path.name} is not as the sweep has left it: what it says, and what follows "
                    "from that, is missing here."
                )
                return {}

        begun = searches.folders(place)
        tuned = [read(folder / layout.SWEEP_RESULTS, dict[str, Any]) for folder in begun]
        config = read(place / layout.SWEEP_CONFIG, schema.SweepConfig)
        manifests = [found for found in map(manifest.read, begun) if found]
        stated = [found.get("plan", {}) | found for found in manifests]
        images = next((found["test_images"] for found in stated if "test_images" in found), None)
        is_whole = len(begun) >= config.get("searches", 1)
        homes = (next(filter(Path.is_dir, (at / layout.TRIALS, at)), place) for at in begun)
        left = (path for home in homes for path in home.iterdir() if path.is_dir())
        jobs = {path.resolve() for path in left  # whatever `hydra.sweep.subdir` calls them
                if path.name.isdigit() or (path / layout.HYDRA).is_dir()}  # fmt: skip
        return Setup(
            config=config,
            spaces=read(place / layout.SPACES, schema.Spaces),
            manifests=manifests,
            openings=ledger.read(images),
            environment=schema.environment(trial_folders[0] if trial_folders else place),
            has_ended=is_whole and all(found.get("ended") for found in tuned),
            is_cut_short=any(
                isinstance(end := found.get("ended"), Mapping) and end.get("reason") in _CUT_SHORT
                for found in tuned
            ),
            own_points=any(
                found.get("points") is None
                for results in tuned
                for found in results.get("strategies", {}).values()
            ),
            unended=len(jobs - {path.resolve() for path in trial_folders}),
            damaged=damaged,
        )

    @property
    def sweeper(self) -> Mapping[str, Any]:
        """The configuration of our sweeper; empty for a plain multirun."""
        sweeper: Mapping[str, Any] = self.config.get("hydra", {}).get("sweeper", {})
        return sweeper if "n_trials" in sweeper else {}

    @property
    def strategies(self) -> list[str]:
        """Their names, in the order of the sweep's file."""
        return list(self.sweeper.get("strategies") or {})

    @property
    def searches(self) -> int:
        """How often the sweep is tuned."""
        return int(self.config.get("searches", 1))

    @property
    def draws_splits(self) -> bool:
        """Whether each seed draws which of the training images validate, as in several searches."""
        return bool(self.config.get("data", {}).get("split_seed") == SEED_OF_SPLIT)

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Of the first search; empty where there is none."""
        return self.manifests[0] if self.manifests else {}

    @property
    def margin(self) -> float:
        """Differences of accuracy below it do not matter."""
        return float(self.config.get("margin", statistics.MARGIN))

    @property
    def alpha(self) -> float:
        """The error rate of the verdicts."""
        return float(self.config.get("alpha", 0.05))

    @property
    def changed(self) -> dict[str, tuple[Any, Any]]:
        """Settings that are others than in the plan: what it says, and what holds now."""
        plan, now = self.manifest.get("plan", {}), manifest.settings(self.config)
        keys = manifest.CHANGEABLE if plan else ()
        return {key: (plan.get(key), now.get(key)) for key in keys if plan.get(key) != now.get(key)}

    @property
    def planned(self) -> int:
        """How many trials the sweep will have; 0 if that is not known."""
        stages = self.searches + len(self.recentred)
        return int(self.sweeper.get("n_trials") or 0) * max(1, len(self.strategies)) * stages

    @property
    def recentred(self) -> dict[int, Mapping[str, Any]]:
        """The second stages of tuning, by the number of their search."""
        stated = (found.get("plan", {}) | found for found in self.manifests)
        return {one.get("search", 0): one["recentred"] for one in stated if "recentred" in one}

    @property
    def replicates(self) -> int:
        """How often the sweep trains each winner again once it is tuned."""
        return looks.most(self.config.get("replicates", 0))

    @property
    def looks(self) -> Mapping[int, float] | None:
        """The planned looks at the seeds: the error of each by its number of seeds."""
        asked = self.manifest.get("looks")
        return looks.errors(asked, self.alpha) if asked else None

    @property
    def has_added_seeds(self) -> bool:
        """Whether seeds were added, outside of any plan, once test results could be seen."""
        later = [opening for found in self.manifests for opening in found.get("openings", [])[1:]]
        return any({"seeds", "looks"} & {*opening.get("changed", [])} for opening in later)

    @property
    def planned_replicates(self) -> int:
        """How many replicates there will be; 0 if that is not known."""
        plan = self.manifest
        if self.looks and "wanted" in plan:
            return int(sum(plan["wanted"].values()))
        return len(plan.get("winners", ())) * len(plan.get("seeds", ())) * self.searches

    @property
    def sampler(self) -> str | None:
        """The sampler's class."""
        target = (self.sweeper.get("sampler") or {}).get("_target_")
        return str(target).rpartition(".")[2] if target else None

    @property
    def is_independent(self) -> bool:
        """Whether trials are chosen without the results of others, as far as is known."""
        return not self.sweeper or (self.sampler in _INDEPENDENT and not self.recentred)

    def space(self, strategy: str, search: int | None = None) -> Mapping[str, Any]:
        """Returns where a strategy is searched, by dotted key; empty if that was not kept.

        Args:
            strategy: Its name.
            search: In which search; None: in all of them together.
        """
        space = dict(self.spaces.get(strategy, self.spaces.get("", {})))
        for number, stage in self.recentred.items():
            ranges = stage["ranges"].get(strategy, {}) if search in (None, number) else {}
            for key, (low, high) in ranges.items():
                if "low" in (old := space.get(key, {})):
                    space[key] = old | {"low": min(old["low"], low), "high": max(old["high"], high)}
        return space
