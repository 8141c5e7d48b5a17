"""L2 logistic regression on pooled features, one regularisation strength for all findings (no torch)."""

import warnings
from collections.abc import Callable
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


def row_space(train: Floats) -> tuple[Floats, Floats | None]:
    """Express `train` [n, d] in its row space if that is smaller than the feature space.

    The penalty is invariant under rotation and the solution of L2-regularised regression lies in the row
    space, so the fitted scores are the same; with 16 rows of 512 features it is a 16-dimensional problem.

    Returns:
        The features that a probe is fitted on, and the basis [d, n] that others are multiplied by, or None.
    """
    if train.shape[0] >= train.shape[1]:
        return train, None
    u, s, vt = np.linalg.svd(train, full_matrices=False)
    return u * s, vt.T


def _model(tolerance: float, iterations: int) -> LogisticRegression:
    return LogisticRegression(solver="lbfgs", tol=tolerance, max_iter=iterations, warm_start=True)


def _fitted(model: LogisticRegression, train: Floats, labels: Floats) -> LogisticRegression:
    known = ~np.isnan(labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train[known], labels[known])
    return model


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
    model = _model(tolerance, iterations)
    scores = np.empty((len(grid), len(other)))
    for k, c in enumerate(grid):
        scores[k] = _fitted(model.set_params(C=c), train, labels).predict_proba(other)[:, 1]
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
        train, basis = row_space(features[inside])
        other = features[held_out] if basis is None else features[held_out] @ basis
        for k in voters:
            known = ~np.isnan(labels[held_out, k])
            path = fit_path(train, labels[inside, k], other[known], grid, tolerance, iterations)
            total += [auroc(scores, labels[held_out, k][known]) for scores in path]
    mean = total / (len(parts) * len(voters))
    return Selection(grid[int(mean.argmax())], {c: float(m) for c, m in zip(grid, mean, strict=True)})


def fit_probe(
    features: Floats, labels: Floats, c: float, tolerance: float, iterations: int
) -> tuple[Callable[[Floats], Floats], list[int]]:
    """Fit every finding with C = `c`.

    Args:
        features: [n, d], z-scored.
        labels: [n, findings] of 0, 1 and NaN (left out).
        c: inverse strength.
        tolerance: of LBFGS.
        iterations: of LBFGS at most.

    Returns:
        A function from features [m, d] to probabilities [m, findings], and the findings that lack a class and
        therefore score .5 throughout.
    """
    train, basis = row_space(features)
    models = {
        k: _fitted(_model(tolerance, iterations).set_params(C=c), train, labels[:, k])
        for k in range(labels.shape[1])
        if both_classes(labels[:, k])
    }

    def scores(other: Floats) -> Floats:
        found = np.full((len(other), labels.shape[1]), 0.5)
        rotated = other if basis is None else other @ basis
        for k, model in models.items():
            found[:, k] = model.predict_proba(rotated)[:, 1]
        return found

    return scores, [k for k in range(labels.shape[1]) if k not in models]
