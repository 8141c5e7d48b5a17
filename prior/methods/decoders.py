"""PRIOR's two decoders: image from masked regions and text, sentence prototypes from regions."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ImageDecoder(nn.Module):
    """Region map and its text context to an image, by upsampling blocks that halve their channels.

    A block is nearest upsampling by two and two convolutions with batch norm and ReLU; a 3×3 convolution
    gives the grey value. The paper's code has five blocks, 7×7 to 224×224, 768 channels after the first.

    Args:
        width: width D of the regions and of their contexts.
        channels: channels after the first block.
        upsamplings: number of blocks, log2 of the encoder's output stride.
    """

    def __init__(self, width: int, channels: int, upsamplings: int) -> None:
        super().__init__()
        widths = [2 * width] + [max(8, channels >> level) for level in range(upsamplings)]
        self.blocks = nn.ModuleList(_block(a, b) for a, b in pairwise(widths))
        self.last = nn.Conv2d(widths[-1], 1, kernel_size=3, padding=1)

    def forward(
        self, regions: Tensor, contexts: Tensor, grid: tuple[int, int], size: tuple[int, int]
    ) -> Tensor:
        """Reconstruct.

        Args:
            regions: [B, R, D].
            contexts: text context of every region, [B, R, D].
            grid: (height, width) of the regions.
            size: (H, W) of the image.

        Returns:
            [B, 1, H, W], normalised grey values.
        """
        features = torch.cat([regions, contexts], dim=2).transpose(1, 2)
        features = features.reshape(*features.shape[:2], *grid)
        features = features.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            features = block(F.interpolate(features, scale_factor=2, mode="nearest"))
        if features.shape[2:] != size:
            features = F.interpolate(features, size=size, mode="nearest")
        image: Tensor = self.last(features)
        return image


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv2d(channels, outputs, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class ReportDecoder(nn.Module):
    """Learnt slots read the image regions and become sentence features, all at once.

    The slots have no order, so each may read all others. The paper's code has 16 slots and 8 layers.

    Args:
        width: feature width D.
        slots: number of slots K, the most sentences that can be generated.
        layers: transformer layers.
        heads: attention heads; must divide `width`.
    """

    def __init__(self, width: int, slots: int, layers: int, heads: int) -> None:
        super().__init__()
        self.slots = nn.Parameter(torch.randn(slots, width))
        layer = nn.TransformerDecoderLayer(
            width, heads, 4 * width, dropout=0.1, activation="gelu", batch_first=True
        )
        self.decoder = nn.TransformerDecoder(layer, layers)

    def forward(self, regions: Tensor, unread: Tensor | None = None) -> Tensor:
        """Generate [B, K, D] from image regions [B, R, D].

        Args:
            regions: [B, R, D].
            unread: [K, K] bool, true where the slot of the row does not read that of the column.
        """
        queries = self.slots.expand(regions.shape[0], -1, -1)
        generated: Tensor = self.decoder(queries, regions, tgt_mask=unread)
        return generated


def upsamplings_for(stride: int) -> int:
    """Return how many doublings bring a map of `stride` back to the input size, rounded up."""
    return math.ceil(math.log2(stride))
