"""Requests that are wrong: one sentence, exit code 2, and the folder is as it was before."""

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from hydra.core.global_hydra import GlobalHydra

from fmnist_lab import config
from fmnist_lab.commands import train
from tests.conftest import TINY, exit_code, run_here
from tests.support.folders import RESULT, leave_replicates, leave_run, leave_sweep
from tests.support.sweeping import MINE

pytestmark = pytest.mark.slow

Refused = Callable[..., str]
NEVER = "objective.metric=none"  # is looked at last, and nothing is trained
HERE = "hydra/launcher=basic"  # else workers start before the sweep is refused


@pytest.fixture
def refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Runs a command in this process; the sentence that it was refused with."""

    def run(*words: str) -> str:
        before = tree(folder)
        code = exit_code(monkeypatch, *words)
        GlobalHydra.instance().clear()
        complaint = capsys.readouterr().err
        assert code == 2, complaint
        assert complaint.count("\n") == 1
        assert complaint.startswith("fmnist-lab: ")
        assert "Traceback" not in complaint
        assert tree(folder) == before
        return complaint

    return run


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


def write(name: str, content: str | bytes) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


SCHEDULER = "conf/scheduler/mine.yaml"
FILES: list[tuple[str | bytes, list[str]]] = [
    ("a: [1\nb: }", [f"`{SCHEDULER}`", "',' or ']'"]),
    ("a: b: c", [f"`{SCHEDULER}`", "line 1, column 5"]),
    ("\ta: 1", [f"`{SCHEDULER}`"]),
    ("a: 1\na: 2", [f"`{SCHEDULER}`", "duplicate key a", "line 2"]),
    ("? [1]\n: 2", [f"`{SCHEDULER}`", "unhashable"]),
    ("a: !!python/object/apply:os.system ['touch pwned']", [f"`{SCHEDULER}`", "os.system"]),
    ("a: &x [*x]", [f"`{SCHEDULER}`"]),
    (b"\xff\xfe\x00", [f"`{SCHEDULER}`", "UnicodeDecodeError"]),
    ("# @package a b\na: 1", [f"`{SCHEDULER}`", "components"]),
    ("- 1", [f"`{SCHEDULER}`", "list"]),
    ("", ["`scheduler._target_`", "None"]),
    ("_target_: ???", ["`scheduler._target_`", "Missing"]),
    ("_target_: math.sqrt", ["`scheduler._target_`", "'math.sqrt'"]),
    ("_target_: conf_code.broken", ["`scheduler._target_`", "'conf_code.broken'"]),
    ("defaults: 3", [f"`{SCHEDULER}: defaults`", " 3"]),
    ("defaults: [5]", [f"`{SCHEDULER}: defaults`", " 5"]),
    ("defaults: [{a: b, c: d}]", ["{'a': 'b', 'c': 'd'}."]),
    ("defaults: [[x], {}]", ["['x']."]),
    ("defaults: [{}]", ["{}."]),
    ("defaults: [{5: x}]", ["{5: 'x'}."]),
    ("defaults: [{a: 0}]", ["{'a': 0}."]),
    ("defaults: [{a: [x, 5]}]", ["{'a': ['x', 5]}."]),
    ("defaults: [mine]", ["`defaults`"]),
    ("defaults: [/scheduler/nope]", ["'scheduler/mine'", "'scheduler/nope'"]),
    ("1: 2", ["1 (int)"]),
    ("a: ${nope", ["${nope"]),
    ("a: ${.a}", ["`scheduler.a`"]),
    ("_target_: conf_code.words", ["`scheduler`", "'fast'"]),
    ("_target_: conf_code.falling", ["`scheduler`", "-1"]),
    ("_target_: conf_code.dipping", ["[-1.0, -1.0]", "epoch 7."]),
    ("_target_: conf_code.one_by_one", ["[nan, nan]", "epoch 7."]),
    ("_target_: conf_code.raising", ["`scheduler._target_`", "'conf_code.raising'"]),
]
CODE = """
def words(): return lambda epoch: "fast"
def falling(): return lambda epoch: epoch * 0 - 1
def dipping(): return lambda epoch: (epoch // 1 == 7) * -2.0 + 1
def one_by_one(): return lambda epoch: {7: float("nan")}.get(epoch[0] // 1, 1 / (3 - len(epoch)))
def raising(): return {}["a key"]
"""


@pytest.mark.parametrize(("content", "tokens"), FILES)
def test_a_file_of_the_users_own(
    refused: Refused, content: str | bytes, tokens: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(SCHEDULER, content)
    write("conf_code.py", CODE)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    sys.modules.pop("conf_code", None)
    complaint = refused("train", "scheduler=mine", NEVER)
    assert all(token in complaint for token in tokens), complaint


LOGS = ("version: 5", "version: 1\nhandlers: {x: {class: no.No}}\nroot: {handlers: [x]}")


@pytest.mark.parametrize("content", LOGS)
@pytest.mark.parametrize("words", [("train",), ("train", "-m"), ("train", "hydra.run.dir=old")])
def test_a_log_of_the_users_own(refused: Refused, content: str, words: tuple[str, ...]) -> None:
    write("old/.hydra/config.yaml", "of an earlier trial")
    write("conf/hydra/job_logging/mine.yaml", content)
    complaint = refused(*words, "hydra/job_logging=mine", NEVER)
    assert "`hydra.job_logging`" in complaint
    assert "ValueError: " in complaint


@pytest.mark.parametrize("request_", ["install=foo", "foo"])
def test_completion_for_no_shell(refused: Refused, request_: str) -> None:
    assert "ValueError: " in refused("train", "-sc", request_)


BASIC = "# @package _global_\nhydra: {sweeper: {strategies: {a: scheduler=cosine}}}"
SWEEPS: list[tuple[str, list[str]]] = [
    ("a: [1\nb: }", ["`sweeps/mine.yaml`"]),
    ("- 1", ["`sweeps/mine.yaml`", "list"]),
    ("data: {split: last}", ["`sweeps/mine.yaml`", "'# @package _global_'"]),
    ("# @package _global_\nhydra: 3", ["'sweeps/mine'"]),
    ("# @package _global_\nfoo: 3", ["'foo'", "'Config'"]),
    (BASIC, ["'strategies'", "'BasicSweeperConf'"]),
    (MINE.replace("      own: scheduler=mine", "      a/../b: x=1"), ["'a/../b'"]),
    (MINE.replace("      own: scheduler=mine", "      o n: x=1"), ["'o n'"]),
    (MINE.replace("      own: scheduler=mine", "      own: 3"), ["`hydra.sweeper.strategies.own`"]),
    (MINE.replace("      own: scheduler=mine", "      own: x["), ["x["]),
    (MINE.replace("      own: scheduler=mine", "      own: x=1"), ["'x'"]),
]


def test_a_refused_sweep_ends_the_workers_that_were_starting(refused: Refused) -> None:
    write("sweeps/mine.yaml", MINE.replace("scheduler=mine", "x=1"))
    before = psutil.Process().children()  # servers that other tests share
    refused("sweep", "mine", "tracking=none", NEVER)
    after = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
    assert not set(after) - set(before)


@pytest.mark.parametrize(("content", "tokens"), SWEEPS)
def test_a_sweep_of_the_users_own(refused: Refused, content: str, tokens: list[str]) -> None:
    write("sweeps/mine.yaml", content)
    complaint = refused("sweep", "mine", HERE, "tracking=none", NEVER)
    assert all(token in complaint for token in tokens), complaint


LONG = "x" * 300
NO_PLACES: list[tuple[str, list[str]]] = [
    ("-m hydra.sweep.subdir=x seed=1,2", ["`hydra.sweep.subdir`"]),
    ("-m hydra.sweep.subdir=x hydra/sweeper=fmnist_lab", ["${hydra.job.num}", "'x'"]),
    ("-m seed=range(3,1)", ["`seed`", "range(3,1)"]),
    ("-m seed=range(1,1e30)", ["`seed`", "1e18"]),
    ("hydra.output_subdir=../../foo", ["`hydra.output_subdir`", "'../../foo'"]),
    ("-m hydra.output_subdir=/tmp/foo", ["`hydra.output_subdir`", "'/tmp/foo'"]),
    ("hydra.output_subdir=a/b", ["`objective.metric`"]),
    ("hydra.output_subdir=.", ["`objective.metric`"]),
    ("hydra.output_subdir=null", ["`objective.metric`"]),
    (f"hydra.output_subdir={LONG}", [LONG[:50], "255"]),
    (f"hydra.run.dir={LONG}", [LONG[:50], "255"]),
]


@pytest.mark.parametrize(("overrides", "tokens"), NO_PLACES)
def test_jobs_without_a_place(refused: Refused, overrides: str, tokens: list[str]) -> None:
    complaint = refused("train", *overrides.split(" "), NEVER)
    assert all(token in complaint for token in tokens), complaint


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("promote", "--run", ""), "--run"),
        (("export-best", "--out", f"{LONG}.yaml"), "--out"),
        (("data", "--dir", "~no_user_x"), "data.dir"),
        (
            ("preview", "piecewise", "scheduler.factors=[1.0,1e308,0.1]",
             "optimizer.learning_rate=10"),
            "scheduler",
        ),
    ],
)  # fmt: skip
def test_other_commands(refused: Refused, words: tuple[str, ...], key: str) -> None:
    assert f"`{key}`" in refused(*words)


@pytest.mark.parametrize("sweeper", [["basic"], ["fmnist_lab", "hydra.sweeper.direction=maximize"]])
def test_a_scheduler_that_is_not_there(
    refused: Refused, sweeper: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmnist_lab.launcher.cluster._CONNECT_TIMEOUT", 0.1)
    address = "hydra.launcher.address=tcp://127.0.0.1:1"
    name, *more = sweeper
    words = (f"hydra/sweeper={name}", *more, "hydra/launcher=dask", address, "seed=1,2")
    assert "`hydra.launcher.address`" in refused("train", "-m", *words)


def test_a_job_leaves_the_result_of_another_as_it_is(folder: Path) -> None:
    write("many/42/result.json", left := json.dumps(RESULT | {"trial": 1, "overrides": ["seed=1"]}))
    words = ("-m", "hydra.sweep.dir=many", "hydra.sweep.subdir=${seed}")
    done = run_here(folder, "train", *words)
    assert done.returncode == 2
    assert "`hydra.sweep.subdir`" in done.stderr
    assert f"'{folder}/many/42'" in done.stderr
    assert Path("many/42/result.json").read_text() == left


def test_a_job_may_find_its_own_result_under_another_number(folder: Path) -> None:
    left = json.dumps(RESULT | {"trial": 1, "overrides": [*TINY, "seed=3"]})
    write("many/3/result.json", left)
    given = (*TINY, "seed=3", "tracking=none")
    words = ("-m", "hydra.sweep.dir=many", "hydra.sweep.subdir=${seed}")
    assert run_here(folder, "train", *words, *given).returncode == 0
    assert json.loads(Path("many/3/result.json").read_text())["trial"] == 0


DIRECTION = ["`hydra.sweeper.direction`", "objective.metric=val/accuracy"]
LOSS = ["`hydra.sweeper.direction`", "objective.metric=val/loss"]
SOURCES = ["`data`", "fashion_mnist, synthetic"]
METRICS = ["`objective.metric`", "val/accuracy, val/loss"]
OWN = "      own: scheduler=mine"
INCOMPARABLE = [
    (MINE, ("hydra.sweeper.direction=minimize",), DIRECTION),
    (MINE, ("hydra.sweeper.direction=maximize", "objective.metric=val/loss"), LOSS),
    (MINE, ("hydra.sweeper.direction=[maximize,minimize]",), DIRECTION),
    (MINE, ("objective.metric=val/loss,val/accuracy",), METRICS),
    (MINE.replace(OWN, "      own: objective.metric=val/loss"), (), METRICS),
    (MINE.replace(OWN, "      own: data=fashion_mnist"), (), SOURCES),
    (f"{MINE}    params: {{data: 'choice(fashion_mnist,synthetic)'}}\n", (), SOURCES),
    (MINE, ("data.name=synthetic,fashion_mnist",), SOURCES),
    (MINE.replace(OWN, "      own: data.val_size=50"), (), ["`data.val_size`", " 100, 50;"]),
    (f"{MINE}    params: {{data.val_size: 'choice(100,50)'}}\n", (), ["`data.val_size`", " 100"]),
    (MINE, ("data.val_size=range(50,100)",), ["`data.val_size`", " 50, 99;"]),
    (MINE, ("data.split=first,last",), ["`data.split`", "first, last;"]),
    (MINE, ("data.split=random", "data.split_seed=1,2"), ["`data.split_seed`", " 1, 2;"]),
    (MINE, ("data.split=last", "data.train_size=300,320"), ["`data.train_size`", " 300, 320;"]),
    (MINE, ("data.train_size=300,320", NEVER), ["`objective.metric`"]),
]  # fmt: skip


@pytest.mark.parametrize(("content", "words", "tokens"), INCOMPARABLE)
def test_a_sweep_whose_trials_cannot_be_compared(
    refused: Refused, content: str, words: tuple[str, ...], tokens: list[str]
) -> None:
    write("sweeps/mine.yaml", content)
    write(SCHEDULER, "_target_: fmnist_lab.schedules.constant\ninitial_learning_rate: 0.1")
    complaint = refused("sweep", "mine", HERE, "tracking=none", *words)
    assert all(token in complaint for token in tokens), complaint


@pytest.mark.parametrize(
    ("words", "tokens"),
    [
        # It minimises by default.
        (("hydra/sweeper=fmnist_lab", "seed=1,2"), DIRECTION),
        (("hydra/sweeper='fmnist_lab'", "seed=1,2"), DIRECTION),
        (("+mine=a", "objective.metric=choice(val/accuracy,val/loss)"), METRICS),
        (
            ("hydra/sweeper=optuna", "hydra.sweeper.direction=maximize", "data=synthetic",
             "optimizer.learning_rate=choice(0.1,abc)"),
            ["`optimizer.learning_rate`", "'abc'"],
        ),
    ],
)  # fmt: skip
def test_a_multirun_with_our_sweeper(
    refused: Refused, words: tuple[str, ...], tokens: list[str]
) -> None:
    ours = "defaults: [override /hydra/sweeper: fmnist_lab]"
    write("conf/mine/a.yaml", f"# @package _global_\n{ours}")
    complaint = refused("train", "-m", *words)
    assert all(token in complaint for token in tokens), complaint


SMALL = (
    HERE, "tracking=none", "data=synthetic", "data.train_size=32", "data.val_size=10",
    "~hydra.sweeper.strategies.cosine", "~hydra.sweeper.strategies.one_cycle",
)  # fmt: skip


@pytest.mark.parametrize(
    ("override", "tokens"),
    [
        ("optimizer.space.learning_rate='interval(3,1)'", ["`optimizer.learning_rate`"]),
        ("optimizer.learning_rate=interval(3,1)", ["`low <= high`"]),
        ("optimizer.learning_rate=interval(1e-3,inf)", ["inf"]),
        ("optimizer.learning_rate=choice(0.1,abc)", ["`optimizer.learning_rate`", "'abc'"]),
        ("training.epochs=choice(1,2,abc,3)", ["training.epochs=abc"]),
        ("training.batch_size=range(1,1e30)", ["1e18"]),
        ("seed=choice(1,2)", ["`seed`", "replicates", "choice(1,2)"]),
        ("optimizer.learning_rate=range(1,1e9,1e-9)", ["1000000"]),
        ("+optimizer.space.beta_1=interval(0,1)", ["`+optimizer.space.beta_1`"]),
        ("optimizer.space=3", ["`optimizer.space`", " 3"]),
        ("hydra.sweeper.params={a: b}", ["hydra.sweeper.params"]),
        ("hydra.sweeper.enqueue=[3]", ["`hydra.sweeper.enqueue`"]),
        ("hydra.sweep.dir=/dev/null/x", ["`/dev/null/x`", "/dev/null."]),
        ("replicates=1000", ["`replicates`", "got 1000"]),
        ("searches=1001", ["`searches`", "1001"]),
        ("baseline=adam", ["`baseline`", "constant, exponential"]),
        ("margin=0", ["`margin`", "0.0"]),
        ("margin=nan", ["`margin`", "nan"]),
        ("alpha=0.5", ["`alpha`", "0.5"]),
        ("alpha=high", ["alpha"]),
        ("kind=replicate", ["`kind`", "'replicate'"]),
    ],
)
def test_what_a_sweep_cannot_search(refused: Refused, override: str, tokens: list[str]) -> None:
    complaint = refused("sweep", "learning_rate", *SMALL, override)
    assert all(token in complaint for token in tokens), complaint


@pytest.mark.parametrize("name", ["my plan", "plän", "a=b", "a,b", "a.b", "a'b", "${x}", "-x"])
def test_a_name_that_cannot_be_a_sweeps(refused: Refused, name: str) -> None:
    write(f"sweeps/{name}.yaml", MINE)
    words = ("--", name) if name.startswith("-") else (name,)
    complaint = refused("sweep", *words)
    if not name.startswith("-"):
        assert "`NAME`" in complaint
        assert name in complaint


@pytest.mark.parametrize("name", ["../mine", "x/mine", "/etc/passwd", "..", ".", ""])
def test_a_name_cannot_leave_the_folder_of_sweeps(refused: Refused, name: str) -> None:
    write("mine.yaml", MINE)
    complaint = refused("sweep", name)
    assert "`NAME`" in complaint
    assert ", ".join(config.options("sweeps")) in complaint


class TestFolders:
    """Where nothing can be written, and where something is that must stay."""

    @pytest.mark.parametrize(
        "words",
        [("train", NEVER), ("train", "-m", NEVER), ("sweep", "demo"), ("preview", "cosine")],
    )
    def test_a_file_in_place_of_the_results(self, refused: Refused, words: tuple[str, ...]) -> None:
        write("mlruns", "")
        assert "mlruns" in refused(*words)

    def test_a_file_in_place_of_the_trials(self, refused: Refused) -> None:
        write("mlruns/trials", "")
        assert "mlruns/trials" in refused("train", NEVER)

    @pytest.mark.parametrize("words", [("train", NEVER), ("sweep", "demo"), ("preview", "cosine")])
    def test_a_folder_that_can_only_be_read(
        self, refused: Refused, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The tests may run as root, who can write everywhere.
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
        complaint = refused(*words)
        assert "`mlruns" in complaint
        assert str(Path.cwd()) in complaint

    def test_where_a_look_is_still_allowed(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
        train.main(["--cfg", "job"])
        assert "epochs: 20" in capsys.readouterr().out
        GlobalHydra.instance().clear()

    @pytest.mark.parametrize("place", [".", "''", "mine", "deep/in/mine", "$PWD"])
    def test_what_the_user_has_stays(self, refused: Refused, place: str, folder: Path) -> None:
        write("mine/thesis.txt", "years of work")
        write("notes.txt", "more of it")
        refused("train", f"hydra.run.dir={place.replace('$PWD', str(folder))}", NEVER)

    def test_not_even_an_empty_folder_where_the_command_runs_goes_away(
        self, refused: Refused, folder: Path
    ) -> None:
        refused("train", "hydra.run.dir=.", NEVER)
        assert folder.is_dir()

    @pytest.mark.parametrize("words", [("seed=1,x",), (f"{NEVER},1",), ("optimizer=[adam,sgd]",)])
    def test_a_multirun(self, refused: Refused, words: tuple[str, ...]) -> None:
        refused("train", "-m", *words)


CONTRADICTIONS = [  # that tests/config/test_refusals.py does not have
    ("scheduler=performance scheduler.mode=max", "scheduler.mode", "'max'"),
    ("stopping.mode=max", "stopping.mode", "'max'"),
    ("stopping.monitor=val/accuracy stopping.mode=min", "stopping.mode", "'min'"),
    ("stopping.start_from_epoch=20", "stopping.start_from_epoch", "20"),
    ("optimizer=[adam,sgd]", "optimizer", "several"),
    ("training.batch_size=60001", "training.batch_size", "60001"),
    ("optimizer.beta_1=1", "optimizer.beta_1", "1"),
    ("optimizer.epsilon=-1", "optimizer.epsilon", "-1"),
    ("strategy='a\tb'", "strategy", "'a\\tb'"),
]


@pytest.mark.parametrize(("overrides", "key", "got"), CONTRADICTIONS)
def test_choices_that_contradict_each_other(
    refused: Refused, overrides: str, key: str, got: str
) -> None:
    complaint = refused("train", *overrides.split(" "))
    assert f"`{key}`" in complaint
    assert f"got {got}" in complaint


class TestResults:
    """Folders of sweeps that were changed, or that another user has made."""

    @pytest.mark.parametrize("name", ["result.json", "curves.jsonl"])
    def test_a_file_that_is_broken(self, refused: Refused, name: str) -> None:
        path = leave_run(Path("mlruns/multirun/night/0")) / name
        path.write_text('{"objective": \n')
        for command in ("compare", "export-best"):
            complaint = refused(command)
            assert f"`mlruns/multirun/night/0/{name}`" in complaint
            assert "JSON" in complaint

    @pytest.mark.parametrize(
        ("name", "content", "got"),
        [
            ("result.json", "{}", "`kind`"),
            ("result.json", "[1]", "[1]"),
            ("result.json", {"trial": None}, "`trial` null"),
            ("result.json", {"seconds": "3"}, '`seconds` "3"'),
            ("result.json", {"stop_reason": []}, "`stop_reason` []"),
            ("result.json", {"overrides": [1]}, "`overrides` 1"),
            ("curves.jsonl", "[1]\n", "[1]"),
            ("curves.jsonl", '{"epoch": 0}\n', '{"epoch": 0}'),
        ],
    )
    def test_a_file_of_another_shape(
        self, refused: Refused, name: str, content: str | dict[str, Any], got: str
    ) -> None:
        text = content if isinstance(content, str) else json.dumps(RESULT | content)
        (leave_run(Path("mlruns/multirun/night/0")) / name).write_text(text)
        for command in ("compare", "export-best", "promote"):
            if (command, name) != ("promote", "curves.jsonl"):  # which promotes what is in MLflow
                complaint = refused(command)
                assert f"`mlruns/multirun/night/0/{name}`" in complaint
                assert got in complaint

    def test_a_result_that_is_none_has_no_run(self, refused: Refused) -> None:
        (leave_run(Path("mlruns/multirun/night/0")) / "result.json").write_text("[1]")
        assert "[1]" in refused("promote", "--run", "abc")

    @pytest.mark.parametrize(
        "content",
        ["{bad", "[]", '{"openings": 5}', '{"openings": [1, 2]}', '{"openings": [{}, {}]}',
         '{"winners": [1]}', '{"seeds": 3}'],
    )  # fmt: skip
    def test_a_manifest_of_another_shape(self, refused: Refused, content: str) -> None:
        place = leave_sweep(Path("mlruns"), {"a": (1e-3,)}, {"a": 0.8})
        leave_replicates(place, {"a": [0.8]})
        write(f"{place}/manifest.json", content)
        for command in ("compare", "export-best", "promote"):
            assert f"`{place}/manifest.json`" in refused(command)

    def test_a_folder_that_can_only_be_read(
        self, refused: Refused, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        leave_run(Path("mlruns/multirun/night/0"))

        def deny(**where: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied", "report.html")

        monkeypatch.setattr("fmnist_lab.foundation.files.tempfile.mkstemp", deny)
        complaint = refused("compare")
        assert "`mlruns/multirun/night`" in complaint
        assert "report.html" in complaint

    def test_a_folder_of_options_that_cannot_be_read(
        self, refused: Refused, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(SCHEDULER, "_target_: x")
        listed = os.listdir

        def deny(path: str) -> list[str]:
            if path == str(Path("conf/scheduler").absolute()):
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return listed(path)

        monkeypatch.setattr(os, "listdir", deny)
        assert "`conf/scheduler`" in refused("train", "scheduler=nope")
