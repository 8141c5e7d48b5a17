"""FCOS on given feature maps: a small pyramid, torchvision's head, matching and post-processing."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOS, FCOSHead
from torchvision.models.detection.image_list import ImageList

from prior.tasks.simple_pyramid import spread

GROUPS = 8


class Pyramid(nn.Module):
    """Feature pyramid (Lin et al., arXiv 1612.03144) over maps of any strides.

    Maps that all have one stride are spread first (`SimplePyramid`); some may share a stride.
    Every map passes a 1×1 convolution and group normalisation, which brings encoders of different feature
    scale to the same one. Levels coarser than the encoder's last map are max-pooled from the level before.

    Args:
        channels: channels of the maps.
        strides: their strides in pixels.
        wanted: ascending strides of the levels to return, each twice the one before.
        width: channels of every level.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], wanted: Sequence[int], width: int
    ) -> None:
        super().__init__()
        self.out_channels = width
        self.spread, channels, self.strides = spread(channels, strides, min(wanted))
        self.wanted = list(wanted)
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, width, 1, bias=False), nn.GroupNorm(GROUPS, width)) for c in channels
        )
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in wanted)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Return one level [B, width, H / s, W / s] per wanted stride, finest first."""
        maps = maps if self.spread is None else self.spread(maps)
        height, width = (round(side * self.strides[0]) for side in maps[0].shape[2:])
        sides = [(height // stride, width // stride) for stride in self.wanted]
        merged: list[Tensor | None] = [None] * len(self.wanted)
        for stride, lateral, level in zip(self.strides, self.lateral, maps, strict=True):
            # A map without a level of its own (a ViT's stride 14, say) joins the nearest one.
            k = min(range(len(self.wanted)), key=lambda i: abs(self.wanted[i] - stride))
            merged[k] = _add(merged[k], _resize(lateral(level), sides[k]))
        above: Tensor | None = None
        for k in reversed(range(len(merged))):
            if above is not None:
                merged[k] = _add(merged[k], _resize(above, sides[k]))
            above = merged[k]
        levels: list[Tensor] = []
        for part_or_none, smooth, side in zip(merged, self.smooth, sides, strict=True):
            part = F.adaptive_max_pool2d(levels[-1], side) if part_or_none is None else part_or_none
            levels.append(smooth(part))
        return levels


def _add(level: Tensor | None, part: Tensor) -> Tensor:
    return part if level is None else level + part


def _resize(level: Tensor, side: tuple[int, int]) -> Tensor:
    return level if tuple(level.shape[2:]) == side else F.interpolate(level, size=side, mode="nearest")


class Detector(FCOS):
    """FCOS (Tian et al., arXiv 1904.01355) of torchvision, fed with maps instead of images; one class.

    Args:
        channels: channels of the encoder's maps, finest first.
        strides: their strides in pixels.
        size: side of the image in pixels.
        head: knobs `strides`, `width`, `convolutions`, `anchor_scale`, `score_threshold`, `nms`, `boxes`,
            `candidates`.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], size: int, head: dict[str, Any]
    ) -> None:
        wanted = list(head["strides"])
        # FCOS gives a level the boxes that reach 4 to 8 anchor sides from a location.
        sides = tuple((round(stride * head["anchor_scale"]),) for stride in wanted)
        super().__init__(
            Pyramid(channels, strides, wanted, head["width"]),
            num_classes=1,
            anchor_generator=AnchorGenerator(sides, ((1.0,),) * len(sides)),
            head=FCOSHead(head["width"], 1, num_classes=1, num_convs=head["convolutions"]),
            score_thresh=head["score_threshold"],
            nms_thresh=head["nms"],
            detections_per_img=head["boxes"],
            topk_candidates=head["candidates"],
        )
        self.size = size

    def losses(self, maps: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return `classification`, `bbox_regression` and `bbox_ctrness` of a batch.

        Args:
            maps: encoder maps.
            targets: per image `boxes` [n, 4] in pixels and `labels` [n] of zeros.
        """
        outputs, anchors, counts = self._outputs(maps)
        losses: dict[str, Tensor] = self.compute_loss(targets, outputs, anchors, counts)
        return losses

    def detect(self, maps: list[Tensor]) -> list[dict[str, Tensor]]:
        """Return per image `boxes` [n, 4] in pixels, descending `scores` [n] and `labels` [n]."""
        outputs, anchors, counts = self._outputs(maps)
        split = {name: list(torch.split(values, counts, dim=1)) for name, values in outputs.items()}
        by_level = [list(torch.split(a, counts)) for a in anchors]
        shapes = [(self.size, self.size)] * len(anchors)
        found: list[dict[str, Tensor]] = self.postprocess_detections(split, by_level, shapes)
        return found

    def _outputs(self, maps: list[Tensor]) -> tuple[dict[str, Tensor], list[Tensor], list[int]]:
        # Group normalisation is slow in the encoder's layout, and this head has more of it than of anything.
        levels = self.backbone([level.contiguous() for level in maps])
        outputs = {name: values.float() for name, values in self.head(levels).items()}
        batch = len(maps[0])
        # Anchors depend on shapes only; no pixel is read.
        blank = torch.empty((batch, 1, self.size, self.size), device=maps[0].device)
        anchors = self.anchor_generator(ImageList(blank, [(self.size, self.size)] * batch), levels)
        return outputs, anchors, [level.shape[2] * level.shape[3] for level in levels]
