"""Dice and IoU under their three meanings, from pixel counts per image."""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from prior.metrics.arrays import Floats, mean_of_defined, ratio, weighted_mean
from prior.metrics.cell import CellMetrics, Compute, Key, unit_numbers, units


def segmentation_values(true: Floats, false: Floats, missed: Floats, weights: Floats) -> dict[Key, Floats]:
    """Every overlap metric.

    Args:
        true: true positive pixels per image [n].
        false: false positive pixels [n].
        missed: false negative pixels [n].
        weights: weight of each image in each resample [B, n].

    Returns:
        `dice_image_all`: mean Dice, 1 where mask and prediction are both empty (GLoRIA, MGCA);
        `dice_image_positive`: mean Dice of images with a mask (PRIOR); `dice_pooled`, `iou_pooled`: over all
        pixels of the split (LoVT), NaN if nothing is marked and nothing predicted;
        `specificity_image`: share of images without a mask that stay empty.
    """
    mask = true + missed > 0
    size = 2 * true + false + missed
    dice = np.where(size > 0, 2 * true / np.maximum(size, 1), 1.0)
    # Pixel counts exceed what float32 holds exactly.
    pooled = weights.astype(np.float64) @ np.stack([true, false, missed], axis=1)
    return {
        ("dice_image_all", ""): weighted_mean(dice, weights),
        ("dice_image_positive", ""): weighted_mean(dice[mask], weights[:, mask]),
        ("dice_pooled", ""): ratio(2 * pooled[:, 0], 2 * pooled[:, 0] + pooled[:, 1] + pooled[:, 2]),
        ("iou_pooled", ""): ratio(pooled[:, 0], pooled.sum(axis=1)),
        ("specificity_image", ""): weighted_mean((false == 0)[~mask].astype(float), weights[:, ~mask]),
    }


def dice_with_background(
    true: Floats, false: Floats, missed: Floats, pixels: Floats, weights: Floats
) -> Floats:
    """Mean of the pooled Dice of mask and of background (BenchX); the empty prediction scores near one half.

    Args:
        true: true positive pixels per image [n].
        false: false positive pixels [n].
        missed: false negative pixels [n].
        pixels: all pixels of each image [n].
        weights: weight of each image in each resample [B, n].

    Returns:
        [B]; NaN if nothing is marked and nothing predicted, as for the mask alone.
    """
    counts = np.stack([true, false + missed, pixels - true - false - missed], axis=1)
    hits, wrong, background = (weights.astype(np.float64) @ counts).T
    return (ratio(2 * hits, 2 * hits + wrong) + ratio(2 * background, 2 * background + wrong)) / 2


def segmentation_metrics(frame: pd.DataFrame, asked: Collection[str] = ()) -> CellMetrics:
    """Metrics of one cell, with `predict_nothing`.

    With a column `finding`, `dice_pooled` is of each finding and `dice_pooled_macro` their mean (LoVT, NIH);
    a finding that is neither marked nor predicted is left out of it.

    Args:
        frame: one row per image, or per image and finding, with `tp`, `fp`, `fn` in pixels, `n_mask` (pixels
            of the true mask) and, for `mdice_pooled`, `n_pixels` (of the image).
        asked: names of metrics; `mdice_pooled` is computed only if it is among them.
    """
    if "finding" in frame:
        return _metrics_by_finding(frame)
    table = units(frame)
    true, false, missed, mask = _pixels(frame, table)
    everything = _everything(frame, table) if "mdice_pooled" in asked else None

    def values(true: Floats, false: Floats, missed: Floats) -> Compute:
        def compute(weights: Floats) -> dict[Key, Floats]:
            found = segmentation_values(true, false, missed, weights)
            if everything is not None:
                found["mdice_pooled", ""] = dice_with_background(true, false, missed, everything, weights)
            return found

        return compute

    none = np.zeros_like(true)
    return CellMetrics(
        table["patient_id"].to_numpy(str),
        mask > 0,
        values(true, false, missed),
        {"predict_nothing": values(none, none, mask)},
        {"": len(table)},
        {"": int((mask > 0).sum())},
    )


def _pixels(frame: pd.DataFrame, table: pd.DataFrame) -> Floats:
    """Return [4, n]: true positive, false positive, false negative and true pixels, in the order of units."""
    order = np.argsort(unit_numbers(frame["image_id"], table))
    return frame[["tp", "fp", "fn", "n_mask"]].to_numpy(np.float64)[order].T


def _everything(frame: pd.DataFrame, table: pd.DataFrame) -> Floats:
    """Return [n]: all pixels of each image, in the order of units."""
    return frame["n_pixels"].to_numpy(np.float64)[np.argsort(unit_numbers(frame["image_id"], table))]


def _metrics_by_finding(frame: pd.DataFrame) -> CellMetrics:
    table = units(frame)
    pixels = {str(name): _pixels(group, table) for name, group in frame.groupby("finding", sort=True)}

    def pooled(counts: Mapping[str, Floats]) -> Compute:
        def compute(weights: Floats) -> dict[Key, Floats]:
            # Pixel counts exceed what float32 holds exactly.
            sums = {name: weights.astype(np.float64) @ count[:3].T for name, count in counts.items()}
            dice = {name: ratio(2 * s[:, 0], 2 * s[:, 0] + s[:, 1] + s[:, 2]) for name, s in sums.items()}
            single = {("dice_pooled", name): value for name, value in dice.items()}
            return {("dice_pooled_macro", ""): mean_of_defined(list(dice.values())), **single}

        return compute

    nothing = {name: np.stack([0 * mask, 0 * mask, mask]) for name, (*_, mask) in pixels.items()}
    positive = {name: mask > 0 for name, (*_, mask) in pixels.items()}
    marked = np.any(list(positive.values()), axis=0)
    return CellMetrics(
        table["patient_id"].to_numpy(str),
        marked,
        pooled(pixels),
        {"predict_nothing": pooled(nothing)},
        {"": len(table), **dict.fromkeys(pixels, len(table))},
        {"": int(marked.sum()), **{name: int(mask.sum()) for name, mask in positive.items()}},
    )
