"""What `fmnist-lab promote` does: makes a trial's model, registers it, says how to serve it.

Trials keep no weights. The one that is promoted is trained again, with its own configuration and
seed, and every epoch is held against the recorded curve: what is registered is the model whose
numbers were recorded, or nothing.

Of a sweep it is the strategy whose replicates are best on the validation images, and of these the
one with the first seed. Test accuracies choose neither, so that they stay worth something.
"""

import math
import tempfile
from pathlib import Path

import pandas as pd

from fmnist_lab import data, results, statistics
from fmnist_lab.errors import NotReproducedError, RequestError
from fmnist_lab.export.reproduce import Recorded, train_again
from fmnist_lab.foundation.secrets import mask
from fmnist_lab.protocol.progress.words import count
from fmnist_lab.report import cautions
from fmnist_lab.report.evidence import require_one_objective
from fmnist_lab.report.setup import Setup
from fmnist_lab.results.schema import Record
from fmnist_lab.tracking import models
from fmnist_lab.tracking.models import CHAMPION, Registry
from fmnist_lab.trial import WHOLE


def main(
    name: str | None = None,
    strategy: str | None = None,
    run: str | None = None,
    anyway: bool = False,
) -> None:
    """Registers the model of the sweep's winner, or of the run that is asked for, as champion.

    Args:
        name: A sweep or multirun; None: the latest.
        strategy: Its winner instead of the sweep's.
        run: The MLflow id of a trial, whatever sweep it is of, or of none.
        anyway: Register what was trained now, even where it departs from the record.

    Raises:
        RequestError: There is no such sweep, strategy or run, or it cannot be promoted.
        NotReproducedError: The training gave other numbers than those recorded.
        ConnectionLostError: The tracking server did not answer.
    """
    if run is not None and (name or strategy):
        raise RequestError(f"`--run` must stand alone, got {run!r} beside a sweep or strategy.")
    recorded = Recorded.read(
        find_run(run) if run is not None else choose(results.find(name), strategy)
    )
    print(f"To be promoted: {recorded.title}.")
    registry = Registry(recorded.tracking)
    version = registry.find(_registered_name(recorded), recorded.run_id)
    if version is None:
        version = _make(recorded, registry, anyway)
    else:
        print(f"It is registered already, as version {version}.")
    registry.crown(_registered_name(recorded), version)
    print(_directions(_registered_name(recorded), version, registry))


def find_run(run: str, root: Path = results.ROOT) -> Path:
    """The folder of the trial with this MLflow run id.

    Raises:
        RequestError: No trial here has it, or the result of one that comes first is damaged.
    """
    for path in root.rglob("result.json"):
        if Record(path).read().get("mlflow_run_id") == run:
            return path.parent
    raise RequestError(
        f"`--run` must be the MLflow id of a trial under {root}, got {run!r}; "
        "the UI shows it on the trial's page."
    )


def choose(place: Path, strategy: str | None = None) -> Path:
    """The folder of the trial that stands for a sweep, or for one of its strategies.

    Raises:
        RequestError: The sweep has no such strategy, or nothing there has trained to its end, or
            what has was judged by two objectives.
    """
    replicates = results.replicates(results.ended(place, "replicate"))
    trials, drawn = statistics.on_real_images(results.trials(results.ended(place)))
    if drawn:
        print(f"{count(drawn, 'trial')} on synthetic images left out.")
    replicates, _ = statistics.on_real_images(replicates)
    known = sorted({str(name) for frame in (replicates, trials) for name in frame["strategy"]})
    if strategy is not None:
        if strategy not in known:
            raise RequestError(f"`--strategy` must be one of {', '.join(known)}, got {strategy!r}.")
        replicates = replicates[replicates["strategy"] == strategy]
        trials = trials[trials["strategy"] == strategy]
    if replicates["stop_reason"].isin(WHOLE).any():
        kept = replicates[~replicates["superseded"]]
        return _first_of_best_strategy(_ranked(place, "replicates", kept))
    if trials["stop_reason"].isin(WHOLE).any():
        return _best_trial(_ranked(place, "trials", trials[trials["stop_reason"].isin(WHOLE)]))
    raise RequestError(
        f"`{place.name}` must hold a trial that trained to its end, got {len(trials)} that did not."
    )


