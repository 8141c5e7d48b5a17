"""One transformer block that predicts hidden tokens from visible ones."""

import torch
from torch import Tensor, nn


class TokenDecoder(nn.Module):
    """Replace hidden tokens by a learnt one, add positions, attend once, return to the tokens' width.

    Without positions all hidden tokens of a sample would get the same prediction.

    Args:
        channels: width C of the tokens.
        width: width of the block.
        heads: attention heads; must divide `width`.
        positions: largest number of tokens.
    """

    def __init__(self, channels: int, width: int, heads: int, positions: int) -> None:
        super().__init__()
        self.enter = nn.Linear(channels, width)
        self.hidden_token = nn.Parameter(torch.randn(width) * 0.02)
        self.positions = nn.Parameter(torch.randn(positions, width) * 0.02)
        self.block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True
        )
        self.leave = nn.Linear(width, channels)

    def forward(self, tokens: Tensor, mask: Tensor, hidden: Tensor) -> Tensor:
        """Predict.

        Args:
            tokens: [B, N, C].
            mask: [B, N] bool, true at real tokens, of which every sample has one at least.
            hidden: [B, N] bool, true at tokens that are not shown.

        Returns:
            [B, N, C]; only the values at hidden tokens are predictions.
        """
        shown = torch.where(hidden.unsqueeze(2), self.hidden_token, self.enter(tokens))
        placed = shown + self.positions[: tokens.shape[1]]
        predicted: Tensor = self.leave(self.block(placed, src_key_padding_mask=~mask))
        return predicted
