"""What Hydra has made for a job by the time it is refused, and nothing else, goes away again."""

import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

_OF_HYDRA = ("config.yaml", "hydra.yaml", "overrides.yaml")  # what it writes about a job


def discard(folder: Path, job: str, about: str | None) -> None:
    """Removes what Hydra has put into a refused job's folder, and folders that are empty then.

    Args:
        folder: May hold whatever else, if the user has chosen it.
        job: Its name, which Hydra calls the log file after.
        about: Where Hydra has described the job, below the folder; None: nowhere.
    """
    if about is not None:
        for name in _OF_HYDRA:
            (folder / about / name).unlink(missing_ok=True)
        _remove_between(folder / about, folder)
    (folder / f"{job}.log").unlink(missing_ok=True)
    _discard_empty(folder)


def discard_unused(folder: Path, job: str) -> None:
    """Removes a job's folder with nothing in it but a log to which nothing was written."""
    log = folder / f"{job}.log"
    with suppress(OSError):  # the folder's name may be such that it cannot even be looked for
        if not log.stat().st_size:
            log.unlink()
    _discard_empty(folder)


def forget_multirun(notes: Iterable[Path], arguments: Sequence[str]) -> None:
    """Removes the note of a multirun that was refused before its first job.

    Args:
        notes: The files `multirun.yaml` that are new; another command may have written one.
        arguments: Of this command.
    """
    asked = [word for word in arguments if not word.startswith(("-", "hydra"))]
    for note in notes:
        text = note.read_text(encoding="utf-8")
        if len(list(note.parent.iterdir())) == 1 and all(word in text for word in asked):
            note.unlink()
            _remove_above(note)


def discard_sweep(folder: Path) -> None:
    """Removes the folder of a new sweep that was refused before its first trial."""
    if not folder.is_dir() or (folder / "trials").exists():
        return
    shutil.rmtree(folder)
    _remove_above(folder)


def _discard_empty(folder: Path) -> None:
    if not _remove_empty(folder):
        return
    if [path.name for path in folder.parent.glob("*")] == ["multirun.yaml"]:
        (folder.parent / "multirun.yaml").unlink()
    _remove_above(folder)


def _remove_between(path: Path, folder: Path) -> None:
    while path != folder and _remove_empty(path):
        path = path.parent


def _remove_above(path: Path) -> None:
    for above in path.absolute().parents:
        if Path.cwd() not in above.parents or not _remove_empty(above):
            break


def _remove_empty(folder: Path) -> bool:
    """Whether it is gone; the folder where the command runs never is."""
    if folder.absolute() == Path.cwd():
        return False
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
