"""Contrast between the images and the reports of a batch (InfoNCE)."""

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


def info_nce(queries: Tensor, keys: Tensor, scale: Tensor | float, block: int = 1024) -> Tensor:
    """Cross entropy of finding each query's own key among all keys of the batch.

    mean_i [ logsumexp_j s cos(q_i, k_j) - s cos(q_i, k_i) ], s = 1 / temperature; van den Oord et al.,
    arXiv 1807.03748. Computed in float32. Batches above `block` are worked off in blocks of rows that are
    recomputed in the backward pass, so that memory grows with `block` times the batch, not with its square.
    A batch of one gives zero.

    Args:
        queries: [B, D], any length; normalised here.
        keys: [B, D], key i belongs to query i.
        scale: inverse temperature, a scalar.
        block: rows of logits held at a time.

    Returns:
        Scalar.
    """
    with torch.autocast(queries.device.type, enabled=False):
        q = functional.normalize(queries.float(), dim=-1)
        k = functional.normalize(keys.float(), dim=-1)
        scale = torch.as_tensor(scale, dtype=torch.float32, device=q.device)
        if len(q) <= block:
            return _rows(q, k, scale, torch.arange(len(q), device=q.device)).mean()
        parts = [
            checkpoint(_rows, q[rows], k, scale, rows, use_reentrant=False)
            for rows in torch.split(torch.arange(len(q), device=q.device), block)
        ]
        return torch.cat(parts).mean()


def _rows(queries: Tensor, keys: Tensor, scale: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(scale * queries @ keys.T, targets, reduction="none")


def symmetric_info_nce(
    images: Tensor,
    reports: Tensor,
    scale: Tensor | float,
    image_weight: float = 0.5,
    report_weight: float = 0.5,
    block: int = 1024,
) -> Tensor:
    """Weighted sum of both directions: images that look for their report, and reports for their image.

    Args:
        images: [B, D].
        reports: [B, D].
        scale: inverse temperature.
        image_weight: weight of image to report.
        report_weight: weight of report to image.
        block: rows of logits held at a time.

    Returns:
        Scalar.
    """
    forward = info_nce(images, reports, scale, block)
    backward = info_nce(reports, images, scale, block)
    return image_weight * forward + report_weight * backward