def _ranked(place: Path, runs: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The same, if it is of one objective; says what else speaks against ranking it."""
    require_one_objective(frame)
    setup = Setup.read(place, [])
    told = [*cautions.openings(setup.manifests), *setup.damaged]
    for caution in [*told, *cautions.mixed_images({runs: frame}, setup)]:
        print(f"Caution: {caution}")
    return frame


def _first_of_best_strategy(replicates: pd.DataFrame) -> Path:
    """By the mean objective; a strategy of which a replicate diverged comes last."""
    metric = str(replicates["objective_metric"].iloc[0])
    means = replicates.groupby("strategy")["objective"].agg(
        lambda values: values.mean(skipna=False)
    )
    name = str(means.sort_values(ascending=metric == "val/loss", kind="stable").index[0])
    own = replicates[replicates["strategy"] == name]
    print(
        f"{name} has the best {metric} in the mean over its {count(len(own), 'replicate')}, "
        f"{means[name]:.4f}; its model is the one with the first seed."
    )
    whole = own[own["stop_reason"].isin(WHOLE)]
    return Path(whole.sort_values("seed")["folder"].iloc[0])


def _best_trial(trials: pd.DataFrame) -> Path:
    metric = str(trials["objective_metric"].iloc[0])
    rising = metric == "val/loss"
    best = trials.sort_values("objective", ascending=rising, kind="stable").iloc[0]
    print(f"{best['strategy']} has the best {metric} of all trials, {best['objective']:.4f}.")
    return Path(best["folder"])


def _make(recorded: Recorded, registry: Registry, anyway: bool) -> str:
    """Trains, packs, measures and registers; returns the version's number."""
    dataset = data.load(recorded.trial.data)
    weights = train_again(recorded, dataset, anyway)
    from fmnist_lab.training.engines import building

    _, accuracy = building.evaluate(recorded.trial, dataset, weights)
    with tempfile.TemporaryDirectory() as name:
        network, folder = Path(name) / "network.keras", Path(name) / "model"
        building.save(recorded.trial, weights, network)
        models.pack(network, dataset, folder)
        served = models.measure(folder, dataset)
        told = _judge(recorded, accuracy, served, anyway)
        print(told)
        tags = {
            key: str(recorded.result[key])
            for key in ("sweep", "strategy", "kind", "trial", "seed")
            if recorded.result[key] is not None
        }
        tags |= {"test/accuracy": f"{accuracy:.4f}", "data.sha256": dataset.checksum}
        description = f"{recorded.title[0].upper()}{recorded.title[1:]}. {told}"
        return registry.add(_registered_name(recorded), recorded.run_id, folder, tags, description)


def _judge(recorded: Recorded, accuracy: float, served: float, anyway: bool) -> str:
    """What the model's test accuracy is, and whether it is the recorded one."""
    known = recorded.result.get("test_accuracy", math.nan)
    if not math.isclose(accuracy, served, abs_tol=1e-6):
        raise NotReproducedError(
            f"Packed for MLflow, the model's test accuracy is {served:.4f} instead of "
            f"{accuracy:.4f}; nothing was registered."
        )
    if math.isnan(known):
        return f"Its test accuracy is {accuracy:.4f}, measured now for the first time."
    if math.isclose(accuracy, known, abs_tol=1e-6):
        return f"Its test accuracy is {accuracy:.4f}, as recorded."
    if not anyway:
        raise NotReproducedError(
            f"The model's test accuracy is {accuracy:.4f} instead of the recorded {known:.4f}; "
            "nothing was registered."
        )
    return f"Its test accuracy is {accuracy:.4f}, not {known:.4f} as was recorded."


def _registered_name(recorded: Recorded) -> str:
    """The experiment's, and the sweep's where there is one: `fmnist-lab-schedules`."""
    names = (recorded.tracking.experiment, recorded.result["sweep"])
    return models.spell("-".join(name for name in names if name))


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
