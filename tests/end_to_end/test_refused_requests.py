"""Requests that are wrong: one sentence, exit code 2, and the folder is as it was before."""

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from fmnist_lab.commands import train
from tests.conftest import TINY, exit_code, run_here
from tests.support.folders import RESULT, leave_replicates, leave_run, leave_sweep
from tests.support.sweeping import MINE

pytestmark = pytest.mark.slow

Refused = Callable[..., str]
NEVER = "objective.metric=none"  # is looked at last, and nothing is trained


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
FILES: list[tuple[str | bytes, str]] = [
    ("a: [1\nb: }", f"`{SCHEDULER}` must be a file in YAML, got expected ',' or ']'"),
    ("a: b: c", "mapping values are not allowed here in line 1, column 5"),
    ("\ta: 1", "must be a file in YAML"),
    ("a: 1\na: 2", "found duplicate key a in line 2"),
    ("? [1]\n: 2", "found unhashable key"),
    ("a: !!python/object/apply:os.system ['touch pwned']", "must be a file in YAML, got could"),
    ("a: &x [*x]", "must be a readable text file"),
    (b"\xff\xfe\x00", "must be a readable text file, got UnicodeDecodeError"),
    ("# @package a b\na: 1", "must be a file in YAML, got Too many components"),
    ("- 1", "must hold keys and values, got a list"),
    ("", "`scheduler._target_` must be a function's dotted path"),
    ("_target_: ???", "`scheduler._target_` must have another value, got Missing mandatory value"),
    ("_target_: math.sqrt", "must name a function that takes these keys, got 'math.sqrt'"),
    ("_target_: conf_code.broken", "`scheduler._target_` must name a function, got"),
    ("defaults: 3", f"`{SCHEDULER}: defaults` must be a list of names and of `group: name`, got 3"),
    ("defaults: [5]", f"`{SCHEDULER}: defaults` must be a list of names and of `group: name`"),
    ("defaults: [{a: b, c: d}]", "got {'a': 'b', 'c': 'd'}."),
    ("defaults: [[x], {}]", "got ['x']."),
    ("defaults: [{}]", "got {}."),
    ("defaults: [{5: x}]", "got {5: 'x'}."),
    ("defaults: [{a: 0}]", "got {'a': 0}."),
    ("defaults: [{a: [x, 5]}]", "got {'a': ['x', 5]}."),
    ("defaults: [mine]", "`defaults` must not lead back to its own file"),
    ("defaults: [/scheduler/nope]", "In 'scheduler/mine': Could not load 'scheduler/nope'"),
    ("1: 2", "Key 1 (int)"),
    ("a: ${nope", "${nope"),
    ("a: ${.a}", "`scheduler.a` must have another value"),
    ("_target_: conf_code.words", "`scheduler` must give a learning rate for every epoch"),
    ("_target_: conf_code.falling", "`scheduler` must give finite learning rates, zero or more"),
    ("_target_: conf_code.dipping", "for every step, got [-1.0, -1.0] in epoch 7."),
    ("_target_: conf_code.one_by_one", "for every step, got [nan, nan] in epoch 7."),
    ("_target_: conf_code.raising", "must name a function that takes these keys, got 'conf_code.r"),
]  # fmt: skip
CODE = """
def words(): return lambda epoch: "fast"
def falling(): return lambda epoch: epoch * 0 - 1
def dipping(): return lambda epoch: (epoch // 1 == 7) * -2.0 + 1
def one_by_one(): return lambda epoch: {7: float("nan")}.get(epoch[0] // 1, 1 / (3 - len(epoch)))
def raising(): return {}["a key"]
"""


