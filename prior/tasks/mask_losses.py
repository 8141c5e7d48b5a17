"""Losses of a segmentation head, by the names that protocols give them."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

FOCUS = 2.0
FOCAL_WEIGHT = 10.0


def cross_entropy_and_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy plus soft Dice, both over all pixels of the batch.

    L = BCE(z, y) + 1 - D(σ(z), y), with D of `smoothed_dice`.

    Args:
        logits: [B, H, W].
        target: [B, H, W] of 0 and 1.
    """
    return F.binary_cross_entropy_with_logits(logits, target) + 1 - smoothed_dice(logits.sigmoid(), target)


def soft_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Soft Dice over the batch (LoVT): 1 - 2 Σ σ(z) y / (Σ σ(z) + Σ y), 0 without a positive pixel.

    Args:
        logits: [B, H, W].
        target: [B, H, W] of 0 and 1.
    """
    probability = logits.sigmoid()
    dice = 2 * (probability * target).sum() / (probability.sum() + target.sum()).clamp(min=1e-7)
    return (1 - dice) * (target.sum() > 0)


def soft_dice_of_findings(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over the findings of `soft_dice`, 0 for one without a positive pixel in the batch (LoVT, NIH).

    Args:
        logits: [B, K, H, W].
        target: [B, K, H, W] of 0 and 1.
    """
    pairs = zip(logits.unbind(1), target.unbind(1), strict=True)
    return torch.stack([soft_dice(one, wanted) for one, wanted in pairs]).mean()


def focal_and_log_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Focal loss and the logarithm of soft Dice (GLoRIA, MGCA).

    L = 10 mean[(1 - p_t)^2 BCE(z, y)] - log D(σ(z), y), with p_t the probability of the true class and D of
    `smoothed_dice`. The focal loss (Lin et al., arXiv 1708.02002) is a weighted cross-entropy, without the
    balance between classes.

    Args:
        logits: [B, H, W].
        target: [B, H, W] of 0 and 1.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    # The cross-entropy is -log of the true class's probability.
    focal = ((1 - (-entropy).exp()) ** FOCUS * entropy).mean()
    return FOCAL_WEIGHT * focal - smoothed_dice(logits.sigmoid(), target).log()


def smoothed_dice(probability: Tensor, target: Tensor) -> Tensor:
    """D = (2 Σ p y + 1) / (Σ p + Σ y + 1), the sums over all images and pixels.

    Images without a mask add false positives to it instead of an undefined value.

    Args:
        probability: [B, H, W].
        target: [B, H, W] of 0 and 1.
    """
    return (2 * (probability * target).sum() + 1) / (probability.sum() + target.sum() + 1)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "binary cross-entropy + batch soft Dice": cross_entropy_and_dice,
    "batch soft Dice": soft_dice,
    "batch soft Dice, mean over findings": soft_dice_of_findings,
    "10 focal - log batch soft Dice": focal_and_log_dice,
}
