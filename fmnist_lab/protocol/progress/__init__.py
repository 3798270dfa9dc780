"""Shows how a sweep goes: a table in a terminal, plain lines elsewhere, a summary at the end.

`progress` counts, `words` and `table` say it in text and in colour, `summary` is the end, `view`
is the observer that a sweep is given. `logs` keeps log lines out of the picture.
"""

from fmnist_lab.protocol.progress.view import LiveView

__all__ = ["LiveView"]
