"""Layers of LoVT (arXiv 2112.02889): sentence maxima, pools with visible weights, shared cross attention."""

import torch
from torch import Tensor, nn

from prior.methods.local_attention import LocalContexts
from prior.methods.pooling import linear
from prior.methods.present import mean_of_real
from prior.methods.projection import RowNorm, map_rows


def sentence_maxima(tokens: Tensor, sentence: Tensor, n_sentences: Tensor) -> tuple[Tensor, Tensor]:
    """Take the largest value of each feature over the tokens of every sentence.

    Args:
        tokens: [B, L, D].
        sentence: [B, L], sentence index of each token, -1 for special tokens and padding.
        n_sentences: [B].

    Returns:
        Maxima [B, S, D] (zero at empty slots) and mask [B, S], with S = max(1, largest sentence count).
    """
    slots = max(1, int(n_sentences.max()))
    index = torch.arange(slots, device=sentence.device)
    mask = (sentence.unsqueeze(1) == index.view(1, -1, 1)).any(dim=2)
    # Tokens outside of all sentences go to a slot of their own, which is cut off.
    slot = sentence.masked_fill(sentence < 0, slots).unsqueeze(2).expand_as(tokens)
    lowest = tokens.new_full((len(tokens), slots + 1, tokens.shape[2]), -torch.inf)
    maxima = lowest.scatter_reduce(1, slot, tokens, "amax")[:, :slots]
    return maxima.masked_fill(~mask.unsqueeze(2), 0.0), mask


class AverageQueryPool(nn.Module):
    """Multi-head attention whose query is the mean of the entries; it tells how much each entry counted.

    Args:
        width: feature width D.
        heads: attention heads; must divide `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (linear(width, width) for _ in range(4))

    def forward(self, entries: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Pool.

        Args:
            entries: [B, N, D].
            mask: [B, N] bool, true at real entries.

        Returns:
            Pooled features [B, D], and the weights [B, N], averaged over heads and detached; they sum to 1,
            and are zero at padding. Where no entry is real, the pool reads zeros and all weights are zero.
        """
        total = entries.masked_fill(~mask.unsqueeze(2), 0.0).sum(dim=1)
        mean = total / mask.sum(dim=1, keepdim=True).clamp(min=1)
        query = self.query(mean).unflatten(1, (self.heads, -1))
        keys = self.key(entries).unflatten(2, (self.heads, -1))
        values = self.value(entries).unflatten(2, (self.heads, -1))
        scores = torch.einsum("bhd,bnhd->bhn", query, keys) * query.shape[-1] ** -0.5
        attention = _masked_softmax(scores, mask.unsqueeze(1)).masked_fill(~mask.unsqueeze(1), 0.0)
        pooled: Tensor = self.output(
            torch.einsum("bhn,bnhd->bhd", attention.to(values.dtype), values).flatten(1)
        )
        return pooled, attention.mean(dim=1).detach()


class SharedCrossAttention(nn.Module):
    """Softmax cross attention with one key/query, one value and one output map for both modalities.

    softmax(K_a K_b^T / sqrt(D)) V_b, then the output map and a batch norm; papers.md 3.1. Each direction has
    its own batch norm, which counts real entries only.

    Args:
        width: feature width D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.key, self.value, self.output = (linear(width, width) for _ in range(3))
        self.region_norm, self.sentence_norm = RowNorm(width), RowNorm(width)

    def forward(self, regions: Tensor, sentences: Tensor, mask: Tensor) -> LocalContexts:
        """Attend inside each pair.

        Args:
            regions: [B, R, D].
            sentences: [B, S, D].
            mask: [B, S] bool, true at real sentences.

        Returns:
            Both contexts; zero at padding and for the regions of a pair whose report has no sentence.
        """
        scores = self._scores(regions, sentences)
        to_sentences = _masked_softmax(scores, mask.unsqueeze(1))
        to_regions = scores.float().softmax(dim=1).transpose(1, 2)
        of_regions = to_sentences.to(scores.dtype) @ self.value(sentences)
        of_sentences = to_regions.to(scores.dtype) @ self.value(regions)
        read = mask.any(dim=1, keepdim=True).expand(regions.shape[:2])
        return LocalContexts(
            of_regions=map_rows(lambda rows: self.region_norm(self.output(rows)), of_regions, read),
            of_sentences=map_rows(lambda rows: self.sentence_norm(self.output(rows)), of_sentences, mask),
        )

    def maps(self, regions: Tensor, sentences: Tensor, mask: Tensor) -> Tensor:
        """Return the attention of the sentences over the regions, averaged over sentences, [B, R]."""
        return mean_of_real(self._scores(regions, sentences).float().softmax(dim=1).transpose(1, 2), mask)

    def _scores(self, regions: Tensor, sentences: Tensor) -> Tensor:
        scores: Tensor = self.key(regions) @ self.key(sentences).transpose(1, 2)
        return scores * regions.shape[-1] ** -0.5


def _masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    # Minus infinity would give NaN, and NaN gradients, where nothing is real.
    scores = scores.float()
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=-1)
