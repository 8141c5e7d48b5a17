"""Masked-image reconstruction: hide square patches, predict the whole image, mean absolute error."""

import math

import torch
from torch import Tensor

from prior.objectives.gather import batch_mean, draw_rows


def sample_patch_mask(
    batch: int, size: tuple[int, int], patch: int, ratio: float, device: torch.device
) -> Tensor:
    """Choose the same number of square patches in every image, uniformly and without replacement.

    Args:
        batch: number of images B.
        size: (H, W) in pixels; patches at the right and lower border may be cut.
        patch: side of a patch in pixels.
        ratio: share of the patches to hide, in [0, 1]; the count is rounded to the nearest whole patch.
        device: where the mask is made.

    Returns:
        [B, 1, H, W] bool, true at hidden pixels.
    """
    rows, columns = math.ceil(size[0] / patch), math.ceil(size[1] / patch)
    hidden = round(ratio * rows * columns)
    drawn = draw_rows(lambda images: torch.rand(images, rows * columns, device=device), batch, device)
    order = drawn.argsort(dim=1).argsort(dim=1)
    grid = (order < hidden).view(batch, 1, rows, columns)
    pixels = grid.repeat_interleave(patch, dim=2).repeat_interleave(patch, dim=3)
    return pixels[:, :, : size[0], : size[1]]


def reconstruction_loss(reconstruction: Tensor, images: Tensor) -> Tensor:
    """L_recimg = mean |reconstruction - images| over all pixels, hidden and visible.

    Args:
        reconstruction: [B, 1, H, W].
        images: the unmasked, normalised images, [B, 1, H, W].

    Returns:
        Scalar, in standard deviations of the grey values.
    """
    return batch_mean((reconstruction.float() - images.float()).abs())
