"""Maps of several strides from an encoder whose maps all have one (a ViT)."""

from collections.abc import Sequence

from torch import Tensor, nn

SCALES = (4.0, 2.0, 1.0, 0.5)


class SimplePyramid(nn.Module):
    """Maps at several scales of an encoder's last map, the others are not read.

    The simple pyramid of ViTDet (Li et al., arXiv 2203.16527): two transposed convolutions for 4, one for 2,
    nothing for 1, a max pooling for 1/2; between two convolutions a normalisation and GELU.

    Args:
        channels: channels C of the last map.
        scales: of 4, 2, 1 and 1/2.

    Attributes:
        channels: of the returned maps: C / 4, C / 2, C and C.
    """

    def __init__(self, channels: int, scales: Sequence[float]) -> None:
        super().__init__()
        half, quarter = max(1, channels // 2), max(1, channels // 4)
        kinds: dict[float, tuple[nn.Module, int]] = {
            4.0: (
                nn.Sequential(
                    nn.ConvTranspose2d(channels, half, 2, stride=2),
                    nn.GroupNorm(1, half),
                    nn.GELU(),
                    nn.ConvTranspose2d(half, quarter, 2, stride=2),
                ),
                quarter,
            ),
            2.0: (nn.ConvTranspose2d(channels, half, 2, stride=2), half),
            1.0: (nn.Identity(), channels),
            0.5: (nn.MaxPool2d(2, ceil_mode=True), channels),
        }
        self.parts = nn.ModuleList(kinds[scale][0] for scale in scales)
        self.channels = [kinds[scale][1] for scale in scales]

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return [B, C_k, h s, w s] of the last of `maps` for every scale s, finest first."""
        return [part(maps[-1]) for part in self.parts]


def spread(
    channels: Sequence[int], strides: Sequence[int], finest: float
) -> tuple[SimplePyramid | None, list[int], list[float]]:
    """Give an encoder of one stride a pyramid; one of several strides needs none.

    Args:
        channels: channels of the encoder's maps.
        strides: their strides in pixels.
        finest: the finest stride that is wanted; much finer maps are not made.

    Returns:
        The pyramid or None, and the channels and strides of the maps behind it.
    """
    if len(set(strides)) > 1:
        return None, list(channels), [float(stride) for stride in strides]
    scales = [scale for scale in SCALES if strides[-1] / scale >= 0.75 * finest]
    pyramid = SimplePyramid(channels[-1], scales)
    return pyramid, pyramid.channels, [strides[-1] / scale for scale in scales]
