"""Sigmoid cross attention between the regions of an image and the sentences of a report."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prior.methods.present import mean_of_real
from prior.objectives.local import sigmoid_attention

_BLOCK_ENTRIES = 1 << 24


@dataclass
class LocalContexts:
    """What each side reads from the other.

    Attributes:
        of_regions: text context of every region, [B, R, D].
        of_sentences: image context of every sentence, [B, S, D].
    """

    of_regions: Tensor
    of_sentences: Tensor


class LocalAttention(nn.Module):
    """Cross attention in both directions with separate query, key and value maps per modality.

    Args:
        width: feature width D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.image_maps = nn.Linear(width, 3 * width)
        self.text_maps = nn.Linear(width, 3 * width)

    def forward(self, regions: Tensor, sentences: Tensor, mask: Tensor) -> LocalContexts:
        """Attend.

        Args:
            regions: [B, R, D].
            sentences: [B, S, D].
            mask: [B, S] bool, true at real sentences.

        Returns:
            Both contexts; zero for the regions of a pair whose report has no sentence.
        """
        image_query, image_key, image_value = self.image_maps(regions).chunk(3, dim=-1)
        text_query, text_key, text_value = self.text_maps(sentences).chunk(3, dim=-1)
        of_sentences, _ = sigmoid_attention(text_query, image_key, image_value)
        of_regions, _ = sigmoid_attention(image_query, text_key, text_value, mask)
        return LocalContexts(of_regions=of_regions, of_sentences=of_sentences)

    def maps(self, regions: Tensor, sentences: Tensor, mask: Tensor) -> Tensor:
        """Return the attention of each report's sentences to the regions of its image, averaged, in [0, 1].

        Args:
            regions: [B, R, D].
            sentences: [B, S, D].
            mask: [B, S] bool; a report without sentences has a map of zeros.

        Returns:
            [B, R].
        """
        _, keys, values = self.image_maps(regions).chunk(3, dim=-1)
        _, weights = sigmoid_attention(self.text_maps(sentences).chunk(3, dim=-1)[0], keys, values)
        return mean_of_real(weights, mask)

    def scores(self, regions: Tensor, sentences: Tensor, mask: Tensor) -> Tensor:
        """Return the mean attention of each report's sentences to each image, in [0, 1].

        Args:
            regions: [Bi, R, D].
            sentences: [Bt, S, D].
            mask: [Bt, S] bool; a report without sentences scores 0.

        Returns:
            [Bi, Bt].
        """
        keys = self.image_maps(regions).chunk(3, dim=-1)[1] * regions.shape[-1] ** -0.5
        queries = self.text_maps(sentences).chunk(3, dim=-1)[0]
        share = mask / mask.sum(dim=1, keepdim=True).clamp(min=1)
        # All images against all reports would not fit the memory of a large test set.
        block = max(1, _BLOCK_ENTRIES // (regions.shape[1] * mask.numel()))
        rows = [
            torch.sigmoid(torch.einsum("ird,tsd->itrs", part, queries)).mean(dim=2)
            for part in keys.split(block)
        ]
        return (torch.cat(rows) * share).sum(dim=2)
