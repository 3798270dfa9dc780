"""How Hydra reads configuration files, and the group `best`: as data from others.

What cannot be read is refused in a sentence; what others wrote is checked before anything is
composed.
"""

import builtins
import os
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import yaml
from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf

from fmnist_lab.config import exported_schema
from fmnist_lab.errors import RequestError

GROUP = "best"
_WHOLE = ("sweeps", "recipe")  # groups whose files are laid over the whole configuration


class FileConfigSource(file_config_source.FileConfigSource):
    """Folders of configuration files, as Hydra reads them, but for the group `best`.

    It has the name of Hydra's own: a worker registers that one after ours, and Hydra takes two
    names for a conflict, but one name for the same class.
    """

    def load_config(self, config_path: str) -> ConfigResult:
        """Hydra's answer; of an exported file only what belongs to the configuration.

        Raises:
            RequestError: The file cannot be read, or says what an exported file may not say.
        """
        path = Path(os.path.realpath(Path(self.path, self._normalize_file_name(config_path))))
        if GROUP not in PurePath(config_path).parts or not path.exists():
            return _checked(lambda: super(FileConfigSource, self).load_config(config_path), path)
        document = read_composable(path)
        _require_alone(document, Path(self.path))
        del document["exported"]
        return ConfigResult(
            config=OmegaConf.create(document),
            path=f"{self.scheme()}://{self.path}",
            provider=self.provider,
            header={"package": "_global_"},
        )

    def list(
        self, config_path: str, results_filter: ObjectType | None = None
    ) -> "builtins.list[str]":
        """The names in a folder.

        Raises:
            RequestError: It cannot be read.
        """
        try:
            return super().list(config_path, results_filter)
        except OSError as error:
            folder = _short(Path(self.path, config_path))
            raise RequestError(
                f"`{folder}` must be a folder that can be read, got: {error.strerror}."
            ) from error


def _checked(load: Callable[[], ConfigResult], path: Path) -> ConfigResult:
    """What Hydra reads from one of the user's files, or why it cannot."""
    name = _short(path)
    try:
        result = load()
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise RequestError(f"`{name}` must be a readable text file, got: {reason}.") from error
    except (yaml.YAMLError, ValueError) as error:  # Hydra's own, about the header
        raise RequestError(f"`{name}` must be a file in YAML, got: {_why(error)}.") from error
    if not OmegaConf.is_dict(result.config):
        raise RequestError(f"`{name}` must hold keys and values, got a list.")
    _require_names(result.config._get_node("defaults"), name)
    if path.parent.name in _WHOLE and result.header.get("package") != "_global_":
        raise RequestError(
            f"`{name}` must begin with the line {exported_schema.HEADER!r}, got another or none."
        )
    return result


def _require_names(defaults: Any, name: Path) -> None:
    """Hydra asserts what a defaults list holds, or fails on what it takes for a name."""
    if defaults is None:
        return
    if not OmegaConf.is_list(defaults):
        raise RequestError(f"`defaults` of {name} must be a list, got {defaults!r}.")
    entries: Any = OmegaConf.to_container(defaults, resolve=False)
    for entry in entries:
        group, option = next(iter(entry.items())) if _is_pair(entry) else (entry, None)
        names = option if isinstance(option, list) else [] if option is None else [option]
        if not all(isinstance(word, str) for word in (group, *names)):
            raise RequestError(
                f"`defaults` of {name} must be a list of names and of `group: name`, "
                f"got {entry!r} in it."
            )


def _is_pair(entry: Any) -> bool:
    return isinstance(entry, dict) and len(entry) == 1


def _short(path: Path) -> Path:
    """The path from where the command runs, if it is below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _why(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"{error.problem} in line {mark.line + 1}, column {mark.column + 1}"  # type: ignore[attr-defined]
    return " ".join(f"{error}".split()).rstrip(".")


def _require_alone(document: exported_schema.Document, folder: Path) -> None:
    """Refuses a folder from elsewhere that brings the options which its file chooses."""
    from fmnist_lab import config

    if folder.resolve() in (Path(config.config_dir()).resolve(), Path("conf").resolve()):
        return
    for group, option in exported_schema.chosen_options(document).items():
        brought = folder / group / f"{option}.yaml"
        if brought.exists():
            raise RequestError(
                f"`{group}` must be an option that is installed here, got {brought}; if you trust "
                f"it, put it into conf/{group}/."
            )


def install() -> None:
    """Lets Hydra read files by our source, in this process and in those it sends jobs to."""
    Plugins.instance()  # it registers Hydra's own, once
    SourcesRegistry.instance().types[FileConfigSource.scheme()] = FileConfigSource


def read_composable(path: Path) -> exported_schema.Document:
    """An exported file whose options are there, to be laid over the configuration.

    Raises:
        RequestError: It is not such a file.
    """
    text = read_text(path)
    exported_schema.check_header(text, path.name)
    document = exported_schema.parse(text, path.name)
    require_options(document)
    return document


def read_text(path: Path) -> str:
    """The text of a file that somebody else may have written.

    Raises:
        RequestError: It cannot be read, or is no text.
    """
    try:
        if not path.is_file():  # a pipe would wait for ever
            raise FileNotFoundError("it is no file")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or f"{error}"
        raise RequestError(f"`{path}` must be a readable text file, got: {reason}.") from error


def require_options(document: exported_schema.Document) -> None:
    """Refuses options that are neither ours nor in the user's own `./conf`."""
    from fmnist_lab import config

    for group, option in exported_schema.chosen_options(document).items():
        known = config.options(group)
        if option not in known:
            raise RequestError(
                f"`{group}` must be one of {', '.join(known)}, got {option!r}; an option of "
                f"somebody's own has to come along, as conf/{group}/{option}.yaml."
            )
