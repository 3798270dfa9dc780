"""Where log lines go while the terminal shows a table."""

import logging
from io import TextIOWrapper
from pathlib import Path

from rich.console import Console
from rich.text import Text

_TOLD = "Trial %d failed"  # the loop logs with a traceback what the view says in a line


class LogFile(logging.FileHandler):
    """A file whose folder is made with its first line: Hydra sets up logging before the folder."""

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()


class Warnings(logging.Handler):
    """Prints warnings and errors above the table, without their tracebacks."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a record."""
        if str(record.msg).startswith(_TOLD):
            return
        severe = record.levelno >= logging.ERROR
        label = ("Error: ", "bold red") if severe else ("Warning: ", "bold yellow")
        error = record.exc_info[1] if record.exc_info else None
        cause = f" {type(error).__name__}: {error}" if error else ""
        try:
            self._console.print(Text.assemble(label, record.getMessage() + cause), soft_wrap=True)
        except Exception:
            self.handleError(record)
