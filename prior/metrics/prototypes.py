"""What a prototype bank is used for: dead prototypes, entropy of the assignments, used perplexity."""

import numpy as np
import pandas as pd

from prior.metrics.arrays import Floats, ratio
from prior.metrics.cell import CellMetrics, Key, unit_numbers, units


def prototype_metrics(frame: pd.DataFrame) -> CellMetrics:
    """Metrics of one cell; there is no baseline, since the size of the bank is the method's.

    Args:
        frame: one row per sentence with `nearest` (prototype), `entropy` (nats) and `n_prototypes` (K).

    Returns:
        `dead_prototypes`: share of the prototypes that no sentence is nearest to, `dead_prototypes_count` of
        them; `assignment_entropy`: mean over sentences, in nats; `used_perplexity`: exp of the entropy of how
        often each prototype is the nearest, between 1 and K. Units are the reports. A resample holds fewer
        different reports, so its dead prototypes are more: the interval takes only the spread from them.
    """
    table = units(frame)
    unit = unit_numbers(frame["image_id"], table)
    size = int(frame["n_prototypes"].iloc[0])
    nearest = np.zeros((len(table), size), dtype=np.float32)
    np.add.at(nearest, (unit, frame["nearest"].to_numpy(np.int64)), 1)
    sentences = np.bincount(unit, minlength=len(table)).astype(np.float64)
    entropy = np.bincount(unit, weights=frame["entropy"], minlength=len(table))

    def compute(weights: Floats) -> dict[Key, Floats]:
        used = weights @ nearest
        dead = (used == 0).sum(axis=1).astype(np.float64)
        total = weights.astype(np.float64) @ sentences
        share = used / np.maximum(total, 1)[:, None]
        spread = -(share * np.log(np.where(share > 0, share, 1))).sum(axis=1)
        return {
            ("dead_prototypes", ""): dead / size,
            ("dead_prototypes_count", ""): dead,
            ("assignment_entropy", ""): ratio(weights.astype(np.float64) @ entropy, total),
            ("used_perplexity", ""): np.exp(spread),
        }

    counts = {"": len(table)}
    patients = table["patient_id"].to_numpy(str)
    return CellMetrics(patients, np.ones(len(table), dtype=bool), compute, {}, counts, counts)
