"""What a wheel holds, and what an import costs."""

import os
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fmnist_lab"


class TestImports:
    """The heavy ones come late."""

    def test_light_modules_import_nothing_heavy(self) -> None:
        code = (
            "import sys\n"
            "import fmnist_lab.schedules, fmnist_lab.training.early_stopping\n"
            "import fmnist_lab.cli, fmnist_lab.config, fmnist_lab.tracking, fmnist_lab.results\n"
            "import fmnist_lab.statistics, fmnist_lab.report\n"
            "import fmnist_lab.commands.train, fmnist_lab.commands.compare\n"
            "heavy = {'tensorflow', 'keras', 'mlflow', 'matplotlib', 'plotext', 'plotly'}\n"
            "print(sorted(heavy & set(sys.modules)))"
        )
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        assert done.stdout == "[]\n"

    def test_the_command_line_itself_needs_neither_hydra_nor_pandas(self) -> None:
        code = (
            "import sys, fmnist_lab.cli\n"
            "print({'hydra', 'pandas', 'numpy', 'scipy'} & set(sys.modules))"
        )
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        assert done.stdout == "set()\n"


def test_no_file_name_stands_twice() -> None:
    """A file's name says which file it is."""
    names = [path.name for folder in ("fmnist_lab", "hydra_plugins")
             for path in (ROOT / folder).rglob("*.py") if path.name != "__init__.py"]  # fmt: skip
    assert [name for name, count in Counter(names).items() if count > 1] == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


class TestWheel:
    """The configuration travels with the package."""

    def test_it_holds_every_module_and_every_option(self, wheel: Path) -> None:
        def listed(folder: Path, pattern: str) -> set[Path]:
            return {path.relative_to(folder) for path in folder.rglob(pattern)}

        modules = listed(wheel / "fmnist_lab", "*.py")
        assert modules == listed(PACKAGE, "*.py")
        options = listed(wheel / "fmnist_lab" / "conf", "*.yaml")
        assert options == listed(ROOT / "conf", "*.yaml")
        assert Path("config.yaml") in options
        sweeps = listed(wheel / "fmnist_lab" / "sweeps", "*.yaml")
        assert sweeps == listed(ROOT / "sweeps", "*.yaml")
        assert Path("demo.yaml") in sweeps
        assert (wheel / "fmnist_lab" / "py.typed").exists()
        tops = {path.name for path in wheel.iterdir() if not path.name.endswith(".dist-info")}
        assert tops == {"fmnist_lab", "hydra_plugins"}

    def test_it_works_from_an_empty_folder(self, wheel: Path, folder: Path) -> None:
        code = (
            "import fmnist_lab.config as config, runpy, sys\n"
            "print(config.config_dir())\n"
            "sys.argv = ['fmnist-lab', 'train', '--cfg', 'job', 'scheduler=wsd']\n"
            "runpy.run_module('fmnist_lab', run_name='__main__')"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(wheel)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert lines[0] == str(wheel / "fmnist_lab" / "conf")
        assert "  _target_: fmnist_lab.schedules.wsd" in lines
        assert list(folder.iterdir()) == []