@pytest.mark.parametrize(("content", "sentence"), FILES)
def test_a_file_of_the_users_own(
    refused: Refused, content: str | bytes, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(SCHEDULER, content)
    write("conf_code.py", CODE)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    sys.modules.pop("conf_code", None)
    assert sentence in refused("train", "scheduler=mine", NEVER)


LOGS = ("version: 5", "version: 1\nhandlers: {x: {class: no.No}}\nroot: {handlers: [x]}")


@pytest.mark.parametrize("content", LOGS)
@pytest.mark.parametrize("words", [("train",), ("train", "-m"), ("train", "hydra.run.dir=old")])
def test_a_log_of_the_users_own(refused: Refused, content: str, words: tuple[str, ...]) -> None:
    write("old/.hydra/config.yaml", "of an earlier trial")
    write("conf/hydra/job_logging/mine.yaml", content)
    said = "`hydra.job_logging` must be what logging.config.dictConfig takes, got ValueError: "
    assert said in refused(*words, "hydra/job_logging=mine", NEVER)


@pytest.mark.parametrize("request_", ["install=foo", "foo"])
def test_completion_for_no_shell(refused: Refused, request_: str) -> None:
    assert "ValueError: " in refused("train", "-sc", request_)


BASIC = "# @package _global_\nhydra: {sweeper: {strategies: {a: scheduler=cosine}}}"
SWEEPS: list[tuple[str, str]] = [
    ("a: [1\nb: }", "`sweeps/mine.yaml` must be a file in YAML"),
    ("- 1", "`sweeps/mine.yaml` must hold keys and values, got a list"),
    ("data: {split: last}", "`sweeps/mine.yaml` must begin with the line '# @package _global_'"),
    ("# @package _global_\nhydra: 3", "In 'sweeps/mine'"),
    ("# @package _global_\nfoo: 3", "Key 'foo' not in 'Config'"),
    (BASIC, "Key 'strategies' not in 'BasicSweeperConf'"),
    (MINE.replace("      own: scheduler=mine", "      a/../b: x=1"), "at most 100 letters a to z"),
    (MINE.replace("      own: scheduler=mine", "      o n: x=1"), "at most 100 letters a to z"),
    (MINE.replace("      own: scheduler=mine", "      own: 3"), "`hydra.sweeper.strategies.own` m"),
    (MINE.replace("      own: scheduler=mine", "      own: x["), "LexerNoViableAltException: x["),
    (MINE.replace("      own: scheduler=mine", "      own: x=1"), "Could not override 'x'"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "sentence"), SWEEPS)
def test_a_sweep_of_the_users_own(refused: Refused, content: str, sentence: str) -> None:
    write("sweeps/mine.yaml", content)
    assert sentence in refused("sweep", "mine", "tracking=none", NEVER)


LONG = "x" * 300
NO_PLACES: list[tuple[str, str]] = [
    ("-m hydra.sweep.subdir=x seed=1,2", "`hydra.sweep.subdir` must give each job a folder of it"),
    ("-m hydra.sweep.subdir=x hydra/sweeper=fmnist_lab", "as in ${hydra.job.num}, got 'x' for all"),
    ("-m seed=range(3,1)", "`seed` must be a range of jobs, got range(3,1): a range must hold at "),
    ("-m seed=range(1,1e30)", "a range must hold at most 1e18 values"),
    ("hydra.output_subdir=../../foo", "`hydra.output_subdir` must be a folder in that of the tr"),
    ("-m hydra.output_subdir=/tmp/foo", "must be a folder in that of the trial, got '/tmp/foo'"),
    ("hydra.output_subdir=a/b", "`objective.metric` must be val/accuracy or val/loss or "),
    ("hydra.output_subdir=.", "`objective.metric` must be val/accuracy or val/loss or "),
    ("hydra.output_subdir=null", "`objective.metric` must be val/accuracy or val/loss or "),
    (f"hydra.output_subdir={LONG}", "be a folder whose names have at most 255 bytes"),
    (f"hydra.run.dir={LONG}", "be a folder whose names have at most 255 bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "sentence"), NO_PLACES)
def test_jobs_without_a_place(refused: Refused, overrides: str, sentence: str) -> None:
    assert sentence in refused("train", *overrides.split(" "), NEVER)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("promote", "--run", ""), "`--run` must be the MLflow id of a trial under mlruns, got ''"),
        (("export-best", "--out", f"{LONG}.yaml"), "`--out` must be a file that can be written,"),
        (("data", "--dir", "~nobody_x"), "must be a folder with the four Fashion-MNIST files, got"),
        (
            ("preview", "piecewise", "scheduler.factors=[1.0,1e308,0.1]",
             "optimizer.learning_rate=10"),
            "`scheduler` must give finite learning rates, zero or more, one for every step, got [",
        ),
    ],
)  # fmt: skip
def test_other_commands(refused: Refused, words: tuple[str, ...], sentence: str) -> None:
    assert sentence in refused(*words)


