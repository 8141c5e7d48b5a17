"""Supervision by several findings per image, some of them unknown."""

import torch
from torch import Tensor
from torch.nn import functional as F

from prior.objectives.masking import masked_mean


def multilabel_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross entropy in nats, averaged over all known labels of the batch.

    Each known label has the same weight; one that is not known has no gradient.

    Args:
        logits: [B, F].
        labels: [B, F], 1 present, 0 absent, NaN not known.

    Returns:
        Scalar; zero where no label is known.
    """
    with torch.autocast(logits.device.type, enabled=False):
        known = ~labels.isnan()
        # Filled before the logarithm: a NaN that is only dropped afterwards would still reach the gradient.
        target = labels.float().masked_fill(~known, 0.0)
        values = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
        return masked_mean(values, known)
