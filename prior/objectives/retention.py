"""Retention of what only one modality knows: hidden tokens are predicted from the visible ones."""

import torch
from torch import Tensor

from prior.objectives.gather import draw_rows
from prior.objectives.masking import mean_over_reports


def hide_tokens(mask: Tensor, ratio: float) -> Tensor:
    """Choose tokens to hide, uniformly and without replacement, the same share in every sample.

    Args:
        mask: [B, N] bool, true at tokens that may be hidden.
        ratio: share to hide, in [0, 1]; rounded to the nearest whole number of tokens per sample.

    Returns:
        [B, N] bool, true at hidden tokens; draws from torch's global generator.
    """
    device = mask.device
    draw = draw_rows(lambda rows: torch.rand(rows, mask.shape[1], device=device), len(mask), device)
    rank = draw.masked_fill(~mask, 2.0).argsort(dim=1).argsort(dim=1)
    count = (ratio * mask.sum(dim=1, keepdim=True)).round()
    return (rank < count) & mask


def retention_loss(predicted: Tensor, tokens: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error at the hidden tokens; the targets are detached.

    mean_samples mean_{n hidden} mean_d (predicted_nd - sg(token_nd))^2, computed in float32.

    Args:
        predicted: [B, N, C].
        tokens: what the encoder gave before anything was hidden, [B, N, C].
        hidden: [B, N] bool; a sample without hidden tokens is left out.

    Returns:
        Scalar; zero where nothing is hidden.
    """
    error = (predicted.float() - tokens.detach().float()).square().mean(dim=-1)
    return mean_over_reports(error, hidden)