@pytest.mark.parametrize("sweeper", ["basic", "fmnist_lab"])
def test_a_scheduler_that_is_not_there(
    refused: Refused, sweeper: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmnist_lab.launcher.cluster._CONNECT_TIMEOUT", 0.1)
    address = "hydra.launcher.address=tcp://127.0.0.1:1"
    words = ("-m", f"hydra/sweeper={sweeper}", "hydra/launcher=dask", address, "seed=1,2")
    assert "`hydra.launcher.address` must lead to a running Dask" in refused("train", *words)


def test_a_job_leaves_the_result_of_another_as_it_is(folder: Path) -> None:
    write("many/42/result.json", left := json.dumps(RESULT | {"trial": 1, "overrides": ["seed=1"]}))
    words = ("-m", "hydra.sweep.dir=many", "hydra.sweep.subdir=${seed}")
    done = run_here(folder, "train", *words)
    assert done.returncode == 2
    assert "`hydra.sweep.subdir` must give each job a folder of its own, got" in done.stderr
    assert f"'{folder}/many/42' for 1 and 0." in done.stderr
    assert Path("many/42/result.json").read_text() == left


def test_a_job_may_find_its_own_result_under_another_number(folder: Path) -> None:
    left = json.dumps(RESULT | {"trial": 1, "overrides": [*TINY, "seed=3"]})
    write("many/3/result.json", left)
    given = (*TINY, "seed=3", "tracking=none")
    words = ("-m", "hydra.sweep.dir=many", "hydra.sweep.subdir=${seed}")
    assert run_here(folder, "train", *words, *given).returncode == 0
    assert json.loads(Path("many/3/result.json").read_text())["trial"] == 0


MAXIMISED = "`hydra.sweeper.direction` must be maximize with objective.metric=val/accuracy, got m"
MINIMISED = "`hydra.sweeper.direction` must be minimize with objective.metric=val/loss, got maximi"
DRAWN = "`data` must be the same for all trials of a sweep, got fashion_mnist, synthetic; results"
METRICS = "`objective.metric` must be the same for all trials of a sweep, got val/accuracy, val/lo"
OTHERS = "` must be the same for all trials of a sweep, got"
OWN = "      own: scheduler=mine"
INCOMPARABLE = [
    (MINE, ("hydra.sweeper.direction=minimize",), MAXIMISED),
    (MINE, ("hydra.sweeper.direction=maximize", "objective.metric=val/loss"), MINIMISED),
    (MINE, ("hydra.sweeper.direction=[maximize,minimize]",), MAXIMISED),
    (MINE, ("objective.metric=val/loss,val/accuracy",), METRICS),
    (MINE.replace(OWN, "      own: objective.metric=val/loss"), (), METRICS),
    (MINE.replace(OWN, "      own: data=fashion_mnist"), (), DRAWN),
    (f"{MINE}    params: {{data: 'choice(fashion_mnist,synthetic)'}}\n", (), DRAWN),
    (MINE, ("data.name=synthetic,fashion_mnist",), DRAWN),
    (MINE.replace(OWN, "      own: data.val_size=50"), (), f"`data.val_size{OTHERS} 100, 50; res"),
    (f"{MINE}    params: {{data.val_size: 'choice(100,50)'}}\n", (), f"`data.val_size{OTHERS} 100"),
    (MINE, ("data.val_size=range(50,100)",), f"`data.val_size{OTHERS} 50, 99; results on differe"),
    (MINE, ("data.split=first,last",), f"`data.split{OTHERS} first, last; results on different im"),
    (MINE, ("data.split=random", "data.split_seed=1,2"), f"`data.split_seed{OTHERS} 1, 2; results"),
    (MINE, ("data.split=last", "data.train_size=300,320"), f"`data.train_size{OTHERS} 300, 320;"),
    (MINE, ("data.train_size=300,320", NEVER), "`objective.metric` must be val/accuracy or val/"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "words", "sentence"), INCOMPARABLE)
def test_a_sweep_whose_trials_cannot_be_compared(
    refused: Refused, content: str, words: tuple[str, ...], sentence: str
) -> None:
    write("sweeps/mine.yaml", content)
    write(SCHEDULER, "_target_: fmnist_lab.schedules.constant\ninitial_learning_rate: 0.1")
    assert sentence in refused("sweep", "mine", "tracking=none", *words)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        # It minimises, if nobody says otherwise.
        (("hydra/sweeper=fmnist_lab", "seed=1,2"), MAXIMISED),
        (("hydra/sweeper='fmnist_lab'", "seed=1,2"), MAXIMISED),
        (("+mine=a", "objective.metric=choice(val/accuracy,val/loss)"), METRICS),
        (
            ("hydra/sweeper=optuna", "hydra.sweeper.direction=maximize", "data=synthetic",
             "optimizer.learning_rate=choice(0.1,abc)"),
            "`optimizer.learning_rate` must be a finite number, got 'abc'",
        ),
    ],
)  # fmt: skip
def test_a_multirun_with_our_sweeper(
    refused: Refused, words: tuple[str, ...], sentence: str
) -> None:
    ours = "defaults: [override /hydra/sweeper: fmnist_lab]"
    write("conf/mine/a.yaml", f"# @package _global_\n{ours}")
    assert sentence in refused("train", "-m", *words)


