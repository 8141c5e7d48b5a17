"""The probability above which a pixel is foreground, by the names that protocols give the choice."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

THRESHOLDS = np.arange(1, 20) / 20


def best_threshold(probability: NDArray[np.float32], target: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the threshold in {.05, …, .95} with the best pooled Dice, and that Dice.

    Without a positive pixel the Dice is NaN and the threshold .5.

    Args:
        probability: pixels of any shape.
        target: the same shape.
    """
    if not target.any():
        return 0.5, float("nan")
    level = np.searchsorted(THRESHOLDS, probability.ravel(), side="right")
    bins = len(THRESHOLDS) + 1
    positive = np.bincount(level[target.ravel()], minlength=bins)
    every = np.bincount(level, minlength=bins)
    # A pixel in bin k passes the first k thresholds.
    tp = positive[::-1].cumsum()[::-1][1:]
    predicted = every[::-1].cumsum()[::-1][1:]
    dice = 2 * tp / (predicted + positive.sum())
    return float(THRESHOLDS[dice.argmax()]), float(dice.max())


def threshold_half(probability: NDArray[np.float32], target: NDArray[np.bool_]) -> tuple[float, float]:
    """Return .5 and its pooled Dice, NaN without a positive pixel; arguments as `best_threshold`."""
    predicted = probability >= 0.5
    size = int(predicted.sum()) + int(target.sum())
    return 0.5, 2 * int((predicted & target).sum()) / size if target.any() else float("nan")


# Validation probabilities and masks → threshold and its pooled Dice.
THRESHOLD: dict[str | float, Callable[[NDArray[np.float32], NDArray[np.bool_]], tuple[float, float]]] = {
    "best validation pooled Dice in {.05, .10, ..., .95}": best_threshold,
    0.5: threshold_half,
}
