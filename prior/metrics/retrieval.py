"""Retrieval metrics from one row per query: exact pair (R@k, median rank) and by class (P@k, Hit@k)."""

import numpy as np
import pandas as pd
from scipy.special import gammaln

from prior.metrics.arrays import Floats, weighted_mean, weighted_median
from prior.metrics.cell import CellMetrics, Compute, Key

CUTS = (1, 5, 10)
"""Every protocol has these; further ones are read from the columns."""
DIRECTIONS = {"image_to_text": "i2t", "text_to_image": "t2i", "image_to_image": "i2i"}


def any_in_top(relevant: Floats, pool: Floats, k: int) -> Floats:
    """Probability that a random ranking of `pool` has one of `relevant` among its first k. Shapes [n]."""
    others = pool - relevant
    enough = others >= k
    safe = np.where(enough, others, k)
    log_none = gammaln(safe + 1) - gammaln(safe - k + 1) - gammaln(pool + 1) + gammaln(pool - k + 1)
    return np.where(enough, 1 - np.exp(log_none), 1.0)


def _cuts(rows: pd.DataFrame) -> list[int]:
    return sorted(int(name.removeprefix("hits_")) for name in rows.columns if name.startswith("hits_"))


def _measured(rows: pd.DataFrame) -> dict[str, Floats]:
    """Per-query value of every averaged metric; `r_<k>`, `hit_<k>`, if given, are expected under ties."""
    values: dict[str, Floats] = {}
    rank = rows["rank"].to_numpy(float)
    for k in _cuts(rows):
        share = rows[f"hits_{k}"].to_numpy(float)
        values[f"p_at_{k}"] = share
        values[f"hit_at_{k}"] = np.asarray(rows.get(f"hit_{k}", share > 0), dtype=float)
        values[f"r_at_{k}"] = np.asarray(rows.get(f"r_{k}", rank <= k), dtype=float)
    return values


def _expected(rows: pd.DataFrame) -> dict[str, Floats]:
    """Per-query expectation of a random ranking, analytically."""
    pool, relevant = rows["pool"].to_numpy(float), rows["n_relevant"].to_numpy(float)
    values: dict[str, Floats] = {}
    for k in _cuts(rows):
        cut = min(k, int(pool.min(initial=k)))
        values[f"p_at_{k}"] = relevant / pool
        values[f"hit_at_{k}"] = any_in_top(relevant, pool, cut)
        values[f"r_at_{k}"] = cut / pool
    return values


def retrieval_metrics(frame: pd.DataFrame) -> CellMetrics:
    """Metrics of one cell in its directions (suffix `_i2t`, `_t2i`, `_i2i`), with `chance`.

    Args:
        frame: one row per query with `direction`, `rank` (1-based, expected under ties; missing where there
            are no pairs, which leaves out R@k and the median rank), `pool`, `n_relevant` (candidates of the
            query's class or label vector), `hits_<k>` of every k (share of relevant candidates among the
            first k); optional `r_<k>`, `hit_<k>`.
    """
    frame = frame.reset_index(drop=True)
    rows = {d: np.flatnonzero(frame["direction"] == d) for d in DIRECTIONS}
    rows = {d: index for d, index in rows.items() if len(index)}
    pool = frame["pool"].to_numpy(float)
    paired = bool(frame["rank"].notna().all())

    def compute_of(random: bool) -> Compute:
        parts = {d: (_expected if random else _measured)(frame.iloc[index]) for d, index in rows.items()}
        rank = (pool + 1) / 2 if random else frame["rank"].to_numpy(float)

        def compute(weights: Floats) -> dict[Key, Floats]:
            values: dict[Key, Floats] = {}
            for direction, index in rows.items():
                suffix = DIRECTIONS[direction]
                for name, value in parts[direction].items():
                    if paired or not name.startswith("r_at"):
                        values[f"{name}_{suffix}", ""] = weighted_mean(value, weights[:, index])
                if paired:
                    values[f"median_rank_{suffix}", ""] = weighted_median(rank[index], weights[:, index])
            return values

        return compute

    patients = frame["patient_id"].astype(str).to_numpy(str)
    everyone, counts = np.ones(len(frame), dtype=bool), {"": int(frame["image_id"].nunique())}
    baselines = {"chance": compute_of(True)}
    return CellMetrics(patients, everyone, compute_of(False), baselines, counts, counts)
