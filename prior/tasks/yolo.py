"""A detector of YOLOv3's form (Redmon and Farhadi, arXiv 1804.02767) on three maps of an encoder, one class.

Every cell of every level predicts, for each of three prior sizes, an offset of the centre, a size, an
objectness and a class. Targets and losses are those of LoVT's and MGCA's code, which differ from the paper's:
every level has every box as a target, and each loss is a mean over the cells of a level.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import nms

from prior.tasks.simple_pyramid import spread

PRIORS = 3
LEVELS = 3
NUMBERS = 6
"""Centre offset x and y, log size w and h, objectness, class."""


def block(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Convolution, batch normalisation and leaky ReLU of slope .1."""
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1))


def five_blocks(inputs: int, width: int) -> nn.Sequential:
    """Alternate 1×1 and 3×3 convolutions, narrow and wide; ends with `width` channels."""
    sizes = [(inputs, width, 1), (width, 2 * width, 3), (2 * width, width, 1), (width, 2 * width, 3)]
    return nn.Sequential(*(block(*size) for size in sizes), block(2 * width, width, 1))


def shape_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of sizes [n, 2] and [m, 2] (w, h) laid on one centre. Returns [n, m]."""
    inside = torch.minimum(first[:, None], second[None]).prod(dim=2)
    return inside / (first.prod(dim=1)[:, None] + second.prod(dim=1)[None] - inside)


def decode(raw: Tensor, priors: Tensor, size: int) -> Tensor:
    """Turn the raw numbers of one level into boxes.

    x = (column + σ(t_x)) stride and w = w_prior exp(t_w), y and h likewise.

    Args:
        raw: [B, priors, rows, columns, 6].
        priors: [priors, 2] (w, h) in pixels.
        size: side of the image in pixels.

    Returns:
        Centre and size (x, y, w, h) in pixels [B, priors, rows, columns, 4].
    """
    rows, columns = raw.shape[2:4]
    row, column = torch.meshgrid(
        torch.arange(rows, device=raw.device), torch.arange(columns, device=raw.device), indexing="ij"
    )
    x = (column + raw[..., 0].sigmoid()) * (size / columns)
    y = (row + raw[..., 1].sigmoid()) * (size / rows)
    # Limited, so that an untrained size cannot overflow.
    sizes = raw[..., 2:4].clamp(max=8).exp() * priors[None, :, None, None]
    return torch.cat([x.unsqueeze(-1), y.unsqueeze(-1), sizes], dim=-1)


def corners(boxes: Tensor) -> Tensor:
    """Turn boxes [..., 4] from (x, y, w, h) into (x_min, y_min, x_max, y_max)."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


class Targets:
    """What the cells of one level should predict for a batch.

    Attributes:
        objects: [B, priors, rows, columns] whether a true box belongs to this cell and prior.
        ignored: the same shape; whether objectness is not punished. A box's own prior may lack this mark.
        values: [B, priors, rows, columns, 4] wanted σ(t_x), σ(t_y), t_w, t_h; zeros without an object.
    """

    def __init__(self, batch: int, rows: int, columns: int, device: torch.device) -> None:
        shape = (batch, PRIORS, rows, columns)
        self.objects = torch.zeros(shape, dtype=torch.bool, device=device)
        self.ignored = torch.zeros(shape, dtype=torch.bool, device=device)
        self.values = torch.zeros((*shape, 4), device=device)


def encode(
    boxes: Sequence[Tensor], priors: Tensor, sides: Sequence[tuple[int, int]], size: int, ignore: float
) -> list[Targets]:
    """Give every true box, at every level, to the prior that overlaps its size best, in the centre's cell.

    In the cells of the centre, priors with an overlap above `ignore` are ignored. Of boxes that meet in one
    cell and prior, one counts.

    Args:
        boxes: per image, true boxes [n, 4] (x_min, y_min, x_max, y_max) in pixels.
        priors: [levels, priors, 2] (w, h) in pixels.
        sides: rows and columns of each level.
        size: side of the image in pixels.
        ignore: overlap of sizes.
    """
    device = priors.device
    targets = [Targets(len(boxes), rows, columns, device) for rows, columns in sides]
    owner = torch.repeat_interleave(
        torch.arange(len(boxes), device=device), torch.tensor([len(b) for b in boxes], device=device)
    )
    true = torch.cat([*boxes, torch.zeros((0, 4), device=device)]).to(device)
    centre, extent = (true[:, :2] + true[:, 2:]) / 2, (true[:, 2:] - true[:, :2]).clamp(min=1e-6)
    for level, (target, (rows, columns)) in enumerate(zip(targets, sides, strict=True)):
        place = centre * torch.tensor([columns / size, rows / size], device=device)
        limit = torch.tensor([columns - 1, rows - 1], device=device)
        cell = torch.minimum(place.long().clamp(min=0), limit)
        overlap = shape_iou(extent, priors[level])
        best = overlap.argmax(dim=1)
        for prior in range(PRIORS):
            near = overlap[:, prior] > ignore
            target.ignored[owner[near], prior, cell[near, 1], cell[near, 0]] = True
            mine = best == prior
            where = (owner[mine], prior, cell[mine, 1], cell[mine, 0])
            target.objects[where] = True
            wanted = [place[mine] - cell[mine], (extent[mine] / priors[level, prior]).log()]
            target.values[where] = torch.cat(wanted, dim=1)
    return targets


