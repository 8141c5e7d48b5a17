"""Heads of segmentation, by the names that protocols give them: encoder's maps in, pixels' logits out."""

import math
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from segmentation_models_pytorch.decoders.dpt.decoder import DPTDecoder
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from torch import Tensor, nn
from torch.nn import functional as F

from prior.protocols import Protocol
from prior.tasks.detector import GROUPS, Pyramid

POOLED_SIDES = (1, 2, 3, 6)
FPN_STRIDES = (4, 8, 16, 32)


Prevalence = float | NDArray[np.floating]
"""Share of positive pixels, or one of each finding [K]: a head has as many logits."""


def pixel_logits(channels: int, prevalence: Prevalence) -> nn.Conv2d:
    """Return a 1×1 convolution to a logit per prevalence, whose initial output predicts it everywhere."""
    shares = np.clip(np.atleast_1d(prevalence), 1e-4, 1 - 1e-4)
    logits = nn.Conv2d(channels, len(shares), kernel_size=1)
    with torch.no_grad():
        cast(Tensor, logits.bias).copy_(torch.from_numpy(np.log(shares / (1 - shares))))
    return logits


def enlarged(maps: Tensor, side: int | tuple[int, int]) -> Tensor:
    """Resize maps [B, C, h, w] bilinearly to `side`."""
    size = (side, side) if isinstance(side, int) else side
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def block(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Convolution, group normalisation (batches are small) and ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(GROUPS, outputs), nn.ReLU())


class UNetHead(nn.Module):
    """U-Net decoder (Ronneberger et al., arXiv 1505.04597) of segmentation_models_pytorch, 1×1 logits.

    Args:
        channels: channels of the encoder's maps, finest first.
        widths: channels of the decoder's blocks, coarsest first, one per map; the last works at half the
            finest map's stride.
        prevalence: share of positive pixels, or one of each finding.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int], prevalence: Prevalence) -> None:
        super().__init__()
        # The decoder takes the input's own resolution first; only its shape is read, hence 0 channels.
        self.decoder = UnetDecoder((0, *channels), tuple(widths), len(widths))
        self.logits = pixel_logits(widths[-1], prevalence)

    def forward(self, maps: list[Tensor], size: int) -> Tensor:
        """Return logits [B, size, size] or [B, K, size, size] of maps [B, C_k, h_k, w_k], finest first."""
        batch, _, height, width = maps[0].shape
        finest = maps[0].new_empty((batch, 0, 2 * height, 2 * width))
        logits = self.logits(self.decoder([finest, *maps]))
        return enlarged(logits.float(), size).squeeze(1)


class LinearHead(nn.Module):
    """One 1×1 convolution on one map, enlarged bilinearly (LoVT).

    Args:
        channels: channels of the encoder's maps, finest first.
        strides: their strides in pixels.
        at: `last`, or the stride of the map to take; of several, the last.
        prevalence: share of positive pixels, or one of each finding.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], at: int | str, prevalence: Prevalence
    ) -> None:
        super().__init__()
        order = range(len(strides))
        self.index = order[-1] if at == "last" else min(order, key=lambda k: (abs(strides[k] - int(at)), -k))
        self.logits = pixel_logits(channels[self.index], prevalence)

    def forward(self, maps: list[Tensor], size: int) -> Tensor:
        """Return logits [B, size, size] or [B, K, size, size] of maps [B, C_k, h_k, w_k], finest first."""
        return enlarged(self.logits(maps[self.index]).float(), size).squeeze(1)


class FPNHead(nn.Module):
    """Feature pyramid at strides 4 to 32, summed at the finest, 1×1 logits (`strict`).

    Args:
        channels: channels of the encoder's maps, finest first.
        strides: their strides in pixels.
        width: channels of every level.
        prevalence: share of positive pixels, or one of each finding.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], width: int, prevalence: Prevalence
    ) -> None:
        super().__init__()
        self.pyramid = Pyramid(channels, strides, FPN_STRIDES, width)
        self.logits = pixel_logits(width, prevalence)

    def forward(self, maps: list[Tensor], size: int) -> Tensor:
        """Return logits [B, size, size] or [B, K, size, size] of maps [B, C_k, h_k, w_k], finest first."""
        levels: list[Tensor] = self.pyramid([level.contiguous() for level in maps])
        finest = (levels[0].shape[2], levels[0].shape[3])
        total = torch.stack([enlarged(level, finest) for level in levels]).sum(dim=0)
        return enlarged(self.logits(total).float(), size).squeeze(1)


class UPerNetHead(nn.Module):
    """Pyramid pooling on the last map, a feature pyramid on the others, all fused at the finest.

    The form of UPerNet (Xiao et al., arXiv 1807.10221) with group instead of batch normalisation. Maps of one
    stride (ViT) are first resized by 4, 2, 1 and 1/2, as in BEiT (Bao et al., arXiv 2106.08254), bilinearly.

    Args:
        channels: channels of the encoder's maps, finest first.
        strides: their strides in pixels.
        width: channels inside the head.
        prevalence: share of positive pixels, or one of each finding.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], width: int, prevalence: Prevalence
    ) -> None:
        super().__init__()
        count = len(channels)
        flat = len(set(strides)) == 1
        self.scales = [2.0 ** (count - 2 - k) if flat else 1.0 for k in range(count)]
        self.laterals = nn.ModuleList(block(c, width, 1) for c in channels[:-1])
        self.pooled = nn.ModuleList(block(channels[-1], width, 1) for _ in POOLED_SIDES)
        self.bottleneck = block(channels[-1] + len(POOLED_SIDES) * width, width, 3)
        self.smooth = nn.ModuleList(block(width, width, 3) for _ in channels[:-1])
        self.fuse = block(count * width, width, 3)
        self.logits = pixel_logits(width, prevalence)

    def forward(self, maps: list[Tensor], size: int) -> Tensor:
        """Return logits [B, size, size] or [B, K, size, size] of maps [B, C_k, h_k, w_k], finest first."""
        maps = [_scaled(level.contiguous(), s) for level, s in zip(maps, self.scales, strict=True)]
        levels = [lateral(level) for lateral, level in zip(self.laterals, maps[:-1], strict=True)]
        levels.append(self._pyramid_pooling(maps[-1]))
        sides = [(level.shape[2], level.shape[3]) for level in levels]
        for k in reversed(range(len(levels) - 1)):
            levels[k] = levels[k] + enlarged(levels[k + 1], sides[k])
        smoothed = [smooth(level) for smooth, level in zip(self.smooth, levels[:-1], strict=True)]
        fused = self.fuse(torch.cat([enlarged(level, sides[0]) for level in [*smoothed, levels[-1]]], dim=1))
        return enlarged(self.logits(fused).float(), size).squeeze(1)

    def _pyramid_pooling(self, last: Tensor) -> Tensor:
        side = (last.shape[2], last.shape[3])
        parts = [
            enlarged(part(F.adaptive_avg_pool2d(last, pooled)), side)
            for part, pooled in zip(self.pooled, POOLED_SIDES, strict=True)
        ]
        fused: Tensor = self.bottleneck(torch.cat([last, *parts], dim=1))
        return fused


