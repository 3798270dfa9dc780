"""Verdicts in plain words, a sentence each; what speaks against them is in `cautions`."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnist_lab import looks
from fmnist_lab.foundation import wording
from fmnist_lab.report.evidence import Evidence, Measure
from fmnist_lab.statistics import COMPONENTS, MIN_PAIRS, MOST_PAIRS, Verdict
from fmnist_lab.trial import LOST

PLURAL = {"seed": "seeds", "search": "searches", "block": "blocks"}
_KEYS = {"seed": "replicates", "search": "searches"}
_USUAL = 8  # seeds
_MOST_CONFUSED = 3
_FAR = 0.9 * MOST_PAIRS  # "that many or more"


def headline(evidence: Evidence) -> str:
    """Returns the answer to the sweep's question, or why there is none."""
    if evidence.cells is not None:
        return _in_cells(evidence, evidence.in_cells)
    if reason := no_verdict(evidence):
        return reason
    rows, baseline, pair = records(evidence.versus_baseline), evidence.baseline, evidence.pair
    if better := [row for row in rows if row["verdict"] == Verdict.BETTER]:
        name = str(evidence.recommended)
        first = next(row for row in better if row["strategy"] == name)
        # One search has found one configuration of it, and says nothing about others.
        what = name if pair == "search" else f"{evidence.measure.one}{name}"
        use = f"Use {what}: {_numbers(evidence, first)}."
        use += losses(evidence, first) + tested(evidence, name)
        if first["images_low"] <= 0:
            use += f" On other test images it may be no better than {baseline}."
        rows = [row for row in records(evidence.versus_best) if row["verdict"] != Verdict.WORSE]
        rivals = [str(row[side]) for side in ("opponent", "strategy") for row in rows]
        if unbeaten := [rival for rival in dict.fromkeys(rivals) if rival not in (name, baseline)]:
            use += f" Whether it is also better than {listed(unbeaten)} is not shown."
        return use + differing(evidence) + _added(evidence)
    undecided = [row for row in rows if row["verdict"] == Verdict.UNDECIDED]
    if not undecided:
        stay = f"Stay with {baseline}: no other strategy is better."
        return stay + differing(evidence) + _added(evidence)
    none = f"Undecided: no strategy is shown to be better than {baseline}."
    if not (measured := [row for row in undecided if row["pairs"]]):
        names = listed([str(row["strategy"]) for row in undecided])
        return f"{none} Of {names} nothing is known: {no_interval(0, pair)}."
    sign = 1 if evidence.measure.maximised else -1
    first = max(measured, key=lambda row: (row["strategy"] == evidence.chosen,
                                           not pd.isna(row["difference"]),
                                           sign * float(row["difference"])))  # fmt: skip
    place = "Ahead" if sign * first["difference"] > 0 else "Next"
    ahead = f"{none} {place} is {first['strategy']}, {_numbers(evidence, first)}"
    return f"{ahead}; {_wanted(evidence, first)}.{losses(evidence, first)}{_added(evidence)}"


def _in_cells(evidence: Evidence, found: pd.DataFrame) -> str:
    """Returns in how many cells each schedule is better or worse than the baseline, and the best.

    The best of a cell has the highest mean test accuracy there.
    """
    if found.empty:
        return "No verdict: no cell has replicates of two schedules so far."
    alike: dict[tuple[int, ...], list[str]] = {}  # names, by the numbers of their verdicts
    for name in dict.fromkeys(found["strategy"]):
        own = found.loc[found["strategy"] == name, "verdict"]
        counts = tuple(int((own == kind).sum()) for kind in (Verdict.BETTER, Verdict.WORSE))
        alike.setdefault(counts, []).append(name)
    parts = [
        f"{listed(names, 'and')} {'are' if names[1:] else 'is'} better in {better} and worse in "
        f"{worse}"
        for (better, worse), names in alike.items()
    ]
    assert evidence.cells is not None
    tested = evidence.cells.groupby(["strategy", "cell"], sort=False)["test_accuracy"]
    means = tested.mean(skipna=False)  # one that has lost some is not ahead
    best: dict[str, list[str]] = {}  # cells, by the schedule that is ahead there
    for cell, name in means.dropna().unstack("cell").idxmax().items():
        best.setdefault(str(name), []).append(str(cell))
    ahead = ", ".join(f"{name} ({'; '.join(cells)})" for name, cells in best.items())
    keys = listed(evidence.setup.config["cells"], "and")
    highest = f" The highest means, without a test of their own: {ahead}." if ahead else ""
    return (
        f"Compared with {evidence.cell_baseline} in {found['cell'].nunique()} cells ({keys}): "
        f"{'; '.join(parts)}. Each cell is judged by itself, with an error of "
        f"{evidence.setup.alpha:.0%}.{highest}"
    )


