"""What speaks against trusting the numbers too much, a sentence each."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from fmnist_lab import data, results, statistics
from fmnist_lab.foundation import wording
from fmnist_lab.report import lengths
from fmnist_lab.report.evidence import Evidence, Setup
from fmnist_lab.report.sentences import listed, records, units, with_more
from fmnist_lab.statistics import MIN_PAIRS, Verdict, least_pairs
from fmnist_lab.training.environment import COMPUTING


def warnings(evidence: Evidence) -> list[str]:
    """All of them, the gravest first."""
    if evidence.trials.empty:
        return []
    return [
        *grave(evidence),
        *_unequal(evidence),
        *_stopping(evidence),
        *_edges(evidence),
        *_diverged(evidence),
    ]


def grave(evidence: Evidence) -> list[str]:
    """Those that no verdict should be read without."""
    return [
        *_drawn(evidence),
        *_confounded(evidence),
        *mixed_images(runs_by_kind(evidence), evidence.setup),
        *_mixed_versions(evidence),
        *openings(evidence.setup.manifests),
        *evidence.setup.damaged,
        *_out_of_reach(evidence),
    ]


def _drawn(evidence: Evidence) -> Iterator[str]:
    if evidence.drawn:
        yield (
            f"{wording.count(evidence.drawn, 'trial')} on synthetic images left out: not "
            "comparable with real ones."
        )
    elif len(evidence.trials) and (evidence.trials["dataset"] == "synthetic").all():
        yield "The images are SYNTHETIC: nothing here is about Fashion-MNIST."


def _confounded(evidence: Evidence) -> Iterator[str]:
    differing = lengths.lengths_and_batches(evidence)
    if told := [f"{key} ({listed(list(map(str, found)))})" for key, found in differing.items()]:
        yield (
            f"The strategies differ in {listed(told, 'and')}, too: what is compared is all of that "
            "together, and no verdict is about one part of it."
        )


def mixed_images(runs_by_kind: Mapping[str, pd.DataFrame], setup: Setup) -> Iterator[str]:
    """Objectives measured on different images cannot be ranked without saying so.

    Args:
        runs_by_kind: What is ranked, by what to call it: `trials` or `replicates`.
        setup: Of their sweep.
    """
    for runs, frame in runs_by_kind.items():
        keys = {"data", *_deciding(frame, setup)}
        varied = [key for key in frame if key in keys and frame[key].nunique(dropna=False) > 1]
        if told := ", ".join(varied):
            yield f"The {runs} differ in {told}: their objectives are of different images."
        elif _has_other_files(frame):
            yield (  # other files, or what a recipe has set
                f"The {runs} were trained and judged on images with different checksums: their "
                "objectives are of different images."
            )


def _deciding(frame: pd.DataFrame, setup: Setup) -> set[str]:
    """The keys that decide which images validate, for any of these runs."""
    common = str(setup.config.get("data", {}).get("split", data.DataConfig.split))
    own = frame["data.split"] if "data.split" in frame else pd.Series(common, index=frame.index)
    kinds = set(zip(frame["dataset"], own.fillna(common), strict=True))
    configs = [data.DataConfig(name=name, split=split) for name, split in kinds]
    return {f"data.{key}" for config in configs for key in data.deciding(config)}


def _has_other_files(frame: pd.DataFrame) -> bool:
    """Whether checksums differ that should not: they cover the training images, too."""
    found = results.environments(frame).get("data_checksum")
    if found is None:
        return False
    size = "data.train_size"
    sizes = frame[size] if size in frame else pd.Series(0, index=frame.index)
    return bool((found.groupby(sizes, dropna=False).nunique() > 1).any())


def _mixed_versions(evidence: Evidence) -> Iterator[str]:
    """A sweep that went on after an upgrade."""
    for runs, frame in runs_by_kind(evidence).items():
        found = results.environments(frame)
        used = {name: list(found[name].dropna().unique()) for name in COMPUTING if name in found}
        told = [f"{name} ({listed(list(map(str, v)))})" for name, v in used.items() if len(v) > 1]
        ways = [f"with different versions of {listed(told, 'and')}"] if told else []
        commits = found.get("git_commit", pd.Series()).dropna().astype(str).str[:8].unique()
        if len(commits) > 1:
            ways.append(f"at different commits ({listed(list(commits))})")
        if ways:
            yield (
                f"The {runs} were trained {listed(ways, 'and')}: what they differ in is not only "
                "what was asked of them."
            )


def runs_by_kind(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """The frames of an evidence, by what their rows are called."""
    return {"trials": evidence.trials, "replicates": evidence.replicates}


def openings(manifests: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What changed after the test set had been opened, by the manifest of each search."""
    found = list(manifests)
    for number, manifest in enumerate(found):
        where = f" of search {number + 1}" if len(found) > 1 else ""
        for opening in manifest.get("openings", [])[1:]:
            yield _opening(opening, where)


