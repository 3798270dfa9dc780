"""Models in MLflow: packed so that they can be served, registered, one of them the champion."""

import json
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np

from fmnist_lab.config import TrackingConfig
from fmnist_lab.data import Dataset
from fmnist_lab.errors import ConnectionLostError, RequestError
from fmnist_lab.foundation.secrets import mask
from fmnist_lab.tracking.store import SHORT_TIMEOUT, open_experiment, quiet_mlflow, store_uri

CHAMPION = "champion"  # the alias of the version that is to be used
EXAMPLES = 2  # images in the input example
NEEDED = ("mlflow", "tensorflow", "keras", "numpy", "pandas")  # where the model is served


def pack(network: Path, dataset: Dataset, folder: Path) -> None:
    """Makes an MLflow model in `folder`: signature, input example, and what it needs.

    Args:
        network: The `.keras` file.
        dataset: What it was trained on, for class names, scaling and the example.
        folder: Does not exist yet.
    """
    with _quiet():
        import mlflow.pyfunc
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, Schema, TensorSpec

    pixels = TensorSpec(dataset.test_images.dtype, (-1, *dataset.image_shape))
    classes = [ColSpec("double", name) for name in dataset.class_names]
    facts = {"classes": dataset.class_names, "mean": dataset.mean, "std": dataset.std}
    facts |= {"scale": dataset.scale}
    with tempfile.TemporaryDirectory() as name, _quiet():
        file = Path(name) / "facts.json"
        file.write_text(json.dumps(facts), encoding="utf-8")
        mlflow.pyfunc.save_model(
            str(folder),
            python_model=str(Path(__file__).with_name("classifier.py")),
            artifacts={"network": str(network), "facts": str(file)},
            signature=ModelSignature(inputs=Schema([pixels]), outputs=Schema(classes)),
            input_example=dataset.test_images[:EXAMPLES],
            # Inferring them would take 6 s.
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in NEEDED],
        )


def measure(folder: Path, dataset: Dataset) -> float:
    """Returns the accuracy of a packed model on the test set, loaded in MLflow's public way."""
    with _quiet():
        import mlflow.pyfunc

        probabilities = mlflow.pyfunc.load_model(str(folder)).predict(dataset.test_images)
    return float(np.mean(probabilities.to_numpy().argmax(axis=1) == dataset.test_labels))


@contextmanager
def _quiet() -> Iterator[None]:
    """Mutes MLflow's hints, most of which are for models of another kind."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def spell(name: str) -> str:
    """Returns the name as the registry takes it: it allows neither slashes nor colons."""
    return re.sub(r"[/:]+", "-", name)


class Registry:
    """The registered models of a store."""

    def __init__(self, config: TrackingConfig) -> None:
        """Opens the store.

        Raises:
            ConnectionLostError: The tracking server does not answer.
        """
        self.address = config.uri or store_uri()
        quiet_mlflow(SHORT_TIMEOUT)
        with self._answering():
            self._client, _ = open_experiment(config)

    def find(self, name: str, run_id: str) -> str | None:
        """Returns the version of a model that was made of a run, the newest if there are several.

        Raises:
            RequestError: The store has no such run.
        """
        from mlflow import MlflowException

        with self._answering():
            try:
                self._client.get_run(run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                raise RequestError(
                    f"The store {mask(self.address)} must have the trial's run, got none with the "
                    f"id {run_id!r}; was the store moved or replaced?"
                ) from None
            found = self._client.search_model_versions(f"run_id = '{run_id}'")
        # A filter cannot hold every name: MLflow has no escape for quotes.
        versions = (str(version.version) for version in found if version.name == name)
        return max(versions, key=int, default=None)

    def add(
        self, name: str, run_id: str, folder: Path, tags: Mapping[str, str], description: str
    ) -> str:
        """Logs a packed model with its run and registers it; returns the version's number."""
        from mlflow import MlflowException
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus
        from mlflow.models import Model

        with self._answering():
            run = self._client.get_run(run_id)
            logged = self._client.create_logged_model(
                run.info.experiment_id,
                name=name,
                source_run_id=run_id,
                tags=dict(tags),
                params=run.data.params,
                model_type="classifier",
            )
            model = Model.load(str(folder))  # is to say which logged model it is
            model.artifact_path, model.model_id = logged.artifact_location, logged.model_id
            model.model_uuid, model.run_id = logged.model_id, run_id
            model.save(str(folder / "MLmodel"))
            for cache in folder.rglob("__pycache__"):
                shutil.rmtree(cache)
            self._client.log_model_artifacts(logged.model_id, str(folder))
            self._client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
            self._client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
            try:
                self._client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            version = self._client.create_model_version(
                name,
                logged.artifact_location,
                run_id,
                tags=dict(tags),
                description=description,
                model_id=logged.model_id,
            )
            return str(version.version)

    def set_champion(self, name: str, version: str) -> None:
        """Makes a version the champion, instead of the one that was."""
        with self._answering():
            self._client.set_registered_model_alias(name, CHAMPION, version)

    def example(self, name: str, version: str) -> Path | None:
        """Finds the file with a request that the version's server answers, if it is here."""
        with self._answering():
            place = urlsplit(self._client.get_model_version_download_uri(name, version))
        file = Path(unquote(place.path)) / "serving_input_example.json"
        return file if place.scheme in ("", "file") and file.exists() else None

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turns what the store refuses into one sentence."""
        from mlflow import MlflowException

        try:
            yield
        except MlflowException as error:
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            raise ConnectionLostError(
                f"The store {mask(self.address)} does not take the model: {reason}."
            ) from error