def differing(evidence: Evidence) -> str:
    """Why `export-best` gives another strategy than the verdicts, as a further sentence, or ""."""
    named, chosen, baseline = evidence.recommended, evidence.chosen, evidence.baseline
    if named is None or chosen is None or chosen == named:
        return ""
    why = f"do not show it as better than {baseline}"
    if chosen == baseline:
        why = f"show {named} as better"
    for row in records(evidence.versus_best):
        if row["strategy"] == chosen and row["verdict"] == Verdict.WORSE:
            why = f"show it as worse than {row['opponent']}"
    command = f"fmnist-lab export-best {shlex.quote(evidence.folder.name)} --strategy {named}"
    return (
        f" Validation images are for {chosen}, which export-best gives; test images {why}. To "
        f"export {named}: {command}."
    )


def _added(evidence: Evidence) -> str:
    """Returns what a verdict owes to seeds that no plan had, as a further sentence."""
    text = " Seeds were added after a look: a false verdict is likelier than its numbers say."
    return text if evidence.pair == "seed" and evidence.setup.has_added_seeds else ""


def no_verdict(evidence: Evidence) -> str | None:
    """Returns why there is no verdict on which strategy is better; None where there is one."""
    replicates, setup, measure = evidence.replicates, evidence.setup, evidence.measure
    if evidence.trials.empty and replicates.empty:
        return "No verdict: no trial has ended yet."
    if len(evidence.strategies) < 2:
        only = ", ".join(evidence.strategies)
        alone = f"No verdict: there is only one strategy, {only}, and nothing to compare it with."
        return f"{alone}{tested(evidence, only)}"
    if replicates.empty:
        seeds = evidence.trials.groupby("strategy")["seed"].nunique().max()
        why = "one seed per trial" if seeds == 1 else "these trials were compared to choose from"
        remedy = (
            "to get a verdict, train each strategy's best configuration again with at least "
            f"{MIN_PAIRS} fresh seeds{with_more(evidence, _USUAL, evidence.pair)}"
        )
        if evidence.multirun:
            why = "no two strategies were run with the same seed, all else being equal"
            remedy = f"to get a verdict, run each strategy with the same {MIN_PAIRS} seeds or more"
        if evidence.is_running and setup.replicates and evidence.kind == "sweep":
            remedy = "once all is tuned, the sweep itself trains the best configurations again"
        text = f"No verdict: {why}. The ranking may be chance; {remedy}."
        is_lost = evidence.trials["objective"].isna().all()
        return "No verdict: every trial so far diverged or failed." if is_lost else text
    if evidence.versus_baseline is None:
        is_alone = replicates["strategy"].nunique() < 2
        lacking = f"the {measure.name} of the {measure.run}s is not measured yet"
        if replicates["stop_reason"].isin(LOST).all():
            lacking = f"every {measure.run} diverged or failed"
        return f"No verdict: {'only one strategy has replicates so far' if is_alone else lacking}."
    pairs, enough = int(evidence.versus_baseline["pairs"].max()), looks.least(setup.alpha)
    if pairs >= MIN_PAIRS:
        return None
    planned, unit = setup.replicates, evidence.pair
    if setup.searches > 1:  # also before the second of them has replicates
        planned, unit = setup.searches, "search"
    remedy = f"a difference with p < {setup.alpha:g} takes at least {units(enough, unit)}"
    remedy += with_more(evidence, enough, unit)
    if planned >= MIN_PAIRS and len(replicates) < setup.planned_replicates:
        remedy = f"the sweep has yet to come to its {units(planned, unit)}"
    here = units(pairs, evidence.pair)
    return f"No verdict: {here} per strategy. The ranking may be chance; {remedy}."


def with_more(evidence: Evidence, pairs: int, unit: str) -> str:
    """The command that goes on to so many pairs, as the end of a sentence; "" for a multirun."""
    hydra = evidence.setup.config.get("hydra", {})
    name = hydra.get("runtime", {}).get("choices", {}).get("sweeps")
    if not name or not evidence.setup.sweeper:
        return ""
    overrides, more = hydra.get("overrides", {}), _KEYS[unit]
    given = [*overrides.get("task", []), *overrides.get("hydra", [])]
    changed = ["sweeps", "hydra.mode", "hydra.sweep.dir", "hydra.sweeper.recentred", "recentre",
               more]  # fmt: skip
    if evidence.setup.draws_splits:  # what has begun so goes on so
        changed += ["data.split", "data.split_seed"]
    kept = [item for item in given if item.lstrip("+").partition("=")[0] not in changed]
    return f", with: {shlex.join(['fmnist-lab', 'sweep', name, *kept, f'{more}={pairs}'])}"


