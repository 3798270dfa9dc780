"""How it was measured: what the numbers rest on."""

from collections import Counter

from fmnist_lab.data import OWN
from fmnist_lab.foundation import wording
from fmnist_lab.foundation.nested import flatten
from fmnist_lab.report import lengths
from fmnist_lab.report.evidence import Evidence
from fmnist_lab.report.sentences import listed, progress, units
from fmnist_lab.report.setup import Setup
from fmnist_lab.results import foreign, ledger
from fmnist_lab.statistics import MIN_PAIRS

_NO_PRUNER = "NopPruner"
_CHOICES = ("dataset", "architecture", "optimizer", "clipping", "averaging", "engine")
# Of the manifest, in other words or elsewhere.
_ELSEWHERE = ("winners", "openings", "versions", "strategies", "spaces", "search", "plan", "begun",
         "hash", "looks", "wanted", "recentred")  # fmt: skip
_VERSIONS = ("fmnist-lab", "python", "tensorflow", "keras", "machine", "cpus", "git_commit")


def measured(evidence: Evidence) -> dict[str, str]:
    """Returns all that is known of how the numbers came about, by headings."""
    if evidence.multirun:
        return _of_jobs(evidence, evidence.multirun)
    setup, trials = evidence.setup, evidence.trials
    chosen = {name.capitalize(): ", ".join(trials[name].dropna().unique()) for name in _CHOICES}
    facts = {"Progress": progress(evidence)} | {name: text for name, text in chosen.items() if text}
    if training := setup.config.get("training"):
        differing = lengths.lengths_and_batches(evidence)
        epochs, batch = (
            listed(differing.get(f"training.{key}", [training.get(key)]))
            for key in ("epochs", "batch_size")
        )
        facts["Training"] = f"{epochs} epochs, batches of {batch}"
        facts["Early stopping"] = "none: every trial runs its full length"
        if evidence.stopping != "none":
            node = lengths.group_of(evidence, next(iter(evidence.strategies), ""), "stopping")
            node = node or setup.config.get("stopping", {})
            facts["Early stopping"] = f"on {node.get('monitor')}, patience {node.get('patience')}"
    if data := setup.config.get("data"):
        facts["Validation"] = (
            f"{'the part that the data have for it, or ' if data.get('name') == OWN else ''}"
            f"{data.get('val_size')} of the training images, split={data.get('split')}"
            f"{', drawn by each seed' if setup.draws_splits else ''}"
        )
    better = _better(evidence)
    facts["Objective"] = f"{evidence.metric} of the weights that a trial delivers; {better}"
    if setup.sweeper:
        pruner = (setup.sweeper.get("pruner") or {}).get("_target_", "").rpartition(".")[2]
        facts["Search"] = (
            f"At most {wording.count(setup.sweeper['n_trials'], 'trial')}"
            f"{' for each strategy, in a study of its own,' if setup.strategies else ''}"
            f" by {setup.sampler}"
            f"{'' if pruner in ('', _NO_PRUNER) else f'; pruned by {pruner}'}."
        )
    elif evidence.kind == "multirun":
        facts["Search"] = "None: the trials are those of the command line."
    if stages := setup.recentred.values():
        when, ends = [stage["begun"] for stage in stages], [stage["at_edge"] for stage in stages]
        names = listed(dict.fromkeys(name for found in ends for name in found), "and")
        facts["Second stage"] = (
            f"Begun {listed(when, 'and')}, because the best of {names} was an end of what was "
            "tried: as many trials again for each strategy, in ranges as wide as before with its "
            "best value at their centre, cut where a key allows no more."
        )
    if len(evidence.replicates):
        searches = evidence.replicates["search"].nunique()
        seeds = units(evidence.replicates["seed"].nunique(), "seed")
        facts["Replicates"] = (
            f"Each strategy's best configuration, trained again with {seeds} that took no part in "
            f"the search. A seed fixes {'the split, ' if setup.draws_splits else ''}the initial "
            "weights and the order of the batches, for all strategies alike."
        )
        if searches > 1:
            facts["Replicates"] += f" All that in {searches} independent searches."
    facts["Verdicts"] = _verdicts(evidence)
    if setup.looks:
        errors = listed((f"{n} ({error:.3f})" for n, error in setup.looks.items()), "and")
        facts["Looks"] = (
            f"Planned at seeds {errors}; in brackets the error of each, which add up to "
            f"{setup.alpha:g}. What is decided at a look is trained no further, and its verdict "
            f"stays. Equivalent is what has its joint interval within {100 * setup.margin:g} "
            f"points of zero, so that all verdicts hold together. {_looks_made(setup)}"
        )
    known = setup.environment
    if versions := [f"{name} {known[name]}" for name in _VERSIONS if known.get(name)]:
        facts["Environment"] = ", ".join(versions)
    return facts | _manifests(setup)


