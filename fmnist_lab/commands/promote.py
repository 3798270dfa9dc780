"""What `fmnist-lab promote` does: registers a trial's model, and says how to serve it.

A replicate has kept its weights. A tuning trial has not, nor has a replicate of an earlier
version: it is trained again, and every epoch is compared with the recorded curve.
"""

import math
import tempfile
from pathlib import Path
from typing import Any

from fmnist_lab import config, data, results
from fmnist_lab.data import Dataset
from fmnist_lab.errors import NotReproducedError, Phrase, RequestError
from fmnist_lab.export import choosing
from fmnist_lab.export import document as recipe
from fmnist_lab.export.document import train_again
from fmnist_lab.foundation.secrets import mask
from fmnist_lab.results import curve_diff, schema
from fmnist_lab.results.curve_diff import shown
from fmnist_lab.tracking import models
from fmnist_lab.tracking.models import CHAMPION, Registry
from fmnist_lab.training import environment, weights
from fmnist_lab.trial import WHOLE


def main(
    name: str | None = None,
    strategy: str | None = None,
    run: str | None = None,
    anyway: bool = False,
    stopping: str | None = None,
) -> None:
    """Registers the model of the sweep's winner, or of the run that is asked for, as champion.

    Args:
        name: A sweep or multirun; None: the latest.
        strategy: Its winner instead of the sweep's.
        run: The MLflow id of a trial, whatever sweep it is of, or of none.
        anyway: Register the model even where its numbers are not the recorded ones.
        stopping: Choose among trials with this early stopping, where it differs.

    Raises:
        RequestError: There is no such sweep, strategy or run, or it cannot be promoted.
        NotReproducedError: The model gives other numbers than those recorded.
        ConnectionLostError: The tracking server did not answer.
    """
    if run is not None and (name or strategy or stopping):
        raise RequestError(f"`--run` must stand alone, got {run!r} beside a sweep or strategy.")
    folder = find_run(run) if run is not None else _choose(name, strategy, stopping)
    result = _promotable(folder)
    title = _title(result)
    print(f"To be promoted: {title}.")
    tracking = config.to_tracking(config.load(folder / ".hydra" / "config.yaml"))
    registry, run_id = Registry(tracking), str(result["mlflow_run_id"])
    # The experiment's name, and the sweep's where there is one: `fmnist-lab-schedules`.
    model = models.spell("-".join(filter(None, (tracking.experiment, result["sweep"]))))
    version = registry.find(model, run_id)
    if version is None:
        with tempfile.TemporaryDirectory() as place:
            packed = Path(place) / "model"
            tags, sentence = _pack(folder, result, packed, anyway)
            print(sentence)
            description = f"{title[0].upper()}{title[1:]}. {sentence}"
            version = registry.add(model, run_id, packed, tags, description)
    else:
        print(f"It is registered already, as version {version}.")
    registry.set_champion(model, version)
    print(_directions(model, version, registry))


def find_run(run: str, root: Path = results.ROOT) -> Path:
    """Returns the folder of the trial with this MLflow run id.

    Raises:
        RequestError: No trial here has it, or the result of one that comes first is damaged.
    """
    for path in root.rglob("result.json"):
        if schema.read(path, dict[str, Any]).get("mlflow_run_id") == run:
            return path.parent
    hint = "the UI shows it on the trial's page"
    raise RequestError("--run", f"be the MLflow id of a trial under {root}", run, hint)


def _choose(name: str | None, strategy: str | None, stopping: str | None) -> Path:
    choice = choosing.choose(name, strategy, stopping=stopping, model=True)
    print("\n".join([choice.why, *(f"Caution: {warning}" for warning in choice.warnings)]))
    return Path(str(choice.trial["folder"]))


def _promotable(folder: Path) -> dict[str, Any]:
    """Returns the result of a trial whose model can be had, or raises RequestError."""
    result = schema.result(folder)
    if result["stop_reason"] not in WHOLE:
        got = Phrase(result["stop_reason"])
        raise RequestError("--run", "be a trial that trained to its end", got)
    if not result["mlflow_run_id"]:
        raise RequestError(
            f"The trial in {folder} must be recorded in MLflow, where its model would go, got no "
            "run."
        )
    return result


