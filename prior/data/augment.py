"""Augmentation of whole batches: crop, rotation, brightness, contrast; never a flip (reports say left)."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """How strongly images are changed.

    Attributes:
        crop: smallest and largest share of the image area that is kept.
        rotation: largest angle in degrees, either way.
        brightness: largest change of the brightness factor.
        contrast: largest change of the contrast factor.
    """

    crop: tuple[float, float] = (0.8, 1.0)
    rotation: float = 10.0
    brightness: float = 0.2
    contrast: float = 0.2


def augment(
    images: Tensor,
    generator: torch.Generator,
    settings: Augmentation | None = None,
    whole: int | None = None,
    part: slice = slice(None),
) -> Tensor:
    """Change each image of a batch at random.

    Args:
        images: float [B, 1, H, W] in [0, 1].
        generator: source of randomness on the CPU; the same state gives the same batch on any device.
        settings: strengths, the `strict` protocol's by default.
        whole: size of the batch that `images` are a part of; by default they are the batch.
        part: which part; it is changed as it is with the whole batch.

    Returns:
        Float [B, 1, H, W] in [0, 1].
    """
    settings = settings or Augmentation()
    count = len(images) if whole is None else whole
    matrices = sample_affine(count, generator, settings)[part].to(images.device)
    return _change_grey(warp(images, matrices), generator, settings, count, part)


def sample_affine(count: int, generator: torch.Generator, settings: Augmentation) -> Tensor:
    """Draw `count` maps [count, 2, 3] from output to input coordinates in [-1, 1] (square images)."""
    area, turn, shift_x, shift_y = torch.rand(4, count, generator=generator)
    low, high = settings.crop
    scale = (low + (high - low) * area).sqrt()
    angle = math.radians(settings.rotation) * (2 * turn - 1)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    room = 1 - scale
    rows = [cos, -sin, room * (2 * shift_x - 1), sin, cos, room * (2 * shift_y - 1)]
    return torch.stack(rows, dim=1).view(count, 2, 3)


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Resample [B, C, H, W] by maps [B, 2, 3]; outside the image is black."""
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    warped: Tensor = F.grid_sample(images, grid.to(images.dtype), align_corners=False)
    return warped


def _change_grey(
    images: Tensor,
    generator: torch.Generator,
    settings: Augmentation,
    count: int,
    part: slice = slice(None),
) -> Tensor:
    brightness, contrast = (2 * torch.rand(2, count, generator=generator)[:, part] - 1).to(images)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    gain = (1 + settings.contrast * contrast).view(-1, 1, 1, 1)
    factor = (1 + settings.brightness * brightness).view(-1, 1, 1, 1)
    changed: Tensor = (((images - mean) * gain + mean) * factor).clamp(0, 1)
    return changed
