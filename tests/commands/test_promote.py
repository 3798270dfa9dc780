"""The way of a trial's model into MLflow's registry, and out of it again over HTTP."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from fmnist_lab import cli, config, data, tracking
from fmnist_lab.commands import promote
from fmnist_lab.config import TrackingConfig
from fmnist_lab.errors import NotReproducedError, RequestError
from fmnist_lab.export import choosing
from fmnist_lab.export.document import train_again
from fmnist_lab.tracking import MlflowTracker
from fmnist_lab.training import runner
from fmnist_lab.trial import Labels
from tests.conftest import TINY
from tests.support.exporting import leave_hydra
from tests.support.folders import leave_replicates, leave_run, leave_sweep
from tests.support.sweeping import wait_for

NAME = "fmnist-lab-night"
# What Keras 3.15 does to NumPy 2 when it writes a model.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


def chosen(place: Path, strategy: str | None = None) -> Path:
    return Path(choosing.choose(place, strategy, model=True).trial["folder"])


class TestChoose:
    """Which trial stands for a sweep; no model is made here."""

    @pytest.fixture
    def tuned(self, tmp_path: Path) -> Path:
        rates = {"constant": [1e-3, 1e-2], "cosine": [1e-2, 1e-3]}
        return leave_sweep(tmp_path / "mlruns", rates, {"constant": 0.8, "cosine": 0.9})

    def test_the_best_trial_where_nothing_was_confirmed(self, tuned: Path) -> None:
        assert chosen(tuned) == tuned / "trials" / "3"

    def test_of_one_strategy(self, tuned: Path) -> None:
        assert chosen(tuned, "constant") == tuned / "trials" / "0"

    def test_the_first_seed_of_the_strategy_whose_replicates_are_best(self, tuned: Path) -> None:
        leave_replicates(tuned, {"constant": [0.91, 0.95], "cosine": [0.9, 0.9]})
        assert chosen(tuned) == tuned / "replicates" / "0"
        assert chosen(tuned, "cosine") == tuned / "replicates" / "2"

    def test_validation_decides_and_not_the_test_set(self, tuned: Path) -> None:
        tested = {"strategy": "constant", "objective": 0.8, "test_accuracy": 0.99}
        validated = {"strategy": "cosine", "objective": 0.9, "test_accuracy": 0.85}
        for number, values in enumerate((tested, validated)):
            leave_run(tuned / "replicates" / str(number), kind="replicate", trial=number, **values)
        assert chosen(tuned) == tuned / "replicates" / "1"

    def test_a_strategy_that_diverges_at_times_comes_last(self, tuned: Path) -> None:
        leave_replicates(tuned, {"constant": [0.95, float("nan")], "cosine": [0.9, 0.9]})
        assert chosen(tuned) == tuned / "replicates" / "2"

    @pytest.mark.parametrize("kind", ["trial", "replicate"])
    def test_an_accuracy_is_not_ranked_against_a_loss(self, tuned: Path, kind: str) -> None:
        place = tuned / f"{kind}s/8"
        leave_run(place, kind=kind, trial=8, objective=2.3, objective_metric="val/loss")
        if kind == "replicate":
            leave_replicates(tuned, {"cosine": [0.9]})
        with pytest.raises(RequestError) as refused:
            chosen(tuned)
        assert refused.value.got == "val/accuracy, val/loss"

    @pytest.mark.parametrize("kind", ["trial", "replicate"])
    def test_different_images_are_a_warning(self, tuned: Path, kind: str) -> None:
        for number in (8, 9):
            given = [f"data.val_size={number}"]
            leave_run(tuned / f"{kind}s/{number}", kind=kind, trial=number, overrides=given)
        warnings = choosing.choose(tuned, model=True).warnings
        assert any("data.val_size" in warning for warning in warnings)

    def test_an_unknown_strategy(self, tuned: Path) -> None:
        with pytest.raises(RequestError, check=lambda error: error.got == "'cosinus'"):
            chosen(tuned, "cosinus")

    def test_nothing_that_trained_to_its_end(self, tmp_path: Path) -> None:
        place = tmp_path / "mlruns" / "sweeps" / "night"
        leave_run(place / "trials" / "0", stop_reason="diverged", objective=float("nan"))
        with pytest.raises(RequestError) as refused:
            chosen(place)
        assert "1" in refused.value.got


class TestRequests:
    """What is refused before anything is trained."""

    def refused(self, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
        monkeypatch.setattr("sys.argv", ["fmnist-lab", "promote", *arguments])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return int(exit_.value.code or 0)

    @pytest.mark.parametrize(
        ("arguments", "key"), [([], "mlruns"), (["--run", "abc"], "--run"),
                               (["night", "--run", "abc"], "--run")],
    )  # fmt: skip
    def test_with_exit_code_2(
        self,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        arguments: list[str],
        key: str,
    ) -> None:
        assert self.refused(*arguments, monkeypatch=monkeypatch) == 2
        assert f"`{key}`" in capsys.readouterr().err
        assert list(folder.iterdir()) == []

    def test_a_trial_that_is_not_in_mlflow(self, folder: Path) -> None:
        leave_run(folder / "mlruns/multirun/night/0", mlflow_run_id=None)
        with pytest.raises(RequestError, match="night/0"):
            promote.main("night")

    def test_a_trial_that_was_pruned(self, folder: Path) -> None:
        leave_run(folder / "mlruns/multirun/night/0", mlflow_run_id="abc", stop_reason="pruned")
        with pytest.raises(RequestError, check=lambda error: error.got == "pruned"):
            promote.main(run="abc")


@dataclass(frozen=True)
class Promoted:
    """A folder with two replicates of a sweep, the first of which was promoted."""

    root: Path
    client: Any
    printed: str

    def folder(self, number: int) -> Path:
        return self.root / "mlruns" / "sweeps" / "night" / "replicates" / str(number)

    def result(self, number: int) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder(number) / "result.json").read_text())
        return content

    def versions(self) -> dict[str, str]:
        """Run id of each registered version."""
        found = self.client.search_model_versions(f"name = '{NAME}'")
        return {str(version.version): version.run_id for version in found}

    def champion(self) -> Any:
        return self.client.get_model_version_by_alias(NAME, "champion")


def train(folder: Path, labels: Labels, seed: int, kind: str = "replicate") -> None:
    """Leaves a run as a job of a sweep does."""
    cfg = config.compose([*TINY, f"seed={seed}", f"kind={kind}", "data.standardize=true"])
    leave_hydra(folder, cfg, [*TINY, "data.standardize=true"])
    tracker = MlflowTracker(TrackingConfig(), "fmnist-lab train")
    named = replace(labels, kind=kind, seed=seed, trial=int(folder.name))
    runner.run(config.to_trial(cfg), named, folder, tracker)


@pytest.fixture(scope="module")
def promoted(tmp_path_factory: pytest.TempPathFactory, labels: Labels) -> Iterator[Promoted]:
    root = tmp_path_factory.mktemp("promoted")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for number, seed in enumerate((7, 8)):
            train(root / f"mlruns/sweeps/night/replicates/{number}", labels, seed)
        printed: list[str] = []
        patch.setattr("builtins.print", lambda *words, **_: printed.append(" ".join(words)))
        with mock.patch.dict(os.environ):
            promote.main("night")
        patch.undo()
        patch.chdir(root)
        client, _ = tracking.open_experiment(TrackingConfig())
        yield Promoted(root, client, "\n".join(printed))


@contextmanager
def serving(promoted: Promoted) -> Iterator[str]:
    """What the command that was printed does, on a free port; the server's address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = f"-m mlflow models serve --model-uri models:/{NAME}@champion --env-manager local"
    process = subprocess.Popen(
        [sys.executable, *words.split(), "--port", str(port)],
        cwd=promoted.root,
        # As in an activated environment: MLflow starts `uvicorn` by that name.
        env=os.environ
        | {"MLFLOW_TRACKING_URI": tracking.store_uri()}
        | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: process.poll() is not None or answers(f"{address}/ping"), seconds=200)
        assert process.poll() is None, process.communicate()[0]
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


