"""Average precision of boxes as COCO defines it (101 recall points), vectorised over weighted resamples.

Matching is done inside an image, so resampling images cannot change it: boxes are matched once per IoU
threshold on the full test set, and a resample only changes how often each box counts.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from prior.metrics.arrays import Bools, Floats, Ints
from prior.metrics.cell import CellMetrics, Key, unit_numbers, units
from prior.metrics.froc import Points, find_in_shapes, find_points, froc

THRESHOLDS = np.round(np.arange(0.40, 0.951, 0.05), 2)
AVERAGES = {"map_40_75": slice(0, 8), "map_50_95": slice(2, 12), "ap_50": slice(2, 3)}
# Computed where a protocol asks for them: the same average on some of the images.
IMAGE_SETS: dict[str, Callable[[Bools, Bools], Bools]] = {
    # PRIOR: images with a true box.
    "map_40_75_positive": lambda true, predicted: true,
    # MGCA: images with a true box and a prediction; neither a missed image nor an alarm on a normal costs.
    "map_40_75_mgca": lambda true, predicted: true & predicted,
}
# Computed where a protocol asks for them, by what holds the centre of a hit: a true box, or a true shape.
SHAPE_FROC = "froc_shape"
FROC: dict[str, Callable[[pd.DataFrame, pd.DataFrame], Points]] = {
    "froc": find_points,
    SHAPE_FROC: find_in_shapes,
}
MAX_BOXES = 100
RECALL_POINTS = 101
CORNERS = ["x_min", "y_min", "x_max", "y_max"]


def iou_matrix(first: Floats, second: Floats) -> Floats:
    """Intersection over union of boxes [n, 4] and [m, 4] (x_min, y_min, x_max, y_max). Returns [n, m]."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    inside = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - inside
    return np.asarray(inside / np.maximum(union, 1e-12))


def match(overlap: Floats, thresholds: Floats) -> Bools:
    """Greedy matching of one image.

    Args:
        overlap: IoU of predictions in falling order of score with true boxes [n, m].
        thresholds: IoU thresholds [T].

    Returns:
        Whether a prediction takes a still free true box at each threshold [T, n].
    """
    hit = np.zeros((len(thresholds), len(overlap)), dtype=bool)
    if overlap.shape[1] == 0:
        return hit
    free = np.ones((len(thresholds), overlap.shape[1]), dtype=bool)
    for i in np.flatnonzero(overlap.max(axis=1) >= thresholds.min()):
        candidates = np.where(free & (overlap[i] >= thresholds[:, None]), overlap[i], -1.0)
        best = candidates.argmax(axis=1)
        hit[:, i] = candidates.max(axis=1) >= 0
        free[hit[:, i], best[hit[:, i]]] = False
    return hit


@dataclass(frozen=True)
class Matched:
    """All predictions of a test set, sorted by falling score.

    Attributes:
        image: unit number of each prediction [n].
        group_end: last position with the same score [n]; equal scores enter the curve together.
        hit: whether it is a true positive at each IoU threshold [T, n].
        truths: number of true boxes of each image [images].
    """

    image: Ints
    group_end: Ints
    hit: Bools
    truths: Ints


def match_images(frame: pd.DataFrame, table: pd.DataFrame) -> Matched:
    """Match predictions (`kind` prediction) with true boxes (`kind` truth) inside every image of `table`."""
    kinds = {kind: frame[frame["kind"] == kind] for kind in ("prediction", "truth")}
    predicted = kinds["prediction"].sort_values("score", ascending=False, kind="stable")
    predicted = predicted.groupby("image_id", sort=False).head(MAX_BOXES)
    image = unit_numbers(predicted["image_id"], table)
    true_image = unit_numbers(kinds["truth"]["image_id"], table)
    boxes, true_boxes = predicted[CORNERS].to_numpy(float), kinds["truth"][CORNERS].to_numpy(float)
    hit = np.zeros((len(THRESHOLDS), len(predicted)), dtype=bool)
    by_image = np.argsort(image, kind="stable")
    truth_order = np.argsort(true_image, kind="stable")
    edges = np.searchsorted(image[by_image], np.arange(len(table) + 1))
    truth_edges = np.searchsorted(true_image[truth_order], np.arange(len(table) + 1))
    for unit in range(len(table)):
        rows = by_image[edges[unit] : edges[unit + 1]]
        truths = truth_order[truth_edges[unit] : truth_edges[unit + 1]]
        if len(rows) and len(truths):
            hit[:, rows] = match(iou_matrix(boxes[rows], true_boxes[truths]), THRESHOLDS)
    scores = predicted["score"].to_numpy(float)
    group_end = np.searchsorted(-scores, -scores, side="right") - 1
    return Matched(image, group_end, hit, np.diff(truth_edges))


