"""The documentation: its examples run, its commands compose, its tables are up to date."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from typer.testing import CliRunner

from docs import judge, options
from fmnist_lab import cli, config
from fmnist_lab.sweeper.plans import Plan, Planner
from fmnist_lab.sweeper.settings import Settings
from tests.support.folders import leave_sweep

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.glob("*.md")])
KNOWN = {c.name or c.callback.__name__ for c in cli.app.registered_commands if c.callback}
# What is appended to the commands of an example, so that it takes seconds instead of minutes.
SMALL = ("data=synthetic", "data.train_size=320", "data.val_size=100", "tracking=none",
         "training.epochs=2")  # fmt: skip
SMALL_NETWORK = ("architecture=mlp", "architecture.hidden_sizes=[16]")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    title: str  # the file that the reader is to write; empty where there is none
    content: str


def blocks(page: Path) -> Iterator[Block]:
    fence = r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$'
    for found in re.finditer(fence, page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        yield Block(found[1], found[2] or "", found[3])


def commands(page: Path) -> list[list[str]]:
    """The commands of a page's blocks, as words."""
    shell = (block.content for block in blocks(page) if block.language in ("", "bash"))
    lines = "".join(shell).replace("\\\n", "").splitlines()
    words = (shlex.split(line, comments=True) for line in lines if re.match(r"fmnist-lab \w", line))
    return [line[1:] for line in words]


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def results(folder: Path, place: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"{place}/result.json"))]


