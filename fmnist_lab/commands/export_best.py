"""What `fmnist-lab export-best` does: the best trial of a sweep as a file to take home."""

import logging
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fmnist_lab.config.exported_files import Document
from fmnist_lab.errors import RequestError
from fmnist_lab.export import choosing, python_file, writing
from fmnist_lab.export import document as recipe
from fmnist_lab.foundation.files import whole_file
from fmnist_lab.foundation.spelling import spell

FOLDER = Path("conf/best")  # where the group `best` finds a user's own options
FORMATS: dict[str, Callable[[Document, str], str]] = {
    ".yaml": writing.to_yaml,
    ".json": lambda document, name: writing.to_json(document),
    ".py": python_file.to_python,
}


@dataclass(frozen=True)
class Request:
    """What was asked for; see the command's help."""

    name: str | None = None
    strategy: str | None = None
    by: str | None = None
    stopping: str | None = None
    out: Path | None = None
    force: bool = False


def main(request: Request) -> None:
    """Chooses a trial, says why, and writes its file.

    Raises:
        RequestError: There is nothing to export, or nowhere to write it.
    """
    logging.basicConfig(format="%(message)s")
    if request.out:  # before the work
        _require_writable(request.out, request.force)
    choice = choosing.choose(request.name, request.strategy, request.by, request.stopping)
    out = request.out or FOLDER / f"{choice.place.name}.yaml"
    _require_writable(out, request.force)
    document = recipe.build(choice)
    text = FORMATS[out.suffix](document, out.stem)
    try:
        with whole_file(out) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RequestError(
            f"`--out` must be a file that can be written, got {out}: {reason}."
        ) from error
    record = document["exported"]
    print("\n".join([*writing.remarks(record), f"  {record['command']}"]))
    print(f"\nWritten to {out}\n{_next(out)}")


def _require_writable(out: Path, force: bool) -> None:
    if out.suffix not in FORMATS:
        allowed = ", ".join(FORMATS)
        raise RequestError(f"`--out` must end in one of {allowed}, got {str(out)!r}.")
    try:
        is_folder, exists = out.is_dir(), out.exists()
    except OSError as error:  # too long, say
        raise RequestError(
            f"`--out` must be a file that can be written, got {out}: {error.strerror}."
        ) from error
    if is_folder:
        raise RequestError(f"`--out` must be a file, got the folder {out}.")
    if exists and not force:
        raise RequestError(
            f"`--out` must be a new file, got {out}, which exists; to replace it: --force."
        )


def _next(out: Path) -> str:
    """What to do with the file."""
    path = shlex.quote(str(out))
    if out.suffix == ".py":
        return f"Train it, without this project:  python {path}"
    lines = [f"Train it again and compare:  fmnist-lab verify {path}"]
    if out.suffix == ".yaml":
        lines.append(f"Train from it:               {_train(out)}")
    return "\n".join(lines)


def _train(out: Path) -> str:
    best = shlex.quote(f"best={spell(out.stem)}")
    if out.parent == FOLDER:
        return f"fmnist-lab train {best}"
    if out.parent.name == FOLDER.name:
        return f"fmnist-lab train --config-dir {shlex.quote(str(out.parent.parent))} {best}"
    return f"put it into {FOLDER}/ first, then: fmnist-lab train {best}"
