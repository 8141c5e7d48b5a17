"""Correlations between the patches of an image as a target (PLACE's CCE, arXiv 2506.10573).

The paper's formulas could not be read: these are a reconstruction from its abstract, docs/methods/place.md.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from prior.objectives.gather import batch_mean

_SIDE = 8
# Differences from the mean that are shorter are rounding errors; they must not be blown up to unit length.
_BLANK = 1e-5


def patch_correlations(images: Tensor, grid: tuple[int, int]) -> Tensor:
    """Correlate the pixels of an image's patches, C = X X^T.

    Row r of X is the patch of cell r of the local grid, resized by area to 8 × 8 pixels, minus the mean of
    the image's patches, divided by its length.

    Args:
        images: [B, 1, H, W], any grey scale.
        grid: (height, width) of the local grid, R cells.

    Returns:
        [B, R, R] in [-1, 1], region r = row * width + column; zero where a patch equals the mean patch.
    """
    height, width = grid
    small = F.interpolate(images.float(), size=(_SIDE * height, _SIDE * width), mode="area")
    patches = small.view(len(images), height, _SIDE, width, _SIDE).permute(0, 1, 3, 2, 4)
    return feature_correlations(patches.reshape(len(images), height * width, _SIDE * _SIDE))


def feature_correlations(features: Tensor) -> Tensor:
    """Correlate features: centre them over the entries of a sample, normalise, C = Z Z^T, in float32.

    Args:
        features: [B, R, D].

    Returns:
        [B, R, R] in [-1, 1].
    """
    with torch.autocast(features.device.type, enabled=False):
        centred = features.float() - features.float().mean(dim=1, keepdim=True)
        rows = F.normalize(centred, dim=2, eps=_BLANK)
        return rows @ rows.transpose(1, 2)


def correlation_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """L_CCE = mean_{i != j} (C^_ij - C_ij)^2; the target is detached.

    Args:
        predicted: C^, [B, R, R].
        target: C, [B, R, R].

    Returns:
        Scalar, mean over the images; zero for a grid of one cell.
    """
    cells = predicted.shape[1]
    same = torch.eye(cells, dtype=torch.bool, device=predicted.device)
    squares = (predicted.float() - target.detach().float()).square().masked_fill(same, 0.0)
    return batch_mean(squares.sum(dim=(1, 2))) / max(1, cells * (cells - 1))
