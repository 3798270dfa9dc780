"""Verdicts in plain words, a sentence each; what speaks against them is in `cautions`."""

from typing import Any

import pandas as pd

from fmnist_lab.foundation import wording
from fmnist_lab.report.evidence import Evidence
from fmnist_lab.statistics import MIN_PAIRS, MOST_PAIRS, Verdict, least_pairs

MARGIN = 0.2  # points; the default of `comparison.compare`
HOW = f"train each strategy's best configuration again with at least {MIN_PAIRS} fresh seeds"
_PLURAL = {"seed": "seeds", "search": "searches"}
KEYS = {"seed": "replicates", "search": "searches"}  # what asks for more pairs
_USUAL = 8  # seeds
_FAR = 0.9 * MOST_PAIRS  # "that many or more"


def headline(evidence: Evidence) -> str:
    """The answer to the sweep's question, or why there is none."""
    if reason := no_verdict(evidence):
        return reason
    rows = records(evidence.versus_baseline)
    better = [row for row in rows if row["verdict"] == Verdict.BETTER]
    if better:
        return _recommend(max(better, key=lambda row: float(row["difference"])), evidence)
    undecided = [row for row in rows if row["verdict"] == Verdict.UNDECIDED]
    if not undecided:
        return f"Stay with {evidence.baseline}: no other strategy is better."
    none = f"Undecided: no strategy is shown to be better than {evidence.baseline}."
    measured = [row for row in undecided if row["pairs"]]
    if not measured:
        names = listed([str(row["strategy"]) for row in undecided])
        return f"{none} Of {names} nothing is known: {no_interval(0, evidence.pair)}."
    first = max(measured, key=lambda row: float(row["difference"]))
    return (
        f"{none} Ahead is {first['strategy']}, {_numbers(first, evidence.pair)}; "
        f"{_wanted(first, evidence.pair)}."
    )


def no_verdict(evidence: Evidence) -> str | None:
    """Why nothing can be said about which strategy is better; None where something can."""
    if evidence.trials.empty and evidence.replicates.empty:
        return "No verdict: no trial has ended yet."
    if len(evidence.strategies) < 2:
        only = ", ".join(evidence.strategies)
        alone = f"No verdict: there is only one strategy, {only}, and nothing to compare it with."
        return f"{alone}{tested(evidence, only)}"
    if evidence.replicates.empty:
        seeds = evidence.trials.groupby("strategy")["seed"].nunique().max()
        why = "one seed per trial" if seeds == 1 else "these trials were compared to choose from"
        return f"No verdict: {why}. The ranking may be luck; {_how_to_confirm(evidence)}."
    return _lacking(evidence)


def _how_to_confirm(evidence: Evidence) -> str:
    if evidence.is_running and evidence.setup.replicates:
        return "once all is tuned, the sweep itself trains the best configurations again"
    enough = max(_USUAL, least_pairs(len(evidence.strategies) - 1))
    command = evidence.setup.command(f"replicates={enough}")
    return f"to get a verdict, {HOW}, with: {command}" if command else f"to get a verdict, {HOW}"


def _lacking(evidence: Evidence) -> str | None:
    """What the replicates lack, if anything."""
    if evidence.versus_baseline is None:
        if evidence.replicates["strategy"].nunique() < 2:
            return "No verdict: only one strategy has replicates so far."
        return "No verdict: the test accuracy of the replicates is not measured yet."
    pairs, rivals = int(evidence.versus_baseline["pairs"].max()), len(evidence.versus_baseline)
    if pairs >= MIN_PAIRS:
        return None
    least = least_pairs(rivals)
    against = f" against {rivals} rivals" if rivals > 1 else ""
    return (
        f"No verdict: {units(pairs, evidence.pair)} per strategy, and fewer than {least} can never "
        f"reach p < 0.05{against}. The ranking may be luck; {_to_come(evidence, least, pairs)}."
    )


def _to_come(evidence: Evidence, least: int, pairs: int) -> str:
    setup = evidence.setup
    planned = setup.searches if evidence.pair == "search" else setup.replicates
    if planned >= least and len(evidence.replicates) < (setup.planned_replicates or 0):
        return f"the sweep has yet to come to its {units(planned, evidence.pair)}"
    return f"it takes at least {least - pairs} more{with_more(evidence, least)}"


def with_more(evidence: Evidence, pairs: int) -> str:
    """The command that goes on to so many pairs, as the end of a sentence."""
    command = evidence.setup.command(f"{KEYS[evidence.pair]}={pairs}")
    return f", with: {command}" if command else ""


def _recommend(row: dict[str, Any], evidence: Evidence) -> str:
    use = f"Use {row['strategy']}: {_numbers(row, evidence.pair)}."
    use += tested(evidence, str(row["strategy"]))
    rivals = [
        str(rival["strategy"])
        for rival in records(evidence.versus_best)
        if rival["opponent"] == row["strategy"] and rival["verdict"] != Verdict.WORSE
    ]
    if rivals and rivals != [evidence.baseline]:
        told = listed([name for name in rivals if name != evidence.baseline])
        use += f" Whether it is also better than {told} is not shown."
    return use


