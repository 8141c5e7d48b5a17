"""How well heat maps agree with true masks: facts of single images, which the metrics then average."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.float64]
Masks = NDArray[np.bool_]
_DECIMALS = 6


def scaled(maps: NDArray[np.floating]) -> Maps:
    """Bring every map to [0, 1] by its own least and largest value, six decimals; a constant map is 1.

    Methods give affinities in different units, so only differences within a map can be compared. Rounding
    makes equal regions equal again after interpolation.

    Args:
        maps: [n, H, W].
    """
    maps = maps.astype(np.float64)
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    constant = high - low <= 10.0**-_DECIMALS * np.abs(maps).max(axis=(1, 2), keepdims=True)
    share = (maps - low) / np.where(constant, 1.0, high - low)
    return np.where(constant, 1.0, share.round(_DECIMALS))


def pointing_hits(maps: Maps, masks: Masks) -> NDArray[np.float64]:
    """Probability that the largest value of a map lies inside its mask, tied pixels being drawn at random.

    The pointing game (Zhang et al., arXiv 1608.00507) without a tolerance around the mask. A constant map
    scores the share of the image that the mask covers.

    Args:
        maps: [n, H, W].
        masks: [n, H, W].

    Returns:
        [n].
    """
    best = maps == maps.max(axis=(1, 2), keepdims=True)
    return np.asarray((best & masks).sum(axis=(1, 2)) / best.sum(axis=(1, 2)), dtype=np.float64)


def contrast_to_noise(maps: Maps, masks: Masks) -> NDArray[np.float64]:
    """Return (mean inside - mean outside) / sqrt(variance inside + variance outside), with its sign.

    protocols.md 1.11, where the absolute value is taken.

    Args:
        maps: [n, H, W].
        masks: [n, H, W].

    Returns:
        [n]; 0 for a constant map; NaN where the mask covers nothing or everything, and where two different
        constants inside and outside leave no noise to compare with.
    """
    inside, outside = _moments(maps, masks), _moments(maps, ~masks)
    difference, noise = inside[0] - outside[0], np.sqrt(inside[1] + outside[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(noise > 0, difference / noise, np.where(difference == 0, 0.0, np.nan))


def _moments(maps: Maps, masks: Masks) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    count = masks.sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (maps * masks).sum(axis=(1, 2)) / count
        variance = ((maps - mean[:, None, None]) ** 2 * masks).sum(axis=(1, 2)) / count
    return mean, variance


def mean_iou(maps: Maps, masks: Masks, thresholds: Sequence[float]) -> NDArray[np.float64]:
    """Intersection over union of mask and map at or above a threshold, averaged over thresholds.

    Args:
        maps: [n, H, W].
        masks: [n, H, W], none empty.
        thresholds: on the scale of the maps.

    Returns:
        [n].
    """
    marked = [maps >= threshold for threshold in thresholds]
    overlaps = [(m & masks).sum(axis=(1, 2)) / (m | masks).sum(axis=(1, 2)) for m in marked]
    return np.asarray(np.mean(overlaps, axis=0), dtype=np.float64)
