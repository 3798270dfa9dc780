"""Which learning-rate schedule should I use, by how much is it better, and how sure am I?

From Python: `fmnist_lab.train(...)`, `fmnist_lab.sweep(...)` and `fmnist_lab.compare(...)`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmnist_lab.commands.from_python import Comparison, Trained, compare, sweep, train
    from fmnist_lab.errors import RequestError

__all__ = ["Comparison", "RequestError", "Trained", "compare", "sweep", "train"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Imports pandas with the first function: every command imports this package."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fmnist_lab.commands import from_python

    return getattr(from_python, name)
