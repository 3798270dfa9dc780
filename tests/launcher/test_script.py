"""Scripts of others on workers: whatever runs with Hydra's basic launcher runs here."""

from pathlib import Path

import pytest

from tests.support.sweeping import APPS, refuse_script, results, run

pytestmark = pytest.mark.slow

KINDS = (
    "main_module,lock,counted,pickled,partial,located,registered,executor,raised,child,"
    "relative_file,beside_the_script,logged,words,pool_fork,pool_spawn"
)
HEAD = "import hydra\n"
TASK = """
@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
"""
GUARD = '\nif __name__ == "__main__":\n'
COPIES = "Workers have copies of what the script defines"


def on_workers(app: str, folder: Path, *words: str) -> str:
    launcher = ("hydra/launcher=dask", "hydra.launcher.workers=1")
    grid = ("hydra/sweeper=fmnist_lab", "hydra/sweeper/sampler=grid")
    return run(app, folder, *launcher, *grid, *words)


def test_what_scripts_take_for_granted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data.txt").write_text("7")
    monkeypatch.chdir(tmp_path)
    words = (f"+kind=choice({KINDS})", "+six=${plus:2,4}", "+hydra.job.env_set.COLOUR=red")
    output = on_workers("script_kinds", tmp_path / "sweep", *words)
    assert results(tmp_path / "sweep")["trials"] == {"complete": KINDS.count(",") + 1}
    assert COPIES not in output


@pytest.mark.parametrize(
    ("script", "is_copied"),
    [
        # An unguarded call, and variables that are set in the main module alone.
        (
            f"{HEAD}{GUARD}    from math import pi as scale\n    SHIFT = 2.0\n"
            f"def shifted(x): return scale * x + SHIFT\n{TASK}    return shifted(cfg.x)\nmain()",
            False,
        ),
        # Everything is below the guard.
        (
            f"{HEAD}{GUARD}    from math import pi\n    def shifted(x): return pi * x + 2\n"
            f"{TASK}    return shifted(cfg.x)\n    main()".replace(
                TASK, TASK.replace("\n", "\n    ")
            ),
            True,
        ),
        # It cannot be run by another process at all.
        (
            f"{HEAD}import math, sys\nif __name__ != '__main__':\n    sys.exit('not a module')\n"
            f"{TASK}    return math.pi * cfg.x + 2\nmain()",
            True,
        ),
    ],
)
def test_scripts_that_other_processes_cannot_simply_run(
    tmp_path: Path, script: str, is_copied: bool
) -> None:
    app = tmp_path / "app"
    app.with_suffix(".py").write_text(script)
    output = on_workers(str(app), tmp_path / "sweep", "+x=choice(0,1)")
    assert results(tmp_path / "sweep")["best_value"] == 2
    assert output.count(COPIES) == is_copied


def test_a_script_beside_files_named_like_installed_modules(tmp_path: Path) -> None:
    for name in (
        "queue", "secrets", "statistics", "email", "profile", "http", "subprocess", "asyncio",
        "ssl", "html", "dask", "numpy", "optuna", "cloudpickle", "distributed/__init__",
        "hydra_plugins/mine/__init__",
    ):  # fmt: skip
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("X = 1")
    script = (
        f"{HEAD}import queue{TASK}    import queue as late\n    return queue.X + late.X + cfg.x"
    )
    (tmp_path / "app.py").write_text(f"{script}\n{GUARD}    main()")
    on_workers(str(tmp_path / "app"), tmp_path / "sweep", "+x=choice(0,1)")
    assert results(tmp_path / "sweep")["best_value"] == 2


@pytest.mark.parametrize("sweeper", ["basic", "fmnist_lab"])
@pytest.mark.parametrize(
    ("word", "token"),
    [
        ("hydra.launcher.workers=0", "`hydra.launcher.workers`"),
        ("hydra.launcher.address=nowhere", "`hydra.launcher.address`"),
        ("hydra.launcher.local_directory=/proc", "/proc/"),
    ],
)
def test_what_the_launcher_cannot_do_is_one_sentence(
    tmp_path: Path, sweeper: str, word: str, token: str
) -> None:
    words = ["-m", f"hydra.sweep.dir={tmp_path}/sweep", f"hydra/sweeper={sweeper}", "+x=1,2"]
    words += ["hydra/launcher=dask", word]
    output = refuse_script(APPS / "two_objectives.py", tmp_path / "log", *words)
    assert token in output
    assert "Traceback" not in output


def test_a_task_that_cannot_leave_its_process_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        f"{HEAD}import threading\ndef made(lock):\n    def main(cfg):\n        with lock:\n"
        "            return 1.0\n    return hydra.main(version_base='1.3')(main)\n"
        f"{GUARD}    made(threading.Lock())()"
    )
    words = ("-m", f"hydra.sweep.dir={tmp_path}/sweep", "hydra/launcher=dask", "+x=1,2")
    output = refuse_script(tmp_path / "app.py", tmp_path / "log", *words)
    assert "'_thread.lock'" in output
    assert "Traceback" not in output
