"""What `fmnist-lab promote` does: registers a trial's model, and says how to serve it.

A replicate has kept its weights. A tuning trial has not, nor has a replicate of an earlier
version: it is trained again, and every epoch is compared with the recorded curve.
"""

import math
import shlex
import tempfile
from pathlib import Path
from typing import Any

from fmnist_lab import config, data, results
from fmnist_lab.errors import NotReproducedError, Phrase, RequestError
from fmnist_lab.export import choosing
from fmnist_lab.export import document as recipe
from fmnist_lab.export.document import train_again
from fmnist_lab.foundation.secrets import mask
from fmnist_lab.foundation.spelling import spell
from fmnist_lab.results import curve_diff, ledger, schema
from fmnist_lab.results.curve_diff import shown
from fmnist_lab.tracking import models
from fmnist_lab.tracking.models import CHAMPION, Registry
from fmnist_lab.training import environment, weights
from fmnist_lab.trial import WHOLE, Trial


def main(
    name: str | None = None,
    strategy: str | None = None,
    run: str | None = None,
    anyway: bool = False,
    stopping: str | None = None,
) -> None:
    """Registers the winner's model, or that of a run, as champion; see the command's help.

    Raises:
        RequestError: There is no such sweep, strategy or run, or it cannot be promoted.
        NotReproducedError: The model gives other numbers than those recorded.
        ConnectionLostError: The tracking server did not answer.
    """
    if run is not None and (name or strategy or stopping):
        raise RequestError(f"`--run` must stand alone, got {run!r} beside a sweep or strategy.")
    folder = _find_run(run) if run is not None else _choose(name, strategy, stopping)
    result = schema.result(folder)
    if result["stop_reason"] not in WHOLE:
        got = Phrase(result["stop_reason"])
        raise RequestError("--run", "be a trial that trained to its end", got)
    if not result["mlflow_run_id"]:
        raise RequestError(
            f"The trial in {folder} must be recorded in MLflow, where its model would go, got no "
            "run."
        )
    cfg = config.load(folder / ".hydra" / "config.yaml")
    sweep = f" in {result['sweep']}" if result["sweep"] else ""
    title = (  # `replicate 3 of cosine in schedules, seed 45`
        f"{result['kind']} {result['trial']} of {result['strategy']}{sweep}, seed {result['seed']}"
    )
    print(f"To be promoted: {title}.")
    tracking = config.to_tracking(cfg)
    registry, run_id = Registry(tracking), str(result["mlflow_run_id"])
    # The experiment's name, and the sweep's where there is one: `fmnist-lab-schedules`.
    model = models.spell("-".join(filter(None, (tracking.experiment, result["sweep"]))))
    version = registry.find(model, run_id)
    if version is None:
        with tempfile.TemporaryDirectory() as place:
            packed = Path(place) / "model"
            tags, sentence = _pack(folder, config.to_trial(cfg), result, packed, anyway)
            print(sentence)
            description = f"{title[0].upper()}{title[1:]}. {sentence}"
            version = registry.add(model, run_id, packed, tags, description)
    else:
        print(f"It is registered already, as version {version}.")
    registry.set_champion(model, version)
    example = registry.example(model, version)
    images = """'{"inputs": [[[0, 0, ...], ...]]}'"""
    if example:
        images = shlex.quote(f"@{example}")
    print(f"""Registered: {model}, version {version}, which is now its {CHAMPION}.

Serve it, on this machine alone:
  MLFLOW_TRACKING_URI={mask(registry.address)} mlflow models serve \\
      --model-uri models:/{model}@{CHAMPION} --env-manager local --port 5001

Ask it for the classes of images, each as rows of pixels, as they were trained on:
  curl http://127.0.0.1:5001/invocations -H 'Content-Type: application/json' \\
      --data {images}
""")


def _find_run(run: str) -> Path:
    """Returns the folder of the trial with this MLflow run id."""
    for path in results.ROOT.rglob("result.json"):
        if schema.read(path, dict[str, Any]).get("mlflow_run_id") == run:
            return path.parent
    hint = "the UI shows it on the trial's page"
    raise RequestError("--run", f"be the MLflow id of a trial under {results.ROOT}", run, hint)


def _choose(name: str | None, strategy: str | None, stopping: str | None) -> Path:
    choice = choosing.choose(name, strategy, stopping=stopping, model=True)
    print("\n".join([choice.why, *(f"Caution: {warning}" for warning in choice.warnings)]))
    return Path(str(choice.trial["folder"]))


def _pack(
    folder: Path, trial: Trial, result: dict[str, Any], packed: Path, anyway: bool
) -> tuple[dict[str, str], str]:
    """Makes the MLflow model; returns its tags, and a sentence on its test accuracy."""
    dataset = data.load(trial.data)
    ledger.record(
        ledger.Entry(
            opened=ledger.now(),
            images=dataset.test_checksum,
            command=ledger.Command.PROMOTE,
            subject=str(result["mlflow_run_id"]),
            runs=1,
        )
    )
    print(ledger.sentence(ledger.read(dataset.test_checksum)))
    delivered = weights.read(folder) or _train_again(folder, anyway, trial.data.path)
    from fmnist_lab.training.engines import building  # TensorFlow, 5 s

    network = packed.with_name("network.keras")
    building.save(trial, dataset, delivered, network)
    models.pack(network, dataset, packed)
    accuracy, known = models.measure(packed, dataset), result.get("test_accuracy", math.nan)
    sentence = f"Its test accuracy is {accuracy:.4f}, as recorded."
    if math.isnan(known):
        sentence = f"Its test accuracy is {accuracy:.4f}, measured now for the first time."
    elif not math.isclose(accuracy, known, abs_tol=1e-6):
        sentence = f"Its test accuracy is {accuracy:.4f}, not {known:.4f} as was recorded."
        if not anyway:
            raise NotReproducedError(
                f"The model's test accuracy is {accuracy:.4f} instead of the recorded "
                f"{known:.4f}; nothing was registered."
            )
    keys = ("sweep", "strategy", "kind", "trial", "seed")
    tags = {key: str(result[key]) for key in keys if result[key] is not None}
    tags |= {"test/accuracy": f"{accuracy:.4f}", "data.sha256": dataset.checksum}
    return tags, sentence


def _train_again(folder: Path, anyway: bool, images: str | None) -> list[Any]:
    """Returns the weights of a trial that has kept none, if its curve is the recorded one."""
    print("It has kept no weights, so it is trained again.", flush=True)
    threads = environment.recorded(folder)["threads"]
    places = [f"data.path={spell(images)}"] if images else []
    more = ("tracking=none", *places)
    again = train_again(recipe.recipe(folder), threads, *more, kind="replicate")
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
