"""What `fmnist-lab export-best` does: the best trial of a sweep as a file to take home."""

import logging
import shlex
from collections.abc import Callable
from pathlib import Path

from fmnist_lab.config.config_files import Document
from fmnist_lab.errors import Phrase, RequestError
from fmnist_lab.export import choosing, python_file
from fmnist_lab.export import document as recipe
from fmnist_lab.foundation.files import asked_file
from fmnist_lab.foundation.spelling import spell

FOLDER = Path("conf/best")  # where the group `best` finds a user's own options
FORMATS: dict[str, Callable[[Document, str], str]] = {
    ".yaml": recipe.to_yaml,
    ".json": lambda document, name: recipe.to_json(document),
    ".py": python_file.to_python,
}


def main(
    name: str | None = None,
    strategy: str | None = None,
    by: str | None = None,
    stopping: str | None = None,
    *,
    out: Path | None = None,
    force: bool = False,
) -> None:
    """Chooses a trial, says why, and writes its file; see the command's help.

    Raises:
        RequestError: There is nothing to export, or nowhere to write it.
    """
    logging.basicConfig(format="%(message)s")
    if out:  # before the work
        _require_new(out, force)
    choice = choosing.choose(name, strategy, by, stopping)
    out = out or FOLDER / f"{choice.place.name}.yaml"
    _require_new(out, force)
    document = recipe.build(choice)
    text = FORMATS[out.suffix](document, out.stem)
    with asked_file("--out", out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    record = document["exported"]
    own = recipe.to_trial(document).data.is_nowhere
    print("\n".join([*recipe.remarks(record), f"  {record['command']}"]))
    print(f"\nWritten to {out}\n{_next(out, own)}")


def _require_new(out: Path, force: bool) -> None:
    if out.suffix not in FORMATS:
        raise RequestError("--out", f"end in one of {', '.join(FORMATS)}", str(out))
    try:
        exists = out.exists() and not out.is_dir()
    except OSError as error:  # a name that is too long, a folder that is not open
        got = Phrase(f"{out}: {error.strerror}")
        raise RequestError("--out", "be a file that can be written", got) from error
    if exists and not force:
        got = Phrase(f"{out}, which exists")
        raise RequestError("--out", "be a new file", got, "to replace it: --force")


def _next(out: Path, own: bool) -> str:
    """Returns what to do with the file; of one's own images it does not say where they are."""
    path = shlex.quote(str(out)) + " --data IMAGES" * own
    if out.suffix == ".py":
        return f"Train it, without this project:  python {path}"
    again = f"Train it again and compare:  fmnist-lab verify {path}"
    if out.suffix == ".json":
        return again
    best = shlex.quote(f"best={spell(out.stem)}") + " data.path=IMAGES" * own
    train = f"put it into {FOLDER}/ first, then: fmnist-lab train {best}"
    if out.parent == FOLDER:
        train = f"fmnist-lab train {best}"
    elif out.parent.name == FOLDER.name:
        config_dir = shlex.quote(str(out.parent.parent))
        train = f"fmnist-lab train --config-dir {config_dir} {best}"
    return f"{again}\nTrain from it:               {train}"
