"""Adaptive grouping of the entries of one modality by those of the other (AGA, arXiv 2507.23402).

The paper's formulas could not be read: these are a reconstruction from its summary (papers.md 4.5) and from
its ancestor SPARC (arXiv 2401.09865).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from prior.objectives.masking import mean_over_reports
from prior.objectives.positives import uniform_cross_entropy

# Cosines in float32 that differ by less are equal.
_EQUAL = 1e-6


def group_weights(
    similarity: Tensor, thresholds: Tensor, key_mask: Tensor | None = None, gate_temperature: float = 0.05
) -> Tensor:
    """Weights with which each query collects the keys that pass its threshold.

    S^ is the similarity rescaled to [0, 1] over the query's real keys (SPARC's min-max); the gate is
    m = 1[S^ > theta] forward and sigmoid((S^ - theta) / gate_temperature) backward; a = m S^ / sum(m S^).
    The best key always passes, so that no group is empty; keys that are all equally similar count equally.

    Args:
        similarity: S, [..., N, M], cosines.
        thresholds: theta, [..., N], in [0, 1].
        key_mask: [..., M] bool, false at padding; None where all keys are real.
        gate_temperature: width of the gate's gradient.

    Returns:
        a, [..., N, M], sum 1 over the real keys; all zero where there is none.
    """
    real = similarity.new_ones((), dtype=torch.bool) if key_mask is None else key_mask.unsqueeze(-2)
    low = similarity.masked_fill(~real, 1.0).amin(dim=-1, keepdim=True)
    span = similarity.masked_fill(~real, -1.0).amax(dim=-1, keepdim=True) - low
    share = torch.where(span > _EQUAL, (similarity - low) / span.clamp(min=_EQUAL), 1.0)
    theta = thresholds.unsqueeze(-1)
    soft = torch.sigmoid((share - theta) / gate_temperature)
    hard = ((share > theta) | (share >= 1)).to(soft.dtype)
    gated = ((hard + (soft - soft.detach())) * share).masked_fill(~real, 0.0)
    return gated / gated.sum(dim=-1, keepdim=True).clamp(min=_EQUAL)


def collect_groups(
    queries: Tensor,
    keys: Tensor,
    thresholds: Tensor,
    key_mask: Tensor | None = None,
    gate_temperature: float = 0.05,
) -> Tensor:
    """Groups g_i = sum_j a_ij k_j of unit keys, a by `group_weights` of the cosines; in float32.

    Args:
        queries: [B, N, D], normalised here.
        keys: [B, M, D], normalised here.
        thresholds: [B, N].
        key_mask: [B, M] bool, false at padding.
        gate_temperature: width of the gate's gradient.

    Returns:
        [B, N, D]; zero where a sample has no real key.
    """
    with torch.autocast(queries.device.type, enabled=False):
        q, k = F.normalize(queries.float(), dim=-1), F.normalize(keys.float(), dim=-1)
        weights = group_weights(q @ k.transpose(1, 2), thresholds.float(), key_mask, gate_temperature)
        return weights @ k


def group_alignment(
    entries: Tensor, groups: Tensor, mask: Tensor, temperature: float, kinds: Tensor | None = None
) -> Tensor:
    """IGA: contrast entries with their groups inside each pair, symmetric InfoNCE without outside negatives.

    1/2 [CE_k(cos(t_i, g_k) / tau, P_i) + CE_k(cos(g_i, t_k) / tau, P_i)], uniform over the positives P_i: the
    entry itself and, where kinds are given, the others of its kind. A single entry has no negative and gives
    zero.

    Args:
        entries: t, [B, N, D], normalised here.
        groups: g, group i collected by entry i, [B, N, D], normalised here.
        mask: [B, N] bool, true at real entries.
        temperature: tau.
        kinds: [B, N] int64, such as token ids; None where every entry is its own kind.

    Returns:
        Scalar, mean over a sample's entries, then over the samples that have any; zero where none has.
    """
    with torch.autocast(entries.device.type, enabled=False):
        t, g = F.normalize(entries.float(), dim=-1), F.normalize(groups.float(), dim=-1)
        logits = t @ g.transpose(1, 2) / temperature
        if kinds is None:
            kinds = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
        positives = kinds.unsqueeze(2) == kinds.unsqueeze(1)
        columns = mask.unsqueeze(1)
        forward = uniform_cross_entropy(logits, positives, columns)
        backward = uniform_cross_entropy(logits.transpose(1, 2), positives, columns)
        return 0.5 * mean_over_reports(forward + backward, mask)