def _verdicts(evidence: Evidence) -> str:
    setup, measure = evidence.setup, evidence.measure
    margin = setup.margin * measure.scale
    text = f"Paired differences of {measure.name}. "
    if margin:
        text += (
            f"Equivalent: the {100 - 200 * setup.alpha:g} % t-interval lies within "
            f"{margin:g}{measure.unit} of zero. "
        )
    text += (
        f"Better or worse: the joint p is below {setup.alpha:g}. It flips "
        "the signs of a pair's differences for all strategies at once, step by step from the "
        "clearest; the intervals hold for all of them together, in one step, so that one may reach "
        "over zero where the difference is shown. "
    )
    if evidence.multirun is None:
        text += (
            "Where replicates have kept which test images they get right, a wider interval adds "
            "how much the mean differences vary from image to image. "
        )
    return text + (
        f"Else, and always with fewer than {MIN_PAIRS} pairs, undecided. A {measure.lost} "
        "ranks last: it counts as the largest difference between the two, in favour of the "
        "other. Against the best, which is chosen from the same numbers, p-values and intervals "
        "cover all comparisons of any two strategies."
    )


def _of_jobs(evidence: Evidence, multirun: foreign.Multirun) -> dict[str, str]:
    """Returns what is known of a multirun of another application, by headings."""
    pairs = [key for key in (*multirun.blocks, multirun.seed) if key]
    target = str(multirun.config.get("sweeper", {}).get("_target_", ""))
    facts = {
        "Progress": progress(evidence),
        "Objective": f"What the task function returned; {_better(evidence)}",
        "Strategies": "One: only its seed and what was searched differ.",
    }
    if multirun.strategies:
        facts["Strategies"] = f"The values of {listed(multirun.strategies, 'and')}."
    if pairs:
        facts["Pairs"] = f"Jobs that agree in {listed(pairs, 'and')}."
    search = f"By {target.rpartition('.')[2]}." if target else "Not known."
    return facts | {"Search": search, "Verdicts": _verdicts(evidence)}


def _better(evidence: Evidence) -> str:
    return f"{'larger' if evidence.maximised else 'smaller'} is better."


def _looks_made(setup: Setup) -> str:
    made = [look for one in setup.manifest.get("openings", []) for look in one.get("looks", [])]
    when = [f"at {look['pairs']} on {look['made']}" for look in made]
    return f"Made: {listed(when, 'and')}." if made else "None is made yet."


def _manifests(setup: Setup) -> dict[str, str]:
    """What was trained again, when the test set was opened, and other words of the manifests."""
    manifests, first = setup.manifests, setup.manifest
    winners: dict[str, list[str]] = {}
    for number, manifest in enumerate(manifests, 1):
        search = f"search {number}, " if len(manifests) > 1 else ""
        for name, winner in manifest.get("winners", {}).items():
            text = f"{search}trial {winner['trial']}: {' '.join(winner['overrides'])}"
            winners.setdefault(f"Winner {name}", []).append(text)
    facts = {heading: "; ".join(found) for heading, found in winners.items()}
    if times := [one["opened"] for found in manifests for one in found.get("openings", [])]:
        facts["Test set opened"] = ", ".join(dict.fromkeys(times))
    if setup.openings:
        counts = Counter(f"{entry['command']} {entry['subject']}" for entry in setup.openings)
        what = ", ".join(f"{name}: {count}" for name, count in counts.items())
        facts["Test set in this project"] = f"{ledger.sentence(setup.openings)} {what}."
    if plan := first.get("plan"):
        facts["Plan"] = f"{first['begun']}, {first['hash']}: {plan.get('question')}"
    if changed := [f"{key} {before} to {after}" for key, (before, after) in setup.changed.items()]:
        facts["Changed since the plan"] = ", ".join(changed)
    for key, value in flatten({key: first[key] for key in first if key not in _ELSEWHERE}).items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        facts[f"Manifest: {key}"] = text
    return facts
