"""Cross entropy with several right answers per row."""

import torch
from torch import Tensor


def uniform_cross_entropy(logits: Tensor, positives: Tensor, mask: Tensor) -> Tensor:
    """Cross entropy with the uniform distribution over each row's positives.

    -1/|P_i| sum_{k in P_i} log softmax_k(logits_i), the softmax running over the columns that are real.

    Args:
        logits: [..., N, M], float32.
        positives: [..., N, M] bool; those outside `mask` do not count.
        mask: bool, broadcastable to [..., N, M], true at real columns.

    Returns:
        [..., N] in nats; zero for a row without positives.
    """
    # A finite filling keeps rows without real columns free of NaN.
    log_shares = logits.masked_fill(~mask, torch.finfo(logits.dtype).min).log_softmax(dim=-1)
    right = positives & mask
    return -log_shares.masked_fill(~right, 0.0).sum(dim=-1) / right.sum(dim=-1).clamp(min=1)
