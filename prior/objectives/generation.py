"""Non-autoregressive generation of sentence prototypes (PRIOR, arXiv 2307.12577)."""

import torch
from torch import Tensor

from prior.objectives.masking import masked_mean
from prior.objectives.matching import match


def gather_matched_slots(slots: Tensor, targets: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Bring the generated slots into the order of the sentences they are matched to.

    Bipartite matching with the mean absolute difference as cost; no gradient flows through the choice.

    Args:
        slots: generated features, [B, K, D].
        targets: bank outputs of the true sentences, [B, S, D].
        mask: [B, S] bool, true at real sentences.

    Returns:
        Slots in sentence order [B, S, D] (arbitrary where unmatched), and [B, S] bool, true at matched
        sentences (all real ones unless a report has more than K).
    """
    with torch.no_grad(), torch.autocast(slots.device.type, enabled=False):
        cost = torch.cdist(targets.float(), slots.float(), p=1.0) / slots.shape[-1]
        assignment = match(cost, mask)
    index = assignment.clamp(min=0).unsqueeze(-1).expand(-1, -1, slots.shape[-1])
    return slots.gather(1, index), assignment >= 0


def generation_loss(matched_slots: Tensor, targets: Tensor, matched: Tensor) -> Tensor:
    """L_SPG = mean |slot - target| over matched sentences only; the targets are detached.

    Args:
        matched_slots: generated features in sentence order, [B, S, D].
        targets: bank outputs of the true sentences, [B, S, D].
        matched: [B, S] bool.

    Returns:
        Scalar; zero where nothing is matched.
    """
    return masked_mean((matched_slots.float() - targets.detach().float()).abs(), matched)