SMALL = ("tracking=none", "data=synthetic", "data.train_size=32", "data.val_size=10")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("optimizer.space.learning_rate='interval(3,1)'", "`optimizer.learning_rate` must be some"),
        ("optimizer.learning_rate=interval(3,1)", "`low <= high` must hold"),
        (
            "optimizer.learning_rate=interval(1e-3,inf)",
            "its ends must be finite numbers, at a fini",
        ),
        ("optimizer.learning_rate=choice(0.1,abc)", "must be a finite number, got 'abc'"),
        ("training.epochs=choice(1,2,abc,3)", "Error merging override training.epochs=abc"),
        ("seed=range(1,1e30)", "a range must hold at most 1e18 values"),
        ("optimizer.learning_rate=range(1,1e9,1e-9)", "a range must hold at most 1000000 values"),
        ("+optimizer.space.beta_1=interval(0,1)", "`+optimizer.space.beta_1` must be put in quote"),
        ("optimizer.space=3", "`optimizer.space` must be a mapping, got 3"),
        ("hydra.sweeper.params={a: b}", "hydra.sweeper.params"),
        ("hydra.sweeper.enqueue=[3]", "`hydra.sweeper.enqueue` must be a list of mappings"),
        (
            "hydra.sweep.dir=/dev/null/x",
            "`/dev/null/x` must be a folder for results, got the file /dev/null.",
        ),
        ("replicates=1000", "`replicates` must be zero or more and below 1000, got 1000"),
        ("searches=1001", "`searches` must be from 1 to 1000, got 1001"),
        ("baseline=adam", "`baseline` must be one of constant, exponential"),
        ("margin=0", "`margin` must be above 0 and below 1, as accuracies are, got 0.0"),
        ("margin=nan", "`margin` must be above 0 and below 1, as accuracies are, got nan"),
        ("alpha=0.5", "`alpha` must be above 0 and below 0.5, got 0.5"),
        ("alpha=high", "alpha"),
        ("kind=replicate", "`kind` must stay trial, got 'replicate'"),
    ],
)
def test_what_a_sweep_cannot_search(refused: Refused, override: str, sentence: str) -> None:
    assert sentence in refused("sweep", "learning_rate", *SMALL, override)


@pytest.mark.parametrize("name", ["my plan", "plän", "a=b", "a,b", "a.b", "a'b", "${x}", "-x"])
def test_a_name_that_cannot_be_a_sweeps(refused: Refused, name: str) -> None:
    write(f"sweeps/{name}.yaml", MINE)
    words = ("--", name) if name.startswith("-") else (name,)
    sentence = refused("sweep", *words)
    if not name.startswith("-"):
        assert f"`NAME` must have at most 100 letters a to z, digits, _ and -, got {name!r}" in (
            sentence.replace('"', "'") if "'" not in name else sentence
        )


@pytest.mark.parametrize("name", ["../mine", "x/mine", "/etc/passwd", "..", ".", ""])
def test_a_name_cannot_leave_the_folder_of_sweeps(refused: Refused, name: str) -> None:
    write("mine.yaml", MINE)
    assert "`NAME` must be one of architectures, clipping, control, demo, " in refused(
        "sweep", name
    )


