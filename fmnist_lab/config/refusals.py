"""What Hydra and OmegaConf complain about, each time as one sentence.

Their messages run over several lines and leave out the keys or options that are allowed.
"""

import errno
import re
import traceback
from pathlib import Path
from typing import Any

from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import (
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from fmnist_lab.errors import RequestError

_NOISE = ("full_key", "object_type", "reference_type", "See https", "Set the env")
_MAKE_FOLDERS = ("mkdir", "mkdtemp")
_CANNOT = (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EACCES, errno.EPERM, errno.EROFS,
           errno.ENAMETOOLONG, errno.ELOOP)  # fmt: skip
_COMPLETION = ("No completion plugin", "Expecting one subcommand")
_VALUE_ERRORS = ("Config group override", "Only one of --run", "Error parsing", *_COMPLETION)
_DEFAULTS_LIST, _LOGGING = "_create_defaults_tree_impl", "configure_log"  # functions of Hydra's


class Refused(BaseException):  # not an error of the job's: Hydra must not report it
    """Carries what is told in a sentence past Hydra, which would print a failure of its own."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def is_of_configuration(error: BaseException) -> bool:
    """Whether the configuration is to blame, where Hydra may have called anything."""
    if isinstance(error, RequestError | HydraException | OmegaConfBaseException):
        return True
    if isinstance(error, OSError):
        return _is_of_folder(error)
    if isinstance(error, RecursionError):  # files whose defaults lists include one another
        frames = traceback.extract_tb(error.__traceback__)
        return any("defaults_list" in frame.filename for frame in frames)
    if _comes_of_names(error) or _local(error, _LOGGING, "log_config") is not None:
        return True
    if "full_key: " in f"{error}":  # Python's own errors, when OmegaConf has passed them on
        return True
    return isinstance(error, ValueError) and f"{error}".startswith(_VALUE_ERRORS)


def refusal(error: BaseException) -> RequestError:
    """The error as a sentence with the key, the value received and what is allowed."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        return RequestError(
            f"A folder for results must be where one can be made, got {error.filename}: "
            f"{error.strerror}."
        )
    if isinstance(error, RecursionError):
        return RequestError("`defaults` must not lead back to its own file, got a circle of files.")
    if _comes_of_names(error):
        chosen = _local(error, _DEFAULTS_LIST, "d")
        return RequestError(
            f"`{chosen.group}` must be the name of an option or a list of names, got "
            f"{chosen.value}."
        )
    text = " ".join(_lines(error))
    found = _of_key(error) or _of_override(error, text) or _of_file(text) or _of_start(error, text)
    if found is None and " must " not in text:
        text = f"The configuration must be one that can be composed, got: {text}"
    return found or RequestError(f"{text.rstrip('.')}.")


def made_for_job(error: BaseException) -> tuple[Path, str] | None:
    """The folder of a job that Hydra failed to start, and the job's name.

    What a job itself raises is not raised by Hydra's function.
    """
    config, folder = _local(error, "run_job", "config"), _local(error, "run_job", "output_dir")
    return (Path(folder), str(config.hydra.job.name)) if folder else None


def _is_of_folder(error: OSError) -> bool:
    """Whether a folder for results could not be made, in a place that the user has chosen."""
    frames = traceback.extract_tb(error.__traceback__)
    return error.errno in _CANNOT and any(frame.name in _MAKE_FOLDERS for frame in frames)


def _comes_of_names(error: BaseException) -> bool:
    """Whether Hydra took what is no name, in a list of options, for one: it checks nothing."""
    chosen = getattr(_local(error, _DEFAULTS_LIST, "d"), "value", None)
    if not isinstance(error, TypeError) or not isinstance(chosen, list):
        return False
    return not all(isinstance(name, str) for name in chosen)


