"""Transformer block in which one sequence reads another."""

from torch import Tensor, nn


class ReadingBlock(nn.Module):
    """Cross attention to a memory, self attention if asked for, feed-forward; pre-norm with residuals.

    Args:
        width: feature width D.
        heads: attention heads; must divide `width`.
        self_attention: let the entries read each other as well.
    """

    def __init__(self, width: int, heads: int, self_attention: bool) -> None:
        super().__init__()
        self.cross_norm, self.memory_norm, self.last_norm = (nn.LayerNorm(width) for _ in range(3))
        self.cross_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.self_norm = nn.LayerNorm(width) if self_attention else None
        self.self_attention = (
            nn.MultiheadAttention(width, heads, batch_first=True) if self_attention else None
        )
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, entries: Tensor, memory: Tensor, memory_mask: Tensor | None = None) -> Tensor:
        """Read.

        Args:
            entries: [B, N, D].
            memory: [B, M, D].
            memory_mask: [B, M] bool, false at padding; at least one true entry per sample.

        Returns:
            [B, N, D].
        """
        hidden = None if memory_mask is None else ~memory_mask
        read = self.memory_norm(memory)
        asked = self.cross_norm(entries)
        entries = entries + _attend(self.cross_attention, asked, read, hidden)
        if self.self_attention is not None and self.self_norm is not None:
            asked = self.self_norm(entries)
            entries = entries + _attend(self.self_attention, asked, asked, None)
        update: Tensor = self.feed_forward(self.last_norm(entries))
        return entries + update

    def attention(self, entries: Tensor, memory: Tensor) -> Tensor:
        """Return how much entries [B, N, D] attend to a memory [B, M, D] without padding, [B, N, M]."""
        read = self.memory_norm(memory)
        weights: Tensor = self.cross_attention(self.cross_norm(entries), read, read)[1]
        return weights


def _attend(attention: nn.MultiheadAttention, asked: Tensor, read: Tensor, hidden: Tensor | None) -> Tensor:
    attended: Tensor = attention(asked, read, read, key_padding_mask=hidden, need_weights=False)[0]
    return attended
