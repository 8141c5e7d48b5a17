"""L2 logistic regression on pooled features, one regularisation strength for all findings (no torch)."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Selection:
    """How the regularisation strength was chosen.

    Attributes:
        c: inverse strength (scikit-learn's C).
        scores: mean AUROC over folds and findings per candidate; empty if the fallback was taken.
    """

    c: float
    scores: dict[float, float]


def auroc(scores: Floats, labels: Floats) -> float:
    """Area under the ROC curve by mid-ranks; scores [n], labels [n] of 0 and 1, both present."""
    positive = labels == 1
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    return float((rankdata(scores)[positive].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg))


def both_classes(labels: Floats) -> bool:
    """Say whether labels [n] (NaN: none) hold a 0 and a 1."""
    return bool((labels == 1).any() and (labels == 0).any())


def rotate(train: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Express both in the row space of `train` if that is smaller than the feature space.

    The penalty is invariant under rotation and the solution of L2-regularised regression lies in the row
    space, so the fitted scores are the same; with 16 rows of 512 features it is a 16-dimensional problem.
    """
    if train.shape[0] >= train.shape[1]:
        return train, other
    u, s, vt = np.linalg.svd(train, full_matrices=False)
    return u * s, other @ vt.T


def fit_path(
    train: Floats, labels: Floats, other: Floats, grid: list[float], tolerance: float, iterations: int
) -> Floats:
    """Fit one finding for every C in ascending `grid`, each started from the last.

    Args:
        train: features [n, d].
        labels: [n] of 0, 1 and NaN (left out); both classes must be there.
        other: features [m, d] to score.
        grid: ascending values of C.
        tolerance: of LBFGS, on the largest component of the gradient.
        iterations: of LBFGS at most, per value.

    Returns:
        Probabilities [len(grid), m].
    """
    known = ~np.isnan(labels)
    model = LogisticRegression(solver="lbfgs", tol=tolerance, max_iter=iterations, warm_start=True)
    scores = np.empty((len(grid), len(other)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for k, c in enumerate(grid):
            model.set_params(C=c).fit(train[known], labels[known])
            scores[k] = model.predict_proba(other)[:, 1]
    return scores


def select_c(
    features: Floats,
    labels: Floats,
    patients: NDArray[np.object_],
    grid: list[float],
    folds: int,
    fallback: float,
    tolerance: float,
    iterations: int,
) -> Selection:
    """Choose C by patient-grouped cross-validation inside the labelled subset.

    Only findings with both classes in both parts of every fold vote; without any, `fallback` is taken.

    Args:
        features: [n, d], z-scored.
        labels: [n, findings] of 0, 1 and NaN.
        patients: [n], group of each image.
        grid: candidates.
        folds: number of folds.
        fallback: C if a fold lacks a class for every finding.
        tolerance: of LBFGS.
        iterations: of LBFGS at most.
    """
    grid = sorted(grid)
    if len(np.unique(patients)) < folds:
        return Selection(fallback, {})
    parts = list(GroupKFold(folds).split(features, groups=patients))
    voters = [
        k
        for k in range(labels.shape[1])
        if all(both_classes(labels[a, k]) and both_classes(labels[b, k]) for a, b in parts)
    ]
    if not voters:
        return Selection(fallback, {})
    total = np.zeros(len(grid))
    for inside, held_out in parts:
        train, other = rotate(features[inside], features[held_out])
        for k in voters:
            known = ~np.isnan(labels[held_out, k])
            path = fit_path(train, labels[inside, k], other[known], grid, tolerance, iterations)
            total += [auroc(scores, labels[held_out, k][known]) for scores in path]
    mean = total / (len(parts) * len(voters))
    return Selection(grid[int(mean.argmax())], {c: float(m) for c, m in zip(grid, mean, strict=True)})


def probe_scores(
    features: Floats, labels: Floats, other: Floats, c: float, tolerance: float, iterations: int
) -> tuple[Floats, list[int]]:
    """Fit every finding with C = `c` and score `other`.

    Returns:
        Probabilities [m, findings] and the findings that lack a class and therefore score .5 throughout.
    """
    scores = np.full((len(other), labels.shape[1]), 0.5)
    train, rotated = rotate(features, other)
    unfit = []
    for k in range(labels.shape[1]):
        if both_classes(labels[:, k]):
            scores[:, k] = fit_path(train, labels[:, k], rotated, [c], tolerance, iterations)[0]
        else:
            unfit.append(k)
    return scores, unfit
