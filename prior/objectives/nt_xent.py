"""Contrast between two views of the same images (NT-Xent)."""

import torch
from torch import Tensor
from torch.nn import functional as F


def nt_xent(first: Tensor, second: Tensor, scale: Tensor | float) -> Tensor:
    """Cross entropy of finding a view's partner among all other views of the batch.

    With z the 2B views, s = 1 / temperature and p(i) the other view of i's image:
    mean_i [ logsumexp_{j != i} s cos(z_i, z_j) - s cos(z_i, z_p(i)) ]; SimCLR, Chen et al., arXiv 2002.05709,
    equation 1. Computed in float32. A batch of one has no negatives and gives zero.

    Args:
        first: views of the images, [B, D], any length; normalised here.
        second: other views of the same images in the same order, [B, D].
        scale: inverse temperature, a scalar.

    Returns:
        Scalar.
    """
    with torch.autocast(first.device.type, enabled=False):
        views = F.normalize(torch.cat([first, second]).float(), dim=-1)
        logits = scale * views @ views.T
        itself = torch.eye(len(views), dtype=torch.bool, device=views.device)
        partner = torch.arange(len(views), device=views.device).roll(len(first))
        return F.cross_entropy(logits.masked_fill(itself, -torch.inf), partner)
