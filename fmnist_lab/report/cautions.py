"""What speaks against trusting the numbers too much, a sentence each."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from fmnist_lab import data, looks, results, statistics
from fmnist_lab.foundation import wording
from fmnist_lab.report import lengths
from fmnist_lab.report.evidence import Evidence
from fmnist_lab.report.sentences import listed, records
from fmnist_lab.report.setup import Setup
from fmnist_lab.results import manifest
from fmnist_lab.training.environment import COMPUTING

_EQUAL = 1.1  # a tenth more is still the same budget


def warnings(evidence: Evidence) -> list[str]:
    """Returns all cautions, the gravest first."""
    of_tuning = [] if evidence.trials.empty else [
        *_budgets(evidence), *_points(evidence), *_stopping(evidence), *_edges(evidence),
        *_diverged(evidence)]  # fmt: skip
    return [*grave(evidence), *of_tuning]


def grave(evidence: Evidence) -> list[str]:
    """Returns the cautions that stand beside every verdict."""
    if evidence.multirun:
        return list(_of_jobs(evidence))
    setup, runs = evidence.setup, {"trials": evidence.trials, "replicates": evidence.replicates}
    return [*_subject(evidence), *mixed_images(runs, setup), *_mixed_versions(runs),
            *_changed_rules(setup), *_changed_looks(evidence), *_added_searches(setup.manifests),
            *openings(setup.manifests), *setup.damaged]  # fmt: skip


def _of_jobs(evidence: Evidence) -> Iterator[str]:
    """Yields cautions on jobs of another application: without a number, chosen by results."""
    jobs = pd.concat([evidence.trials, evidence.replicates])
    if missing := int(jobs["objective"].isna().sum()):
        yield f"{missing} of {wording.count(len(jobs), 'job')} failed, were pruned or gave NaN."
    if len(evidence.replicates) and not evidence.setup.is_independent:
        yield (
            f"{evidence.setup.sampler} has chosen which jobs there are by the results of others: a "
            "strategy that began badly has fewer pairs. A grid runs all of them."
        )


def _subject(evidence: Evidence) -> Iterator[str]:
    """Yields cautions on synthetic images, and on strategies that differ in several things."""
    if evidence.drawn:
        yield (
            f"{wording.count(evidence.drawn, 'trial')} on synthetic images left out: not "
            "comparable with real ones."
        )
    elif len(evidence.trials) and (evidence.trials["dataset"] == "synthetic").all():
        yield "The images are SYNTHETIC: nothing here is about Fashion-MNIST."
    differing, apart = lengths.lengths_and_batches(evidence), evidence.setup.config.get("cells")
    if keys := [f"{key} ({listed(v)})" for key, v in differing.items() if key not in (apart or ())]:
        yield (
            f"The strategies differ in {listed(keys, 'and')}, too: what is compared is all of that "
            "together, and no verdict is about one part of it."
        )


def mixed_images(runs_by_kind: Mapping[str, pd.DataFrame], setup: Setup) -> Iterator[str]:
    """Yields a caution where trials, or replicates, were judged on different images."""
    common = str(setup.config.get("data", {}).get("split", data.DataConfig.split))
    for runs, frame in runs_by_kind.items():
        splits = frame.get("data.split", pd.Series(common, frame.index)).fillna(common)
        configs = {
            data.DataConfig(name=name, split=split)
            for name, split in zip(frame["dataset"], splits, strict=True)
        }
        keys = {"data", *(f"data.{key}" for config in configs for key in data.deciding(config))}
        varied = [key for key in frame if key in keys and frame[key].nunique(dropna=False) > 1]
        if varied:
            shown = ", ".join(varied)
            yield f"The {runs} differ in {shown}: their objectives are of different images."
            continue
        # Checksums cover the training images, too.
        alike = [frame.get("data.train_size", pd.Series(0, frame.index))]
        if setup.draws_splits:  # alike for all strategies
            alike += [frame["search"], frame["seed"]]
        checksums = results.environments(frame).get("data_checksum", pd.Series(index=frame.index))
        if (checksums.groupby(alike, dropna=False).nunique() > 1).any():
            yield (  # other files, or what a recipe has set
                f"The {runs} were trained and judged on images with different checksums: their "
                "objectives are of different images."
            )


def _mixed_versions(runs_by_kind: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """Yields a caution where versions or commits changed within a sweep."""
    for runs, frame in runs_by_kind.items():
        found = results.environments(frame)
        used = {name: list(found[name].dropna().unique()) for name in COMPUTING if name in found}
        shown = [f"{name} ({listed(v)})" for name, v in used.items() if len(v) > 1]
        ways = [f"with different versions of {listed(shown, 'and')}"] if shown else []
        commits = found.get("git_commit", pd.Series()).dropna().astype(str).str[:8].unique()
        if len(commits) > 1:
            ways.append(f"at different commits ({listed(commits)})")
        if ways:
            yield (
                f"The {runs} were trained {listed(ways, 'and')}: what they differ in is not only "
                "what was asked of them."
            )


def _changed_rules(setup: Setup) -> Iterator[str]:
    """Yields a caution where the rules of the verdicts differ from the plan."""
    shown = [f"{key} from {before} to {after}" for key, (before, after) in setup.changed.items()
             if key in manifest.RULES]  # fmt: skip
    if shown:
        text = "The rules of the verdicts have changed since the plan was written"
        yield f"{text}: {listed(shown, 'and')}."


def _changed_looks(evidence: Evidence) -> Iterator[str]:
    """Looks whose record says something else than the results that are on disk now."""
    if not evidence.at_looks or any(key in evidence.setup.changed for key in manifest.RULES):
        return
    now = statistics.seen(records(evidence.versus_baseline), list(evidence.at_looks["looks"]))
    again = {look["pairs"]: look["verdicts"] for look in now}
    openings = evidence.setup.manifest.get("openings", [])
    asked = [  # each time for something else, to which the looks of before do not belong
        manifest.has_other_runs(opening.get("changed", [])) for opening in openings
    ]
    first = max((at for at, is_other in enumerate(asked) if is_other), default=0)
    for look in (look for opening in openings[first:] for look in opening.get("looks", [])):
        found = again.get(look["pairs"], {})
        shown = [f"{name} {old}, now {found.get(name, 'missing')}"
                 for name, old in look["verdicts"].items() if found.get(name) != old]  # fmt: skip
        if shown:
            yield (
                f"The look at {look['pairs']} seeds, recorded on {look['made'][:10]}, differs from "
                f"what the results on disk give today ({'; '.join(shown)}): they have changed "
                "since."
            )


def _added_searches(manifests: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yields a caution for searches that began after the test set was opened."""
    opened = [time["opened"] for found in manifests for time in found.get("openings", [])]
    late = [found for found in manifests if opened and found.get("begun", "") > min(opened)]
    if late:
        which = f"{len(late)} more {'search' if len(late) == 1 else 'searches'}"
        yield (
            f"On {late[0]['begun'][:10]} {which} began, after the test set had been opened. "
            "Adding searches until a difference shows finds false ones more often than p says."
        )