def plan(name: str, *overrides: str) -> list[Plan]:
    """What a sweep would search; whatever is wrong with it is refused."""
    config.register()
    assert name in config.options("sweeps")
    given = [f"sweeps={name}", *overrides]
    with initialize_config_dir(config.config_dir(), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        cfg = loader.load_configuration("sweep", given, RunMode.MULTIRUN)
        sweeper = cfg.hydra.sweeper
        settings = Settings(**{key: sweeper[key] for key in sweeper if key[0] != "_"})
        task = [word for word in given if not word.lstrip("+~").startswith("hydra")]
        return Planner(settings, loader, cfg).plans(name, task)


class Reader:
    """Runs the commands of pages in an empty folder, on tiny data.

    Sweeps have one trial per strategy, trained in this process. What would start one afresh is
    left out.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sweeping = ("hydra.sweeper.n_trials=1", "hydra/launcher=basic")
        self.small: tuple[str, ...] = SMALL + SMALL_NETWORK
        self.names: dict[str, Any] = {}  # of the Python session

    def follow(self, page: str, *further: str) -> None:
        """Writes the page's files and runs its commands, sweeps with further overrides."""
        for block in blocks(DOCS / page):
            if block.title:
                write(self.folder / block.title, block.content)
            elif block.language == "python":
                exec(block.content, self.names)
            elif block.language == "bash":
                for line in block.content.splitlines():
                    self._run(shlex.split(line, comments=True), further)

    def _run(self, words: list[str], further: tuple[str, ...]) -> None:
        program, *arguments = words
        if program == "python":
            path = {"PYTHONPATH": str(ROOT)}
            command = [sys.executable, *arguments]
            subprocess.run(command, cwd=self.folder, env=os.environ | path, check=True)
            return
        assert program == "fmnist-lab"
        if "--new" in arguments:
            return
        # Behind the page's overrides, but before options such as `--cfg job`.
        end = next((i for i, word in enumerate(arguments) if word[:2] == "--"), len(arguments))
        if arguments[0] in ("train", "sweep"):
            arguments[end:end] = self.small
        if arguments[0] == "sweep":
            arguments[end:end] = [*self.sweeping, *further]
        done = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output


@pytest.fixture
def own_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules are found, as they are where a command runs."""
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr("sys.argv", list(sys.argv))
    return folder


@pytest.fixture
def reader(own_folder: Path) -> Reader:
    return Reader(own_folder)


@pytest.mark.slow
class TestExamples:
    """The worked examples of the pages, from the first file to the last command."""

    def test_a_sweep_and_its_results_in_a_notebook(
        self, reader: Reader, capsys: pytest.CaptureFixture[str]
    ) -> None:
        reader.follow("write-a-sweep.md", "replicates=1")
        sweep = reader.folder / "mlruns/sweeps/warmup"
        tuned, again = (results(sweep, f"{kind}/*") for kind in ("trials", "replicates"))
        assert {result["strategy"] for result in tuned} == {"cold", "warm"}
        assert len(again) == 2
        assert all(result["test_accuracy"] > 0 for result in again)
        assert (sweep / "report.html").exists()
        reader.follow("notebooks.md")
        assert len(reader.names["trials"]) == 2
        assert list(reader.names["table"]) == ["cold", "warm"]
        assert list(reader.names["verdicts"]["strategy"]) == ["warm"]
        assert "undecided" in capsys.readouterr().out

    def test_a_scheduler(self, reader: Reader) -> None:
        reader.follow("write-a-scheduler.md", "replicates=0")
        trained = results(reader.folder, "mlruns/trials/*")
        assert [result["scheduler"] for result in trained] == ["tanh", "overfitting"]
        swept = results(reader.folder, "mlruns/sweeps/tanh/trials/*")
        assert {result["strategy"] for result in swept} == {"cosine", "tanh"}
        spaces = json.loads((reader.folder / "mlruns/sweeps/tanh/spaces.json").read_text())
        assert spaces["tanh"]["scheduler.low"] == {"low": -10.0, "high": -2.0, "log": False}
        assert (reader.folder / "mlruns/preview.png").exists()
        curve = min(reader.folder.glob("mlruns/trials/*")) / "curves.jsonl"
        rates = [json.loads(line)["opt/learning_rate"] for line in curve.read_text().splitlines()]
        assert 0 < rates[1] < rates[0] < 0.001

    def test_an_architecture(self, reader: Reader) -> None:
        reader.small = SMALL
        reader.follow("write-an-architecture.md", "replicates=0")
        (trained,) = results(reader.folder, "mlruns/trials/*")
        assert trained["parameters"] == (784 + 1) * 200 + (200 + 1) * 200 + (784 + 200 + 1) * 10
        assert len(results(reader.folder, "mlruns/multirun/*/*")) == 3
        swept = results(reader.folder, "mlruns/sweeps/shortcut/trials/*")
        assert {result["architecture"] for result in swept} == {"mlp", "shortcut"}

    def test_a_sweep_without_strategies(self, reader: Reader) -> None:
        reader.follow("coming-from-wandb.md")
        (trial,) = results(reader.folder, "mlruns/sweeps/plain_sgd/trials/*")
        assert trial["optimizer"] == "sgd"
        asked = {word.partition("=")[0] for word in trial["overrides"]}
        assert {"optimizer.learning_rate", "training.batch_size"} <= asked

    def test_an_application_that_is_not_ours(self, reader: Reader) -> None:
        reader.follow("coming-from-hydra-optuna-sweeper.md")
        content = (reader.folder / "multirun/x/optimization_results.yaml").read_text()
        found = yaml.safe_load(content)
        assert sum(found["trials"].values()) == 20
        assert abs(found["best_params"]["+x"] - 2) < 2
        verdicts = pd.read_csv(reader.folder / "multirun/sphere/comparison.csv")
        assert verdicts["verdict"].dropna().tolist() == ["better"]


class TestCommands:
    """What pages tell the reader to type."""

    @pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
    def test_every_one_is_accepted(
        self, page: Path, own_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # What the page on many machines exports beforehand.
        monkeypatch.setenv("FMNIST_LAB_STORAGE", "postgresql+psycopg://DATABASE/studies")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://TRACKING:5000")
        for block in (block for other in PAGES for block in blocks(other) if block.title):
            write(own_folder / block.title, block.content)
        for name, *arguments in commands(page):
            assert name in KNOWN
            if "--cfg" in arguments or "-m" in arguments:
                continue  # the examples run these
            if any(word.startswith("best=") for word in arguments):
                continue  # a file that export-best writes, and its tests train
            if name == "train":
                config.to_trial(config.compose(arguments))
            if name == "sweep":
                plan(*[word for word in arguments if word != "--new"])

    def test_one_more_key_is_searched_and_one_less(self, own_folder: Path) -> None:
        page = DOCS / "write-a-sweep.md"
        (file,) = [block for block in blocks(page) if block.title]
        write(own_folder / file.title, file.content)
        afresh = [words for words in commands(page) if "--new" in words]
        found = [plan(*[word for word in words[1:] if word != "--new"]) for words in afresh]
        rate = "optimizer.learning_rate"
        more, less = [[sorted(one.space.searched) for one in plans] for plans in found]
        assert (more, less) == ([[rate, "training.batch_size"]] * 2, [[]] * 2)

    def test_every_counterpart_of_keras_exists(self) -> None:
        page = (DOCS / "coming-from-keras.md").read_text(encoding="utf-8")
        rows = (line.split(" | ")[1] for line in page.splitlines() if line.startswith("| `"))
        spans = [shlex.split(span) for row in rows for span in re.findall(r"`([^`]+)`", row)]
        chosen = [words for words in spans if all(re.match(r"[\w.]+=", word) for word in words)]
        assert len(chosen) > 15
        schedulers = {"decay_epochs": "exponential", "staircase": "exponential",
                      "cycles": "cosine_restarts"}  # fmt: skip
        for words in chosen:
            key = words[0].partition("=")[0].removeprefix("scheduler.")
            of = [f"scheduler={schedulers[key]}"] if key in schedulers else []
            config.to_trial(config.compose([*of, *words]))


class TestTensorboard:
    """The lines that write TensorBoard's files."""

    def test_they_write_a_file_for_each_trial(self, own_folder: Path) -> None:
        pytest.importorskip("tensorboard")
        leave_sweep(own_folder / "mlruns", {"constant": (1e-3, 1e-2)}, {"constant": 0.9}, "demo")
        (block,) = [
            block.content
            for block in blocks(DOCS / "optuna-dashboard-and-tensorboard.md")
            if block.language == "python"
        ]
        exec(block, {})
        written = own_folder.glob("tensorboard/*/events.out.tfevents.*")
        assert sorted(path.parent.name for path in written) == ["constant-0", "constant-1"]


class TestPages:
    """The site and what it is made from."""

    def test_the_tables_of_options_are_up_to_date(self) -> None:
        written = options.PAGE.read_text(encoding="utf-8")
        assert written == options.page(), "write it again: python -m docs.options"

    def test_published_verdicts_are_those_of_todays_tests(self) -> None:
        assert judge.PAGE.read_text(encoding="utf-8") == judge.page(), "again: python -m docs.judge"

    def test_they_name_every_option_and_its_keys(self) -> None:
        page = options.page()
        for path in (ROOT / "conf").glob("[!h]*/*.yaml"):
            assert f"### {path.parent.name}={path.stem}\n" in page
        assert "| `decay_epochs` | `20` | `tag(log, interval(0.3*epochs, 5*epochs))` |" in page
        assert "| `update` | `step` | epoch \\| step |" in page
        assert "| `max_failure_rate` | `0.5` | " in page

    @pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
    def test_links_and_pictures_lead_somewhere(self, page: Path) -> None:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), target

    def test_the_site_builds_and_needs_nothing_from_elsewhere(self, tmp_path: Path) -> None:
        shutil.copy(ROOT / "mkdocs.yml", tmp_path)
        shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__"))
        command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        built = {path.relative_to(tmp_path / "site") for path in tmp_path.glob("site/**/*.html")}
        for page in DOCS.rglob("*.md"):
            assert page.relative_to(DOCS).with_suffix(".html") in built
        address = r"[^>]* (?:src|href)=\"?(?:https?:)?//"
        sheet = r"link[^>]* rel=\"?(?:stylesheet|preconnect)"
        loaded = re.compile(rf"<(?:script|img|iframe|{sheet}){address}")
        for name in built:
            html = (tmp_path / "site" / name).read_text(encoding="utf-8")
            assert not loaded.search(html), name
