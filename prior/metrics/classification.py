"""Ranking metrics for findings: AUROC, average precision, Brier score, accuracy among exclusive classes."""

import numpy as np
import pandas as pd

from prior.metrics.arrays import Bools, Floats, mean_of_defined, ratio, weighted_mean
from prior.metrics.cell import CellMetrics, Key, unit_numbers, units

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


def _wide(frame: pd.DataFrame, column: str, table: pd.DataFrame, findings: list[str]) -> Floats:
    """Image × finding matrix of `column` [n, findings]; NaN where an image has no row for a finding."""
    matrix = np.full((len(table), len(findings)), np.nan)
    columns = pd.Index(findings).get_indexer(pd.Index(frame["finding"]))
    matrix[unit_numbers(frame["image_id"], table), columns] = frame[column]
    return matrix


def finding_metrics(frame: pd.DataFrame, probabilities: bool) -> CellMetrics:
    """Metrics per finding and their macro means, with `chance` (AUROC .5, AUPRC = prevalence).

    Args:
        frame: one row per image and finding with `score` and `label` (0 or 1; NaN rows are left out).
        probabilities: whether scores are probabilities, so that the Brier score exists.
    """
    frame = frame[frame["label"].isin([0, 1])]
    table = units(frame)
    findings = sorted(frame["finding"].unique())
    scores, labels = (_wide(frame, column, table, findings) for column in ("score", "label"))
    known = ~np.isnan(labels)
    unfit = int(((scores == UNFIT_SCORE) | ~known).all(axis=0).sum())
    names = ["auroc", "auprc", *(["brier"] if probabilities else [])]

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
        for name in names:
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


def exclusive_metrics(frame: pd.DataFrame) -> CellMetrics:
    """Accuracy of the highest score among exclusive classes (`accuracy_5x200`).

    Args:
        frame: one row per image and class `5x200:<class>`, `label` one-hot; ties share the hit.
    """
    table = units(frame)
    classes = sorted(frame["finding"].unique())
    scores, labels = (_wide(frame, column, table, classes) for column in ("score", "label"))
    best = scores == np.nanmax(scores, axis=1, keepdims=True)
    correct = (best & (labels == 1)).sum(axis=1) / best.sum(axis=1)

    def compute(weights: Floats) -> dict[Key, Floats]:
        return {("accuracy_5x200", ""): weighted_mean(correct, weights)}

    def chance(weights: Floats) -> dict[Key, Floats]:
        return {("accuracy_5x200", ""): np.full(len(weights), 1 / len(classes))}

    patients, counts = table["patient_id"].to_numpy(str), {"": len(table)}
    return CellMetrics(patients, np.ones(len(table), bool), compute, {"chance": chance}, counts, counts)