def openings(manifests: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yields what changed after the test set had been opened, by the manifest of each search."""
    for number, found in enumerate(manifests, 1):
        where = f" of search {number}" if len(manifests) > 1 else ""
        for opening in found.get("openings", [])[1:]:
            changed = opening.get("changed", ["something that is not recorded"])
            others = [key for key in changed if key not in ("seeds", "looks")]
            day = str(opening["opened"])[:10]
            if not others:
                is_plan = "looks" in changed
                what = "the planned looks were changed" if is_plan else f"seeds{where} were added"
                yield f"On {day} {what} after the test set had been opened. {looks.COST}"
            elif manifest.has_other_winners(changed):
                yield (
                    f"On {day} the test set{where} was opened again, for other winners. They were "
                    "chosen when test results could be seen already."
                )
            else:
                yield (
                    f"The replicates{where} are of different manifests: on {day}, after the test "
                    f"set had been opened, {listed(others[:4], 'and')} had changed. Those of "
                    "before and after differ in more than their seeds."
                )


def _budgets(evidence: Evidence) -> Iterator[str]:
    goes_on = evidence.is_running and not evidence.setup.has_ended
    counts = evidence.standings.set_index("strategy")["trials"]
    if counts.min() + goes_on < counts.max():  # the strategies take turns
        most, least = counts.idxmax(), counts.idxmin()
        yield (
            f"The strategies had unequal budgets, from {wording.count(counts.min(), 'trial')} "
            f"({least}) to {counts.max()} ({most}): the best of more trials looks better by "
            "chance alone."
        )
        return  # which explains the epochs
    if evidence.cells is not None or "epochs_trained" not in evidence.trials:
        return  # no strategy is compared with one of another length
    epochs = lengths.spent(evidence).set_index("strategy")["epochs"]
    if not goes_on and epochs.max() > _EQUAL * epochs.min():
        most, least = epochs.idxmax(), epochs.idxmin()
        yield (
            f"The strategies had equal trials and unequal epochs, from {epochs.min()} ({least}) to "
            f"{epochs.max()} ({most}) in all: longer training is more tuning."
        )


def _points(evidence: Evidence) -> Iterator[str]:
    setup = evidence.setup
    if setup.recentred:
        yield (
            "Tuning had a second stage, in ranges around what each strategy had found: in it the "
            "strategies were tried at the same shares of their ranges, not at the same learning "
            f"rates. {_moved(evidence)}"
        )
    widths = {len(setup.space(strategy)) for strategy in setup.strategies}
    if setup.own_points and setup.sampler == "QMCSampler" and len(widths) > 1:
        yield (
            "The strategies were tried at different points: this sweep began with a version that "
            "drew a sequence for each number of searched keys. Some of a difference may come of "
            "the points; a new sweep (--new) tries all at the same learning rates."
        )


def _moved(evidence: Evidence) -> str:
    """Says of which strategies the second stage has found the best trial, in how many searches."""
    best = statistics.winners(evidence.trials).set_index(["search", "strategy"])["trial"]
    stages = evidence.setup.recentred.items()
    first = {(search, name): trial for search, stage in stages
             for name, trial in stage["winners"].items()}  # fmt: skip
    moved = [key for key in first if best.get(key, first[key]) != first[key]]
    counts = Counter(name for _, name in moved)
    of = f" of {len(stages)})" if len(stages) > 1 else ""
    names = [f"{name} ({n}{of}" if of else name for name, n in counts.items()]
    if not names:
        return "It found no better configuration of any strategy."
    return f"It found better configurations of {listed(names, 'and')}."


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
    """Yields one caution for all best values at an end; the report has them as a table."""
    found = evidence.edges.groupby("parameter", sort=False)["strategy"].unique()
    if parts := [f"{key} of {listed(names, 'and')}" for key, names in found.items()]:
        yield (
            "Some best values are at an end of what was searched or tried, and better ones may lie "
            f"beyond: {'; '.join(parts)}. The report has a table of them."
        )


def _diverged(evidence: Evidence) -> Iterator[str]:
    for row in records(evidence.standings):
        lost = row["diverged"] + row["failed"]
        if row["trials"] and lost == row["trials"]:
            yield f"All {lost} trials of {row['strategy']} diverged or failed."
        elif row["trials"] and lost / row["trials"] > 0.25:
            yield (
                f"{lost} of {row['trials']} trials of {row['strategy']} diverged or failed: it is "
                "good in a part of its search space only."
            )
