"""Live view of a sweep: a table in a terminal, plain lines elsewhere, a summary at the end.

`counts` is the state, `view` the observer that draws it while trials run, `summary` the end.
"""

from fmnist_lab.protocol.progress.view import LiveView

__all__ = ["LiveView"]