class DPTHead(nn.Module):
    """Maps brought to four strides and fused from the coarsest to the finest, 1×1 logits.

    The decoder of DPT (Ranftl et al., arXiv 2103.13413) from segmentation_models_pytorch, without the class
    token, which bundles do not give. It is meant for the maps of a ViT, which all have one stride.

    Args:
        channels: channels of the encoder's maps, finest first.
        strides: their strides in pixels.
        width: channels of the fused maps; those of the maps before grow from it as theirs do.
        prevalence: share of positive pixels, or one of each finding.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], width: int, prevalence: Prevalence
    ) -> None:
        super().__init__()
        # Of one stride only their ratio to 4, 8, 16 and 32 matters, so 14 counts as 16.
        taken = [16] * len(strides) if len(set(strides)) == 1 else list(strides)
        self.scales = [stride / 2 ** (k + 2) for k, stride in enumerate(taken)]
        self.decoder = DPTDecoder(
            encoder_out_channels=list(channels),
            encoder_output_strides=taken,
            encoder_has_prefix_tokens=False,
            readout="ignore",
            intermediate_channels=[width * min(2**k, 4) for k in range(len(channels))],
            fusion_channels=width,
        )
        self.logits = pixel_logits(width, prevalence)

    def forward(self, maps: list[Tensor], size: int) -> Tensor:
        """Return logits [B, size, size] or [B, K, size, size] of maps [B, C_k, h_k, w_k], finest first."""
        # Every level must be twice as wide as the next one once the decoder has brought it to its stride.
        coarsest = [math.ceil(side * self.scales[-1]) for side in maps[-1].shape[2:]]
        fitting = []
        for k, (level, scale) in enumerate(zip(maps, self.scales, strict=True)):
            height, width = (round(side * 2 ** (len(maps) - 1 - k) / scale) for side in coarsest)
            fitting.append(enlarged(level, (height, width)))
        logits = self.logits(self.decoder(fitting, [None] * len(fitting)))
        return enlarged(logits.float(), size).squeeze(1)


class ProgressiveHead(nn.Module):
    """The last map, convolved and doubled once per width, 1×1 logits.

    The progressive decoder of SETR (Zheng et al., arXiv 2012.15840), which MGCA's code puts on a ViT, with
    group instead of batch normalisation.

    Args:
        channels: channels of the encoder's maps, finest first.
        widths: channels after each doubling.
        prevalence: share of positive pixels, or one of each finding.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int], prevalence: Prevalence) -> None:
        super().__init__()
        inputs = [channels[-1], *widths[:-1]]
        self.blocks = nn.ModuleList(block(a, b, 3) for a, b in zip(inputs, widths, strict=True))
        self.logits = pixel_logits(widths[-1], prevalence)

    def forward(self, maps: list[Tensor], size: int) -> Tensor:
        """Return logits [B, size, size] or [B, K, size, size] of maps [B, C_k, h_k, w_k], finest first."""
        level = maps[-1]
        for part in self.blocks:
            level = part(level)
            level = enlarged(level, (2 * level.shape[2], 2 * level.shape[3]))
        return enlarged(self.logits(level).float(), size).squeeze(1)


def _scaled(level: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return level
    return enlarged(level, (max(1, round(level.shape[2] * scale)), max(1, round(level.shape[3] * scale))))


Build = Callable[[Sequence[int], Sequence[int], Protocol, Prevalence], nn.Module]
"""Channels and strides of the maps, knobs and prevalence → head."""

HEADS: dict[str, Build] = {
    "unet": lambda channels, _, protocol, share: UNetHead(channels, protocol["decoder_channels"], share),
    "linear": lambda channels, strides, protocol, share: LinearHead(
        channels, strides, protocol["head_map"], share
    ),
    "fpn": lambda channels, strides, protocol, share: FPNHead(
        channels, strides, protocol["head_width"], share
    ),
    "dpt": lambda channels, strides, protocol, share: DPTHead(
        channels, strides, protocol["head_width"], share
    ),
    "setr": lambda channels, _, protocol, share: ProgressiveHead(
        channels, protocol["decoder_channels"], share
    ),
    "upernet": lambda channels, strides, protocol, share: UPerNetHead(
        channels, strides, protocol["head_width"], share
    ),
}
