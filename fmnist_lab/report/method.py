"""How it was measured: what the numbers rest on, as pairs of a heading and a text."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from fmnist_lab.report.evidence import Evidence
from fmnist_lab.report.sentences import MARGIN, progress, units
from fmnist_lab.statistics import MIN_PAIRS

_NO_PRUNER = "optuna.pruners.NopPruner"
Facts = list[tuple[str, str]]
_CHOICES = ("dataset", "architecture", "optimizer", "clipping", "engine")
# Of the manifest, in other words or elsewhere.
_TOLD = ("winners", "openings", "versions", "strategies", "spaces", "search")
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
        *_winners(evidence.setup.manifests),
        *_openings(evidence.setup.manifests),
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
    pruner = (setup.sweeper.get("pruner") or {}).get("_target_", _NO_PRUNER)
    text = f"{setup.sweeper['n_trials']} trials for each strategy by {class_name(setup.sampler)}"
    text += ", each in a study of its own" if setup.strategies else ""
    text += "" if pruner == _NO_PRUNER else f"; pruned by {class_name(pruner)}"
    return [("Search", f"{text}.")]


def class_name(target: str | None) -> str | None:
    """Returns the class's own name, from its import path."""
    return target.rpartition(".")[2] if target else None


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
    """The manifest's other words, of the first search."""
    return _flat({key: value for key, value in manifest.items() if key not in _TOLD})


def _winners(manifests: Sequence[Mapping[str, Any]]) -> Facts:
    """What was trained again; a text for each strategy, with its winners of all searches."""
    texts: dict[str, list[str]] = {}
    for number, manifest in enumerate(manifests, 1):
        search = f"search {number}, " if len(manifests) > 1 else ""
        for name, winner in manifest.get("winners", {}).items():
            text = f"{search}trial {winner['trial']}: {' '.join(winner['overrides'])}"
            texts.setdefault(name, []).append(text)
    return [(f"Winner {name}", "; ".join(found)) for name, found in texts.items()]


def _openings(manifests: Sequence[Mapping[str, Any]]) -> Facts:
    """When the test set was opened."""
    times = [one["opened"] for manifest in manifests for one in manifest.get("openings", [])]
    return [("Test set opened", ", ".join(dict.fromkeys(times)))] if times else []


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
