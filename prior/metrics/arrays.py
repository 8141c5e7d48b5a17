"""Array types and the two averages that all metrics share."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Bools = NDArray[np.bool_]


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Divide elementwise; NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """Mean of `values` [n] under each of `weights` [B, n]; NaN without weight. Returns [B]."""
    return ratio(weights @ values.astype(weights.dtype), weights.sum(axis=1))


def weighted_median(values: Floats, weights: Floats) -> Floats:
    """Median of `values` [n] under integer `weights` [B, n]; the middle two are averaged. Returns [B]."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[:, order], axis=1)
    half = cumulative[:, -1:] / 2
    lower = (cumulative >= half).argmax(axis=1)
    upper = (cumulative > half).argmax(axis=1)
    median = (values[order[lower]] + values[order[upper]]) / 2
    return np.where(half[:, 0] > 0, median, np.nan)


def mean_of_defined(columns: list[Floats]) -> Floats:
    """Mean over classes of per-class values [B]; undefined (NaN) classes are left out, NaN if all are."""
    stacked = np.stack(columns)
    defined = ~np.isnan(stacked)
    return ratio(np.where(defined, stacked, 0).sum(axis=0), defined.sum(axis=0))
