"""What a result depends on besides its configuration: versions, machine, commit."""

import os
import platform
import subprocess
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import fmnist_lab

PACKAGES = ("fmnist-lab", "tensorflow", "keras", "numpy", "hydra-core", "omegaconf", "mlflow")


def describe() -> dict[str, str | int | None]:
    """Versions of Python and of the packages that matter, the machine, and the git commit."""
    versions: dict[str, str | int | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # run from a checkout that is not installed
            versions[package] = fmnist_lab.__version__ if package == "fmnist-lab" else None
    return versions | {
        "machine": platform.platform(),
        "cpus": os.cpu_count(),
        "git_commit": git_commit(),
    }


@lru_cache(maxsize=1)
def git_commit() -> str | None:
    """The commit of the checkout that this package runs from, or None where it is installed."""
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    top, commit = answer.stdout.splitlines()
    # A virtual environment may lie inside somebody else's checkout.
    return commit if Path(top) == folder.parent else None
