"""Free-response ROC: sensitivity at rates of false alarms per image, with two meanings of a hit.

A true object is found by the first prediction whose centre lies in it; a prediction in no object is a false
alarm. The object is its box (LoVT), or its shape: rectangle, ellipse or polygon (Object-CXR's challenge).
Both are decided inside an image, so a resample of images only changes how often they count.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from prior.metrics.arrays import Bools, Floats, Ints, ratio
from prior.metrics.cell import unit_numbers

CHUNK_ELEMENTS = 1_000_000
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
CORNERS = ["x_min", "y_min", "x_max", "y_max"]


@dataclass(frozen=True)
class Points:
    """All predictions of a test set, sorted by falling score.

    Attributes:
        image: unit number of each prediction [n].
        ends: positions of the last prediction of each score; equal scores enter together.
        found: true objects that it is the first to find [n].
        alarm: whether it lies in no true object [n].
        truths: number of true objects of each image [images].
    """

    image: Ints
    ends: Ints
    found: Ints
    alarm: Bools
    truths: Ints


def inside(boxes: Floats, truths: Floats) -> Bools:
    """Whether the centre of each box [n, 4] lies in each true box [m, 4] or on its border. Returns [n, m]."""
    centres = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    within = (centres >= truths[None, :, :2]) & (centres <= truths[None, :, 2:])
    return np.asarray(within.all(axis=2))


def find_points(frame: pd.DataFrame, table: pd.DataFrame) -> Points:
    """Decide inside every image of `table` which true boxes hold the centres of predictions.

    Args:
        frame: rows of `kind` truth and prediction (with `score`), boxes in store pixels.
        table: of `units`.
    """
    predicted = _by_score(frame)
    boxes = predicted[CORNERS].to_numpy(float)
    true = frame[frame["kind"] == "truth"]
    owner, corners = unit_numbers(true["image_id"], table), true[CORNERS].to_numpy(float)
    truths = np.bincount(owner, minlength=len(table))
    return _points(predicted, table, truths, lambda unit, rows: inside(boxes[rows], corners[owner == unit]))


def find_in_shapes(frame: pd.DataFrame, table: pd.DataFrame) -> Points:
    """Count inside every image of `table` which true shapes hold the centres of predictions.

    Args:
        frame: rows of `kind` image with `n_shapes` (true shapes of the image) and prediction with `score` and
            `shapes` (list of the numbers, below `n_shapes`, of the shapes that hold its centre).
        table: of `units`.
    """
    predicted = _by_score(frame)
    lists = predicted["shapes"].tolist()
    images = frame[frame["kind"] == "image"]
    truths = np.zeros(len(table), dtype=np.int64)
    truths[unit_numbers(images["image_id"], table)] = images["n_shapes"].to_numpy(np.int64)

    def hits(unit: int, rows: Ints) -> Bools:
        found = np.zeros((len(rows), truths[unit]), dtype=bool)
        for place, row in enumerate(rows):
            found[place, np.asarray(lists[row], dtype=np.int64)] = True
        return found

    return _points(predicted, table, truths, hits)


def _by_score(frame: pd.DataFrame) -> pd.DataFrame:
    predicted = frame[frame["kind"] == "prediction"]
    return predicted.sort_values("score", ascending=False, kind="stable")


def _points(
    predicted: pd.DataFrame, table: pd.DataFrame, truths: Ints, hits: Callable[[int, Ints], Bools]
) -> Points:
    """Sort out predictions of falling score; `hits` tells of an image's rows [k] which truths they hit."""
    image = unit_numbers(predicted["image_id"], table)
    found, alarm = np.zeros(len(predicted), dtype=np.int64), np.ones(len(predicted), dtype=bool)
    for unit in np.flatnonzero(truths):
        rows = np.flatnonzero(image == unit)
        hit = hits(int(unit), rows)
        first = hit & (np.cumsum(hit, axis=0) == 1)
        found[rows], alarm[rows] = first.sum(axis=1), ~hit.any(axis=1)
    scores = predicted["score"].to_numpy(float)
    ends = np.unique(np.searchsorted(-scores, -scores, side="right") - 1)
    return Points(image, ends, found, alarm, truths)


def froc(points: Points, weights: Floats) -> Floats:
    """Mean sensitivity over `RATES`, at each the largest with no more false alarms per image.

    Args:
        points: the test set.
        weights: integer weight of each image in each resample [B, images].

    Returns:
        [B]; NaN where a resample has no true object.
    """
    step = max(1, CHUNK_ELEMENTS // max(1, len(points.image)))
    return np.concatenate([_froc(points, weights[k : k + step]) for k in range(0, len(weights), step)])


def _froc(points: Points, weights: Floats) -> Floats:
    each = weights.take(points.image, axis=1).astype(np.float64)
    found, alarms = (
        np.cumsum(each * count, axis=1).take(points.ends, axis=1) for count in (points.found, points.alarm)
    )
    # Position 0 stands for no prediction at all.
    found = np.pad(found, ((0, 0), (1, 0)))
    images = weights.sum(axis=1, keepdims=True)
    allowed = [(alarms <= rate * images).sum(axis=1) for rate in RATES]
    reached = np.stack([found[np.arange(len(found)), count] for count in allowed])
    return ratio(reached.mean(axis=0), weights.astype(np.float64) @ points.truths)
