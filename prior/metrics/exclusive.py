"""Classes that exclude each other: accuracy of the highest score, macro precision, recall and F1, kappa."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from prior.metrics.arrays import Floats, mean_of_defined, ratio
from prior.metrics.cell import CellMetrics, Key, units, wide

EXCLUSIVE = "_exclusive"
EXCLUSIVE_ACCURACY = f"accuracy{EXCLUSIVE}"
SUBSET_METRICS = ("accuracy", "precision_macro", "recall_macro", "f1_macro", "kappa")


def agreement(confusion: Floats) -> dict[str, Floats]:
    """Return accuracy, macro precision, recall and F1, and Cohen's kappa.

    Precision of a class that is never predicted is undefined and left out of its mean, as is recall of one
    that never occurs; F1 counts every class that occurs on either side. Kappa is undefined where chance alone
    agrees always.

    Args:
        confusion: weight of images by true and predicted class [B, K, K].

    Returns:
        Name → [B].
    """
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    true, predicted, total = confusion.sum(axis=2), confusion.sum(axis=1), confusion.sum(axis=(1, 2))
    parts = {
        "precision_macro": ratio(hits, predicted),
        "recall_macro": ratio(hits, true),
        "f1_macro": ratio(2 * hits, true + predicted),
    }
    accuracy = ratio(hits.sum(axis=1), total)
    expected = ratio((true * predicted).sum(axis=1), total**2)
    macro = {name: mean_of_defined(list(values.T)) for name, values in parts.items()}
    return {"accuracy": accuracy, **macro, "kappa": ratio(accuracy - expected, 1 - expected)}


def exclusive_metrics(
    frame: pd.DataFrame, suffix: str, asked: Collection[str] = (), always: Collection[str] = ("accuracy",)
) -> CellMetrics:
    """Metrics of the class with the highest score, with `chance`; images without exactly one class count not.

    Args:
        frame: one row per image and class with `score` and a one-hot `label`; ties share the prediction.
        suffix: end of the metrics' names, `_5x200` say.
        asked: names of metrics to compute.
        always: metrics, without suffix, that are computed even if not asked for.
    """
    table = units(frame)
    classes = sorted(frame["finding"].unique())
    scores, labels = (wide(frame, column, table, classes) for column in ("score", "label"))
    single = ~np.isnan(labels).any(axis=1) & ((labels == 1).sum(axis=1) == 1)
    best = scores == np.where(np.isnan(scores), -np.inf, scores).max(axis=1, keepdims=True)
    share = best / np.maximum(best.sum(axis=1, keepdims=True), 1)
    cells = ((labels == 1)[:, :, None] * share[:, None, :] * single[:, None, None]).reshape(len(table), -1)
    names = [name for name in SUBSET_METRICS if name in always or f"{name}{suffix}" in asked]

    def compute(weights: Floats) -> dict[Key, Floats]:
        confusion = (weights.astype(np.float64) @ cells).reshape(-1, len(classes), len(classes))
        found = agreement(confusion)
        return {(f"{name}{suffix}", ""): found[name] for name in names}

    def chance(weights: Floats) -> dict[Key, Floats]:
        return {(f"accuracy{suffix}", ""): np.full(len(weights), 1 / len(classes))}

    patients, counts = table["patient_id"].to_numpy(str), {"": int(single.sum())}
    return CellMetrics(patients, np.ones(len(table), bool), compute, {"chance": chance}, counts, counts)
