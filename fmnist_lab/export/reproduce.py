"""Trains a recorded trial again, in a process with as many threads as the record says."""

import datetime
import os
import shlex
import subprocess
import sys
from pathlib import Path

from fmnist_lab.config.exported_files import Document
from fmnist_lab.errors import NotReproducedError, Phrase, RequestError
from fmnist_lab.export.document import overrides
from fmnist_lab.foundation.threads import with_threads

ROOT = Path("mlruns/verify")


def train_again(recipe: Document, threads: int | None, *more: str) -> Path:
    """Trains the trial that a recipe describes, and returns its folder.

    How a sum of floats is rounded depends on the number of threads, which TensorFlow reads when it
    is imported: hence the process.

    Args:
        recipe: An exported document, or `document.recipe` of a trial's folder.
        threads: That computed the record; None: as many as there are cores.
        *more: Further overrides.

    Raises:
        RequestError: The trial cannot be trained here.
        NotReproducedError: The training failed.
    """
    now = datetime.datetime.now(datetime.UTC).astimezone()
    folder = ROOT / now.strftime("%Y-%m-%d_%H-%M-%S-%f")
    arguments = [*overrides(recipe), *more, f"hydra.run.dir={folder}"]
    settings = with_threads(threads) if threads else {}
    command = [sys.executable, "-P", "-m", "fmnist_lab", "train", *arguments]
    done = subprocess.run(command, env=os.environ | settings, check=False)
    if done.returncode == 2:
        raise RequestError("FILE", "be a trial that can be trained here", Phrase("what is above"))
    if done.returncode or not (folder / "result.json").exists():
        raise NotReproducedError(
            f"The training did not end well (exit code {done.returncode}): "
            f"{shlex.join(['fmnist-lab', 'train', *arguments])}"
        )
    return folder
