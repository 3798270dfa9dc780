"""`fmnist_lab.train`, `sweep` and `compare` as functions."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import fmnist_lab
from fmnist_lab.results import schema
from tests.conftest import TINY
from tests.support.folders import leave_replicates, leave_sweep, paired

NOTEBOOK = Path(__file__).parents[2] / "docs" / "from-python.ipynb"
SMALL = (
    "training.epochs=1",
    "hydra.sweeper.n_trials=1",
    "replicates=1",
    "hydra/launcher=basic",
    "~hydra.sweeper.strategies.exponential",
    "~hydra.sweeper.strategies.one_cycle",
)


def test_importing_the_package_imports_nothing_that_takes_long() -> None:
    code = "import sys, fmnist_lab; print([m for m in ('pandas', 'hydra') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError):
        fmnist_lab.nothing  # noqa: B018


@pytest.mark.parametrize("word", ["-m", "--cfg=job", 3])
def test_flags_and_what_is_no_text_are_refused(folder: Path, word: Any) -> None:
    with pytest.raises(fmnist_lab.RequestError) as refused:
        fmnist_lab.train("seed=1", word)
    assert refused.value.key == "overrides"
    assert not list(folder.iterdir())


def test_a_comparison_has_the_frames_of_a_sweep(folder: Path) -> None:
    levels = {"constant": 0.88, "cosine": 0.9}
    place = leave_sweep(folder / "mlruns", dict.fromkeys(levels, (1e-3, 1e-2)), levels)
    leave_replicates(
        place, {"constant": paired(0.87, 8), "cosine": paired(0.89, 8, 0.01)}, sweep="night"
    )
    for given in (None, "night", place):
        found = fmnist_lab.compare(given)
        assert list(found.strategies.index) == ["cosine", "constant"]
        assert found.verdicts.set_index("strategy").loc["cosine", "verdict"] == "better"
        assert (len(found.trials), len(found.replicates)) == (4, 16)
        assert len(found.curves) == found.trials["epochs_trained"].sum()
    shown = found._repr_html_()
    assert shown.count("<tr") == 1 + 1 + len(levels)  # headings, the index's name, strategies
    assert found.answer in repr(found)
    assert not (place / "report.html").exists()
    with pytest.raises(fmnist_lab.RequestError):
        fmnist_lab.compare("day")
    begun = folder / "mlruns/sweeps/begun"  # not taken for the multirun of another application
    begun.mkdir()
    assert fmnist_lab.compare(begun).trials.empty


@pytest.mark.slow
class TestProcesses:
    """What trains in a process of its own."""

    def test_a_wrong_value_is_our_error_here(self, folder: Path) -> None:
        with pytest.raises(fmnist_lab.RequestError) as refused:
            fmnist_lab.train("training.epochs=0")
        assert (refused.value.key, str(refused.value.got)) == ("training.epochs", "0")
        assert not list(folder.glob("mlruns/trials/*"))

    def test_an_error_of_the_users_code_may_be_longer_than_a_pipe_holds(self, folder: Path) -> None:
        (folder / "mine.py").write_text("def build(**_):\n    raise OSError('x' * 200_000)\n")
        with pytest.raises(fmnist_lab.RequestError) as refused:
            fmnist_lab.train(*TINY, "tracking=none", "architecture._target_=mine.build")
        assert refused.value.key == "architecture"
        assert refused.value.hint.count("x") >= 200_000

    def test_an_interruption_is_passed_on_and_keeps_what_was_trained(self, folder: Path) -> None:
        given = (*TINY, "training.epochs=100000", "tracking=none")
        code = f"import fmnist_lab; fmnist_lab.train(*{given!r})"
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as script:
            deadline = time.monotonic() + 200
            while not list(folder.glob("mlruns/trials/*/curves.jsonl")):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            os.kill(script.pid, signal.SIGINT)
            script.communicate(timeout=100)
        assert script.returncode == -signal.SIGINT
        (trial,) = folder.glob("mlruns/trials/*")
        assert schema.result(trial)["stop_reason"] == "interrupted"

    def test_the_notebook_runs(
        self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("sklearn")
        monkeypatch.setenv("FORCE_COLOR", "1")  # as Jupyter's kernel does
        names: dict[str, Any] = {}
        for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), names)
                if "parameters" in cell["metadata"].get("tags", ()):
                    names["images"].append("tracking=none")
                    names["size"] = [*SMALL]
        assert names["trained"].result["dataset"] == "images"
        assert list(names["trained"].curves["epoch"]) == [*range(5)]
        assert len(names["found"].replicates) == len(names["found"].strategies) == 2
        printed = capsys.readouterr().out
        assert "training.epochs" in printed
        assert "\x1b" not in printed