def _opening(opening: Mapping[str, Any], where: str) -> str:
    changed = opening.get("changed", ["something that is not recorded"])
    others = [key for key in changed if key != "seeds"]
    day = str(opening["opened"])[:10]
    if changed == ["seeds"]:
        return (
            f"On {day} seeds{where} were added after the test set had been opened. Who looks and "
            "adds until a difference shows finds one by luck more often than p says."
        )
    if any(key.startswith("winners") for key in changed):
        return (
            f"On {day} the test set{where} was opened again, for other winners. They were chosen "
            "when test results could be seen already."
        )
    return (
        f"The replicates{where} are of different manifests: on {day}, after the test set had been "
        f"opened, {listed(others[:4], 'and')} had changed. Those of before and after "
        "differ in more than their seeds."
    )


def _out_of_reach(evidence: Evidence) -> Iterator[str]:
    """Pairs enough for a verdict, but not for so many rivals."""
    rows = records(evidence.versus_baseline)
    pairs, least = max((row["pairs"] for row in rows), default=0), least_pairs(max(len(rows), 1))
    decided = {Verdict.BETTER, Verdict.WORSE} & {row["verdict"] for row in rows}
    if MIN_PAIRS <= pairs < least and not decided:
        yield (
            f"{units(pairs, evidence.pair)} cannot show any of {len(rows)} rivals better or worse "
            f"than {evidence.baseline}, however large the difference: Holm's correction takes at "
            f"least {least}{with_more(evidence, least)}."
        )


def _unequal(evidence: Evidence) -> Iterator[str]:
    counts = evidence.standings.set_index("strategy")["trials"]
    in_turn = 1 if evidence.is_running else 0  # the strategies take turns
    if counts.min() + in_turn < counts.max():
        most, least = counts.idxmax(), counts.idxmin()
        yield (
            f"The strategies had unequal budgets, from {wording.count(counts.min(), 'trial')} "
            f"({least}) to {counts.max()} ({most}): the best of more trials looks better by luck "
            "alone."
        )


def _stopping(evidence: Evidence) -> Iterator[str]:
    if evidence.stopping == "none":
        return
    yield (
        f"All trials had early stopping (stopping={evidence.stopping}). It cuts off schedules "
        "whose rate falls late, before they pay off; compare these results with others of "
        "this kind only."
    )
    if names := lengths.cut_short(evidence):
        belong, they = ("belongs", "it") if len(names) == 1 else ("belong", "them")
        yield (
            f"{listed(names, 'and')} {belong} to the whole training, and early stopping ended some "
            f"of it before the rate had come down: this says nothing about {they} at full length. "
            "For that, run the sweep with stopping=none."
        )


def _edges(evidence: Evidence) -> Iterator[str]:
    """A sentence for each parameter at an edge, whatever the number of searches."""
    frame = edges(evidence)
    searches = frame["search"].nunique()
    near = frame[frame["at_edge"].fillna(False)]
    for (strategy, parameter), group in near.groupby(["strategy", "parameter"], sort=False):
        row = group.iloc[0]
        best = f"The best {parameter} of {strategy}, {row['value']:.4g},"
        if searches > 1:
            best = f"The best {parameter} of {strategy}, in {len(group)} of {searches} searches,"
        yield (
            f"{best} lies at the edge of what was searched ({row['low']:g} to {row['high']:g}): "
            "a better one may lie beyond."
        )


def edges(evidence: Evidence) -> pd.DataFrame:
    """`comparison.at_edge` for the numeric parameters whose search spaces are known."""
    spaces = {
        strategy: {
            key: (entry["low"], entry["high"], entry["log"])
            for key, entry in evidence.setup.space(strategy).items()
            if "low" in entry and key in evidence.trials
        }
        for strategy in evidence.trials["strategy"].unique()
    }
    return statistics.at_edge(evidence.trials, spaces)


def _diverged(evidence: Evidence) -> Iterator[str]:
    for row in evidence.standings.to_dict("records"):
        lost = row["diverged"] + row["failed"]
        if row["trials"] and lost / row["trials"] > 0.25:
            yield (
                f"{lost} of {row['trials']} trials of {row['strategy']} diverged or failed: it is "
                "good in a part of its search space only."
            )
