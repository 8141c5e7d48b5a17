"""Contrast between two views of the same images (NT-Xent)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from prior.objectives.contrastive import in_blocks
from prior.objectives.gather import batch_mean, gather


def nt_xent(first: Tensor, second: Tensor, scale: Tensor | float, block: int = 1024) -> Tensor:
    """Cross entropy of finding a view's partner among all other views of the batch.

    With z the 2B views, s = 1 / temperature and p(i) the other view of i's image:
    mean_i [ logsumexp_{j != i} s cos(z_i, z_j) - s cos(z_i, z_p(i)) ]; SimCLR, Chen et al., arXiv 2002.05709,
    equation 1. Computed in float32, in blocks as `info_nce`. A batch of one has no negatives and gives zero.

    Args:
        first: views of the images, [B, D], any length; normalised here.
        second: other views of the same images in the same order, [B, D].
        scale: inverse temperature, a scalar.
        block: rows of logits held at a time.

    Returns:
        Scalar.
    """
    with torch.autocast(first.device.type, enabled=False):
        own = F.normalize(torch.stack([first, second]).float(), dim=-1)
        # Images first, so that the rows of a process are neighbours when gathered.
        every, start = gather(own.transpose(0, 1))
        views = every.transpose(0, 1).flatten(0, 1)
        image = torch.arange(start, start + len(first), device=views.device)
        itself = torch.cat([image, image + len(every)])

        def rows(part: Tensor, position: Tensor) -> Tensor:
            logits = (scale * part @ views.T).scatter(1, position.unsqueeze(1), -torch.inf)
            partner = (position + len(every)) % len(views)
            return F.cross_entropy(logits, partner, reduction="none")

        return batch_mean(in_blocks(rows, block, own.flatten(0, 1), itself))