class TestFolders:
    """Where nothing can be written, and where something is that must stay."""

    @pytest.mark.parametrize(
        "words",
        [("train", NEVER), ("train", "-m", NEVER), ("sweep", "demo"), ("preview", "cosine")],
    )
    def test_a_file_in_place_of_the_results(self, refused: Refused, words: tuple[str, ...]) -> None:
        write("mlruns", "")
        assert "must be a folder for results, got the file" in refused(*words)

    def test_a_file_in_place_of_the_trials(self, refused: Refused) -> None:
        write("mlruns/trials", "")
        assert "must be a folder for results, got the file" in refused("train", NEVER)

    @pytest.mark.parametrize("words", [("train", NEVER), ("sweep", "demo"), ("preview", "cosine")])
    def test_a_folder_that_can_only_be_read(
        self, refused: Refused, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Whoever runs the tests may be root, who can write everywhere.
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
        assert "must be a folder that can be written, got" in refused(*words)

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


CONTRADICTIONS = [
    ("training.label_smoothing=0.1", "`training.label_smoothing` must be 0 with training.lab"),
    ("scheduler.warmup_epochs=20", "must be shorter than the training of 20 epochs, got 20"),
    ("scheduler=piecewise scheduler.boundaries=[9,5]", "must be one or more increasing epochs"),
    ("scheduler=performance data.val_size=0", "`data.val_size` must be from 1 to 59999, got 0"),
    ("scheduler=performance scheduler.mode=max", "must be auto or min with scheduler.monitor"),
    ("stopping.mode=max", "`stopping.mode` must be auto or min with stopping.monitor=val/loss"),
    ("stopping.monitor=val/accuracy stopping.mode=min", "must be auto or max with"),
    ("stopping.start_from_epoch=20", "must be below training.epochs=20, got 20; no epoch would be"),
    ("clipping=none clipping.threshold=1", "`clipping.threshold` must be null with clipping=none"),
    ("optimizer=[adam,sgd]", "`optimizer` must be the name of one option, got several or none"),
    ("training.batch_size=60001", "`training.batch_size` must be at most 60000, got 60001"),
    ("optimizer.beta_1=1", "`optimizer.beta_1` must be at least 0 and below 1, got 1"),
    ("optimizer.epsilon=-1", "`optimizer.epsilon` must be zero or more, got -1"),
    ("strategy='a\tb'", "`strategy` must be a name of at most 100 printable characters, got 'a"),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "sentence"), CONTRADICTIONS)
def test_choices_that_contradict_each_other(
    refused: Refused, overrides: str, sentence: str
) -> None:
    assert sentence in refused("train", *overrides.split(" "))


class TestResults:
    """Folders of sweeps that were changed, or are somebody else's."""

    @pytest.mark.parametrize("name", ["result.json", "curves.jsonl"])
    def test_a_file_that_is_broken(self, refused: Refused, name: str) -> None:
        path = leave_run(Path("mlruns/multirun/night/0")) / name
        path.write_text('{"objective": \n')
        told = f"`mlruns/multirun/night/0/{name}` must be as its trial has left it, got no JSON"
        assert told in refused("compare")
        assert told in refused("export-best")

    @pytest.mark.parametrize(
        ("name", "content", "sentence"),
        [
            ("result.json", "{}", "got no `kind`; move the trial's folder away"),
            ("result.json", "[1]", "got [1], which must be an object; move the trial"),
            ("result.json", {"trial": None}, "got `trial` null, which must be a valid integer"),
            ("result.json", {"seconds": "3"}, 'got `seconds` "3", which must be a valid number'),
            ("result.json", {"stop_reason": []}, "`stop_reason` [], which must be 'completed',"),
            ("result.json", {"overrides": [1]}, "`overrides` 1, which must be a valid string"),
            ("curves.jsonl", "[1]\n", "got [1] in line 1 instead of epoch 0 with a number for"),
            ("curves.jsonl", '{"epoch": 0}\n', 'got {"epoch": 0} in line 1 instead of epoch 0'),
        ],
    )
    def test_a_file_of_another_shape(
        self, refused: Refused, name: str, content: str | dict[str, Any], sentence: str
    ) -> None:
        text = content if isinstance(content, str) else json.dumps(RESULT | content)
        (leave_run(Path("mlruns/multirun/night/0")) / name).write_text(text)
        told = f"`mlruns/multirun/night/0/{name}` must be as its trial has left it, "
        for command in ("compare", "export-best", "promote"):
            if (command, name) != ("promote", "curves.jsonl"):  # which promotes what is in MLflow
                complaint = refused(command)
                assert told in complaint
                assert sentence in complaint

    def test_a_result_that_is_none_has_no_run(self, refused: Refused) -> None:
        (leave_run(Path("mlruns/multirun/night/0")) / "result.json").write_text("[1]")
        assert "got [1], which must be an object" in refused("promote", "--run", "abc")

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
            assert f"`{place}/manifest.json` must be as its sweep has left it, got" in (
                refused(command)
            )

    def test_a_folder_that_can_only_be_read(
        self, refused: Refused, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        leave_run(Path("mlruns/multirun/night/0"))

        def deny(**where: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied", "report.html")

        monkeypatch.setattr("fmnist_lab.foundation.files.tempfile.mkstemp", deny)
        told = "`mlruns/multirun/night` must be a folder that can be written, for the report, got"
        assert f"{told} report.html: Permission denied; without one: --no-report." in (
            refused("compare")
        )

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
        told = "`conf/scheduler` must be a folder that can be read, got Permission denied."
        assert told in refused("train", "scheduler=nope")
