"""Where the spread of test accuracies comes from: seeds, searches, test images."""

import numpy as np
import pandas as pd
import scipy

from fmnist_lab.statistics.joint import Floats
from fmnist_lab.statistics.ranking import finite, require_columns

COMPONENTS = ["seed", "search", "image"]


def image_variance(correct: Floats) -> float:
    """Estimates the variance that other test images bring into the mean of these.

    `x[s, i] = mean + a[s] + b[i] + e[s, i]` of pair s and image i; the mean over n pairs and m
    images has the variance `var(a)/n + var(b)/m + var(e)/(n m)`. What pairs show on the same
    images, `sd^2/n`, has the first and the last part. This is the second, unbiased (two-way
    ANOVA): `(var over images of the mean over pairs - E/n) / m`, with the residuals' mean square
    `E = sum (x[s, i] - x[s, .] - x[., i] + x[., .])^2 / ((n - 1)(m - 1))`. By chance it may be
    negative, which means 0. NaN for fewer than two pairs.

    Args:
        correct: `(pairs, images)`, all finite: whether an image is right, the share of a search's
            replicates that have it right, or the difference of two strategies in that.

    Example:
        >>> round(image_variance(np.array([[1.0, 1.0, 0.0, 0.0]] * 3)), 4)  # a third, by 4 images
        0.0833
    """
    pairs, images = correct.shape
    if pairs < 2 or images < 2:
        return np.nan
    of_images, of_pairs = correct.mean(axis=0), correct.mean(axis=1, keepdims=True)
    residuals = correct - of_images - of_pairs + of_images.mean()
    error = (residuals**2).sum() / ((pairs - 1) * (images - 1))
    return float((of_images.var(ddof=1) - error / pairs) / images)


def half_width(critical: float, error: float, pairs: int, of_images: float) -> float:
    """Returns half the width of an interval over pairs and images.

    `sqrt((critical * error)^2 + z^2 * of_images)`, where z is the quantile of the normal
    distribution that `critical` is of Student's t with n - 1 degrees of freedom. Seeds and images
    err independently, so that their half-widths add as their errors do (Howe 1974; Zou and
    Donner 2008); the mean over 10,000 images is normal, and that over six seeds is not. A joint
    critical value stays joint: it has a level for each difference, of which z is the quantile, and
    differences from one baseline have as much in common over images as over seeds. In 1,500
    simulated experiments each with 6 or 10 pairs, 1 or 12 rivals, and images that err by 0 to 4
    times as much as seeds, the intervals held together in 94.9 to 97.8 %. With `critical` times
    the root of the sum of both variances it is 95 to 100 %. NaN where the pairs do not differ:
    no critical value can be had from them.

    Args:
        critical: Of the mean over pairs, in standard errors.
        error: That standard error, `sd / sqrt(n)`.
        pairs: n.
        of_images: The variance by images, of `image_variance`.

    Example:
        >>> round(half_width(critical=2.262, error=3.0, pairs=10, of_images=4.0), 2)  # z = 1.96
        7.84
    """
    if error == 0:
        return np.nan
    z = scipy.special.ndtri(scipy.special.stdtr(pairs - 1, -critical))
    return float(np.sqrt((critical * error) ** 2 + z**2 * np.maximum(of_images, 0)))


def components(
    replicates: pd.DataFrame, images: pd.DataFrame | None = None, value: str = "test_accuracy"
) -> pd.DataFrame:
    """Splits the variance of a replicate's accuracy by its sources (Bouthillier et al. 2021).

    By the method of moments: `seed` is the mean square within searches, `search` the mean square
    between them less that within, by the replicates per search (`n0 = (N - sum n_k^2 / N) /
    (k - 1)` where they differ), and `image` is `image_variance` of the searches' means (of the
    replicates, where there is one search). The sum is the variance of one replicate of another
    search on other test images. An estimate may be negative by chance, which means 0.

    Replicates without a value are left out.

    Args:
        replicates: strategy, search and `value`.
        images: As for `compare`.
        value: An accuracy.

    Returns:
        A row per strategy, in the order of appearance: strategy, replicates, searches, seed,
        search, image (in the square of the value's unit; NaN: cannot be known). Where no search
        has two replicates, `search` has both, and `seed` is NaN.

    Raises:
        RequestError: A column is missing.

    Example:
        >>> runs = pd.DataFrame({"strategy": "cosine", "search": [0, 0, 1, 1]})
        >>> components(runs.assign(test_accuracy=[1.0, 3.0, 4.0, 6.0]))[["seed", "search"]].values
        array([[2. , 3.5]])
    """
    require_columns("replicates", replicates, "strategy", "search", value)
    known = replicates.assign(value=finite(replicates[value])).dropna(subset="value")
    rows = []
    for strategy, own in known.groupby("strategy", sort=False):
        searches = own.groupby("search")["value"]
        sizes, means = searches.size(), searches.mean()
        count, total = len(sizes), len(own)
        within = float(((own["value"] - searches.transform("mean")) ** 2).sum())
        seed = within / (total - count) if total > count else np.nan
        search = np.nan
        if count > 1:
            between = float((sizes * (means - own["value"].mean()) ** 2).sum()) / (count - 1)
            balanced = (total - (sizes**2).sum() / total) / (count - 1)
            search = between if np.isnan(seed) else (between - seed) / balanced
        kept = images.loc[own.index.intersection(images.index)] if images is not None else own[[]]
        if count > 1:
            kept = kept.groupby(own["search"].reindex(kept.index)).mean()
        image = image_variance(kept.to_numpy(dtype=np.float64))
        row = {"strategy": strategy, "replicates": total, "searches": count}
        rows.append(row | dict(zip(COMPONENTS, (seed, search, image), strict=True)))
    return pd.DataFrame(rows, columns=["strategy", "replicates", "searches", *COMPONENTS])
