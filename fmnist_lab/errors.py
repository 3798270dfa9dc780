"""Errors that the command line explains in words instead of a traceback."""

import errno
import os
import pwd
from pathlib import Path

MOST_CHARACTERS = 800  # of a sentence: the list of a group's options may be long


class Phrase(str):
    """Text that a message shows as it is; other values are shown by `repr`."""


class RequestError(ValueError):
    """The request was wrong: a key, a value, a file or a folder. Exit code 2.

    The message is one sentence in one line, "`key` must rule, got value; hint.", of which the
    middle is left out where a value goes on for pages.

    Args:
        key: The key, option or file that is wrong; without a rule the whole sentence.
        rule: What is allowed, from the verb on: `be positive`.
        got: The value received; a `Phrase` stands as it is.
        hint: What else helps: a reason, a remedy.

    Example:
        >>> print(RequestError("clipping.threshold", "be positive", -1.0, "null turns it off"))
        `clipping.threshold` must be positive, got -1.0; null turns it off.
    """

    def __init__(self, key: str, rule: str = "", got: object = "", hint: str = "") -> None:
        shown = got if isinstance(got, Phrase) else Phrase(repr(got))
        super().__init__(key, rule, shown, hint)  # what a pickle is made of
        self.key, self.rule, self.got, self.hint = key, rule, shown, hint

    def __str__(self) -> str:
        """Returns the message as one sentence in one line."""
        sentence = self.key
        if self.rule:
            more = f"; {self.hint}" if self.hint else ""
            sentence = f"`{self.key}` must {self.rule}, got {self.got}{more}"
            sentence = f"{sentence.rstrip('.')}."
        line = " ".join(sentence.split())
        if len(line) > MOST_CHARACTERS:
            line = f"{line[: MOST_CHARACTERS // 2]} [...] {line[-MOST_CHARACTERS // 4 :]}"
        return line


class TooManyFailuresError(RuntimeError):
    """So many trials of a sweep failed that it was given up. Exit code 1.

    The message is one sentence; the cause is the last trial's error.
    """


class DataUnavailableError(RuntimeError):
    """No source of the data works. Exit code 1.

    The message lists what was tried, why each failed, and the remedies.
    """


class ConnectionLostError(RuntimeError):
    """A database or a scheduler that a sweep needs is gone. Exit code 1.

    The message is a sentence; the same command continues the sweep.
    """


class NotReproducedError(RuntimeError):
    """A recorded trial, trained again, gave another curve. Exit code 1.

    The message says where; the differences have been shown.
    """


def is_full_disk(error: object) -> bool:
    """Returns whether an error says that a disk, or a user's quota on it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def full_disk(error: OSError) -> str:
    """Returns the sentence for a full disk."""
    where = error.filename or f"what is written in {Path.cwd()}"
    return (
        f"No space is left for {where}; what was written before is whole. Make room and give the "
        "same command again."
    )


def is_denied(error: OSError) -> bool:
    """Returns whether a file or folder may not be read or written by this user."""
    return error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and bool(error.filename)


def denied(error: OSError) -> str:
    """Returns the sentence for a file that this user may not read or write."""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # in a container a user may have no name
        user = f"user {os.geteuid()}"
    return f"`{error.filename}` must be readable and writable for {user}, got: {error.strerror}."
