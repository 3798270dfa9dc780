"""The path of `Performance` in configuration files, old and new."""

from fmnist_lab.schedules import Performance

__all__ = ["Performance"]
