"""Metrics of findings: AUROC, average precision, Brier score, F1, accuracy, calibration error."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from prior.metrics.arrays import Bools, Floats, mean_of_defined, ratio, weighted_mean
from prior.metrics.calibration import LEAST_IMAGES, calibration_error
from prior.metrics.cell import CellMetrics, Key, units, wide

UNFIT_SCORE = 0.5
SUBSET = "5x200:"


def _curve(scores: Floats, labels: Bools, weights: Floats) -> tuple[Floats, Floats]:
    """Weight of true and false positives above every distinct score [B, groups + 1], starting at 0."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    sorted_weights = weights.take(order, axis=1)
    true = np.cumsum(sorted_weights * labels[order].astype(weights.dtype), axis=1).take(ends, axis=1)
    all_ = np.cumsum(sorted_weights, axis=1).take(ends, axis=1)
    zero = np.zeros((len(weights), 1), dtype=weights.dtype)
    return np.hstack([zero, true]), np.hstack([zero, all_ - true])


def _roc_area(true: Floats, false: Floats) -> Floats:
    area = (np.diff(false, axis=1) * (true[:, 1:] + true[:, :-1])).sum(axis=1, dtype=np.float64) / 2
    return ratio(area, true[:, -1].astype(np.float64) * false[:, -1])


def _precision_recall_area(true: Floats, false: Floats) -> Floats:
    precision = np.nan_to_num(ratio(true[:, 1:], true[:, 1:] + false[:, 1:]))
    return ratio((np.diff(true, axis=1) * precision).sum(axis=1, dtype=np.float64), true[:, -1])


def auroc(scores: Floats, labels: Bools, weights: Floats) -> Floats:
    """Area under the ROC curve, ties counted half.

    Args:
        scores: higher means more likely present [n].
        labels: presence [n].
        weights: integer weight of each image in each resample [B, n].

    Returns:
        One value per resample [B]; NaN where only one label value has weight.
    """
    return _roc_area(*_curve(scores, labels, weights))


def average_precision(scores: Floats, labels: Bools, weights: Floats) -> Floats:
    """Step-wise area under the precision-recall curve (no interpolation), ties together. Returns [B]."""
    return _precision_recall_area(*_curve(scores, labels, weights))


def brier(scores: Floats, labels: Bools, weights: Floats) -> Floats:
    """Mean squared distance of probabilities from labels [B]; NaN if a score is no probability."""
    if scores.min(initial=0) < 0 or scores.max(initial=1) > 1:
        return np.full(len(weights), np.nan)
    return weighted_mean((scores - labels) ** 2, weights)


def at_threshold(predicted: Bools, labels: Bools, weights: Floats) -> dict[str, Floats]:
    """F1 and accuracy of decisions.

    Args:
        predicted: [n].
        labels: [n].
        weights: weight of each image in each resample [B, n].

    Returns:
        `f1` [B], NaN where nothing is positive and nothing predicted, and `accuracy` [B].
    """
    exact = weights.astype(np.float64)
    hits, size = exact @ (predicted & labels), exact @ (predicted.astype(np.int64) + labels)
    return {"f1": ratio(2 * hits, size), "accuracy": weighted_mean(predicted == labels, weights)}


def finding_metrics(frame: pd.DataFrame, probabilities: bool, asked: Collection[str] = ()) -> CellMetrics:
    """Metrics per finding and their macro means, with `chance` (AUROC .5, AUPRC = prevalence).

    A metric that is undefined for a finding (AUROC of one label value) is NaN and left out of the macro mean.

    Args:
        frame: one row per image and finding with `score` and `label` (0 or 1; NaN rows are left out), and
            with `threshold`, from which score on the finding counts as present, for F1 and accuracy.
        probabilities: whether scores are probabilities, so that the Brier score exists.
        asked: names of metrics; `f1`, `accuracy` and `ece` are computed only if they are among them, `ece`
            of findings with a label in 500 images at least.
    """
    frame = frame[frame["label"].isin([0, 1])]
    table = units(frame)
    findings = sorted(frame["finding"].unique())
    scores, labels = (wide(frame, column, table, findings) for column in ("score", "label"))
    known = ~np.isnan(labels)
    unfit = int(((scores == UNFIT_SCORE) | ~known).all(axis=0).sum())
    names = ["auroc", "auprc", *(["brier"] if probabilities else [])]
    decided = [name for name in ("f1", "accuracy") if name in asked and "threshold" in frame]
    thresholds = frame.groupby("finding")["threshold"].first() if decided else pd.Series(dtype=float)
    many = [f for f, n in zip(findings, known.sum(axis=0), strict=True) if n >= LEAST_IMAGES]
    calibrated = many if "ece" in asked and probabilities else []

    def compute(weights: Floats) -> dict[Key, Floats]:
        values: dict[Key, Floats] = {}
        for j, finding in enumerate(findings):
            rows = known[:, j]
            score, label, weight = scores[rows, j], labels[rows, j] == 1, weights.compress(rows, axis=1)
            curve = _curve(score, label, weight)
            values["auroc", finding] = _roc_area(*curve)
            values["auprc", finding] = _precision_recall_area(*curve)
            if probabilities:
                values["brier", finding] = brier(score, label, weight)
            if finding in calibrated:
                values["ece", finding] = calibration_error(score, label, weight)
            if decided:
                found = at_threshold(score >= thresholds[finding], label, weight)
                values |= {(name, finding): found[name] for name in decided}
        if calibrated:
            values["ece", ""] = mean_of_defined([values["ece", finding] for finding in calibrated])
        for name in [*names, *decided]:
            macro = "brier" if name == "brier" else f"{name}_macro"
            values[macro, ""] = mean_of_defined([values[name, finding] for finding in findings])
        if probabilities:
            values["n_unfit", ""] = np.full(len(weights), float(unfit))
        return values

    def chance(weights: Floats) -> dict[Key, Floats]:
        values: dict[Key, Floats] = {}
        for j, finding in enumerate(findings):
            rows = known[:, j]
            values["auroc", finding] = np.full(len(weights), 0.5)
            values["auprc", finding] = weighted_mean(labels[rows, j], weights[:, rows])
        for name in ("auroc", "auprc"):
            values[f"{name}_macro", ""] = mean_of_defined([values[name, finding] for finding in findings])
        return values

    positive = (labels == 1).any(axis=1)
    n_pos = {finding: int((labels[:, j] == 1).sum()) for j, finding in enumerate(findings)}
    n_pos[""] = int(positive.sum())
    n_test = {"": len(table)} | {finding: int(known[:, j].sum()) for j, finding in enumerate(findings)}
    patients = table["patient_id"].to_numpy(str)
    return CellMetrics(patients, positive, compute, {"chance": chance}, n_test, n_pos)
