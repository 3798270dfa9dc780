"""`verify`: the same curve again, or where it departs."""

import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from fmnist_lab import data
from fmnist_lab.commands import verify
from fmnist_lab.config.config_files import HEADER, Document
from fmnist_lab.errors import NotReproducedError, RequestError
from fmnist_lab.export import document as recipe
from fmnist_lab.foundation.threads import THREAD_VARIABLES
from fmnist_lab.results import curve_diff
from fmnist_lab.training import environment
from tests.conftest import TINY, run_here
from tests.support.exporting import copied, document, leave_trial

pytestmark = pytest.mark.slow

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_the_table() -> None:
    file = io.StringIO()
    before: curve_diff.Curve = {"val/loss": [0.5, 0.4, 0.3], "val/accuracy": [0.7, 0.8, None]}
    found = curve_diff.departures(before, {**before} | {"val/loss": [0.5, 0.45, 0.3]}, exact=True)
    verify.show(found, True, Console(file=file, width=100, no_color=True))
    heading, row = (line.split() for line in file.getvalue().splitlines())
    assert heading[:3] == ["metric", "from", "epoch"]
    assert row == ["val/loss", "2", "0.4", "0.45", "0.05", "0"]


def test_what_a_curve_depends_on() -> None:
    here = environment.describe() | {"threads": 1}
    assert verify.differences(here, here) == {}
    assert verify.differences(here | {"git_commit": "other", "mlflow": "0"}, here) == {}
    assert verify.differences(here | {"keras": "2"}, here) == {"keras": ("2", here["keras"])}
    older = {key: value for key, value in here.items() if key not in ("threads", "processor")}
    assert verify.differences(older, here | {"threads": None}) == {"threads": (None, None)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Document]:
    """A trial's folder, and its document with the checksum of its data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("made"))
        place = Path.cwd() / "mlruns/multirun/night"
        leave_trial(place, 0)
        content = document(place)
    settings = data.DataConfig("synthetic", train_size=320, val_size=100)
    content["exported"]["data_checksum"] = data.load(settings).checksum
    return place / "0", content


@pytest.fixture
def night(folder: Path, made: tuple[Path, Document]) -> tuple[Path, Document]:
    """The same, to be changed."""
    return made[0], copied(made[1])


def written(content: Document) -> Path:
    path = Path("x.yaml")
    path.write_text(recipe.to_yaml(content, "x"))
    return path


class TestChanged:
    """Edited files, and trainings that give other numbers."""

    def test_a_digit_of_the_seed(self, night: tuple[Path, Document]) -> None:
        path = written(night[1] | {"seed": 43})
        with pytest.raises(RequestError) as refused:
            verify.main(path)
        assert (refused.value.key, refused.value.got) == ("x.yaml: seed", "43")
        assert "42" in refused.value.rule

    @pytest.mark.parametrize(
        ("tracking", "token"), [("foo", "'tracking/foo'"), ("server", "`tracking.uri`")]
    )
    def test_nowhere_to_record(
        self, night: tuple[Path, Document], tracking: str, token: str
    ) -> None:
        with pytest.raises(RequestError, match=token):
            verify.main(written(night[1]), tracking)

    def test_another_data_set(self, night: tuple[Path, Document]) -> None:
        checksum = night[1]["exported"]["data_checksum"]
        night[1]["exported"]["data_checksum"] = "0" + checksum[1:]
        with pytest.raises(RequestError, check=lambda error: "data_checksum" in error.key):
            verify.main(written(night[1]))

    @pytest.mark.parametrize("digit", [None, "train/loss", "opt/grad_norm"])
    def test_a_digit_of_the_curve(
        self,
        night: tuple[Path, Document],
        digit: str | None,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(verify, "train_again", lambda *_: night[0])
        if digit is None:
            verify.main(written(night[1]))
            assert "3 epochs, 7 metrics" in capsys.readouterr().out
            return
        night[1]["exported"]["curve"][digit][1] += 1e-9
        with pytest.raises(NotReproducedError, match=rf"{digit} .*\b2\b"):
            verify.main(written(night[1]))
        assert digit in capsys.readouterr().out

    def test_another_end(
        self, night: tuple[Path, Document], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(verify, "train_again", lambda *_: night[0])
        night[1]["exported"]["stop_reason"] = "early_stopped"
        with pytest.raises(NotReproducedError, match=r"completed.*early_stopped"):
            verify.main(written(night[1]))

    def test_other_versions_within_the_tolerance(
        self,
        night: tuple[Path, Document],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(verify, "train_again", lambda *_: night[0])
        night[1]["exported"]["environment"]["keras"] = "3.0"
        night[1]["exported"]["curve"]["val/loss"][1] += 1e-3
        verify.main(written(night[1]))
        printed = capsys.readouterr().out
        assert f"keras 3.0, here {environment.describe()['keras']}." in printed
        night[1]["exported"]["curve"]["val/loss"][1] += 1
        with pytest.raises(NotReproducedError, match="val/loss"):
            verify.main(written(night[1]))


@pytest.mark.slow
def test_trained_exported_and_verified(folder: Path, lab: Run, environment: dict[str, str]) -> None:
    jobs = ["scheduler=cosine", "averaging=ema", "architecture.dropout=0.2", "tracking=none"]
    done = run_here(folder, "train", "-m", *TINY, *jobs)  # one thread, as in a sweep's workers
    assert done.returncode == 0, done.stderr
    done = run_here(folder, "export-best", "--out", "my best.yaml")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    text = Path("my best.yaml").read_text()
    assert text.startswith(HEADER)
    assert "\n    threads: 1\n" in text

    for name in THREAD_VARIABLES:  # it takes their number from the record
        environment.pop(name, None)
    done = lab("verify", "my best.yaml")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert "epoch 3/3" in done.stdout
    assert "3 epochs, 7 metrics" in done.stdout
    (again,) = folder.glob("mlruns/verify/*/environment.json")
    assert json.loads(again.read_text())["threads"] == 1
    assert not (folder / "mlruns/mlflow.db").exists()