def tested(evidence: Evidence, strategy: str) -> str:
    """Returns a strategy's test accuracy as a further sentence; nothing where it is not known."""
    row, measure = evidence.standings.set_index("strategy").loc[strategy], evidence.measure
    mean, _, low, high = (row[name] for name in measure.columns)
    if pd.isna(mean):
        return ""
    ends = f"{measure.value(low)} to {measure.value(high)}"
    interval = f"95 % interval {ends} over {PLURAL[evidence.pair]}"
    if pd.isna(low):
        interval = no_interval(1, evidence.pair)
    lost = f", without {int(row['replicates_lost'])} that it lost" if row["replicates_lost"] else ""
    return f" Its {measure.mean} is {measure.value(mean)}{measure.sign} ({interval}{lost})."


def verdict(evidence: Evidence, row: dict[str, Any]) -> str:
    """Returns what a row of `statistics.compare` says."""
    opponent, measure = row["opponent"], evidence.measure
    at = "" if pd.isna(row["look"]) else f", at look {row['look']}"
    if row["verdict"] == Verdict.EQUIVALENT:
        margin = evidence.setup.margin * measure.scale
        return f"As good as {opponent}, give or take {margin:g}{measure.unit}{at}."
    if row["verdict"] != Verdict.UNDECIDED:
        return f"{'Better' if row['verdict'] == Verdict.BETTER else 'Worse'} than {opponent}{at}."
    return f"Undecided; {_wanted(evidence, row)}."


def losses(evidence: Evidence, row: dict[str, Any]) -> str:
    """What was lost of a row of `statistics.compare`, as a further sentence; "" if nothing was."""
    counts = [(row["lost"], row["strategy"]), (row["opponent_lost"], row["opponent"])]
    lost = [f"{name} with {units(int(count), evidence.pair)}" for count, name in counts if count]
    if not lost:
        return ""
    without = evidence.measure.difference(row["conditional"])
    rest = "" if pd.isna(row["conditional"]) else f"; without them {without}"
    return f" Lost, which ranks last: {listed(lost, 'and')}{rest}."


def claim(evidence: Evidence) -> str:
    """Returns what the verdicts are about."""
    if evidence.multirun:
        return (
            "The verdicts are about the strategies as they were run; the intervals cover "
            f"{PLURAL[evidence.pair]} alone."
        )
    about = (
        "The verdicts are about these tuned configurations, the ones that this search has "
        "found; another search might find others, and more seeds do not cover that."
    )
    if evidence.pair == "search":
        about = (
            "The verdicts are about the strategies, each tuned anew in every search with the same "
            "budget; the replicates of a search count as one value, their mean."
        )
    images = f"the intervals cover {PLURAL[evidence.pair]} alone"
    rows = evidence.versus_baseline
    if rows is not None and rows["images_low"].notna().any():
        images = "the wider intervals are also for other images like these"
    return (
        f"{about} They hold for one architecture, one number of epochs and these test "
        f"images; {images}."
    )


def components(evidence: Evidence) -> str:
    """What the parts of the accuracies' variance are, and how large with all strategies pooled."""
    frame, setup = evidence.components, evidence.setup
    pooled = frame[COMPONENTS].mean().clip(lower=0).dropna()
    whole = pooled.sum()
    split = "it draws the split, too, and the two cannot be separated"
    text = (
        "What a replicate's test accuracy varies with: variances, and the share of each source. A "
        "seed stands for initial weights and the order of batches; "
        f"{split if setup.draws_splits else 'the split is the same for all'}."
    )
    if frame["searches"].max() < 2:
        text += " What another search would find is in none of these."
    elif frame["seed"].isna().all():
        text += (
            " Each search has one replicate: seed and search cannot be separated, and the column "
            "search has both."
        )
    else:
        text += " A search stands for the configuration that it finds."
    if "image" not in pooled:
        text += " Which test images are right was not kept."
    if whole > 0:
        shares = [f"{name} {100 * part / whole:.0f} %" for name, part in pooled.items()]
        text += (
            f" All strategies pooled: {listed(shares, 'and')} of {1e4 * whole:.4f} points\u00b2."
        )
    return text


def confusions(strategy: str, names: Sequence[str], counts: NDArray[np.int64]) -> str:
    """Returns which classes the strategy confuses most often, by `evidence.confusion`."""
    wrong = counts - np.diag(counts.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_CONFUSED]
    cells = [divmod(int(cell), len(names)) for cell in order if wrong.flat[cell]]
    most = [
        f"{names[true]} for {names[guess]} ({100 * wrong[true, guess] / counts[true].sum():.1f} %)"
        for true, guess in cells
    ]
    text = f"A row for each true class: what the replicates of {strategy} take its test images for."
    return f"{text} Most often: {listed(most, 'and')}." if most else f"{text} None is wrong."