def average_precisions(matched: Matched, weights: Floats) -> Floats:
    """Average precision at every threshold.

    Args:
        matched: the matched test set.
        weights: integer weight of each image in each resample [B, images].

    Returns:
        [T, B]; NaN where a resample has no true box, 0 where it has some but no prediction.
    """
    positives = weights.astype(np.float64) @ matched.truths
    result = np.zeros((len(matched.hit), len(weights)))
    total = _boxes_so_far(matched, weights)
    for t, hit in enumerate(matched.hit):
        # Precision can only peak, and recall only grow, where a true positive enters.
        columns = np.flatnonzero(hit)
        if not len(columns):
            continue
        ends, first = np.unique(matched.group_end[columns], return_index=True)
        last = np.append(first[1:], len(columns)) - 1
        true = np.cumsum(weights.take(matched.image[columns], axis=1), axis=1)[:, last]
        precision = true / np.maximum(total(ends), 1)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        # A recall point r is reached at the first position with recall >= r; r = 0 at the first one with any.
        with np.errstate(divide="ignore", invalid="ignore"):
            recall = (RECALL_POINTS - 1) * true.astype(np.float64) / positives[:, None]
        reached = np.where(true > 0, np.floor(np.nan_to_num(recall) + 1e-9) + 1, 0)
        result[t] = (np.diff(reached, axis=1, prepend=0) * envelope).sum(axis=1) / RECALL_POINTS
    return np.where(positives > 0, result, np.nan)


def _boxes_so_far(matched: Matched, weights: Floats) -> Callable[[Ints], Floats]:
    """Count predictions up to a position, for the positions at which some threshold has a true positive.

    Most predictions are never asked for one by one: they are summed by image between two such positions.

    Returns:
        Positions [k] → weighted number of predictions at them or before [B, k].
    """
    positions = np.unique(matched.group_end[matched.hit.any(axis=0)])
    interval = np.searchsorted(positions, np.arange(len(matched.image)))
    asked = interval < len(positions)
    entries = (np.ones(int(asked.sum())), (interval[asked], matched.image[asked]))
    # Any: scipy's stubs do not know that the product with an array is an array.
    between: Any = csr_matrix(entries, shape=(len(positions), weights.shape[1]))
    total = np.cumsum(between @ weights.T, axis=0)
    return lambda ends: np.asarray(total[np.searchsorted(positions, ends)].T)


def detection_metrics(frame: pd.DataFrame, asked: Collection[str] = ()) -> CellMetrics:
    """Metrics of one cell on all images, negatives included, with `predict_nothing`.

    Args:
        frame: rows of `kind` image (every test image once), truth (a true box) and prediction (a box with
            `score`), boxes in store pixels; for `froc_shape` with the columns of `find_in_shapes`.
        asked: names of metrics; those of `IMAGE_SETS` and `FROC` are computed only if they are among them.
    """
    table = units(frame)
    matched = match_images(frame, table)
    positive = matched.truths > 0
    predicted = np.bincount(matched.image, minlength=len(table)) > 0
    sets = {name: chosen(positive, predicted) for name, chosen in IMAGE_SETS.items() if name in asked}
    points = {name: find(frame, table) for name, find in FROC.items() if name in asked}

    def compute(weights: Floats) -> dict[Key, Floats]:
        precisions = average_precisions(matched, weights)
        values = {(name, ""): precisions[rows].mean(axis=0) for name, rows in AVERAGES.items()}
        for name, chosen in sets.items():
            part = average_precisions(matched, weights * chosen)
            values[name, ""] = part[AVERAGES["map_40_75"]].mean(axis=0)
        return values | {(name, ""): froc(of, weights) for name, of in points.items()}

    def nothing(weights: Floats) -> dict[Key, Floats]:
        value = np.where(weights @ matched.truths.astype(weights.dtype) > 0, 0.0, np.nan)
        undefined = np.full_like(value, np.nan)
        some = {(name, ""): undefined if name == "map_40_75_mgca" else value for name in [*sets, *points]}
        return {(name, ""): value for name in AVERAGES} | some

    return CellMetrics(
        table["patient_id"].to_numpy(str),
        positive,
        compute,
        {"predict_nothing": nothing},
        {"": len(table)},
        {"": int(positive.sum())},
    )
