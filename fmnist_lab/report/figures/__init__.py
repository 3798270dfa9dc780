"""The charts of a report: a function per figure, evidence in, a plotly figure out.

A function returns None where there is nothing to draw. Figures have neither background nor text
colours: the page adds these, for light and dark.
"""

from fmnist_lab.report.figures.runs import (
    learning_rates,
    stopping_epochs,
    test_accuracies,
    validation,
)
from fmnist_lab.report.figures.searched import budget, importance, parallel_coordinates, sensitivity

__all__ = ["budget", "importance", "learning_rates", "parallel_coordinates", "sensitivity",
           "stopping_epochs", "test_accuracies", "validation"]  # fmt: skip
