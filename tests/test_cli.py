"""The command line: exit codes, sentences, and what each command draws or refuses."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fmnist_lab import cli, config, tracking
from fmnist_lab.commands import ui
from fmnist_lab.config import TrackingConfig
from fmnist_lab.errors import DataUnavailableError, RequestError
from tests.conftest import exit_code

Run = Callable[..., subprocess.CompletedProcess[str]]
COMMANDS = ("train", "compare", "promote", "preview", "find-rate", "data", "ui")


def invoke(*words: str) -> str:
    """Runs a command in this process; its output."""
    result = CliRunner().invoke(cli.app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


class TestHelp:
    """Which commands there are."""

    def test_every_command_is_listed(self) -> None:
        text = invoke("--help")
        for command in COMMANDS:
            assert re.search(rf"^\W*{command}\b", text, re.MULTILINE), command

    @pytest.mark.parametrize("command", [command for command in COMMANDS if command != "train"])
    def test_every_command_has_its_own(self, command: str) -> None:
        assert f"fmnist-lab {command}" in invoke(command, "--help")

    def test_an_unknown_command_or_option_is_exit_code_2(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert exit_code(monkeypatch, "trian") == 2
        assert "'trian'" in capsys.readouterr().err
        assert exit_code(monkeypatch, "ui", "--port", "0") == 2
        assert "'--port'" in capsys.readouterr().err


class TestExitCodes:
    """What `main` makes of errors."""

    @pytest.mark.parametrize(
        ("error", "code"), [(RequestError("x", "be 1", 2), 2), (DataUnavailableError("None."), 1)]
    )
    def test_a_mistake_is_a_message(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        error: Exception,
        code: int,
    ) -> None:
        def fail(port: int, host: str) -> None:
            raise error

        monkeypatch.setattr(ui, "serve", fail)
        assert exit_code(monkeypatch, "ui") == code
        assert capsys.readouterr().err == f"fmnist-lab: {error}\n"

    @pytest.mark.parametrize("words", [["ui"], ["train"], ["sweep", "demo"]])
    def test_an_interruption_is_130(
        self, monkeypatch: pytest.MonkeyPatch, words: list[str]
    ) -> None:
        def interrupt(*arguments: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(ui, "serve", interrupt)
        monkeypatch.setattr("fmnist_lab.commands.train.main", interrupt)
        monkeypatch.setattr("fmnist_lab.commands.sweep.main", interrupt)
        assert exit_code(monkeypatch, *words) == 130

    def test_an_interruption_waits_for_the_imports_of_a_sweep(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def load() -> None:
            os.kill(os.getpid(), signal.SIGINT)
            imported.append("all")

        imported: list[str] = []
        monkeypatch.setattr("fmnist_lab.commands.sweep.load", load)
        monkeypatch.setattr("sys.argv", ["fmnist-lab", "sweep", "demo"])
        monkeypatch.setattr("sys.path", list(sys.path))
        before = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit, match="130"):
                cli.main()
        finally:
            signal.signal(signal.SIGTERM, before)
        assert imported == ["all"]
        assert capsys.readouterr().err.endswith(": fmnist-lab sweep demo\n")

    def test_success_is_0(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ui, "serve", lambda port, host: None)
        assert exit_code(monkeypatch, "ui") == 0


class TestPreview:
    """Curves before training."""

    @pytest.mark.slow
    def test_all_schedulers_in_both_places(self, folder: Path) -> None:
        text = invoke("preview")
        for name in config.options("scheduler"):
            assert re.search(rf"\b{name}\b", text), name
        assert (folder / "mlruns/preview.png").read_bytes().startswith(b"\x89PNG")

    def test_named_ones_with_overrides(self, folder: Path) -> None:
        text = invoke(
            "preview", "scheduler=linear", "wsd", "training.epochs=30", "optimizer.learning_rate=8"
        )
        assert "linear" in text
        assert "wsd" in text
        assert "cosine" not in text
        assert re.search(r"\b8┤", text)
        assert re.search(r"\b30\b", text)

    @pytest.mark.parametrize(
        ("words", "token"),
        [
            (["cosinus"], "'scheduler/cosinus'"),
            (["scheduler=cosinus"], "'scheduler/cosinus'"),
            (["linear", "training.epochs=0"], "`training.epochs`"),
            (["linear", "trainin.epochs=3"], "'trainin.epochs'"),
            (["linear", "training.epochs=${nope}"], "'nope'"),
            (["linear", "optimizer=null"], "ValueError"),
        ],
    )
    def test_a_mistake(self, folder: Path, words: list[str], token: str) -> None:
        with pytest.raises(RequestError, match=token):
            invoke("preview", *words)
        assert list(folder.iterdir()) == []


class TestData:
    """Getting the images."""

    def test_a_folder_without_the_files_is_refused(self, folder: Path) -> None:
        with pytest.raises(RequestError, check=lambda error: error.key == "data.dir"):
            invoke("data", "--dir", str(folder / "nowhere"))
        assert list(folder.iterdir()) == []


class TestCompare:
    """Trials side by side."""

    def test_nothing_to_compare(self, folder: Path) -> None:
        with pytest.raises(RequestError, match="`mlruns` "):
            invoke("compare")


class TestUi:
    """The MLflow UI; starting the server itself is MLflow's part."""

    @pytest.fixture(autouse=True)
    def started(self, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
        """The command lines that this process would have become."""
        commands: list[list[str]] = []
        monkeypatch.setattr("os.execv", lambda program, words: commands.append(words))
        return commands

    def test_no_store_yet(self, folder: Path) -> None:
        with pytest.raises(RequestError, check=lambda error: error.key.endswith("mlflow.db")):
            invoke("ui")
        assert list(folder.iterdir()) == []

    def test_a_taken_port(self, folder: Path) -> None:
        (folder / "mlruns").mkdir()
        (folder / "mlruns/mlflow.db").touch()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(RequestError) as refused:
                invoke("ui", "--port", str(port))
        assert str(refused.value).startswith("`--port` ")
        assert str(port) in str(refused.value)

    @pytest.mark.parametrize("host", ["", " ", "é..x"])
    def test_a_host_that_is_none(self, folder: Path, host: str) -> None:
        (folder / "mlruns").mkdir()
        (folder / "mlruns/mlflow.db").touch()
        with pytest.raises(RequestError) as refused:
            invoke("ui", "--host", host)
        assert (refused.value.key, refused.value.got) == ("--host", repr(host))

    def test_the_server_gets_this_folders_store(
        self,
        folder: Path,
        started: list[list[str]],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        tracking.open_experiment(TrackingConfig())
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        ui.serve(port)
        (words,) = started
        assert f"http://127.0.0.1:{port}/#/experiments/1/runs" in capsys.readouterr().out
        assert words[words.index("--host") + 1] == "127.0.0.1"
        assert words[words.index("--port") + 1] == str(port)
        assert (
            words[words.index("--backend-store-uri") + 1]
            == f"sqlite+pysqlite:///{folder}/mlruns/mlflow.db"
        )


def test_the_installed_program_answers(folder: Path, lab: Run) -> None:
    done = lab("compare")
    assert done.returncode == 2
    assert re.fullmatch(r"fmnist-lab: `mlruns` .*\n", done.stderr)
