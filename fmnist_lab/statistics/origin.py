"""Which images a run has seen: drawn ones are easy, and say nothing about Fashion-MNIST."""

import pandas as pd

SYNTHETIC = "synthetic"


def on_real_images(runs: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The runs that may be ranked together, and how many others were left out.

    Args:
        runs: dataset (str) and whatever else.

    Returns:
        The runs on real images; where there are none, all of them, which are on drawn ones.
    """
    drawn = runs["dataset"] == SYNTHETIC
    if drawn.all():
        return runs, 0
    return runs[~drawn], int(drawn.sum())