def _local(error: BaseException, function: str, name: str) -> Any:
    """A variable of Hydra's function that the error came through last; None if it did not."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    found = [frame.f_locals.get(name) for frame in frames if frame.f_code.co_name == function]
    return found[-1] if found else None


def _lines(error: BaseException) -> list[str]:
    lines = [line.strip() for line in f"{error}\n{error.__cause__ or ''}".splitlines()]
    return [line for line in lines if line and not line.startswith(_NOISE)]


def _of_key(error: BaseException) -> RequestError | None:
    """A value that cannot be computed; what it refers to may be a secret, so it is not shown."""
    if passed_on := re.match(r"(.+)\s+full_key: (\S+)", f"{error}"):
        if isinstance(error, AttributeError):
            return RequestError(
                f"`{passed_on[2]}` must be set in a file: null takes no keys, got some."
            )
        if not isinstance(error, OmegaConfBaseException):
            return RequestError(f"`{passed_on[2]}` must have another value, got: {passed_on[1]}.")
    key = getattr(error, "full_key", None)
    if not isinstance(error, OmegaConfBaseException) or not key:
        return None
    if isinstance(error, MissingMandatoryValue):
        return RequestError(f"`{key}` must be given, got ???, which stands for nothing.")
    reason = str(error.msg or error).partition("\n")[0].partition(": Value '")[0].rstrip(".")
    if isinstance(error, InterpolationResolutionError):
        return RequestError(f"`{key}` must have a value that can be computed, got: {reason}.")
    return RequestError(f"`{key}` must have another value, got: {reason}.")


def _of_override(error: BaseException, text: str) -> RequestError | None:
    if found := re.search(r"not find '(.+)' Available options in '(.+)': (.+) Config search", text):
        group, allowed = found[2], ", ".join(found[3].split())
        chosen = found[1].removeprefix(f"{group}/")
        return RequestError(f"`{group}` must be one of {allowed}, got {chosen!r}.")
    if found := re.search(r"You must specify '(.+?)', e\.g.* Available options: (.+)", text):
        return RequestError(
            f"`{found[1]}` must be one of {', '.join(found[2].split())}, got nothing."
        )
    if found := re.search(r"Could not override '([^']+)'", text):
        return RequestError(
            f"`{found[1]}` must be a key of the configuration{_siblings(found[1])}."
        )
    if found := re.search(r"Error merging override (\S+)", text):
        key, _, value = found[1].partition("=")
        reason = _lines(error)[-1].rstrip(".")
        return RequestError(f"`{key}` must have another type, got {value!r}: {reason}.")
    if isinstance(error, OverrideParseException):
        key, _, value = str(error.override).partition("=")
        rule = "have a value that Hydra can read, with quotes round special characters"
        return RequestError(f"`{key}` must {rule}, got {value!r}: {_lines(error)[0].rstrip('.')}.")
    return None


def _of_file(text: str) -> RequestError | None:
    if found := re.search(r"In '([^']+)': (?:\w+ raised while composing config: )?(.+)", text):
        where, reason = found[1], found[2].partition(" Config search path:")[0]
        if "'BasicSweeperConf'" in reason:
            reason += " (a sweep's file chooses ours: `override /hydra/sweeper: fmnist_lab`)"
        return RequestError(
            f"`{where}.yaml` must fit the configuration, got: {reason.rstrip('.')}."
        )
    return None


def _of_start(error: BaseException, text: str) -> RequestError | None:
    """What fails when all is composed: the log, or completion for a shell."""
    if text.startswith(_COMPLETION):
        return RequestError(
            "`-sc` must be install, uninstall or query = bash, fish or zsh, got another request."
        )
    if _local(error, _LOGGING, "log_config") is None:
        return None
    reason = f"no key {error}" if isinstance(error, KeyError) else text.rstrip(".")
    return RequestError(
        f"`hydra.job_logging` and `hydra.hydra_logging` must be what logging.config.dictConfig "
        f"takes, got: {reason}."
    )


def _siblings(key: str) -> str:
    from fmnist_lab import config

    parent = OmegaConf.select(config.compose([]), key.rpartition(".")[0] or "")
    allowed = ", ".join(map(str, parent)) if OmegaConf.is_dict(parent) else ""
    return f"; allowed beside it: {allowed}" if allowed else ""
