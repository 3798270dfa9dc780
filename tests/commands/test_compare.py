"""`fmnist-lab compare`, on every state that a sweep can be in."""

import logging
import math
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from fmnist_lab import cli, tracking
from fmnist_lab.commands import compare
from fmnist_lab.config import TrackingConfig
from fmnist_lab.errors import RequestError
from fmnist_lab.foundation.files import write_json
from tests.support.folders import leave_replicates, leave_run, leave_sweep, paired

ROOT = Path("mlruns")
BOTH = {"constant": (1e-3, 1e-2), "cosine": (1e-3, 1e-2)}
LEVELS = {"constant": 0.88, "cosine": 0.89}
# Of stores as earlier versions wrote them down: this folder's, and one that has moved.
OLD_ADDRESSES = ("sqlite:///{folder}/mlruns/mlflow.db", "sqlite:///{folder}/gone/mlflow.db")
FILES = {"report.html", "trials.csv", "curves.csv", "comparison.csv"}


def invoke(*words: str) -> str:
    """Runs the command in this process; its output."""
    result = CliRunner().invoke(cli.app, ["compare", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def written(place: Path) -> set[str]:
    return {path.name for path in place.iterdir() if path.suffix in (".html", ".csv")}


def files_in(place: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_a_whole_sweep(folder: Path) -> None:
    place = leave_sweep(ROOT, BOTH, LEVELS)
    accuracies = {"constant": paired(0.88, 8), "cosine": paired(0.88, 8, 0.006)}
    leave_replicates(place, accuracies)
    text = invoke("night")
    lines = text.splitlines()
    assert re.findall(r"\w+:|\d+", lines[0]) == ["night:", "4", "16"]
    assert re.match(r" strategy .* seeds +test +difference +verdict", lines[2])
    assert re.match(r" cosine +0\.8900 +1 +2 +8 +0\.88\d\d +0\.0060 +better", lines[3])
    assert re.search(r"\n.* cosine: \+0\.60 .* constant ", text)
    assert "mlruns/sweeps/night/report.html" in text
    assert written(place) == FILES
    trials, curves, comparison = (
        pd.read_csv(place / name) for name in ("trials.csv", "curves.csv", "comparison.csv")
    )
    assert trials["kind"].tolist() == ["trial"] * 4 + ["replicate"] * 16
    assert trials["test_accuracy"].count() == 16
    assert trials["optimizer.learning_rate"].tolist()[:4] == [1e-3, 1e-3, 1e-2, 1e-2]
    assert len(curves) == 20 * 5
    assert comparison["strategy"].tolist() == ["cosine", "constant"]
    assert comparison["verdict"].tolist()[0] == "better"
    counts = comparison[["trials", "diverged", "pairs", "lost"]]
    assert counts.iloc[0].tolist() == [2, 0, 8, 0]


def test_again_gives_the_same(folder: Path) -> None:
    place = leave_sweep(ROOT, BOTH, LEVELS)
    first = invoke(), [(place / name).read_bytes() for name in sorted(FILES)]
    second = invoke(), [(place / name).read_bytes() for name in sorted(FILES)]
    assert first == second


def test_a_single_seed_is_no_verdict(folder: Path) -> None:
    leave_sweep(ROOT, BOTH, LEVELS)
    text = invoke("night")
    assert "replicates=" in text  # what it takes
    assert "verdict " not in text.splitlines()[2]


def test_a_half_finished_sweep(folder: Path) -> None:
    place = leave_sweep(ROOT, {"constant": (1e-3, 1e-2), "cosine": (1e-3,)}, LEVELS)
    (place / "optimization_results.yaml").unlink()
    (place / "trials/3").mkdir()
    text = invoke("night")
    assert re.findall(r"\d+", text.splitlines()[0]) == ["3", "4", "1"]
    assert written(place) == FILES


@pytest.mark.parametrize("subdir", ["{}", "job_{}", "lr=0.{}", "a b,{}", "2{}th"])
def test_folders_of_any_name_are_counted(folder: Path, subdir: str) -> None:
    place = ROOT / "multirun/there"
    for number in range(3):
        job = place / subdir.format(number)
        leave_run(job, trial=number, overrides=[f"optimizer.learning_rate={number + 1}"])
        (job / ".hydra").mkdir()
    (place / subdir.format(7) / ".hydra").mkdir(parents=True)
    (place / "notes").mkdir()
    first = invoke("there").splitlines()[0]
    assert re.findall(r"there:|\d+", first) == ["there:", "3", "1"]


def test_failed_trials(folder: Path) -> None:
    place = leave_sweep(ROOT, BOTH, LEVELS)
    for number, reason in enumerate(("failed", "diverged", "pruned"), 4):
        lost = 0.1 if reason == "pruned" else math.nan
        leave_run(place / "trials" / str(number), trial=number, stop_reason=reason, objective=lost,
                  overrides=[f"optimizer.learning_rate={number}"])  # fmt: skip
    (place / "trials/4/curves.jsonl").unlink()
    text = invoke("night")
    assert re.search(r" constant +0\.8800 +0 +5 +1 +1 +1 ", text)
    assert "2 of 7" in text
    assert written(place) == FILES


def test_only_failures(folder: Path) -> None:
    for number in range(2):
        leave_run(ROOT / "sweeps/night/trials" / str(number), trial=number, objective=math.nan,
                  stop_reason="failed", overrides=[f"a.b={number}"])  # fmt: skip
    assert "2 of 2" in invoke()
    assert written(ROOT / "sweeps/night") == FILES


def test_an_empty_sweep(folder: Path) -> None:
    (ROOT / "sweeps/night/trials/0").mkdir(parents=True)
    text = invoke("night")
    assert re.findall(r"\d+", text.splitlines()[0]) == ["0", "1"]
    assert written(ROOT / "sweeps/night") == FILES
    assert list(pd.read_csv(ROOT / "sweeps/night/trials.csv"))[:3] == ["kind", "sweep", "strategy"]


def test_a_multirun(folder: Path) -> None:
    for number, strategy in enumerate(("linear", "cosine")):
        leave_run(ROOT / "multirun/later" / str(number), trial=number, strategy=strategy)
    text = invoke()
    assert re.findall(r"\w+:|\d+", text.splitlines()[0]) == ["later:", "2"]
    assert "artifacts" not in text
    assert written(ROOT / "multirun/later") == FILES


def test_an_unknown_name(folder: Path) -> None:
    leave_sweep(ROOT, BOTH, LEVELS)
    with pytest.raises(RequestError, match=r"`NAME` .*night, .*'nigth'"):
        invoke("nigth")


class TestTracks:
    """Fixed horizons and early stopping."""

    @pytest.fixture(autouse=True)
    def mixed(self, folder: Path) -> Path:
        place = leave_sweep(ROOT, BOTH, LEVELS)
        leave_run(place / "trials/9", trial=9, stopping="patience", strategy="early")
        return place

    def test_a_report_that_would_mix_them_refuses(
        self, mixed: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(RequestError, check=lambda error: error.key == "stopping"):
            compare.main()
        assert written(mixed) == set()
        assert "patience" in capsys.readouterr().out  # side by side in the table

    def test_one_of_them_is_reported(self, mixed: Path) -> None:
        text = invoke("--stopping", "none")
        assert "early" not in text.split("\n\n")[1]
        assert "early" not in (mixed / "comparison.csv").read_text()
        assert "constant" not in invoke("--stopping", "patience").split("\n\n")[1]
        assert "early" in (mixed / "comparison.csv").read_text()


class TestOptions:
    """What is asked of the table."""

    @pytest.fixture(autouse=True)
    def sweep(self, folder: Path) -> Path:
        return leave_sweep(ROOT, BOTH, LEVELS)

    def test_no_report(self, sweep: Path) -> None:
        assert "Report:" not in invoke("--no-report")
        assert written(sweep) == set()

    def test_the_table_is_filtered_and_the_report_is_not(self, sweep: Path) -> None:
        text = invoke("--where", "optimizer.learning_rate < 0.005", "--csv", "picked.csv")
        assert re.search(r"\n +1 +cosine ", text)
        assert not re.search(r"\n +3 +cosine ", text)
        assert pd.read_csv("picked.csv")["trial"].tolist() == [1, 0]
        assert len(pd.read_csv(sweep / "trials.csv")) == 4

    def test_the_table_is_sorted(self, sweep: Path) -> None:
        invoke("--sort", "-trial", "--csv", "deep/sorted.csv")
        assert pd.read_csv("deep/sorted.csv")["trial"].tolist() == [3, 2, 1, 0]

    def test_all_columns(self) -> None:
        assert "engine" not in invoke().split("\n\n")[2].splitlines()[0]
        assert "engine" in invoke("--all-columns").split("\n\n")[2].splitlines()[0]

    @pytest.mark.parametrize(
        "words",
        [
            ("--sort", "speed"),
            ("--where", "speed >"),
            ("--csv", "mlruns"),
            ("--csv", "mlruns/sweeps/night/multirun.yaml/x.csv"),
            ("--csv", "x" * 300),
            ("--stopping", "early"),
            ("--stopping", "early", "--csv", "x.csv"),
        ],
    )
    def test_a_mistake_is_refused(
        self, sweep: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "fmnist_lab.commands.leaderboard.show", lambda *_, **__: pytest.fail("a table")
        )
        with pytest.raises(RequestError) as refused:
            invoke(*words)
        assert str(refused.value).startswith(f"`{words[0]}` ")
        assert words[1][:9] in str(refused.value)
        assert written(sweep) == set()
        assert not Path("x.csv").exists()


@pytest.mark.slow
class TestMlflow:
    """The sweep's run gets the report and the tables."""

    @pytest.fixture
    def run_id(self, folder: Path) -> str:
        leave_sweep(ROOT, BOTH, LEVELS)
        client, experiment = tracking.open_experiment(TrackingConfig())
        run_id = str(client.create_run(experiment).info.run_id)
        self.name(tracking.store_uri(), run_id)
        return run_id

    def name(self, store: str | None, run_id: str) -> None:
        write_json(ROOT / "sweeps/night/mlflow.json", {"store": store, "run_id": run_id})

    def test_they_become_its_artifacts(self, run_id: str) -> None:
        assert "artifacts" in invoke("night")
        kept = Path("mlruns/artifacts") / run_id / "artifacts"
        assert {path.name for path in kept.iterdir()} == FILES
        report = ROOT / "sweeps/night/report.html"
        assert (kept / "report.html").read_bytes() == report.read_bytes()

    @pytest.mark.parametrize("store", ["http://127.0.0.1:9", "nonsense://x"])
    def test_a_store_that_is_gone_is_a_warning(
        self, run_id: str, store: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.name(store, run_id)
        with caplog.at_level(logging.WARNING):
            text = invoke("night")
        assert "artifacts" not in text
        assert any("MLflow" in record.message for record in caplog.records)
        assert written(ROOT / "sweeps/night") == FILES

    @pytest.mark.parametrize("store", [None, *OLD_ADDRESSES])
    def test_a_run_that_is_gone_is_a_warning(
        self, folder: Path, run_id: str, store: str | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.name(store and store.format(folder=folder), "0" * 32)
        invoke("night")
        assert "MLflow" in caplog.text
        assert not (folder / "gone").exists()

    @pytest.mark.parametrize("store", [None, *OLD_ADDRESSES])
    def test_a_copy_uses_its_own_store(
        self,
        folder: Path,
        run_id: str,
        store: str | None,
        tmp_path_factory: pytest.TempPathFactory,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.name(store and store.format(folder=folder), run_id)
        copied = shutil.copytree(folder, tmp_path_factory.mktemp("copy") / "c d%20?")
        before = files_in(folder)
        monkeypatch.chdir(copied)
        assert "artifacts" in invoke("night")
        kept = copied / "mlruns/artifacts" / run_id / "artifacts"
        assert {path.name for path in kept.iterdir()} == FILES
        assert files_in(folder) == before

    def test_a_password_comes_from_the_environment(
        self, run_id: str, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = "http://127.0.0.1:9/"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{store}?password=secret")
        self.name(f"{store}?password=***", run_id)
        seen: list[str] = []

        def client(store: str) -> None:
            seen.append(store)
            raise ConnectionError("enough")

        monkeypatch.setattr("mlflow.MlflowClient", client)
        invoke("night")
        assert seen == [f"{store}?password=secret"]
