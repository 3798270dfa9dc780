"""How Hydra reads configuration files, and the group `best`: as data from others.

What cannot be read is refused in a sentence; what others wrote is checked before anything is
composed.
"""

import builtins
import os
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

import yaml
from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf

from fmnist_lab.config.structured import HEADER
from fmnist_lab.errors import Phrase, RequestError

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
        from fmnist_lab.config import exported_files  # with Pydantic, where such a file is read

        document = exported_files.read(path)
        _require_alone(exported_files.chosen_options(document), Path(self.path))
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
            folder = str(_short(Path(self.path, config_path)))
            reason = Phrase(error.strerror)
            raise RequestError(folder, "be a folder that can be read", reason) from error


def _checked(load: Callable[[], ConfigResult], path: Path) -> ConfigResult:
    """Returns what Hydra reads from one of the user's files, or says why it cannot."""
    name = str(_short(path))
    try:
        result = load()
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        reason = Phrase(getattr(error, "strerror", None) or type(error).__name__)
        raise RequestError(name, "be a readable text file", reason) from error
    except (yaml.YAMLError, ValueError) as error:  # Hydra's own, about the header
        raise RequestError(name, "be a file in YAML", _why(error)) from error
    if not OmegaConf.is_dict(result.config):
        raise RequestError(name, "hold keys and values", Phrase("a list"))
    _require_names(result.config._get_node("defaults"), name)
    if path.parent.name in _WHOLE and result.header.get("package") != "_global_":
        raise RequestError(name, f"begin with the line {HEADER!r}", Phrase("another or none"))
    return result


def _require_names(defaults: Any, name: str) -> None:
    """Refuses a defaults list that Hydra would assert on, or take for names and fail."""
    if defaults is None:
        return
    key = f"{name}: defaults"
    if not OmegaConf.is_list(defaults):
        raise RequestError(key, "be a list", defaults)
    entries: Any = OmegaConf.to_container(defaults, resolve=False)
    for entry in entries:
        is_pair = isinstance(entry, dict) and len(entry) == 1
        group, option = next(iter(entry.items())) if is_pair else (entry, None)
        names = option if isinstance(option, list) else [] if option is None else [option]
        if not all(isinstance(word, str) for word in (group, *names)):
            raise RequestError(key, "be a list of names and of `group: name`", entry)


def _short(path: Path) -> Path:
    """Returns the path from where the command runs, if it is below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _why(error: Exception) -> Phrase:
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        problem = getattr(error, "problem", "")
        return Phrase(f"{problem} in line {mark.line + 1}, column {mark.column + 1}")
    return Phrase(error)


def _require_alone(chosen: Mapping[str, str], folder: Path) -> None:
    """Refuses a folder from elsewhere that brings the options which its file chooses."""
    from fmnist_lab import config

    if folder.resolve() in (Path(config.config_dir()).resolve(), Path("conf").resolve()):
        return
    for group, option in chosen.items():
        brought = folder / group / f"{option}.yaml"
        if brought.exists():
            raise RequestError(
                group, "be an option that is installed here", Phrase(brought),
                f"if you trust it, put it into conf/{group}/",
            )  # fmt: skip


def install() -> None:
    """Lets Hydra read files by our source, in this process and in those it sends jobs to."""
    Plugins.instance()  # it registers Hydra's own, once
    SourcesRegistry.instance().types[FileConfigSource.scheme()] = FileConfigSource
