"""Prototype alignment by swapped prediction (SwAV, arXiv 2006.09882; MGCA's CPA, arXiv 2210.06044)."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from prior.objectives.gather import batch_mean, gather


@torch.no_grad()
def sinkhorn_codes(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Share a batch evenly among prototypes while following its similarities (Sinkhorn-Knopp).

    The plan starts at exp(scores / epsilon); every iteration brings the prototypes' masses to 1 / K, then
    those of the samples to 1 / B. The code of a sample is its row of the plan times B. Worked in logarithms,
    so that no epsilon overflows. SwAV, equation 3; MGCA, section 3.4.

    Args:
        scores: similarities of samples and prototypes, [B, K].
        epsilon: weight of the entropy; small values give hard codes.
        iterations: of the scaling, at least 1 (3 in the source).

    Returns:
        [B, K] float32 without gradients. Rows sum to 1; columns come to B / K with more iterations. A batch
        of one is shared evenly: each code is 1 / K.
    """
    samples, prototypes = scores.shape
    with torch.autocast(scores.device.type, enabled=False):
        plan = scores.float() / epsilon
        for _ in range(iterations):
            plan = plan - plan.logsumexp(dim=0, keepdim=True) - math.log(prototypes)
            plan = plan - plan.logsumexp(dim=1, keepdim=True) - math.log(max(samples, 1))
        return plan.softmax(dim=1)


def swapped_prototype_loss(
    images: Tensor, reports: Tensor, prototypes: Tensor, temperature: float, epsilon: float, iterations: int
) -> Tensor:
    """Predict the prototype codes of an image from its report, and the other way round.

    With z_v = C v, z_t = C t for unit vectors and codes q = sinkhorn(z / epsilon),
    1/2 mean_i [ CE(q_v, softmax(z_t / temperature)) + CE(q_t, softmax(z_v / temperature)) ];
    no gradient flows through the codes. MGCA, cross-modal prototype alignment; protocols.md 4.3.

    Args:
        images: v, [B, D], any length; normalised here.
        reports: t, [B, D]; report i belongs to image i.
        prototypes: C, [K, D], any length; normalised here.
        temperature: of the predictions.
        epsilon: of the codes.
        iterations: of Sinkhorn-Knopp.

    Returns:
        Scalar in nats; zero for an empty batch.
    """
    with torch.autocast(images.device.type, enabled=False):
        bank = F.normalize(prototypes.float(), dim=-1)
        z_image = F.normalize(images.float(), dim=-1) @ bank.T
        z_report = F.normalize(reports.float(), dim=-1) @ bank.T
        # The codes share the whole batch among the prototypes, wherever its rows are.
        both, first = gather(torch.stack([z_image, z_report], dim=1).detach())
        of_report, of_image = (
            sinkhorn_codes(z, epsilon, iterations)[first : first + len(z_image)] for z in both.unbind(dim=1)
        )
        terms = of_report * (z_report / temperature).log_softmax(dim=1)
        terms = terms + of_image * (z_image / temperature).log_softmax(dim=1)
        return -0.5 * batch_mean(terms.sum(dim=1))
