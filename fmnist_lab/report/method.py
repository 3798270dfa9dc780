"""How it was measured: what the numbers rest on, as pairs of a heading and a text."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from fmnist_lab.comparison import MIN_PAIRS
from fmnist_lab.report.evidence import Evidence
from fmnist_lab.report.sentences import MARGIN, progress, units

Facts = list[tuple[str, str]]
_CHOICES = ("dataset", "architecture", "optimizer", "clipping", "engine")
_TOLD = ("winners", "openings", "versions")  # of the manifest, in other words
_VERSIONS = ("fmnist-lab", "python", "tensorflow", "keras", "machine", "cpus", "git_commit")


def measured(evidence: Evidence) -> Facts:
    """All that is known of how the numbers came about."""
    return [
        ("Progress", progress(evidence)),
        *_choices(evidence),
        *_training(evidence),
        ("Objective", _objective(evidence)),
        *_search(evidence),
        *_replicates(evidence),
        ("Verdicts", _rules()),
        *_environment(evidence.setup.environment),
        *_manifest(evidence.setup.manifest),
    ]


def _choices(evidence: Evidence) -> Facts:
    return [
        (name.capitalize(), ", ".join(evidence.trials[name].dropna().unique()))
        for name in _CHOICES
        if evidence.trials[name].notna().any()
    ]


def _training(evidence: Evidence) -> Facts:
    training, data = (evidence.setup.config.get(key, {}) for key in ("training", "data"))
    facts = []
    if training:
        epochs = f"{training.get('epochs')} epochs, batches of {training.get('batch_size')}"
        stops = "none: every trial runs its full length"
        if evidence.stopping != "none":
            stopping = evidence.setup.config.get("stopping", {})
            stops = f"on {stopping.get('monitor')}, patience {stopping.get('patience')}"
        facts = [("Training", epochs), ("Early stopping", stops)]
    if data:
        size = data.get("val_size")
        facts.append(("Validation", f"{size} of the training images, split={data.get('split')}"))
    return facts


def _objective(evidence: Evidence) -> str:
    best = "larger" if evidence.maximised else "smaller"
    return f"{evidence.metric} of the weights that a trial delivers; {best} is better."


def _search(evidence: Evidence) -> Facts:
    if evidence.is_multirun:
        return [("Search", "None: the trials are those of the command line.")]
    if not (setup := evidence.setup).sweeper:
        return []
    pruner = (setup.sweeper.get("pruner") or {}).get("_target_", "none").rpartition(".")[2]
    text = f"{setup.sweeper['n_trials']} trials for each strategy by {setup.sampler}"
    text += ", each in a study of its own" if setup.strategies else ""
    text += "" if pruner in ("none", "NopPruner") else f"; pruned by {pruner}"
    return [("Search", f"{text}.")]


def _replicates(evidence: Evidence) -> Facts:
    frame: pd.DataFrame = evidence.replicates
    if frame.empty:
        return []
    seeds, searches = frame["seed"].nunique(), frame["search"].nunique()
    text = (
        f"Each strategy's best configuration, trained again with {units(seeds, 'seed')} that took "
        "no part in the search. A seed fixes the split, the initial weights and the order of the "
        "batches, for all strategies alike."
    )
    if searches > 1:
        text += f" All that in {searches} independent searches."
    return [("Replicates", text)]


def _rules() -> str:
    return (
        "Paired differences of test accuracy. Equivalent: the 90 % t-interval lies within "
        f"{MARGIN} points of zero. Better or worse: the exact sign-flip p, adjusted by Holm for "
        "all strategies, is below 0.05, and the 95 % t-interval excludes zero. Else, and always "
        f"with fewer than {MIN_PAIRS} pairs, undecided. Against the best, which is chosen from "
        "the same numbers, p-values and intervals cover all comparisons of any two strategies."
    )


def _environment(environment: Mapping[str, Any]) -> Facts:
    known = [f"{name} {environment[name]}" for name in _VERSIONS if environment.get(name)]
    return [("Environment", ", ".join(known))] if known else []


def _manifest(manifest: Mapping[str, Any]) -> Facts:
    """What was trained again, since when the test set is open, and the manifest's other words."""
    facts = [(f"Winner {name}", _winner(winner)) for name, winner in _part(manifest, "winners")]
    openings = [opening["opened"] for opening in manifest.get("openings", [])]
    if openings:
        facts.append(("Test set opened", ", ".join(openings)))
    rest = {key: value for key, value in manifest.items() if key not in _TOLD}
    return facts + _flat(rest)


def _part(manifest: Mapping[str, Any], key: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    part: Mapping[str, Any] = manifest.get(key, {})
    return part.items()


def _winner(winner: Mapping[str, Any]) -> str:
    return f"trial {winner['trial']}: {' '.join(winner['overrides'])}"


def _flat(content: Mapping[str, Any], prefix: str = "") -> Facts:
    """Nested keys joined by dots."""
    facts: Facts = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            facts += _flat(value, f"{prefix}{key}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            facts.append((f"Manifest: {prefix}{key}", text))
    return facts
