"""Alignment of tokens with what they read in the other modality (MGCA's CTA, arXiv 2210.06044)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from prior.objectives.masking import masked_mean


def clipped_weights(attention: Tensor, mask: Tensor, share: float) -> Tensor:
    """Clip the attention of each sample to its own quantiles and let it sum to 1.

    The quantiles `share` and 1 - `share` (0.1 in the source) are taken over real tokens only, with linear
    interpolation; they keep single tokens from carrying the loss. papers.md 4.3.

    Args:
        attention: [B, N], not negative.
        mask: [B, N] bool, true at real tokens.
        share: share of the tokens clipped at either end, in [0, 0.5].

    Returns:
        [B, N] float32 without gradients, zero at padding; all zero where a sample has no token.
    """
    real = attention.detach().float()
    levels = real.new_tensor([share, 1 - share])
    low, high = real.masked_fill(~mask, torch.nan).nanquantile(levels, dim=1, keepdim=True)
    clipped = real.clamp(low, high).masked_fill(~mask, 0.0)
    return clipped / clipped.sum(dim=1, keepdim=True).clamp(min=torch.finfo(clipped.dtype).tiny)


def token_alignment(
    items: Tensor, others: Tensor, item_mask: Tensor, other_mask: Tensor, weights: Tensor, temperature: float
) -> Tensor:
    """Contrast the items of a sample with their cross-attended contexts, inside the sample.

    c_k = sum_r softmax_r(x_k . o_r / temperature) o_r; with s(k, l) = cos(x_k, c_l) / temperature,
    sum_k w_k 1/2 [ CE_l(s(k, l), k) + CE_l(s(l, k), k) ], averaged over the samples with items and others;
    all vectors have unit length. MGCA, token-wise alignment; protocols.md 4.3.

    Args:
        items: x, [B, N, D], any length; normalised here.
        others: o, [B, M, D], any length; normalised here.
        item_mask: [B, N] bool, true at real items.
        other_mask: [B, M] bool, true at real entries of the other modality.
        weights: w, [B, N], as they shall be used: they sum to 1 in each sample and carry no gradient.
        temperature: divisor of both similarities.

    Returns:
        Scalar; zero where no sample has both. A sample with one item has no negative and adds zero.
    """
    with torch.autocast(items.device.type, enabled=False):
        x = F.normalize(items.float(), dim=-1)
        o = F.normalize(others.float(), dim=-1)
        lowest = torch.finfo(x.dtype).min
        # A finite filling keeps samples without tokens free of NaN; they are dropped from the mean below.
        affinity = (x @ o.transpose(1, 2) / temperature).masked_fill(~other_mask.unsqueeze(1), lowest)
        contexts = F.normalize(affinity.softmax(dim=2) @ o, dim=-1)
        logits = x @ contexts.transpose(1, 2) / temperature
        logits = logits.masked_fill(~(item_mask.unsqueeze(2) & item_mask.unsqueeze(1)), lowest)
        forward = logits.log_softmax(dim=2).diagonal(dim1=1, dim2=2)
        backward = logits.log_softmax(dim=1).diagonal(dim1=1, dim2=2)
        per_item = -0.5 * (forward + backward).masked_fill(~item_mask, 0.0)
        present = item_mask.any(dim=1) & other_mask.any(dim=1)
        return masked_mean((weights * per_item).sum(dim=1), present)
