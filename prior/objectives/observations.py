"""Alignment of an image's observations with the sentences of reports (PLACE, arXiv 2506.10573).

The paper's formulas could not be read: these are a reconstruction from its abstract, docs/methods/place.md.
All vectors are normalised here; their length does not matter.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from prior.objectives.contrastive import in_blocks
from prior.objectives.gather import gather
from prior.objectives.masking import masked_mean
from prior.objectives.matching import match
from prior.objectives.positives import uniform_cross_entropy


def observation_similarity(
    observations: Tensor,
    sentences: Tensor,
    weights: Tensor,
    temperature: float,
    block_entries: int = 1 << 26,
) -> Tensor:
    """How well the observations of every image account for the sentences of every report.

    s(b, c) = sum_j w_cj tau log mean_k exp(<o_bk, t_cj> / tau): each sentence looks for its best observation
    by a soft maximum, in [-1, 1]. Computed in float32; where all pairs would not fit, in blocks of images
    that are recomputed in the backward pass.

    Args:
        observations: o, [Bi, K, D].
        sentences: t, [Bt, S, D].
        weights: w, [Bt, S], sum 1 over a report's real sentences and zero at padding.
        temperature: tau of the soft maximum.
        block_entries: products <o, t> held at a time.

    Returns:
        [Bi, Bt]; zero for a report without sentences.
    """
    with torch.autocast(observations.device.type, enabled=False):
        o, t = F.normalize(observations.float(), dim=-1), F.normalize(sentences.float(), dim=-1)
        w = weights.float()
        block = max(1, block_entries // (o.shape[1] * w.numel()))
        if len(o) <= block:
            return _soft_maximum(o, t, w, temperature)
        parts = [
            checkpoint(_soft_maximum, part, t, w, temperature, use_reentrant=False)
            for part in torch.split(o, block)
        ]
        return torch.cat(parts)


def _soft_maximum(o: Tensor, t: Tensor, w: Tensor, temperature: float) -> Tensor:
    products = (o.flatten(0, 1) @ t.flatten(0, 1).T).view(*o.shape[:2], -1)
    best = temperature * ((products / temperature).logsumexp(dim=1) - math.log(o.shape[1]))
    return (best.view(len(o), *w.shape) * w).sum(dim=2)


def observation_contrast(
    observations: Tensor,
    sentences: Tensor,
    weights: Tensor,
    texts: Tensor,
    temperature: float,
    scale: Tensor,
    block: int = 1024,
) -> Tensor:
    """L_PCMA = 1/2 [CE(s / tau, Y) + CE(s^T / tau, Y^T)], Y uniform over the reports of identical text.

    s is the `observation_similarity`. A larger batch than `block` is compared once per direction, in blocks
    that are recomputed in the backward pass, so that memory grows with `block` times the batch, not with its
    square.

    Args:
        observations: o, [B, K, D].
        sentences: t, [B, S, D].
        weights: w, [B, S], sum 1 over a report's real sentences and zero at padding; pairs whose report has
            none stay out on both sides.
        texts: [B] int64, equal where two reports have the same text, in whichever process.
        temperature: of the soft maximum.
        scale: 1 / tau, scalar.
        block: rows of similarities held at a time.

    Returns:
        Scalar; zero where no report has a sentence and for a batch of one.
    """
    with torch.autocast(observations.device.type, enabled=False):
        own_present = (weights > 0).any(dim=1)
        every_sentences, first = gather(sentences)
        every_weights, every_texts = gather(weights)[0], gather(texts)[0]
        present = (every_weights > 0).any(dim=1)
        scale = scale.float()

        def contrast(similarity: Tensor, of: Tensor) -> Tensor:
            return uniform_cross_entropy(scale * similarity, of.unsqueeze(1) == every_texts, present)

        def to_report(part: Tensor, of: Tensor) -> Tensor:
            return contrast(observation_similarity(part, every_sentences, every_weights, temperature), of)

        def to_image(part: Tensor, shares: Tensor, of: Tensor) -> Tensor:
            return contrast(observation_similarity(every_observations, part, shares, temperature).T, of)

        if len(every_sentences) <= block:
            similarity = observation_similarity(observations, every_sentences, every_weights, temperature)
            every, _ = gather(similarity)
            there = contrast(similarity, texts)
            back = contrast(every[:, first : first + len(texts)].T, texts)
        else:
            every_observations, _ = gather(observations)
            there = in_blocks(to_report, block, observations, texts)
            back = in_blocks(to_image, block, sentences, weights, texts)
        return 0.5 * masked_mean(there + back, own_present)


def pair_loss(observations: Tensor, sentences: Tensor, mask: Tensor) -> Tensor:
    """L_pair = mean over matches of 1 - (<o, sg t> + <sg o, t>) / 2, in [0, 2].

    The matches give every sentence of a report an observation of its own at the greatest total similarity:
    one bipartite matching for the whole batch, through whose choice no gradient flows.

    Args:
        observations: o, [B, K, D].
        sentences: t, [B, S, D].
        mask: [B, S] bool, true at real sentences.

    Returns:
        Scalar, mean over all matches of the batch (a report with more than K sentences has K of them); zero
        where no report has a sentence.
    """
    with torch.autocast(observations.device.type, enabled=False):
        o, t = F.normalize(observations.float(), dim=-1), F.normalize(sentences.float(), dim=-1)
        slots = match(-(t @ o.transpose(1, 2)).detach(), mask)
        own = o.gather(1, slots.clamp(min=0).unsqueeze(2).expand(-1, -1, o.shape[2]))
        agreement = (own * t.detach()).sum(dim=2) + (own.detach() * t).sum(dim=2)
        return masked_mean(1 - agreement / 2, slots >= 0)


def query_usage(observations: Tensor, sentences: Tensor, mask: Tensor) -> Tensor:
    """Count for every query the sentences whose nearest observation is that query's.

    Args:
        observations: o, [B, K, D].
        sentences: t of the same pairs, [B, S, D].
        mask: [B, S] bool, true at real sentences.

    Returns:
        [K] int64. Counts of several batches may be added; a query whose count stays zero is dead.
    """
    with torch.autocast(observations.device.type, enabled=False):
        o, t = F.normalize(observations.float(), dim=-1), F.normalize(sentences.float(), dim=-1)
        nearest = (t @ o.transpose(1, 2)).argmax(dim=2)[mask]
    return torch.bincount(nearest, minlength=observations.shape[1])
