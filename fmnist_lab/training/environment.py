"""What a result depends on besides its configuration: versions, machine, commit."""

import os
import platform
import subprocess
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import fmnist_lab
from fmnist_lab.results import schema

COMPUTING = ("fmnist-lab", "tensorflow", "keras", "numpy")  # another version, other numbers
# What decides whether a trial trains again to the same bits.
DECIDING = (*COMPUTING, "machine", "processor", "threads")
PACKAGES = ("tensorflow", "keras", "numpy", "hydra-core", "omegaconf", "mlflow")


def describe() -> dict[str, str | int | None]:
    """Versions of Python and of the packages that matter, the machine, and the git commit."""
    return {
        "python": platform.python_version(),
        "fmnist-lab": fmnist_lab.__version__,  # also in a checkout that is not installed
        **{package: metadata.version(package) for package in PACKAGES},
        "machine": platform.platform(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "git_commit": git_commit(),
    }


def recorded(folder: Path) -> dict[str, Any]:
    """Reads `environment.json` in a trial's folder; `threads` is None where it is not known."""
    job, threads = folder / ".hydra" / "hydra.yaml", None
    if job.exists():  # trials of earlier versions do not say; the launcher of their process does
        from omegaconf import OmegaConf

        threads = OmegaConf.select(OmegaConf.load(job), "hydra.launcher.threads_per_worker")
    return {"threads": None if threads is None else int(threads)} | schema.environment(folder)


def _processor() -> str:
    """Its model, which decides on the instructions that are used."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in lines)}
    # Virtual machines call many models by one name.
    wanted = ("model name", "cpu family", "model")
    return ", ".join(facts[key] for key in wanted if key in facts) or platform.machine()


@lru_cache(maxsize=1)
def git_commit() -> str | None:
    """Returns the commit of the checkout that this package runs from; None if installed."""
    folder = Path(__file__).parents[1]
    command = ["git", "-C", str(folder), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    top, commit = answer.stdout.splitlines()
    # A virtual environment may lie inside another project's checkout.
    return commit if Path(top) == folder.parent else None