def _title(result: dict[str, Any]) -> str:
    """Returns a trial's name in words: `replicate 3 of cosine in schedules, seed 45`."""
    sweep = f" in {result['sweep']}" if result["sweep"] else ""
    return (
        f"{result['kind']} {result['trial']} of {result['strategy']}{sweep}, seed {result['seed']}"
    )


def _pack(
    folder: Path, result: dict[str, Any], packed: Path, anyway: bool
) -> tuple[dict[str, str], str]:
    """Makes the MLflow model; returns its tags, and a sentence on its test accuracy."""
    trial = config.to_trial(config.load(folder / ".hydra" / "config.yaml"))
    dataset = data.load(trial.data)
    delivered = weights.read(folder)
    if delivered is None:
        delivered = _train_again(folder, anyway)
    from fmnist_lab.training.engines import building  # TensorFlow, 5 s

    network = packed.with_name("network.keras")
    building.save(trial, delivered, network)
    models.pack(network, dataset, packed)
    accuracy, sentence = _measure(packed, dataset, result, anyway)
    keys = ("sweep", "strategy", "kind", "trial", "seed")
    tags = {key: str(result[key]) for key in keys if result[key] is not None}
    tags |= {"test/accuracy": f"{accuracy:.4f}", "data.sha256": dataset.checksum}
    return tags, sentence


def _train_again(folder: Path, anyway: bool) -> list[Any]:
    """Returns the weights of a trial that has kept none, if its curve is the recorded one."""
    print("It has kept no weights, so it is trained again.", flush=True)
    threads = environment.recorded(folder)["threads"]
    again = train_again(recipe.recipe(folder), threads, "kind=replicate", "tracking=none")
    found = curve_diff.departures(curve_diff.read(folder), curve_diff.read(again), exact=True)
    if found and not anyway:
        first = min(found, key=lambda departure: departure.epoch)
        raise NotReproducedError(
            f"Trained again, the trial departs from its record: from epoch {first.epoch} on, "
            f"{first.metric} {shown(first.now)} instead of {shown(first.recorded)}. Nothing was "
            "registered. Other versions, another machine or another number of threads can be the "
            "reason; --anyway registers what was trained now."
        )
    delivered = weights.read(again)
    if delivered is None:  # it has diverged now
        raise NotReproducedError(f"Trained again, the trial gave no model; see {again}.")
    return delivered


def _measure(
    packed: Path, dataset: Dataset, result: dict[str, Any], anyway: bool
) -> tuple[float, str]:
    """Returns the packed model's test accuracy, and whether it is the recorded one."""
    accuracy, known = models.measure(packed, dataset), result.get("test_accuracy", math.nan)
    if math.isnan(known):
        return accuracy, f"Its test accuracy is {accuracy:.4f}, measured now for the first time."
    if math.isclose(accuracy, known, abs_tol=1e-6):
        return accuracy, f"Its test accuracy is {accuracy:.4f}, as recorded."
    if not anyway:
        raise NotReproducedError(
            f"The model's test accuracy is {accuracy:.4f} instead of the recorded {known:.4f}; "
            "nothing was registered."
        )
    return accuracy, f"Its test accuracy is {accuracy:.4f}, not {known:.4f} as was recorded."


def _directions(name: str, version: str, registry: Registry) -> str:
    """What was registered, and how to use it."""
    example = registry.example(name, version)
    images = f"@{example}" if example else """'{"inputs": [[[0, 0, ...], ...]]}'"""
    return f"""Registered: {name}, version {version}, which is now its {CHAMPION}.

Serve it, on this machine alone:
  MLFLOW_TRACKING_URI={mask(registry.address)} mlflow models serve \\
      --model-uri models:/{name}@{CHAMPION} --env-manager local --port 5001

Ask it for the classes of images, 28 rows of 28 pixels from 0 to 255 each:
  curl http://127.0.0.1:5001/invocations -H 'Content-Type: application/json' \\
      --data {images}
"""
