"""Label-matched pairing: give each image a report of another patient that has the same findings.

The pairing uses the labels, so whatever is trained on it is label-supervised; it tests a pipeline on real
pixels and real language and says nothing about reports as supervision.
"""

import hashlib

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prior.data.keys import bucket, split_of


def report_pools(texts: pd.Series) -> pd.Series:
    """Assign reports to train, validation or test by the hash of their text.

    Reports with the same text (case and blanks aside) share a pool, so no sentence list crosses over.
    """
    plain = texts.str.lower().str.split().str.join(" ")
    hashed = plain.map(lambda text: hashlib.sha256(text.encode()).hexdigest())
    return hashed.map(lambda text: split_of(bucket(f"openi:{text}")))


def jaccard(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return [n, m]: shared over all findings of rows of `a` [n, f] and `b` [m, f]; 0 if both are empty."""
    shared = a.astype(float) @ b.astype(float).T
    union = a.sum(axis=1)[:, None] + b.sum(axis=1)[None, :] - shared
    similarity: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return similarity


def match(image_ids: pd.Series, similarity: NDArray[np.float64], uids: pd.Series) -> pd.DataFrame:
    """Give every image one of its most similar reports, the least used first.

    Args:
        image_ids: n images of one side.
        similarity: [n, m].
        uids: m reports of the same side.

    Returns:
        image_id, uid, jaccard; images without any shared finding are left out.
    """
    used = np.zeros(len(uids), dtype=int)
    rows = []
    for image, scores in sorted(zip(image_ids, similarity, strict=True), key=lambda row: _hash(row[0])):
        best = float(scores.max(initial=0.0))
        if best <= 0:
            continue
        candidates = np.flatnonzero(scores == best)
        candidates = candidates[used[candidates] == used[candidates].min()]
        chosen = min(candidates, key=lambda i: _hash(f"{image}:{uids.iloc[i]}"))
        used[chosen] += 1
        rows.append((image, uids.iloc[chosen], best))
    return pd.DataFrame(rows, columns=["image_id", "uid", "jaccard"])


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