def box_losses(raw: Tensor, target: Targets) -> dict[str, Tensor]:
    """Return the losses of one level, each summed and divided by the number of its cells and priors.

    `xy`: cross-entropy of σ(t_x), σ(t_y) with the offset; `wh`: squared error of t_w, t_h; `object`, `class`:
    cross-entropy where an object is; `no_object`: of the objectness where it is not ignored. A box whose own
    prior overlaps no more than `ignore` is thus asked for both, as in LoVT's and MGCA's code.

    Args:
        raw: [B, priors, rows, columns, 6].
        target: of the same level.
    """
    found, wanted = raw[target.objects], target.values[target.objects]
    sums = {
        "xy": F.binary_cross_entropy_with_logits(found[:, :2], wanted[:, :2], reduction="sum"),
        "wh": (found[:, 2:4] - wanted[:, 2:]).square().sum(),
        "object": F.softplus(-found[:, 4]).sum(),
        "no_object": F.softplus(raw[..., 4][~target.ignored]).sum(),
        "class": F.softplus(-found[:, 5]).sum(),
    }
    return {name: value / target.objects.numel() for name, value in sums.items()}


class YoloDetector(nn.Module):
    """Three levels, each fed by a map of the encoder and by the level above.

    Args:
        channels: channels of the encoder's maps, finest first; the last three are used, or of maps that all
            have one stride the last, spread (`SimplePyramid`) to twice its sides, its own and half.
        strides: their strides in pixels.
        size: side of the image in pixels.
        head: knobs `widths` (channels of the levels, finest first), `priors` (nine sizes w, h, small to
            large), `priors_at` (side of the image that they are meant for), `weights` of the losses by name,
            `ignore`, `confidence`, `nms` and `boxes`.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], size: int, head: dict[str, Any]
    ) -> None:
        super().__init__()
        self.size, self.head = size, head
        self.spread, channels, _ = spread(channels, strides, strides[-1] / 2)
        widths, inputs = head["widths"], list(channels[-LEVELS:])
        above = [widths[1] // 2, widths[2] // 2, 0]
        self.reduce = nn.ModuleList(block(widths[k + 1], above[k], 1) for k in range(LEVELS - 1))
        self.levels = nn.ModuleList(five_blocks(inputs[k] + above[k], widths[k]) for k in range(LEVELS))
        self.outputs = nn.ModuleList(_output(width) for width in widths)
        priors = torch.tensor(head["priors"], dtype=torch.float32) * (size / head["priors_at"])
        self.priors: Tensor
        self.register_buffer("priors", priors.view(LEVELS, PRIORS, 2), persistent=False)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Return the raw numbers of each level, finest first: [B, priors, rows, columns, 6]."""
        found: list[Tensor] = []
        level: Tensor | None = None
        maps = maps if self.spread is None else self.spread(maps)
        for k in reversed(range(LEVELS)):
            given = maps[-LEVELS:][k]
            if level is not None:
                narrow = self.reduce[k](level)
                side = [given.shape[2], given.shape[3]]
                given = torch.cat([F.interpolate(narrow, size=side, mode="nearest"), given], dim=1)
            level = self.levels[k](given)
            raw = self.outputs[k](level).float()
            batch, _, rows, columns = raw.shape
            found.append(raw.view(batch, PRIORS, NUMBERS, rows, columns).permute(0, 1, 3, 4, 2))
        return found[::-1]

    def losses(self, maps: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the weighted losses of a batch by name, summed over levels.

        Args:
            maps: encoder maps.
            targets: per image `boxes` [n, 4] in pixels.
        """
        raws = self(maps)
        sides = [(raw.shape[2], raw.shape[3]) for raw in raws]
        boxes = [target["boxes"] for target in targets]
        wanted = encode(boxes, self.priors, sides, self.size, self.head["ignore"])
        by_level = [box_losses(raw, target) for raw, target in zip(raws, wanted, strict=True)]
        return {
            name: weight * torch.stack([level[name] for level in by_level]).sum()
            for name, weight in self.head["weights"].items()
        }

    def detect(self, maps: list[Tensor]) -> list[dict[str, Tensor]]:
        """Return per image `boxes` [n, 4] in pixels and descending `scores` [n].

        A box is kept if its objectness, which is its score, is at least `confidence`.
        """
        raws = self(maps)
        boxes = [
            decode(raw, priors, self.size).flatten(1, 3)
            for raw, priors in zip(raws, self.priors, strict=True)
        ]
        objectness = torch.cat([raw[..., 4].sigmoid().flatten(1) for raw in raws], dim=1)
        corner = corners(torch.cat(boxes, dim=1)).clamp(0, self.size)
        return [suppress(b, o, self.head) for b, o in zip(corner, objectness, strict=True)]


def _output(width: int) -> nn.Sequential:
    return nn.Sequential(block(width, 2 * width, 3), nn.Conv2d(2 * width, PRIORS * NUMBERS, 1))


def suppress(boxes: Tensor, objectness: Tensor, head: dict[str, Any]) -> dict[str, Tensor]:
    """Keep confident boxes [n, 4] that no better one overlaps by more than `nms`, `boxes` of them at most."""
    sure = (objectness >= head["confidence"]).nonzero().squeeze(1)
    kept = sure[nms(boxes[sure], objectness[sure], head["nms"])][: head["boxes"]]
    return {"boxes": boxes[kept], "scores": objectness[kept]}
