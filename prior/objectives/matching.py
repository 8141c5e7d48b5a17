"""Bipartite matching of a whole batch in one call."""

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from torch import Tensor


def match(cost: Tensor, mask: Tensor) -> Tensor:
    """Assign the real targets of every sample to different slots at the least total cost.

    The samples are the diagonal blocks of one sparse matrix, so a batch is one call and one device transfer.

    Args:
        cost: [B, S, K], cost of giving slot k to target s; only its values are used.
        mask: [B, S] bool, true at real targets.

    Returns:
        Slot of each target, [B, S] int64; -1 at padding. A sample with more targets than slots gets the K
        pairs of the least total cost, and -1 at the targets left over.
    """
    real = mask.cpu().numpy()
    slots = np.full(real.shape, -1, dtype=np.int64)
    if real.any():
        # A diverged model must reach the loop's check of the loss, not fail here.
        values = np.nan_to_num(cost.detach().float().cpu().numpy()[real], posinf=0.0, neginf=0.0)
        slots[real] = _match_blocks(values.astype(np.float64), np.nonzero(real)[0])
    return torch.from_numpy(slots).to(cost.device)


def _match_blocks(cost: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Match rows `cost` [N, K] inside their `sample` [N] (ascending); give slots [N], -1 where left over."""
    count, n_slots = cost.shape
    surplus = max(0, int(np.bincount(sample).max()) - n_slots)
    # Stored zeros would mean "no edge", hence the positive offset. The surplus columns take the targets
    # that find no slot; they cost the same for every target, so they do not change who is left over.
    weights = np.ones((count, n_slots + surplus))
    weights[:, :n_slots] += cost - cost.min()
    weights[:, n_slots:] += weights.max()
    width = n_slots + surplus
    block = np.cumsum(np.diff(sample, prepend=sample[0]) != 0)
    columns = block[:, None] * width + np.arange(width)
    indptr = np.arange(count + 1) * width
    shape = (count, int(block[-1] + 1) * width)
    graph = csr_array((weights.ravel(), columns.ravel(), indptr), shape=shape)
    _, matched = min_weight_full_bipartite_matching(graph)
    slot = matched - block * width
    return np.where(slot < n_slots, slot, -1)
