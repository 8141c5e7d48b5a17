"""Leaving out what is not there: padding, and reports that say nothing."""

from torch import Tensor

from prior.objectives.contrastive import symmetric_info_nce


def contrast_present(images: Tensor, reports: Tensor, present: Tensor, scale: Tensor) -> Tensor:
    """Symmetric InfoNCE over the pairs whose report has a sentence.

    Args:
        images: [B, D].
        reports: [B, D].
        present: [B] bool.
        scale: inverse temperature.

    Returns:
        Scalar; zero (with zero gradients) where no report has a sentence.
    """
    return symmetric_info_nce(images[present], reports[present], scale)


def mean_of_real(entries: Tensor, mask: Tensor) -> Tensor:
    """Average the real entries of every sample.

    Args:
        entries: [B, N, D].
        mask: [B, N] bool.

    Returns:
        [B, D]; zero where no entry is real.
    """
    total = entries.masked_fill(~mask.unsqueeze(2), 0.0).sum(dim=1)
    return total / mask.sum(dim=1, keepdim=True).clamp(min=1)
