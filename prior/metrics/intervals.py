"""Patient resamples and the intervals built on them: a seed's spread and the test set's spread together."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from prior.metrics.arrays import Bools, Floats, Ints

CHUNK_ELEMENTS = 2_000_000


@dataclass(frozen=True)
class Resamples:
    """Bootstrap draws of the patients of one test set.

    Attributes:
        counts: how often each patient is drawn [B, patients].
        patient: patient number of each unit [n].
        key: identifies the draws; equal keys mean that replicates may be paired.
    """

    counts: NDArray[np.uint8]
    patient: Ints
    key: str

    def chunks(self, elements_per_resample: int) -> Iterator[Floats]:
        """Yield weights of the units [b, n] (float32) so that b × `elements_per_resample` stays small."""
        step = max(1, CHUNK_ELEMENTS // max(1, elements_per_resample))
        for start in range(0, len(self.counts), step):
            yield self.counts[start : start + step][:, self.patient].astype(np.float32)


def patient_resamples(
    patients: Sequence[str] | np.ndarray, positive: Bools, n_resamples: int, source: str
) -> Resamples:
    """Draw patients with replacement, within the strata "any positive unit" and "none".

    The random stream depends only on `source` and on the sorted patients and their strata, so every method
    that is tested on the same patients gets the same draws.

    Args:
        patients: patient of each unit [n].
        positive: whether a unit is positive [n].
        n_resamples: number of draws B.
        source: names the data set, the split and the seed.
    """
    names, patient = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    stratum = np.zeros(len(names), dtype=bool)
    np.logical_or.at(stratum, patient, positive)
    listed = "\n".join(f"{name}\t{int(flag)}" for name, flag in zip(names, stratum, strict=True))
    key = hashlib.sha256(f"{source}\n{n_resamples}\n{listed}".encode()).hexdigest()[:16]
    generator = np.random.default_rng(int(key, 16))
    counts = np.zeros((n_resamples, len(names)), dtype=np.uint8)
    for flag in (True, False):
        members = np.flatnonzero(stratum == flag)
        if len(members):
            drawn = members[generator.integers(len(members), size=(n_resamples, len(members)))]
            flat = drawn + np.arange(n_resamples)[:, None] * len(names)
            counts += np.bincount(flat.ravel(), minlength=counts.size).reshape(counts.shape).astype(np.uint8)
    return Resamples(counts, patient, key)


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its 95 % interval and the two-sided p value of a mean of zero.

    `n_seeds` counts the kind of seed of which there are most.
    """

    mean: float
    low: float
    high: float
    p: float
    n_seeds: int


def interval(mean: float, averaged: Floats, *seeds: Floats, level: float = 0.95) -> Interval:
    """Combine the spread over every kind of seed with the spread over patients.

    With σ_b the SD over resamples of the seed-averaged metric and s the SD over S seeds,
    se² = σ_b² + s²/S and df = (S−1)(1 + S·σ_b²/s²)². A second kind of seed (pre-training beside downstream)
    adds its own s²/S, and df follows Welch and Satterthwaite, which the formula above is for one kind. A kind
    with one seed or equal values adds nothing; where no kind adds, the quantiles are normal.

    Args:
        mean: the seed-averaged metric on the full test set.
        averaged: the same on each resample [B].
        seeds: per kind of seed, the metric of each, averaged over the other kinds [S].
        level: coverage.
    """
    count = max((len(values) for values in seeds), default=1)
    averaged = averaged[~np.isnan(averaged)]
    if np.isnan(mean) or len(averaged) < 2:
        return Interval(mean, np.nan, np.nan, np.nan, count)
    parts = [(float(np.var(s, ddof=1)) / len(s), len(s) - 1) for s in seeds if len(s) > 1]
    variance = float(np.var(averaged, ddof=1)) + sum(part for part, _ in parts)
    uncertain = sum(part**2 / freedom for part, freedom in parts)
    se, df = sqrt(variance), variance**2 / uncertain if uncertain > 0 else inf
    margin = float(stdtrit(df, (1 + level) / 2)) * se
    p = float(2 * stdtr(df, -abs(mean) / se)) if se > 0 else float(mean == 0)
    return Interval(mean, mean - margin, mean + margin, p, count)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for multiple comparisons by Holm's step-down rule; NaN stays NaN and is not counted."""
    p = np.asarray(p_values, dtype=float)
    order = [i for i in np.argsort(p, kind="stable") if not np.isnan(p[i])]
    adjusted = np.full(len(p), np.nan)
    largest = 0.0
    for position, i in enumerate(order):
        largest = max(largest, min(1.0, p[i] * (len(order) - position)))
        adjusted[i] = largest
    return [float(value) for value in adjusted]