def tested(evidence: Evidence, strategy: str) -> str:
    """A strategy's test accuracy as a further sentence; nothing where it is not known."""
    row = evidence.standings.set_index("strategy").loc[strategy]
    if pd.isna(row["test_accuracy"]):
        return ""
    low, high = (f"{100 * row[key]:.2f}" for key in ("test_low", "test_high"))
    interval = f"95 % interval {low} to {high}"
    if pd.isna(row["test_low"]):
        interval = no_interval(1, evidence.pair)
    return f" Its test accuracy is {100 * row['test_accuracy']:.2f} % ({interval})."


def verdict(row: dict[str, Any], pair: str) -> str:
    """What a row of `comparison.compare` says."""
    who, opponent = row["strategy"], row["opponent"]
    if row["verdict"] == Verdict.EQUIVALENT:
        return f"As good as {opponent}, give or take {MARGIN} points."
    if row["verdict"] == Verdict.BETTER:
        return f"Better than {opponent}."
    if row["verdict"] == Verdict.WORSE:
        return f"Worse than {opponent}."
    if row["diverged"] != row["opponent_diverged"]:
        return (
            f"Undecided: {who} diverged with {units(int(row['diverged']), pair)}, {opponent} with "
            f"{row['opponent_diverged']}, and what is left flatters the one that lost more."
        )
    return f"Undecided; {_wanted(row, pair)}."


def claim(evidence: Evidence) -> str:
    """What the verdicts are about."""
    if evidence.pair == "search":
        about = (
            "The verdicts are about the strategies, each tuned anew in every search with the same "
            "budget; the replicates of a search count as one value, their mean."
        )
    else:
        about = (
            "The verdicts are about these tuned configurations, the ones that this search has "
            "found; another search might find others, and more seeds do not cover that."
        )
    return (
        f"{about} They hold for one architecture, one number of epochs and this test set: its "
        "10,000 images leave differences below 0.2 to 0.4 points to chance, whatever the seeds say."
    )


def progress(evidence: Evidence) -> str:
    """How far the sweep has come."""
    done, planned = len(evidence.trials), evidence.setup.planned
    of = f"{done} of " if evidence.is_running else ""
    told = of + wording.count(planned or 0 if of else done, "tuning trial")
    if again := len(evidence.replicates):
        whole = evidence.setup.planned_replicates or again
        told += f" and {f'{again} of ' * (again < whole)}{wording.count(whole, 'replicate')}"
    told = f"{told} {'has' if done + again == 1 else 'have'} ended"
    if lost := evidence.superseded:
        told += f"; {lost} more {'was' if lost == 1 else 'were'} interrupted or tried again, "
        told += f"and {'does' if lost == 1 else 'do'} not count"
    if unended := evidence.setup.unended:
        if evidence.setup.has_ended:
            told += f"; {unended} more {'was' if unended == 1 else 'were'} cut off without a result"
        else:
            told += f"; {unended} more began and left no result yet: still running, or lost"
    return f"{told}."


def units(count: int, pair: str) -> str:
    """`1 seed`, `8 seeds`, `6 searches`."""
    return f"{count} {pair if count == 1 else _PLURAL[pair]}"


def points(difference: float) -> str:
    """A difference of two accuracies: `+0.62`."""
    return f"{100 * difference:+.2f}"


def interval(row: dict[str, Any], pair: str) -> str:
    """`interval +0.41 to +0.83` of a difference of two accuracies, or why there is none."""
    if pd.isna(row["low"]):
        return no_interval(int(row["pairs"]), pair)
    return f"interval {points(row['low'])} to {points(row['high'])}"


def no_interval(pairs: int, pair: str) -> str:
    """Why fewer than two pairs have no interval."""
    why = f"{units(pairs, pair)} shows no spread" if pairs else f"no {pair} in common"
    return f"no interval: {why}"


def p_value(p: float) -> str:
    """`p = 0.008`, `p < 0.001`."""
    return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"


def _numbers(row: dict[str, Any], pair: str) -> str:
    range_ = interval(row, pair)
    return (
        f"{points(row['difference'])} points over {row['opponent']} "
        f"({range_ if pd.isna(row['low']) else f'95 % {range_}'}, "
        f"{units(int(row['pairs']), pair)}, {p_value(row['p_holm'])} after Holm)"
    )


def _wanted(row: dict[str, Any], pair: str) -> str:
    more = row["more_pairs"]
    if pd.isna(more):
        return f"how many more {_PLURAL[pair]} would decide, nobody can know from these"
    if more >= _FAR:
        return f"not even {MOST_PAIRS} {_PLURAL[pair]} would be likely to decide"
    return f"about {more} more {pair if more == 1 else _PLURAL[pair]} would decide"


def records(frame: pd.DataFrame | None) -> list[dict[str, Any]]:
    """The rows of a frame; none where there is no frame."""
    if frame is None:
        return []
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def listed(names: list[str], last: str = "or") -> str:
    """`a, b or c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"
