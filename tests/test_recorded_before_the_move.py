"""A sweep, an exported file and a `_target_` that were made before the package was rearranged.

The recordings are those of commit e5e2409, made with

    fmnist-lab sweep demo data=synthetic data.train_size=320 data.val_size=100 architecture=mlp \
        'architecture.hidden_sizes=[16]' training.epochs=3 tracking=none hydra/launcher=basic \
        '~hydra.sweeper.strategies.exponential' '~hydra.sweeper.strategies.one_cycle' \
        '+hydra.sweeper.strategies.performance="scheduler=performance"' hydra.sweeper.n_trials=2
    fmnist-lab export-best demo --strategy performance --out performance.yaml

without their pictures, logs and locks, and with other paths.
"""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from fmnist_lab import results
from tests.conftest import TINY, run_here

pytestmark = pytest.mark.slow

RECORDED = Path(__file__).with_name("recorded_before_the_move")
ASKED = (
    *TINY,
    "tracking=none",
    "hydra/launcher=basic",
    "~hydra.sweeper.strategies.exponential",
    "~hydra.sweeper.strategies.one_cycle",
    '+hydra.sweeper.strategies.performance="scheduler=performance"',
)


@pytest.fixture
def project(folder: Path) -> Path:
    """A copy of the recordings, in which the test runs."""
    shutil.copytree(RECORDED, folder, dirs_exist_ok=True)
    return folder


def test_the_sweep_goes_on(project: Path) -> None:
    before = results.trials("demo")
    done = run_here(project, "sweep", "demo", *ASKED, "hydra.sweeper.n_trials=3", "replicates=1")
    assert done.returncode == 0, done.stderr
    trials = results.trials("demo")
    assert trials["trial"].tolist() == list(range(9))
    assert trials.loc[:5, "objective"].tolist() == before["objective"].tolist()
    # The third point of the sequence is another one, and the same for all strategies that began.
    rates = trials.groupby("strategy")["optimizer.learning_rate"].nunique()
    assert rates.tolist() == [3, 3, 3]
    winners = json.loads((project / "mlruns/sweeps/demo/manifest.json").read_text())["winners"]
    assert set(winners) == {"constant", "cosine", "performance"}
    assert len(results.replicates("demo")) == 3
    compared = run_here(project, "compare", "demo", "--no-report")
    assert compared.returncode == 0, compared.stderr
    assert re.findall(r"\d+", compared.stdout.splitlines()[0])[-2:] == ["9", "3"]


def test_the_exported_file_is_verified(project: Path) -> None:
    done = run_here(project, "verify", "performance.yaml", XLA_FLAGS="")
    assert done.returncode == 0, done.stderr
    assert "Reproduced" in done.stdout


def test_the_target_trains(project: Path) -> None:
    node = yaml.safe_load((project / "mlruns/sweeps/demo/trials/2/.hydra/config.yaml").read_text())
    assert node["scheduler"]["_target_"] == "fmnist_lab.scheduling.Performance"
    (project / "conf/scheduler").mkdir(parents=True)
    (project / "conf/scheduler/mine.yaml").write_text(yaml.safe_dump(node["scheduler"]))
    words = (*TINY[:-1], "training.epochs=1", "tracking=none", "scheduler=mine")
    done = run_here(project, "train", *words, "hydra.run.dir=mine")
    assert done.returncode == 0, done.stderr
    assert json.loads((project / "mine/result.json").read_text())["scheduler"] == "mine"


def test_an_application_finds_its_trial_at_the_old_path() -> None:
    from fmnist_lab.search import current_trial

    assert current_trial() is None
