"""Contrast of regions or sentences with what they read across modalities (LoVT, arXiv 2112.02889)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from prior.objectives.masking import masked_mean


def spatial_positives(grid: tuple[int, int], radius: float, decay: float) -> Tensor:
    """Weights of the places that count as positives of each place of a grid.

    p(k, l) is proportional to exp(-decay d(k, l)) where d(k, l) <= radius, else 0; d is the distance in cells
    over the grid's diagonal sqrt(height^2 + width^2). LoVT, local contrast of the scan; papers.md 3.1.

    Args:
        grid: (height, width) in cells; place k = row * width + column.
        radius: largest distance of a positive, in diagonals.
        decay: how fast the weight falls, per diagonal; 0 makes all positives equal.

    Returns:
        [R, R] float32 with R = height * width; rows sum to 1.
    """
    height, width = grid
    places = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    # Whole numbers keep a place at distance zero from itself and decide exactly at the radius.
    squared = (places.unsqueeze(1) - places.unsqueeze(0)).square().sum(dim=2).double()
    diagonal = float(height**2 + width**2)
    near = torch.exp(-decay * (squared / diagonal).sqrt()).masked_fill(squared > radius**2 * diagonal, 0.0)
    return (near / near.sum(dim=1, keepdim=True)).float()


def local_contrast(
    items: Tensor, contexts: Tensor, positives: Tensor, mask: Tensor, weights: Tensor, temperature: float
) -> Tensor:
    """Find each item's positives among the contexts of its own sample; one direction of LoVT's local loss.

    With s(k, l) = cos(x_k, y_l) / temperature,
    sum_k w_k [ logsumexp_l s(k, l) - sum_l p(k, l) s(k, l) ], averaged over the samples that have an item;
    papers.md 3.1. The mirrored direction swaps `items` and `contexts`. A single sentence has no negative and
    gives zero.

    Args:
        items: x, [B, N, D], any length; normalised here.
        contexts: y, [B, N, D]; context k belongs to item k.
        positives: p, [N, N], not negative and positive on the diagonal; rows are normalised over the real
            entries here.
        mask: [B, N] bool, true at real items.
        weights: w, [B, N], not negative; detached and normalised over the real items here.
        temperature: divisor of the cosine.

    Returns:
        Scalar; zero where no sample has an item.
    """
    with torch.autocast(items.device.type, enabled=False):
        x = F.normalize(items.float(), dim=-1)
        y = F.normalize(contexts.float(), dim=-1)
        logits = x @ y.transpose(1, 2) / temperature
        target = positives * mask.unsqueeze(1)
        target = target / target.sum(dim=2, keepdim=True).clamp(min=torch.finfo(target.dtype).tiny)
        drawn = (target * logits).sum(dim=2)
        # A finite filling keeps samples without items free of NaN; their weights are zero.
        others = logits.masked_fill(~mask.unsqueeze(1), torch.finfo(logits.dtype).min).logsumexp(dim=2)
        w = weights.detach().float().masked_fill(~mask, 0.0)
        w = w / w.sum(dim=1, keepdim=True).clamp(min=torch.finfo(w.dtype).tiny)
        per_item = (others - drawn).masked_fill(~mask, 0.0)
        return masked_mean((w * per_item).sum(dim=1), mask.any(dim=1))
