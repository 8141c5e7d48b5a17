"""The probability from which a finding counts as present: chosen on validation, per finding, by F1."""

import numpy as np
from numpy.typing import NDArray

UNDEFINED = 0.5


def best_f1_threshold(scores: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    """Return the score s of an image that makes the F1 of "score >= s" largest, of equal ones the highest.

    Without a positive label F1 is undefined and the threshold .5.

    Args:
        scores: [n].
        labels: [n] of 0, 1 and NaN (left out).
    """
    known = ~np.isnan(labels)
    scores, positive = scores[known], labels[known] == 1
    if not positive.any():
        return UNDEFINED
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], np.cumsum(positive[order])
    f1 = 2 * hits / (np.arange(1, len(ordered) + 1) + hits[-1])
    # Equal scores fall on one side of any threshold.
    ends = np.append(ordered[1:] != ordered[:-1], True)
    return float(ordered[np.where(ends, f1, -1.0).argmax()])


def best_f1_thresholds(scores: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `best_f1_threshold` of every column of scores and labels [n, findings]; .5 without images."""
    return np.array([best_f1_threshold(s, y) for s, y in zip(scores.T, labels.T, strict=True)])