class TestModel:
    """What is in the registry, and what comes out of it."""

    def test_the_champion_is_the_first_replicate(self, promoted: Promoted) -> None:
        assert promoted.champion().run_id == promoted.result(0)["mlflow_run_id"]
        assert promoted.champion().tags["strategy"] == "calm"
        accuracy = promoted.result(0)["test_accuracy"]
        assert promoted.champion().tags["test/accuracy"] == f"{accuracy:.4f}"

    def test_only_the_winner_has_a_model(self, promoted: Promoted) -> None:
        first, second = (
            promoted.client.get_run(promoted.result(number)["mlflow_run_id"]) for number in (0, 1)
        )
        assert len(first.outputs.model_outputs) == 1
        assert second.outputs is None or not second.outputs.model_outputs

    def test_it_says_what_was_registered_and_how_to_serve_it(self, promoted: Promoted) -> None:
        accuracy = promoted.result(0)["test_accuracy"]
        for token in (f"{accuracy:.4f}", "version 1", f"models:/{NAME}@champion --env-manager"):
            assert token in promoted.printed

    def test_it_gives_the_recorded_test_accuracy(self, promoted: Promoted) -> None:
        import mlflow

        dataset = data.load(
            config.to_trial(config.load(promoted.folder(0) / ".hydra/config.yaml")).data
        )
        mlflow.set_tracking_uri(tracking.store_uri())
        try:
            model = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
        finally:
            mlflow.set_tracking_uri(None)
        probabilities = model.predict(dataset.test_images)
        assert list(probabilities) == list(dataset.class_names)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
        accuracy = np.mean(probabilities.to_numpy().argmax(axis=1) == dataset.test_labels)
        assert accuracy == pytest.approx(promoted.result(0)["test_accuracy"], abs=1e-6)

    def test_nothing_in_it_is_pickled(self, promoted: Promoted) -> None:
        files = {path.name for path in (promoted.root / "mlruns/artifacts/models").rglob("*.*")}
        assert "network.keras" in files
        assert not {name for name in files if name.endswith((".pkl", ".pickle"))}

    def test_it_moves_with_its_folder(
        self,
        promoted: Promoted,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        copied = shutil.copytree(promoted.root, tmp_path / "it's a copy")
        monkeypatch.chdir(copied)
        promote.main("night")
        printed = capsys.readouterr().out
        assert "version 1" in printed
        (example,) = shlex.split(printed.partition("--data ")[2])
        assert Path(example.removeprefix("@")).is_relative_to(copied)

    def test_a_real_server_answers_with_class_names(self, promoted: Promoted) -> None:
        named = re.search(r"--data @(.+)", promoted.printed)
        assert named
        example = Path(named[1])
        with serving(promoted) as address:
            request = urllib.request.Request(
                f"{address}/invocations",
                example.read_bytes(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=60) as response:
                predictions = json.load(response)["predictions"]
        assert [len(row) for row in predictions] == [10, 10]
        assert set(predictions[0]) == {f"Class {number}" for number in range(10)}
        assert sum(predictions[0].values()) == pytest.approx(1)


class TestAgain:
    """One command promotes another run; what does not repeat is not registered."""

    def test_another_test_accuracy_than_recorded_is_refused(self, promoted: Promoted) -> None:
        file = promoted.folder(1) / "result.json"
        kept = file.read_text()
        other = json.loads(kept) | {"test_accuracy": 0.5}
        file.write_text(json.dumps(other))
        try:
            with pytest.raises(NotReproducedError, match=r"0\.5000"):
                promote.main(run=other["mlflow_run_id"])
        finally:
            file.write_text(kept)
        assert other["mlflow_run_id"] not in promoted.versions().values()
        assert str(promoted.champion().version) == "1"

    def test_another_run_and_back_again(
        self, promoted: Promoted, capsys: pytest.CaptureFixture[str]
    ) -> None:
        promote.main(run=promoted.result(1)["mlflow_run_id"])
        assert str(promoted.champion().version) == "2"
        assert promoted.champion().run_id == promoted.result(1)["mlflow_run_id"]
        promote.main("night")
        assert str(promoted.champion().version) == "1"
        assert "version 1" in capsys.readouterr().out
        assert len(promoted.versions()) == 2

    def test_a_tuning_trial_is_trained_again(
        self, promoted: Promoted, labels: Labels, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def train_once(*given: Any, **more: Any) -> Path:
            if not trained:
                trained.append(train_again(*given, **more))
            return trained[0]

        trained: list[Path] = []
        monkeypatch.setattr(promote, "train_again", train_once)
        folder = promoted.root / "mlruns" / "sweeps" / "night" / "trials" / "0"
        train(folder, labels, 9, kind="trial")
        run = json.loads((folder / "result.json").read_text())["mlflow_run_id"]
        file = folder / "curves.jsonl"
        kept = file.read_text()
        lines = [json.loads(line) for line in kept.splitlines()]
        lines[1]["val/loss"] += 1e-6
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        with pytest.raises(NotReproducedError, match=r"epoch 1\b.* val/loss"):
            promote.main(run=run)
        assert run not in promoted.versions().values()
        file.write_text(kept)
        promote.main(run=run)
        assert promoted.champion().run_id == run
