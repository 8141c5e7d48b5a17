"""Style: a small Gaussian code per modality, and agreement of both modalities on its prototypes."""

from torch import Tensor

from prior.objectives.masking import masked_mean


def style_divergence(mean: Tensor, log_variance: Tensor, present: Tensor) -> Tensor:
    """KL(N(mean, e^l) || N(0, 1)) = 1/2 sum_d (e^l + mean^2 - 1 - l), averaged over the samples.

    Kingma and Welling, arXiv 1312.6114, appendix B; computed in float32.

    Args:
        mean: [B, D].
        log_variance: l, [B, D].
        present: [B] bool, false for samples to leave out.

    Returns:
        Scalar in nats; zero where no sample is present.
    """
    mean, log_variance = mean.float(), log_variance.float()
    divergence = 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(dim=1)
    return masked_mean(divergence, present)


def cluster_divergence(left: Tensor, right: Tensor, present: Tensor) -> Tensor:
    """Mean of both Kullback-Leibler divergences between two assignments to the same prototypes.

    1/2 KL(p || q) + 1/2 KL(q || p) = 1/2 sum_k (p_k - q_k) (log p_k - log q_k), averaged over the samples;
    gradients flow to both sides. It is zero wherever both sides agree, also where both say nothing
    (uniform p and q): `assignment_entropy` tells these cases apart.

    Args:
        left: logits of p, [B, K].
        right: logits of q, [B, K].
        present: [B] bool, false for samples to leave out.

    Returns:
        Scalar in nats; zero where no sample is present.
    """
    log_p, log_q = left.float().log_softmax(dim=1), right.float().log_softmax(dim=1)
    return masked_mean(0.5 * ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(dim=1), present)


def assignment_entropy(logits: Tensor, present: Tensor) -> Tensor:
    """Entropy of the assignments, averaged over the samples: log K where all of them are uniform.

    It is for watching and gives no gradients.

    Args:
        logits: [B, K].
        present: [B] bool, false for samples to leave out.

    Returns:
        Scalar in nats; zero where no sample is present.
    """
    log_p = logits.detach().float().log_softmax(dim=1)
    return masked_mean(-(log_p.exp() * log_p).sum(dim=1), present)
