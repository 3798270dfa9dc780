"""What must not run, leak or escape, whatever a file contains."""

import ast
import io
import os
import pickle
import shutil
import sys
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra

from fmnist_lab import cli, tracking
from fmnist_lab.commands import ui
from fmnist_lab.data import debian
from fmnist_lab.data.debian import SourceError
from tests.conftest import exit_code
from tests.support.exporting import document, leave_trial

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SOURCES = [*ROOT.glob("fmnist_lab/**/*.py"), *ROOT.glob("hydra_plugins/**/*.py")]
# Between a command and the worker processes that it has started, or whose scheduler it was given.
MAY_PICKLE = {
    "fmnist_lab/launcher/worker.py",
    "fmnist_lab/launcher/script.py",  # writes alone
    "fmnist_lab/commands/from_python.py",
}
PICKLES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "torch"}
UNSAFE = {"unsafe_load", "full_load", "UnsafeLoader", "FullLoader", "eval", "exec", "system"}
OPEN_ADDRESS = "0.0.0.0"
CODE = "{_target_: os.system, command: touch pwned}"
SECRET = "s3cret"


def trees() -> Iterator[tuple[str, ast.AST]]:
    for path in SOURCES:
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


class TestSource:
    """What our own code does not do."""

    def test_pickles_come_from_our_workers_alone(self) -> None:
        found = set()
        for name, tree in trees():
            for node in ast.walk(tree):
                if isinstance(node, ast.Import):
                    imported = {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    imported = {str(node.module).partition(".")[0]}
                else:
                    continue
                if imported & PICKLES:
                    found.add(name)
        assert found == MAY_PICKLE

    @pytest.mark.parametrize("option", ["--experimental-rerun", "--experimental-rerun=", "--exp"])
    @pytest.mark.parametrize("command", [("train",), ("sweep", "demo")])
    def test_nor_does_hydra_read_one_for_us(
        self,
        folder: Path,
        capsys: pytest.CaptureFixture[str],
        command: tuple[str, ...],
        option: str,
    ) -> None:
        class Payload:
            def __reduce__(self) -> tuple[object, ...]:
                return os.mkdir, ("pwned",)

        Path("evil.pickle").write_bytes(pickle.dumps(Payload()))
        words = [f"{option}evil.pickle"] if option.endswith("=") else [option, "evil.pickle"]
        with pytest.MonkeyPatch.context() as patch:
            assert exit_code(patch, *command, *words) == 2
        assert "`--experimental-rerun`" in capsys.readouterr().err
        assert list(folder.iterdir()) == [folder / "evil.pickle"]

    def test_nothing_is_evaluated_or_given_to_a_shell(self) -> None:
        found = []
        for name, tree in trees():
            for node in ast.walk(tree):
                if isinstance(node, ast.Call):
                    words = {
                        keyword.arg
                        for keyword in node.keywords
                        if ast.unparse(keyword.value) != "False"
                    }
                    called = getattr(node.func, "attr", getattr(node.func, "id", ""))
                    if called in UNSAFE or words & {"shell", "allow_pickle"}:
                        found.append((name, called))
        # The condition after `compare --where` is pandas's, and what its user has typed.
        assert found == [("fmnist_lab/commands/leaderboard.py", "eval")]

    def test_no_server_listens_to_a_network_by_itself(self) -> None:
        assert ui.HOST == "127.0.0.1"
        for name, tree in trees():
            texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
            assert OPEN_ADDRESS not in texts, name


HOSTILE = [
    f"optimizer: {CODE}",
    f"hydra: {{callbacks: {{x: {CODE}}}}}",
    f"hydra: {{launcher: {CODE}, sweeper: {CODE}}}",
    "hydra: {job_logging: {handlers: {x: {'()': os.system, command: touch pwned}}}}",
    "hydra: {searchpath: ['file://elsewhere']}",
    "defaults: [{override /scheduler: ../../elsewhere/evil}]",
    "defaults: ['/elsewhere/evil@_global_']",
    "strategy: ${oc.env:SECRET}",
    "optimizer: {beta_1: '${oc.env:SECRET}'}",
    "tracking: {uri: 'http://127.0.0.1:9/${oc.env:SECRET}'}",
    "seed: !!python/object/apply:os.system ['touch pwned']",
    "seed: !!python/object/new:os.system ['touch pwned']",
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A sound file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("exported"))
        leave_trial(Path("mlruns/multirun/night"), 0, objective=0.7)
        content = document(Path("mlruns/multirun/night"))
    return yaml.safe_dump(content, sort_keys=False)


class TestHostileFile:
    """A file from another user, which looks exported in all other respects."""

    @pytest.mark.parametrize("hostile", HOSTILE)
    @pytest.mark.parametrize("words", [("verify", "evil.yaml"), ("train", "best=evil")])
    def test_runs_nothing_and_leaks_nothing(
        self,
        folder: Path,
        exported: str,
        hostile: str,
        words: tuple[str, ...],
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("SECRET", SECRET)
        key = hostile.partition(":")[0]
        kept = [block for block in _blocks(exported) if not block.startswith(f"{key}:")]
        text = "\n".join(["# @package _global_", *kept, hostile, ""])
        evil = "_target_: os.system\ncommand: touch pwned\n"
        for name, content in {
            "evil.yaml": text, "conf/best/evil.yaml": text, "elsewhere/evil.yaml": evil,
            "elsewhere/scheduler/evil.yaml": evil,
        }.items():  # fmt: skip
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        code = exit_code(monkeypatch, *words)
        GlobalHydra.instance().clear()
        printed = capfd.readouterr()
        assert code == 2, printed
        assert SECRET not in printed.out + printed.err
        assert not list(folder.rglob("pwned"))
        assert not (folder / "mlruns").exists()

    def test_the_sound_one_would_be_read(self, folder: Path, exported: str) -> None:
        from fmnist_lab.config import config_files

        Path("good.yaml").write_text(f"# @package _global_\n{exported}")
        assert config_files.read(Path("good.yaml"))["exported"]["objective"] == 0.7


def _blocks(text: str) -> list[str]:
    """The top-level keys of a document in YAML, each with all below it."""
    blocks: list[str] = []
    for line in text.splitlines():
        if line[:1] in (" ", "-"):
            blocks[-1] += f"\n{line}"
        else:
            blocks.append(line)
    return blocks


@pytest.mark.skipif(not shutil.which("dpkg"), reason="needs dpkg")
@pytest.mark.parametrize("way", ["upwards", "absolute", "link"])
def test_a_package_cannot_write_beside_its_folder(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, outside = tmp_path / "work", tmp_path / "outside"
    work.mkdir()
    outside.mkdir()
    names = {
        "upwards": "../../outside/pwned",
        "absolute": f"{outside}/pwned",
        "link": "./link/pwned",
    }
    program = tmp_path / "bin" / "apt-get"
    program.parent.mkdir()
    (tmp_path / "evil_1_all.deb").write_bytes(_package(names[way], outside))
    program.write_text(f"#!/bin/sh\ncp {tmp_path}/evil_1_all.deb .\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with suppress(SourceError):  # dpkg may refuse, too
        debian.unpack_package("evil", work)
    assert list(outside.iterdir()) == []


def _package(name: str, outside: Path) -> bytes:
    """A Debian package with a file of this name, behind a link that leads outside."""
    link = tarfile.TarInfo("./link")
    link.type, link.linkname = tarfile.SYMTYPE, str(outside)
    members = {"debian-binary": b"2.0\n", "control.tar.gz": _archive(), "data.tar.gz": b""}
    members["data.tar.gz"] = _archive(link, tarfile.TarInfo(name))
    package = b"!<arch>\n"
    for member, content in members.items():
        header = f"{member:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n"
        package += header.encode() + content + b"\n" * (len(content) % 2)
    return package


def _archive(*members: tarfile.TarInfo) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO() if member.isreg() else None)
    return stream.getvalue()


class TestPasswords:
    """`ps` shows to everybody what a process was started with."""

    def test_a_typed_one_is_gone_from_the_process_title(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        started: list[list[str]] = []

        def execv(program: str, words: list[str]) -> None:
            started.append(words)
            raise SystemExit(0)

        monkeypatch.setattr(os, "execv", execv)
        monkeypatch.setattr("signal.signal", lambda *arguments: None)
        monkeypatch.setattr("sys.path", list(sys.path))
        monkeypatch.setattr(
            "sys.argv",
            ["fmnist-lab", "train", "seed=1", f"tracking.uri=http://me:{SECRET}@lab:5000"],
        )
        with pytest.raises(SystemExit):
            cli.main()
        assert started[0][-3:] == [
            "train",
            "seed=1",
            'tracking.uri="${oc.env:MLFLOW_TRACKING_URI}"',
        ]
        assert os.environ["MLFLOW_TRACKING_PASSWORD"] == SECRET
        assert SECRET not in "".join(started[0]) + capsys.readouterr().err

    def test_one_that_cannot_go_away_is_refused(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(os, "execv", lambda *arguments: pytest.fail("started again"))
        address = f"hydra.launcher.address=tls://me:{SECRET}@host:8786"
        assert exit_code(monkeypatch, "sweep", "demo", address) == 2
        complaint = capsys.readouterr().err
        assert "`hydra.launcher.address`" in complaint
        assert SECRET not in complaint

    def test_others_are_not_started_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "execv", lambda *arguments: pytest.fail("started again"))
        monkeypatch.setattr(
            "sys.argv", ["fmnist-lab", "train", "tracking.uri=http://lab:5000", "seed=1"]
        )
        cli._hide_passwords()


def test_an_open_server_is_warned_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[list[str]] = []
    tracking.open_store()
    monkeypatch.setattr(os, "execv", lambda program, words: started.append(words))
    for host in ("127.0.0.1", OPEN_ADDRESS):
        ui.serve(0, host)
        assert started[-1][started[-1].index("--host") + 1] == host
        warned = "asks for no password" in capsys.readouterr().err
        assert warned is (host == OPEN_ADDRESS)
