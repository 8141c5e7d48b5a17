"""Expected calibration error of probabilities, in bins of equal mass."""

import numpy as np
from scipy.stats import rankdata

from prior.metrics.arrays import Bools, Floats, Ints, ratio

BINS = 15
LEAST_IMAGES = 500
"""With fewer images a bin holds too few to tell its error from chance; no number is given then."""


def equal_mass_bins(scores: Floats) -> Ints:
    """Return the bin of every score [n]: ranks cut into 15 parts, equal scores always together."""
    return np.floor(BINS * (rankdata(scores) - 0.5) / len(scores)).astype(np.int64)


def calibration_error(scores: Floats, labels: Bools, weights: Floats) -> Floats:
    """Mean distance between confidence and frequency over bins, weighted by their mass (ECE).

    ECE = Σ_b |Σ_{i in b} w_i (p_i - y_i)| / Σ_i w_i (Naeini et al., AAAI 2015), with 15 bins of equal mass
    instead of equal width, so that none is empty. Bins are those of the whole test set, in every resample.

    Args:
        scores: probabilities [n].
        labels: presence [n].
        weights: weight of each image in each resample [B, n].

    Returns:
        One value per resample [B].
    """
    member = equal_mass_bins(scores)[:, None] == np.arange(BINS)
    gaps = weights.astype(np.float64) @ (member * (scores - labels)[:, None])
    return ratio(np.abs(gaps).sum(axis=1), weights.sum(axis=1, dtype=np.float64))
