"""Contrast between the images and the reports of a batch (InfoNCE)."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from prior.objectives.gather import batch_mean, gather


def info_nce(queries: Tensor, keys: Tensor, scale: Tensor | float, block: int = 1024) -> Tensor:
    """Cross entropy of finding each query's own key among all keys of the batch.

    mean_i [ logsumexp_j s cos(q_i, k_j) - s cos(q_i, k_i) ], s = 1 / temperature; van den Oord et al.,
    arXiv 1807.03748. Computed in float32. More than `block` queries are worked off in blocks that are
    recomputed in the backward pass, so that memory grows with `block` times the batch, not with its square.
    A batch of one gives zero, and so does an empty one. Where the batch is split over processes, queries are
    the own ones and keys are everyone's (`prior.objectives.gather`).

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
        k, first = gather(functional.normalize(keys.float(), dim=-1))
        scale = torch.as_tensor(scale, dtype=torch.float32, device=q.device)
        targets = torch.arange(first, first + len(q), device=q.device)

        def rows(part: Tensor, wanted: Tensor) -> Tensor:
            return functional.cross_entropy(scale * part @ k.T, wanted, reduction="none")

        return batch_mean(in_blocks(rows, block, q, targets))


def in_blocks(rows: Callable[..., Tensor], block: int, *tensors: Tensor) -> Tensor:
    """Apply `rows` to the tensors, `block` rows at a time where there are more; each block is recomputed.

    Args:
        rows: maps tensors [n, ...] to [n].
        block: most rows at a time.
        tensors: [B, ...] each.

    Returns:
        [B].
    """
    if len(tensors[0]) <= block:
        return rows(*tensors)
    parts = zip(*(torch.split(tensor, block) for tensor in tensors), strict=True)
    values: list[Tensor] = [checkpoint(rows, *part, use_reentrant=False) for part in parts]
    return torch.cat(values)


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
