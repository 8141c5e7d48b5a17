"""Sentence-wise prototype bank (PRIOR, arXiv 2307.12577): sentences as mixtures of learnt prototypes."""

import torch
from torch import Tensor
from torch.nn import functional as F

from prior.objectives.masking import masked_mean


def prototype_logits(features: Tensor, bank: Tensor) -> Tensor:
    """Raw dot products, in float32 whatever the precision around them.

    Args:
        features: [..., D].
        bank: prototypes, [K, D].

    Returns:
        [..., K].
    """
    with torch.autocast(features.device.type, enabled=False):
        return features.float() @ bank.float().T


def mix_prototypes(logits: Tensor, bank: Tensor, temperature: float, noise: bool) -> Tensor:
    """Soft prototypes q = softmax((logits + g) / temperature) E, with g Gumbel noise or zero.

    Args:
        logits: [..., K].
        bank: prototypes E, [K, D].
        temperature: softmax temperature, 0.9 in the paper's code.
        noise: draw Gumbel noise from torch's global generator (training only).

    Returns:
        [..., D].
    """
    with torch.autocast(logits.device.type, enabled=False):
        if noise:
            weights = F.gumbel_softmax(logits.float(), tau=temperature, dim=-1)
        else:
            weights = torch.softmax(logits.float() / temperature, dim=-1)
        return weights @ bank.float()


def prototype_loss(quantised: Tensor, features: Tensor, mask: Tensor) -> Tensor:
    """L_proto = mean |q(x) - x| over real sentences; gradients flow to both sides.

    Args:
        quantised: bank outputs q(x), [B, S, D].
        features: sentence features x, [B, S, D].
        mask: [B, S] bool.

    Returns:
        Scalar; zero where no report has a sentence.
    """
    return masked_mean((quantised.float() - features.float()).abs(), mask)


def assignment_divergence(logits: Tensor, generated_logits: Tensor, mask: Tensor) -> Tensor:
    """L_KL = KL(softmax(logits) || softmax(generated_logits)), averaged over real sentences.

    The true side is a target and is detached (papers.md D18).

    Args:
        logits: prototype logits of the true sentences, [B, S, K].
        generated_logits: those of the generated sentences matched to them, [B, S, K].
        mask: [B, S] bool, true at matched sentences.

    Returns:
        Scalar in nats; zero where nothing is matched.
    """
    target = logits.detach().float().log_softmax(dim=-1)
    divergence = target.exp() * (target - generated_logits.float().log_softmax(dim=-1))
    return masked_mean(divergence.sum(dim=-1), mask)
