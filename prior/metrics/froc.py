"""Free-response ROC (Object-CXR's challenge, LoVT's hits): sensitivity at rates of false alarms per image.

A true box is found by the first prediction whose centre lies in it; a prediction in no true box is a false
alarm. Both are decided inside an image, so a resample of images only changes how often they count.
"""

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
        found: true boxes that it is the first to find [n].
        alarm: whether it lies in no true box [n].
        truths: number of true boxes of each image [images].
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
    """Decide inside every image of `table` what predictions find.

    Args:
        frame: rows of `kind` truth and prediction (with `score`), boxes in store pixels.
        table: of `units`.
    """
    predicted = frame[frame["kind"] == "prediction"].sort_values("score", ascending=False, kind="stable")
    image = unit_numbers(predicted["image_id"], table)
    boxes = predicted[CORNERS].to_numpy(float)
    found, alarm = np.zeros(len(predicted), dtype=np.int64), np.ones(len(predicted), dtype=bool)
    true = frame[frame["kind"] == "truth"]
    owner = unit_numbers(true["image_id"], table)
    for unit in np.unique(owner):
        rows = np.flatnonzero(image == unit)
        hit = inside(boxes[rows], true[CORNERS].to_numpy(float)[owner == unit])
        first = hit & (np.cumsum(hit, axis=0) == 1)
        found[rows], alarm[rows] = first.sum(axis=1), ~hit.any(axis=1)
    scores = predicted["score"].to_numpy(float)
    ends = np.unique(np.searchsorted(-scores, -scores, side="right") - 1)
    return Points(image, ends, found, alarm, np.bincount(owner, minlength=len(table)))


def froc(points: Points, weights: Floats) -> Floats:
    """Mean sensitivity over `RATES`, at each the largest with no more false alarms per image.

    Args:
        points: the test set.
        weights: integer weight of each image in each resample [B, images].

    Returns:
        [B]; NaN where a resample has no true box.
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
