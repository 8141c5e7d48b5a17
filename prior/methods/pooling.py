"""Attention pooling of image regions and of sentences."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AttentionPool(nn.Module):
    """CLIP-style attention pooling: the mean of the entries asks, the mean and the entries answer.

    Without positions the result does not depend on the order of the entries.

    Args:
        width: feature width D.
        heads: attention heads; must divide `width`.
        entries: number of entries R where their positions are learnt; None for an order-free pool.
    """

    def __init__(self, width: int, heads: int, entries: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (linear(width, width) for _ in range(4))
        self.positions = (
            None if entries is None else nn.Parameter(torch.randn(entries + 1, width) * width**-0.5)
        )

    def forward(self, entries: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool.

        Args:
            entries: [B, R, D].
            mask: [B, R] bool, false at padding; None where all entries are real.

        Returns:
            [B, D]; where no entry is real, the pool of a zero vector.
        """
        if mask is None:
            mask = entries.new_ones(entries.shape[:2], dtype=torch.bool)
        total = entries.masked_fill(~mask.unsqueeze(2), 0.0).sum(dim=1, keepdim=True)
        mean = total / mask.sum(dim=1).clamp(min=1).view(-1, 1, 1)
        answers = torch.cat([mean, entries], dim=1)
        if self.positions is not None:
            answers = answers + self.positions
        # The mean is always a key, so a report without sentences has one to attend to.
        keep = F.pad(mask, (1, 0), value=True)[:, None, None]
        pooled = F.scaled_dot_product_attention(
            self._split(self.query(answers[:, :1])),
            self._split(self.key(answers)),
            self._split(self.value(answers)),
            attn_mask=keep,
        )
        projected: Tensor = self.output(pooled.flatten(1))
        return projected

    def _split(self, features: Tensor) -> Tensor:
        batch, length, width = features.shape
        return features.view(batch, length, self.heads, width // self.heads).transpose(1, 2)


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear map with zero bias and weights of standard deviation inputs^-1/2."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=inputs**-0.5)
    nn.init.zeros_(layer.bias)
    return layer