def progress(evidence: Evidence) -> str:
    """Returns how far the sweep has come."""
    done, again = len(evidence.trials), len(evidence.replicates)
    text = wording.count(done, "tuning trial")
    if evidence.is_running:
        text = f"{done} of {wording.count(evidence.setup.planned, 'tuning trial')}"
    if evidence.multirun:
        text = wording.count(done + again, "job")
    elif again:
        whole = max(evidence.setup.planned_replicates, again)
        text += f" and {f'{again} of ' * (again < whole)}{wording.count(whole, 'replicate')}"
    text = f"{text} {'has' if done + again == 1 else 'have'} ended"
    if lost := evidence.superseded:
        were, do = ("was", "does") if lost == 1 else ("were", "do")
        text += f"; {lost} more {were} interrupted or tried again, and {do} not count"
    if unended := evidence.setup.unended:
        what = "began and left no result yet: still running, or lost"
        if evidence.setup.has_ended:
            what = f"{'was' if unended == 1 else 'were'} cut off without a result"
        text += f"; {unended} more {what}"
    return f"{text}."


def units(count: int, pair: str) -> str:
    """`1 seed`, `8 seeds`, `6 searches`."""
    return f"{count} {pair if count == 1 else PLURAL[pair]}"


def interval(measure: Measure, pair: str, row: Mapping[str, Any]) -> str:
    """`interval +0.41 to +0.83` of a difference, or why there is none.

    The one over pairs and images comes first, where there is one, the one over pairs beside it.
    """
    alone, wide, unit = ends(measure, row), ends(measure, row, "images_"), PLURAL[pair]
    if not alone:
        return no_interval(int(row["pairs"]), pair)
    all_of_it = f"{wide} over {unit} and images, {alone} over {unit} alone" if wide else alone
    return f"interval {all_of_it}"


def ends(measure: Measure, row: Mapping[str, Any], prefix: str = "") -> str:
    """`+0.41 to +0.83`, over pairs, or with "images_" over images, too; "" if there is none."""
    low, high = (measure.difference(row[f"{prefix}{end}"]) for end in ("low", "high"))
    return "" if low == "-" else f"{low} to {high}"


def no_interval(pairs: int, pair: str) -> str:
    """Returns why fewer than two pairs have no interval."""
    if not pairs:
        return f"no interval: no {pair} in common"
    return f"no interval: {units(pairs, pair)} {'shows' if pairs == 1 else 'show'} no spread"


def p_value(p: float, equals: str = "") -> str:
    """`0.012`, after `equals`, or `< 0.001`."""
    if pd.isna(p):
        return f"{equals}-"
    return f"{equals}{p:.3f}" if p >= 0.001 else "< 0.001"


def _numbers(evidence: Evidence, row: dict[str, Any]) -> str:
    pair, measure = evidence.pair, evidence.measure
    range_ = "" if pd.isna(row["low"]) else f"{100 * (1 - evidence.setup.alpha):g} % "
    p = p_value(row["p_joint"], "= ")
    at = "" if pd.isna(row["look"]) or not row["look"] else f" at look {row['look']}"
    return (
        f"{measure.difference(row['difference'])}{measure.unit} over {row['opponent']} "
        f"({range_}{interval(measure, pair, row)}, {units(int(row['pairs']), pair)}, joint p {p}"
        f"{at})"
    )


def _wanted(evidence: Evidence, row: dict[str, Any]) -> str:
    pair, more = evidence.pair, row["more_pairs"]
    if not pd.isna(row["next_look"]):
        return f"the next look is at {units(int(row['next_look']), pair)}"
    if not pd.isna(row["look"]):
        return "the last look is made"
    if pd.isna(more):
        return f"how many more {PLURAL[pair]} would decide cannot be known from these"
    if row["pairs"] + more >= _FAR:
        return f"not even {MOST_PAIRS} {PLURAL[pair]} would be likely to decide"
    total = int(row["pairs"] + more)
    plan = "auto" if pair == "seed" and total <= looks.most("auto") else total
    how = "" if evidence.multirun else f" (--new {_KEYS[pair]}={plan})"
    return f"a new {evidence.kind} of about {units(total, pair)} would decide{how}"


def records(frame: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Returns the rows of a frame; none where there is no frame."""
    rows = [] if frame is None else frame.to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in rows]


def listed(values: Iterable[Any], last: str = "or") -> str:
    """`a, b or c`."""
    *names, end = map(str, values)
    return f"{', '.join(names)} {last} {end}" if names else end
